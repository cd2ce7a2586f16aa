//! Nonsense is an error, never an answer.

use super::case::Case;
use super::fixture::{Broken, Checked, Profile, TargetFixture};
use crate::target::{Desired, TargetExt};

/// While the other side answers nonsense, nothing is taken for absent or done; afterwards all is as it was.
///
/// # Errors
/// The rule that was broken.
pub async fn hostile_replies_are_errors(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let (first, second) = (fixture.stack(), fixture.changed());
    match fixture.profile() {
        Profile::Whole => case.deploy("base", &first).await?,
        Profile::ChangesNothing { beneath } => beneath.deploy(&case.cx("base"), first.clone()).await?,
    };
    let plan = case.target.plan_for(&case.cx("late"), &Desired::Present(second.clone())).await?;
    let mut sorts = 0;
    while fixture.hostile(sorts).await {
        let cx = case.cx("hostile");
        let seen = case.target.observe(&cx, &first.name).await;
        case.holds(seen.is_err(), "nonsense is not taken for what is there", (sorts, &seen))?;
        // Which calls are answered with nonsense is the fixture's: these two must come back, whatever they say.
        let _ = case.target.probe(&cx).await;
        let _ = case.target.revisions(&cx, &first.name).await;
        let applied = case.target.apply(&case.cx("late"), &plan).await;
        case.holds(applied.is_err(), "nothing is applied on nonsense", (sorts, &applied))?;
        fixture.heal().await;
        if matches!(fixture.profile(), Profile::Whole) {
            case.deploy(&format!("back-{sorts}"), &first).await?;
        }
        case.settled(&first).await?;
        sorts += 1;
    }
    match sorts {
        0 => case.unchecked("the fixture makes no hostile replies"),
        _ => case.done(),
    }
}
