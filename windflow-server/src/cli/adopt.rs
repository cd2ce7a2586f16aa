//! `windflow discover` and `windflow adopt`: what runs there and is not ours, and making it ours as it runs.

use serde_json::json;
use windflow_core::target::{Desired, Discovered, TargetExt as _};
use windflow_workflow::deployments::DeploymentEventType;

use super::apply::told;
use super::args_stack::{AdoptArgs, ConsentArgs, DiscoverArgs};
use super::place::{Call, Named, agreed, target};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::plan as shown;
use crate::render::text::{clean, columns, count};
use crate::wire::Project;

/// Lists what runs on a target and is not ours.
pub async fn discover(project: &Project, args: &DiscoverArgs) -> Result<Exit, Failure> {
    let (target, call) = (target(project, &args.target)?, Call::new(project, &ConsentArgs::default()));
    let mut interrupt = Interrupt::listen()?;
    let found = async { target.discover(&call.cx).await.map_err(Failure::before) };
    let found = call.run(project, &mut interrupt, found).await?;
    let output = &project.output;
    let listed: Vec<_> = found
        .iter()
        .map(|found| json!({ "name": found.name, "owner": found.owner, "services": found.services }))
        .collect();
    output.document(&json!({ "version": 1, "kind": "discovered", "target": target.name(), "found": listed }));
    if found.is_empty() {
        output.text(format!("nothing runs on target '{}' that is not ours", target.name()));
        return Ok(Exit::Success);
    }
    let mut rows = vec![["NAME", "OWNER", "SERVICES"].map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|found| {
        let owner = found.owner.as_deref().map_or_else(|| "nobody's".to_owned(), clean);
        vec![found.name.to_string(), owner, clean(&found.services.join(", "))]
    }));
    output.text(columns(&rows));
    if found.iter().any(|found| found.owner.is_none()) {
        output.text(format!("next:\n  windflow adopt FILE --target {}    # make one of nobody's ours", target.name()));
    }
    Ok(Exit::Success)
}

/// Makes what runs a stack of ours, without touching it.
pub async fn adopt(project: &Project, args: &AdoptArgs) -> Result<Exit, Failure> {
    let stack = match Named::read(project, &args.on)? {
        Named::File(stack) => *stack,
        Named::Name(name) => {
            return Err(Failure::usage(format_args!("'{name}' is no file"))
                .hint("name the stack file that says what runs: it is what is adopted"));
        }
    };
    let (target, call) = (target(project, &args.on.target)?, Call::new(project, &ConsentArgs::default()));
    let mut interrupt = Interrupt::listen()?;
    let wanted = args.from.as_ref().unwrap_or(&stack.name);
    let found = async { target.discover(&call.cx).await.map_err(Failure::before) };
    let found = call.run(project, &mut interrupt, found).await?;
    let nobody_s = |found: &&Discovered| found.name == *wanted && found.owner.is_none();
    let Some(found) = found.iter().find(nobody_s) else {
        let there = call.run(project, &mut interrupt, async {
            target.observe(&call.cx, &stack.name).await.map_err(Failure::before)
        });
        // As after an adoption that was complete, and cut before it said so.
        if let Some(current) = there.await?.current.filter(|current| current.adopted && *wanted == stack.name) {
            project.output.document(&json!({
                "version": 1, "kind": "adopted", "stack": stack.name, "target": target.name(),
                "revision": current.number, "changes": [],
            }));
            project.output.text(format!("stack '{}' is ours already, as revision {}", stack.name, current.number));
            return Ok(Exit::Success);
        }
        let missing = Failure::usage(format_args!("nothing of nobody's is called '{wanted}' on '{}'", target.name()));
        return Err(missing.hint("`windflow discover` lists what runs there; --from says what it is called"));
    };
    let question = format!(
        "make '{wanted}' ({}) the stack '{}'? nothing is restarted",
        count(found.services.len(), "service"),
        stack.name
    );
    if !agreed(project, &mut interrupt, args.yes, &question).await? {
        project.output.text("nothing was changed");
        return Ok(Exit::Cancelled);
    }
    let desired = Desired::Present(stack.clone());
    let change = call.change(project, "adopt", target.name(), &stack.name);
    let revision = told(project, change, &mut interrupt, &call, target.adopt(&call.cx, found, &desired)).await?;
    change.tell(DeploymentEventType::Adopted, json!({ "revision": revision.number }));
    let plan = call.run(project, &mut interrupt, target.plan_for(&call.cx, &desired)).await?;
    let output = &project.output;
    output.document(&json!({
        "version": 1, "kind": "adopted", "stack": stack.name, "target": target.name(),
        "revision": revision.number, "changes": plan.changes,
    }));
    output.text(format!("stack '{}' is ours, as revision {}; nothing was restarted", stack.name, revision.number));
    if !plan.is_empty() {
        output.text("\nwhat runs is not quite what the file says; the next apply would change:");
        shown::changes(output, &plan);
    }
    Ok(Exit::Success)
}
