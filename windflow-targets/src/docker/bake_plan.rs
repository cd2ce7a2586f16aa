//! What a plan says of a revision that is staged, or would be.

use windflow_core::ServiceName;
use windflow_core::target::{Change, ChangeKind, Context, Plan, Stack, diff};

use super::bake::staged_services;
use super::blue_green::is_led_over;
use super::look::Seen;
use super::rollout::count;
use super::target::DockerTarget;
use crate::engine::staged::{Meant, Staged};

impl DockerTarget {
    /// What a plan says of what is staged, or would be.
    pub(super) fn plan_beside(
        &self,
        plan: &mut Plan,
        stack: &Stack,
        seen: &Seen,
    ) -> Result<(), windflow_core::target::PlanError> {
        if let Some(promoted) = &seen.promoted {
            let number = promoted.revision.number;
            let told =
                format!("revision {number} is current; what was kept beside it has not gone yet, and goes first");
            plan.degradations.push(format!("rollout: {told}"));
        }
        let Some(staged) = &seen.staged else { return self.plan_to_stage(plan, stack, seen) };
        for name in staged.services.iter().filter(|name| is_lost(seen, name)) {
            plan.degradations.push(Staged::told_lost(name));
        }
        Ok(staged.plan(plan, stack, seen.current())?)
    }

    fn plan_to_stage(
        &self,
        plan: &mut Plan,
        stack: &Stack,
        seen: &Seen,
    ) -> Result<(), windflow_core::target::PlanError> {
        let Some(current) = seen.current().filter(|current| !diff::is_revision(stack, current)) else { return Ok(()) };
        let names: Vec<&ServiceName> = staged_services(stack, seen).collect();
        if names.is_empty() {
            return Ok(());
        }
        let anew = plan.changes.iter().filter(|change| change.kind == ChangeKind::Replace && change.service.is_none());
        let problems: Vec<(String, String)> = anew
            .filter(|change| names.iter().any(|name| stands_on(seen, name, &change.path)))
            .map(|change| {
                let why = "it must be made anew, and with 'blue_green' the old set of a service stands on it: apply that \
                           change with 'rolling' or 'recreate'";
                (change.path.clone(), why.to_owned())
            })
            .collect();
        if !problems.is_empty() {
            let target = self.config.name.clone();
            return Err(windflow_core::target::PlanError::Refused { target, stack: stack.name.clone(), problems });
        }
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let kept = current.number;
        plan.degradations.push(format!(
            "rollout: a new set of {} takes the traffic beside the old one; blue revision {kept} is kept until promoted",
            names.join(", ")
        ));
        Ok(())
    }

    /// What an apply would do about what is staged already.
    pub(super) fn baking_changes(&self, cx: &Context, stack: &Stack, seen: &Seen, changes: &mut Vec<Change>) {
        let Some(staged) = &seen.staged else { return };
        if !matches!(staged.meant(stack, seen.current()), Meant::Staged) {
            return;
        }
        let is_led_over = is_led_over(&staged.revision.stack, seen);
        staged.changes(changes, self.sick(cx, staged, seen), is_led_over);
    }
}

/// Whether nothing is left of what is kept of a service, and something was.
fn is_lost(seen: &Seen, name: &ServiceName) -> bool {
    let kept = seen.current().and_then(|current| current.stack.services.get(name));
    kept.is_some_and(|kept| count(kept) > 0) && !seen.of(name).any(|found| seen.is_kept(found))
}

/// Whether containers of a service stand on what is at this path.
fn stands_on(seen: &Seen, service: &ServiceName, path: &str) -> bool {
    let at = |part: &str, name: &str| {
        let whole = format!("{part}.{name}");
        path == whole || path.starts_with(&format!("{whole}."))
    };
    seen.of(service).any(|found| {
        let volumes = found.spec.volumes.iter().filter_map(|mount| mount.source.as_ref());
        let on_default = found.spec.networks.is_empty() && at("networks", "default");
        on_default
            || found.spec.networks.keys().any(|name| at("networks", name))
            || volumes.into_iter().any(|name| at("volumes", name))
    })
}
