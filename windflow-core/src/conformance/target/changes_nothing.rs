//! The cases for a target that observes and plans, and never changes anything.

use super::boundaries::portless;
use super::case::{Case, Cut};
use super::fixture::{Broken, Checked};
use crate::id::StackName;
use crate::target::{Applied, Desired, Feature, Plan, Stack, Target, TargetErrorKind, TargetExt};

impl Case<'_> {
    /// The same is planned as beneath, the apply is refused, and nothing is touched.
    async fn only_planned(&mut self, beneath: &dyn Target, desired: &Desired) -> Result<Plan, Broken> {
        let cx = self.cx("dry");
        let plan = self.target.plan_for(&cx, desired).await?;
        let same = beneath.plan_for(&cx, desired).await?;
        self.holds(plan == same, "the plan is that of the target beneath", (&plan.changes, &same.changes))?;
        self.holds(!plan.is_empty(), "there is something to refuse", &plan)?;
        self.refused(beneath, &plan).await?;
        Ok(plan)
    }

    async fn refused(&mut self, beneath: &dyn Target, plan: &Plan) -> Result<(), Broken> {
        let (cx, stack) = (self.cx("dry"), plan.desired.stack());
        let (before, there) = (self.fixture.mutations(), beneath.observe(&cx, stack).await?);
        let applied = self.target.apply(&cx, plan).await;
        let refused = matches!(&applied, Err(error) if error.kind == TargetErrorKind::Refused);
        self.holds(refused, "an apply that would change something is refused", &applied)?;
        self.holds(self.fixture.mutations() == before, "an apply calls nothing that mutates", before)?;
        let still = beneath.observe(&cx, stack).await?;
        self.holds(still == there, "an apply leaves everything as it is", (&there, &still))
    }

    async fn makes(&mut self, beneath: &dyn Target, key: &str, stack: &Stack) -> Result<(), Broken> {
        self.checked.applies += 1;
        let applied = beneath.deploy(&self.cx(key), stack.clone()).await?;
        let made = matches!(applied, Applied::Revision(Some(_)));
        self.holds(made, "the target beneath applies", &applied)
    }

    async fn untouched(&mut self, stack: &StackName) -> Result<(), Broken> {
        self.gone(stack).await
    }
}

pub(super) async fn apply_converges(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    let stack = case.fixture.stack();
    let plan = case.only_planned(beneath, &Desired::Present(stack.clone())).await?;
    case.holds(plan.changes.len() >= stack.services.len(), "a first plan creates each service", &plan.changes)?;
    case.untouched(&stack.name).await?;
    case.makes(beneath, "one", &stack).await?;
    case.settled(&stack).await?;
    let again = case.deploy("two", &stack).await?;
    case.holds(again == Applied::Nothing, "what is there already is applied truthfully", &again)?;
    let probed = case.target.probe(&case.cx("probe")).await?;
    case.holds(!probed.architecture.is_empty(), "a probe tells the architecture", &probed)?;
    case.done()
}

pub(super) async fn changes_are_planned_and_applied(
    mut case: Case<'_>,
    beneath: &dyn Target,
) -> Result<Checked, Broken> {
    case.makes(beneath, "one", &case.fixture.stack()).await?;
    case.only_planned(beneath, &Desired::Present(case.fixture.changed())).await?;
    case.settled(&case.fixture.stack()).await?;
    case.done()
}

pub(super) async fn revisions_roll_back(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    let (first, second) = (case.fixture.stack(), case.fixture.changed());
    case.makes(beneath, "one", &first).await?;
    case.makes(beneath, "two", &second).await?;
    let plan = case.target.plan_rollback(&case.cx("back"), &first.name, None).await?;
    case.holds(plan.desired == Desired::Present(first.clone()), "the earlier revision is planned", &plan.desired)?;
    case.refused(beneath, &plan).await?;
    let kept = case.target.revisions(&case.cx("list"), &first.name).await?;
    case.holds(kept.len() == 2, "no revision was made", kept.len())?;
    case.done()
}

pub(super) async fn drift_is_found(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    let stack = case.fixture.stack();
    case.makes(beneath, "one", &stack).await?;
    case.fixture.meddle(&stack.name).await;
    let drift = case.target.drift(&case.cx("drift"), &stack.name).await?;
    case.holds(!drift.is_empty(), "a stack that was meddled with has drifted", &drift)?;
    case.refused(beneath, &drift).await?;
    let still = case.target.drift(&case.cx("drift"), &stack.name).await?;
    case.holds(still.changes == drift.changes, "drift is found and not put right", &still.changes)?;
    case.done()
}

