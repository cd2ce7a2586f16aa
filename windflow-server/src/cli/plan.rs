//! `windflow plan`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use windflow_core::ContentHash;
use windflow_core::target::{Context, Desired, Plan, Target, TargetExt as _};

use windflow_core::workflow::has_expression;

use super::args_stack::PlanArgs;
use super::place::{Named, Place};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::plan as shown;
use crate::wire::Project;

/// Shows what would change.
pub async fn plan(project: &Project, args: &PlanArgs) -> Result<Exit, Failure> {
    let place = Place::find(project, &args.on, &args.consent).await?;
    let Place { named, target, call, mut interrupt } = place;
    let work = async {
        if args.destroy {
            return target.plan_for(&call.cx, &Desired::Absent(named.name().clone())).await.map_err(Failure::from);
        }
        of(&*target, &call.cx, &named).await
    };
    let plan = call.run(project, &mut interrupt, work).await?;
    shown::print(&project.output, &plan);
    if let Some(path) = &args.out {
        write(&project.process.working_dir.join(path), &plan)?;
        project
            .output
            .text(format!("\nnext:\n  windflow apply --plan {}    # exactly this, or nothing", path.display()));
    }
    Ok(if plan.is_empty() { Exit::Success } else { Exit::Changes })
}

/// The plan for what a command names: the file's stack, or the last revision of one that is there.
pub async fn of(target: &dyn Target, cx: &Context, named: &Named) -> Result<Plan, Failure> {
    match named {
        Named::File(stack) if serde_json::to_value(&**stack).is_ok_and(|value| has_expression(&value)) => {
            Err(Failure::usage(format_args!(
                "stack '{}' holds ${{{{ … }}}}, which only a workflow can fill in",
                stack.name
            ))
            .hint("deploy it from a workflow, or use ${VARIABLES}, which come from the environment"))
        }
        Named::File(stack) => Ok(target.plan_for(cx, &Desired::Present((**stack).clone())).await?),
        Named::Name(name) => {
            let observed = target.observe(cx, name).await.map_err(Failure::before)?;
            let Some(current) = observed.latest() else {
                return Err(Failure::failed(format_args!(
                    "stack '{name}' is not deployed on target '{}'",
                    target.name()
                ))
                .hint("name its file, or another target"));
            };
            Ok(target.plan(cx, &Desired::Present(current.stack.clone()), &observed).await?)
        }
    }
}

/// A plan in a file, with what tells whether somebody has changed it since it was shown.
#[derive(Serialize, Deserialize)]
pub struct PlanFile {
    plan: serde_json::Value,
    digest: ContentHash,
}

impl PlanFile {
    fn of(plan: &Plan) -> Result<Self, serde_json::Error> {
        let plan = serde_json::to_value(plan)?;
        Ok(Self { digest: ContentHash::of_value(&plan), plan })
    }

    /// The plan, unless it was edited. Against mistakes, not against whoever can compute a hash.
    pub fn read(self) -> Result<serde_json::Value, &'static str> {
        let whole = ContentHash::of_value(&self.plan) == self.digest;
        if whole { Ok(self.plan) } else { Err("was changed after it was written") }
    }
}

/// Writes a plan for its owner only.
fn write(path: &Path, plan: &Plan) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format_args!("{}: {error}", path.display()));
    let text = PlanFile::of(plan).and_then(|file| serde_json::to_string_pretty(&file));
    let text = text.map_err(|error| failed(error.into()))?;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)
}
