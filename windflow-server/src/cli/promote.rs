//! `windflow promote` and `windflow abort`: what becomes of a revision that is baking.

use serde_json::json;
use windflow_core::target::{Applied, Promote};

use super::apply::{tell_end, told};
use super::args_stack::{ConsentArgs, DecideArgs};
use super::place::{Place, agreed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::status;
use crate::wire::Project;

/// Makes what is baking current.
pub async fn promote(project: &Project, args: &DecideArgs) -> Result<Exit, Failure> {
    decide(project, args, Promote::Promote).await
}

/// Takes back what is baking.
pub async fn abort(project: &Project, args: &DecideArgs) -> Result<Exit, Failure> {
    decide(project, args, Promote::Abort).await
}

async fn decide(project: &Project, args: &DecideArgs, verdict: Promote) -> Result<Exit, Failure> {
    let place = Place::find(project, &args.on, &ConsentArgs::default()).await?;
    let Place { named, target, call, mut interrupt } = place;
    let (name, output) = (named.name(), &project.output);
    let before = async { target.observe(&call.cx, name).await.map_err(Failure::before) };
    let before = call.run(project, &mut interrupt, before).await?;
    if let (Some(staged), Some(kept)) = (&before.staged, &before.current) {
        let (green, blue) = (staged.number, kept.number);
        let question = match verdict {
            Promote::Promote => format!("make revision {green} of '{name}' current, and take revision {blue} away?"),
            Promote::Abort => format!("give '{name}' back to revision {blue}, and take revision {green} away?"),
        };
        if !agreed(project, &mut interrupt, args.yes, &question).await? {
            output.text("nothing was changed");
            return Ok(Exit::Cancelled);
        }
    }
    let work = target.promote(&call.cx, name, verdict);
    let applied = match before.staged {
        Some(_) => {
            let action = if verdict == Promote::Promote { "promote" } else { "abort" };
            let change = call.change(project, action, target.name(), name);
            let applied = told(project, change, &mut interrupt, &call, work).await?;
            tell_end(&change, &call, &applied);
            applied
        }
        // What changes nothing tells nothing.
        None => call.run(project, &mut interrupt, work).await?,
    };
    let kind = if verdict == Promote::Promote { "promoted" } else { "aborted" };
    output.document(&json!({
        "version": 1, "kind": kind, "stack": name, "target": target.name(), "applied": applied,
    }));
    match applied {
        Applied::RolledBack { to, why } => {
            let now = to.map_or_else(|| "nothing".to_owned(), |number| format!("revision {number}"));
            Err(Failure::failed(format_args!("stack '{name}' was not promoted: {why}; {now} is current again"))
                .hint("put it right and apply again"))
        }
        Applied::Nothing => {
            output.text(format!("nothing to do: nothing of stack '{name}' is baking on target '{}'", target.name()));
            Ok(Exit::Success)
        }
        _ => {
            let now = call.run(project, &mut interrupt, target.observe(&call.cx, name)).await?;
            status::header(output, name, target.name(), &now);
            status::services(output, &now);
            Ok(Exit::Success)
        }
    }
}
