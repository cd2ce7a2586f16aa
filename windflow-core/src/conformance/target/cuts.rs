//! Whatever is cut, at whichever call, is finished by doing it again.

use super::case::Case;
use super::changes_nothing as nothing;
use super::fixture::{Broken, Checked, Profile, TargetFixture};
use crate::target::{Applied, Context, Desired, Plan, PlanError, Stack, TargetError, TargetErrorKind, TargetExt};

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Apply,
    Update,
    RollBack,
    Destroy,
}

/// Cut at each call that changes something, an apply, an update, a rollback and a destroy are finished by the next one.
///
/// # Errors
/// The rule that was broken.
pub async fn cut_calls_converge(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::cut_calls_converge(case, &*beneath).await;
    }
    if !fixture.cut_at(1).await {
        return case.unchecked("the fixture cannot cut calls");
    }
    fixture.heal().await;
    for verb in [Verb::Apply, Verb::Update, Verb::RollBack, Verb::Destroy] {
        let before = case.checked.cuts;
        let most = u64::try_from(fixture.cuts()).unwrap_or(u64::MAX);
        for n in 1..=most {
            if !cut(&mut case, verb, n).await? {
                break;
            }
        }
        case.holds(case.checked.cuts > before, "each verb can be cut", verb)?;
    }
    case.done()
}

/// Whether the verb was cut at its `n`-th call; it has fewer otherwise.
async fn cut(case: &mut Case<'_>, verb: Verb, n: u64) -> Result<bool, Broken> {
    let (first, second) = (case.fixture.stack(), case.fixture.changed());
    if verb != Verb::Apply {
        case.deploy(&format!("{verb:?}-{n}-one"), &first).await?;
    }
    if verb == Verb::RollBack {
        case.deploy(&format!("{verb:?}-{n}-two"), &second).await?;
    }
    let key = format!("{verb:?}-{n}-cut");
    let cx = case.cx(&key);
    let plan = planned(case, &cx, verb).await?;
    case.fixture.cut_at(n).await;
    let done = case.target.apply(&cx, &plan).await;
    case.fixture.heal().await;
    let was_cut = match &done {
        Ok(_) => false,
        Err(error) => {
            case.holds(is_no_verdict(error), "a call that was cut gives no verdict", (verb, n, error))?;
            case.checked.cuts += 1;
            // Once with the plan that was cut, once with a new one: a worker that lost its plan makes another.
            let plan = if n.is_multiple_of(2) { plan } else { planned(case, &cx, verb).await? };
            let finished = case.target.apply(&cx, &plan).await?;
            let there = !matches!(finished, Applied::RolledBack { .. });
            case.holds(there, "what was cut is finished by the next", (verb, n, &finished))?;
            true
        }
    };
    case.checked.applies += 1;
    let ends_as: Option<&Stack> = match verb {
        Verb::Apply | Verb::RollBack => Some(&first),
        Verb::Update => Some(&second),
        Verb::Destroy => None,
    };
    match ends_as {
        None => case.gone(&first.name).await?,
        Some(stack) => {
            case.settled(stack).await?;
            let kept = case.target.revisions(&cx, &stack.name).await?;
            let made = kept.iter().filter(|revision| revision.key == key).count();
            case.holds(made == 1, "what was cut makes one revision", (verb, n, made))?;
            case.target.destroy(&case.cx("tidy"), &stack.name).await?;
            case.gone(&stack.name).await?;
        }
    }
    Ok(was_cut)
}

async fn planned(case: &Case<'_>, cx: &Context, verb: Verb) -> Result<Plan, PlanError> {
    let (first, second) = (case.fixture.stack(), case.fixture.changed());
    match verb {
        Verb::Apply => case.target.plan_for(cx, &Desired::Present(first)).await,
        Verb::Update => case.target.plan_for(cx, &Desired::Present(second)).await,
        Verb::RollBack => case.target.plan_rollback(cx, &first.name, Some(1)).await,
        Verb::Destroy => case.target.plan_for(cx, &Desired::Absent(first.name)).await,
    }
}

pub(super) fn is_no_verdict(error: &TargetError) -> bool {
    matches!(
        error.kind,
        TargetErrorKind::Unknown
            | TargetErrorKind::Unreachable
            | TargetErrorKind::Transient
            | TargetErrorKind::Cancelled
    )
}
