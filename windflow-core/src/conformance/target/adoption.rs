//! What runs and is not ours becomes ours, without being touched.

use std::collections::BTreeSet;

use super::case::Case;
use super::changes_nothing as nothing;
use super::cuts::is_no_verdict;
use super::fixture::{Broken, Checked, Profile, TargetFixture};
use crate::target::{Applied, Desired, Discovered, Feature, TargetExt};

/// How many calls that change something an adoption may take.
const MOST_CUTS: u64 = 24;

/// Where adoption is claimed: what is discovered is taken over as it runs, and is a stack of ours from then on.
///
/// # Errors
/// The rule that was broken.
pub async fn what_runs_is_adopted(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::what_runs_is_adopted(case, &*beneath).await;
    }
    if !case.target.capabilities().has(Feature::Adopt) {
        return case.unchecked("the target does not adopt");
    }
    let foreign = fixture.foreign().await;
    case.holds(foreign.is_some(), "the fixture of a target that adopts makes something to adopt", ())?;
    let Some(foreign) = foreign else { return case.done() };
    let Desired::Present(stack) = &foreign.desired else {
        return Err(Broken::Rule { rule: "something is adopted", found: format!("{:?}", foreign.desired) });
    };
    let named = |found: &Vec<Discovered>| found.iter().find(|found| found.name == foreign.name).cloned();
    let found = case.target.discover(&case.cx("discover")).await?;
    let Some(discovered) = named(&found) else {
        return Err(Broken::Rule { rule: "what runs and is not ours is discovered", found: format!("{found:?}") });
    };
    let ours = case.observed(&stack.name).await?;
    case.holds(ours.is_absent(), "what was not adopted is not ours", &ours)?;

    // Whoever was cut looks again, finds what it found before, and goes on.
    let (mut last, mut adopted) = (discovered, None);
    for n in 1..=MOST_CUTS {
        case.fixture.cut_at(n).await;
        let done = case.target.adopt(&case.cx("adopt"), &last, &foreign.desired).await;
        case.fixture.heal().await;
        case.checked.applies += 1;
        adopted = match done {
            Ok(revision) => Some(revision),
            Err(error) => {
                case.holds(is_no_verdict(&error), "a call that was cut gives no verdict", (n, &error))?;
                case.checked.cuts += 1;
                // Only the answer may have been lost.
                case.observed(&stack.name).await?.current
            }
        };
        if adopted.is_some() {
            break;
        }
        let found = case.target.discover(&case.cx("discover")).await?;
        let Some(again) = named(&found) else {
            let rule = "what was not taken over to the end is discovered again";
            return Err(Broken::Rule { rule, found: format!("cut at call {n}: {found:?}") });
        };
        last = again;
    }
    let (discovered, Some(revision)) = (last, adopted) else {
        return Err(Broken::Rule { rule: "adoption comes to its end", found: format!("{MOST_CUTS} cuts") });
    };
    let first = revision.adopted && revision.number == 1 && revision.stack == *stack;
    case.holds(first, "what was adopted is revision 1, and says that it was adopted", &revision)?;
    case.settled(stack).await?;
    let observed = case.observed(&stack.name).await?;
    let instances = observed.services.values().flat_map(|service| &service.instances);
    let running: BTreeSet<String> = instances.map(|instance| instance.id.clone()).collect();
    let before: BTreeSet<String> = foreign.instances.iter().cloned().collect();
    case.holds(running == before, "adoption leaves the instances as they run", (&running, &before))?;
    let drift = case.target.drift(&case.cx("drift"), &stack.name).await?;
    case.holds(drift.is_empty(), "what was adopted has not drifted", &drift.changes)?;
    let found = case.target.discover(&case.cx("discover")).await?;
    case.holds(named(&found).is_none(), "what is ours is no longer discovered", &found)?;
    let again = case.target.adopt(&case.cx("adopt again"), &discovered, &foreign.desired).await;
    case.holds(again.is_err(), "what is ours is not adopted again under another key", &again)?;
    case.settled(stack).await?;
    let gone = case.target.destroy(&case.cx("gone"), &stack.name).await?;
    case.holds(gone == Applied::Revision(None), "what was adopted can be destroyed", &gone)?;
    case.gone(&stack.name).await?;
    case.done()
}
