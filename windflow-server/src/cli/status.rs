//! `windflow status` and `windflow targets`.

use serde_json::{Value, json};
use windflow_core::target::{Plan, PlanError, TargetExt as _};

use super::args_stack::{ConsentArgs, StatusArgs};
use super::place::{Call, Place};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::text::{clean, columns, count};
use crate::render::{plan as shown, status as form};
use crate::wire::Project;

/// Shows what is there of a stack.
pub async fn status(project: &Project, args: &StatusArgs) -> Result<Exit, Failure> {
    let place = Place::find(project, &args.on, &ConsentArgs::default()).await?;
    let Place { named, target, call, mut interrupt } = place;
    let name = named.name();
    let observed =
        call.run(project, &mut interrupt, async { target.observe(&call.cx, name).await.map_err(Failure::before) });
    let observed = observed.await?;
    let drift = async {
        match target.drift(&call.cx, name).await {
            Ok(plan) => Ok(Ok(plan)),
            Err(PlanError::Target(error)) => Err(Failure::before(error)),
            // What runs could not be applied today as it is on record; that is no reason not to show it.
            Err(refused) => Ok(Err(refused.to_string())),
        }
    };
    let drift: Result<Plan, String> = call.run(project, &mut interrupt, drift).await?;
    let unknown = drift.as_ref().err().cloned();
    let drift = drift.ok().map(|mut plan| {
        // That it is baking is no drift.
        plan.changes.retain(|change| observed.staged.is_none() || change.path != "rollout");
        plan
    });
    let drift = drift.filter(|plan| !plan.is_empty());
    let output = &project.output;
    output.document(&json!({
        "version": 1, "kind": "status", "stack": name, "target": target.name(),
        "deployed": !observed.is_absent(),
        "revision": observed.current.as_ref().map(|revision| revision.number),
        "applied_at": observed.current.as_ref().map(|revision| revision.at.to_string()),
        "baking": observed.staged.as_ref().map(|staged| json!({
            "revision": staged.number, "kept": observed.current.as_ref().map(|current| current.number),
            "since": observed.baking.map(|baking| baking.since.to_string()),
            "until": observed.baking.and_then(|baking| baking.until).map(|until| until.to_string()),
        })),
        "services": observed.services,
        "retained": observed.retained,
        "drift": match (&drift, &unknown) {
            (_, Some(_)) => Value::Null,
            (Some(plan), None) => json!(plan.changes),
            (None, None) => json!([]),
        },
        "drift_unknown": unknown,
    }));
    if observed.is_absent() {
        output.text(format!("stack '{name}' is not deployed on target '{}'", target.name()));
        form::retained(output, name, target.name(), &observed);
        return Ok(Exit::Success);
    }
    form::header(output, name, target.name(), &observed);
    form::services(output, &observed);
    form::retained(output, name, target.name(), &observed);
    if let Some(why) = unknown {
        output.text(format!("\nwhether it has drifted cannot be told: {}", clean(&why)));
    }
    if let Some(plan) = drift {
        if observed.current.is_none() {
            output.text(
                "\nwhat is there was never finished: whoever applies it was cut off, or still works\nnext:\n  \
                 windflow resume        # if a run was to deploy it\n  windflow apply FILE    # otherwise",
            );
            return Ok(Exit::Success);
        }
        output.text(format!("\ndrift: {} since the revision was applied", count(plan.changes.len(), "change")));
        shown::changes(output, &plan);
        let on = target.name();
        output.text(format!("next:\n  windflow apply {name} --target {on}    # put it right"));
        // A destroy that was cut leaves nothing of what should be there, and its record.
        let should_run = observed
            .current
            .as_ref()
            .is_some_and(|current| current.stack.services.values().any(|service| service.replicas.0 > 0));
        if should_run && observed.services.values().all(|service| service.instances.is_empty()) {
            output.text(format!("  windflow destroy {name} --target {on}  # take away the rest of it"));
        }
    }
    Ok(Exit::Success)
}

/// Lists the targets and asks each whether it is there.
pub async fn targets(project: &Project) -> Result<Exit, Failure> {
    let call = Call::new(project, &ConsentArgs::default());
    let mut interrupt = Interrupt::listen()?;
    let mut rows = vec![["TARGET", "KIND", "REACHABLE", "WHAT"].map(str::to_owned).to_vec()];
    let (mut all, mut exit) = (Vec::new(), Exit::Success);
    for (name, target) in project.targets() {
        let kind = target.capabilities().kind.clone();
        let probed = call.run(project, &mut interrupt, target.probe(&call.cx)).await;
        match probed {
            Ok(found) => {
                let details: Vec<String> = found.details.iter().map(|(key, value)| format!("{key} {value}")).collect();
                let what = format!("{} {} {}", found.version, found.architecture, details.join(", "));
                rows.push(vec![name.to_string(), kind.clone(), "yes".to_owned(), clean(what.trim())]);
                all.push(json!({ "name": name, "kind": kind, "reachable": true, "fingerprint": found }));
            }
            Err(failure) => {
                exit = Exit::Unavailable;
                rows.push(vec![name.to_string(), kind.clone(), "no".to_owned(), clean(&failure.message)]);
                all.push(json!({ "name": name, "kind": kind, "reachable": false, "problem": failure.message }));
            }
        }
    }
    project.output.document(&json!({ "version": 1, "kind": "targets", "targets": all }));
    project.output.text(columns(&rows));
    Ok(exit)
}
