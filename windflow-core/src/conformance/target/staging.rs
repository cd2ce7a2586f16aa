//! Staged rollouts: what waits, what becomes of it, and what of the one who is cut in the middle.

use super::case::Case;
use super::fixture::{Broken, Checked, Profile, TargetFixture};
use crate::target::{Applied, Desired, Feature, Promote, Stack, TargetExt};

/// What is staged waits beside what is current: the same again is nothing, something else is a conflict, back is an abort. It
/// is promoted once, or aborted once, by whoever finishes what another has begun.
///
/// # Errors
/// The rule that was broken.
pub async fn what_is_staged_is_promoted_or_aborted(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let promotes = case.target.capabilities().has(Feature::Promote);
    if matches!(fixture.profile(), Profile::ChangesNothing { .. }) || !promotes {
        case.holds(
            !promotes || matches!(fixture.profile(), Profile::Whole),
            "what changes nothing promotes nothing",
            (),
        )?;
        return case.unchecked("the target has no staged rollouts");
    }
    let versions = fixture.staged();
    case.holds(versions.is_some(), "the fixture of a target that promotes has versions that are staged", ())?;
    let Some([one, two, three]) = versions else { return case.done() };
    let name = one.name.clone();
    case.deploy("one", &one).await?;
    case.settled(&one).await?;
    let nothing = case.target.promote(&case.cx("early"), &name, Promote::Promote).await?;
    case.holds(nothing == Applied::Nothing, "where nothing is staged there is nothing to promote", &nothing)?;

    let staged = case.deploy("two", &two).await?;
    let expected = Applied::Staged { revision: 2, kept: 1 };
    case.holds(staged == expected, "a second revision is staged beside the first", &staged)?;
    waits(&mut case, &two, 2, 1).await?;
    let other = case.target.plan_for(&case.cx("three"), &Desired::Present(three.clone())).await;
    case.holds(other.is_err(), "while one is staged no other is planned", &other)?;
    let done = case.target.promote(&case.cx("go"), &name, Promote::Promote).await?;
    case.holds(done == Applied::Revision(Some(2)), "what is promoted is current", &done)?;
    case.settled(&two).await?;
    let again = case.target.promote(&case.cx("go"), &name, Promote::Promote).await?;
    case.holds(again == Applied::Nothing, "it is promoted once", &again)?;

    case.deploy("three", &three).await?;
    waits(&mut case, &three, 3, 2).await?;
    let back = case.target.plan_rollback(&case.cx("back"), &name, None).await?;
    case.holds(!back.is_empty(), "a rollback of what is staged is planned", &back.changes)?;
    let done = case.target.apply(&case.cx("back"), &back).await?;
    case.holds(done == Applied::Revision(Some(2)), "a rollback of what is staged is an abort", &done)?;
    case.settled(&two).await?;

    for verdict in [Promote::Promote, Promote::Abort] {
        for n in 1..=u64::try_from(fixture.cuts().min(2)).unwrap_or(2) {
            let current = case.observed(&name).await?.current.map_or(0, |current| current.number);
            let next = if case.observed(&name).await?.current.is_some_and(|c| c.stack == two) { &three } else { &two };
            case.deploy("cut", next).await?;
            if !fixture.cut_at(n).await {
                break;
            }
            let cut = case.target.promote(&case.cx("verdict"), &name, verdict).await;
            fixture.heal().await;
            case.checked.cuts += usize::from(cut.is_err());
            case.target.promote(&case.cx("verdict"), &name, verdict).await?;
            let after = case.observed(&name).await?;
            let number = after.current.as_ref().map_or(0, |current| current.number);
            let wanted = if verdict == Promote::Promote { current + 1 } else { current };
            let whole = after.staged.is_none() && number == wanted;
            case.holds(whole, "a verdict that was cut is finished by the same again", (verdict, n, number))?;
            let current = after.current.map(|current| current.stack);
            if let Some(current) = current {
                case.settled(&current).await?;
            }
        }
    }
    case.target.promote(&case.cx("last"), &name, Promote::Abort).await?;
    let fourth = if case.observed(&name).await?.current.is_some_and(|c| c.stack == two) { &three } else { &two };
    case.deploy("four", fourth).await?;
    case.target.destroy(&case.cx("gone"), &name).await?;
    case.gone(&name).await?;
    case.done()
}

/// It is staged, the other is kept, and the same again is nothing and says so.
async fn waits(case: &mut Case<'_>, stack: &Stack, green: u64, blue: u64) -> Result<(), Broken> {
    let observed = case.observed(&stack.name).await?;
    let numbers = (observed.current.as_ref().map(|c| c.number), observed.staged.as_ref().map(|s| s.number));
    case.holds(numbers == (Some(blue), Some(green)), "what is staged and what is kept are told apart", numbers)?;
    case.holds(observed.baking.is_some(), "what is staged says since when", observed.baking)?;
    let ready = observed.services.values().all(|service| service.health.is_ready());
    case.holds(ready, "what is staged is ready", &observed.services)?;
    let plan = case.target.plan_for(&case.cx("again"), &Desired::Present(stack.clone())).await?;
    let says = plan.degradations.iter().any(|told| told.starts_with("rollout:"));
    case.holds(plan.is_empty() && says, "a second apply of what is staged plans nothing, and says so", &plan)?;
    let again = case.target.apply(&case.cx("again"), &plan).await?;
    case.holds(again == Applied::Nothing, "a second apply of what is staged is nothing", &again)?;
    let drift = case.target.drift(&case.cx("drift"), &stack.name).await?;
    case.holds(drift.is_empty(), "that something is staged is no drift", &drift.changes)
}