pub(super) async fn stale_plans_are_refused(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    let plan = case.target.plan_for(&case.cx("late"), &Desired::Present(case.fixture.changed())).await?;
    case.makes(beneath, "early", &case.fixture.stack()).await?;
    let late = case.target.apply(&case.cx("late"), &plan).await;
    let conflict = matches!(&late, Err(error) if error.kind == TargetErrorKind::Conflict);
    case.holds(conflict, "a plan on what someone else changed is a conflict", &late)?;
    case.settled(&case.fixture.stack()).await?;
    case.done()
}

pub(super) async fn destroy_leaves_nothing(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    let stack = case.fixture.stack();
    let nothing = case.target.destroy(&case.cx("early"), &stack.name).await?;
    case.holds(nothing == Applied::Nothing, "destroying what is not there does nothing", &nothing)?;
    case.makes(beneath, "one", &stack).await?;
    case.only_planned(beneath, &Desired::Absent(stack.name.clone())).await?;
    case.settled(&stack).await?;
    case.done()
}

pub(super) async fn cut_applies_converge(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    let stack = case.fixture.stack();
    let cx = case.cx("cut");
    let plan = case.target.plan_for(&cx, &Desired::Present(stack.clone())).await?;
    for polls in 1..=case.fixture.cuts() {
        if (Cut { future: case.target.apply(&cx, &plan), polls }).await.is_some() {
            break;
        }
        case.checked.cuts += 1;
    }
    case.untouched(&stack.name).await?;
    case.refused(beneath, &plan).await?;
    case.done()
}

pub(super) async fn cut_calls_converge(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    // There is no call to cut: whatever is scripted does not happen.
    case.fixture.cut_at(1).await;
    case.only_planned(beneath, &Desired::Present(case.fixture.stack())).await?;
    case.fixture.heal().await;
    case.untouched(&case.fixture.stack().name).await?;
    case.done()
}

pub(super) async fn unhealthy_stacks_are_taken_back(
    mut case: Case<'_>,
    beneath: &dyn Target,
) -> Result<Checked, Broken> {
    let Some(unhealthy) = case.fixture.unhealthy() else { return case.unchecked("the target cannot tell health") };
    case.only_planned(beneath, &Desired::Present(unhealthy.clone())).await?;
    case.untouched(&unhealthy.name).await?;
    case.done()
}

pub(super) async fn decoys_survive(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    let (neighbour, stack) = (case.fixture.neighbour().await, case.fixture.stack());
    let decoy = Stack { services: portless(&stack), ..stack.clone() };
    neighbour.deploy(&case.cx("decoy"), decoy.clone()).await?;
    case.checked.applies += 1;
    case.only_planned(beneath, &Desired::Present(stack.clone())).await?;
    let listed = case.target.stacks(&case.cx("list")).await?;
    case.holds(listed.is_empty(), "nobody else's stack is listed", &listed)?;
    let theirs = neighbour.plan_for(&case.cx("theirs"), &Desired::Present(decoy)).await?;
    case.holds(theirs.is_empty(), "a stack of another owner survives", &theirs.changes)?;
    case.done()
}

pub(super) async fn hostile_names_are_only_names(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    for name in ["_", "revisions", &"x".repeat(63)] {
        let Ok(name) = StackName::new(name) else { continue };
        let stack = Stack { name, services: portless(&case.fixture.stack()), ..case.fixture.stack() };
        case.only_planned(beneath, &Desired::Present(stack.clone())).await?;
        case.untouched(&stack.name).await?;
    }
    case.done()
}

pub(super) async fn what_runs_is_adopted(mut case: Case<'_>, beneath: &dyn Target) -> Result<Checked, Broken> {
    let claimed = case.target.capabilities().has(Feature::Adopt);
    case.holds(!claimed, "what changes nothing does not claim to adopt", ())?;
    let Some(foreign) = case.fixture.foreign().await else { return case.done() };
    let found = case.target.discover(&case.cx("discover")).await?;
    let Some(discovered) = found.iter().find(|found| found.name == foreign.name) else {
        return Err(Broken::Rule { rule: "what runs and is not ours is discovered", found: format!("{found:?}") });
    };
    let adopted = case.target.adopt(&case.cx("adopt"), discovered, &foreign.desired).await;
    let unsupported = matches!(&adopted, Err(error) if error.kind == TargetErrorKind::Unsupported);
    case.holds(unsupported, "adoption is not offered", &adopted)?;
    let ours = beneath.observe(&case.cx("look"), foreign.desired.stack()).await?;
    case.holds(ours.is_absent(), "what was not adopted is not ours", &ours)?;
    case.done()
}
