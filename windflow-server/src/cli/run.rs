//! `windflow run`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use windflow_core::engine::Drive;
use windflow_core::workflow::{InputKind, InputSpec};
use windflow_core::{RunId, Seq, StartOptions, Store as _, Workflow};
use windflow_workflow::document::{Limits, read};

use super::args::RunArgs;
use super::background;
use crate::drive::{Bell, Tail, Watch};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::wire::Project;

/// The longest file of inputs.
const MOST: usize = 16 * 1024 * 1024;

/// Starts a run and shows it to its end, or leaves it to a process of its own.
pub async fn run(project: &Project, args: RunArgs) -> Result<Exit, Failure> {
    if args.drive.background {
        background::leave_session();
    }
    let (document, warnings) = project.workflow(&args.file, args.drive.allow_shell)?;
    let workflow = document.workflow();
    if !warnings.is_empty() && !args.drive.background {
        project.output.progress(warnings.render().trim_end());
    }
    let input = inputs(project, &args, workflow.spec().inputs.as_ref())?;
    if args.detach {
        // Everything that can be wrong is told here, before the other process begins.
        workflow.resolve_input(input.clone()).map_err(windflow_core::StartError::Input)?;
        let id = args.run_id.clone().unwrap_or_else(RunId::generate);
        is_the_same(project, &id, &workflow, &input).await?;
        return background::run(project, &args, &id, &input).await;
    }
    let mut interrupt = Interrupt::listen()?;
    let store = project.store().await?;
    let bell = Arc::new(Bell::default());
    let sink = Arc::clone(&bell);
    let engine = project.engine(Arc::new(store), args.drive.allow_shell, Drive::Own, Some(sink));
    let mut options = StartOptions::default().principal(project.principal());
    let (mut from, mut over) = (Seq(0), false);
    if let Some(id) = args.run_id {
        // A run that is there already is gone on with: what has been seen before is not told again.
        if let Some(summary) = engine.store().summary(&id).await? {
            (from, over) = (summary.seq, summary.state.is_final());
        }
        options = options.run(id);
    }
    let handle = engine.start_with(workflow, input, options).await?;
    let verb = if from == Seq(0) { "running" } else { "going on with" };
    let watch = Watch { project, engine: &engine, bell: &bell, verb, from, over, asked: false };
    watch.to_end(handle.id(), &mut interrupt).await
}

/// Refuses a run that is there already, with another workflow or input: the other process would, and nobody would hear
/// it.
async fn is_the_same(project: &Project, id: &RunId, workflow: &Workflow, input: &Value) -> Result<(), Failure> {
    let Some(store) = project.existing_store().await? else { return Ok(()) };
    if store.summary(id).await?.is_none() {
        return Ok(());
    }
    let run = Tail::read(Arc::new(store), id).await?;
    let input = workflow.resolve_input(input.clone()).map_err(windflow_core::StartError::Input)?;
    if run.workflow().hash() == workflow.hash() && *run.input() == input {
        return Ok(());
    }
    Err(windflow_core::StartError::Different { run: id.clone() }.into())
}

/// The inputs of a file, and over them those of the command line; nothing when none are given.
fn inputs(project: &Project, args: &RunArgs, kinds: Option<&BTreeMap<String, InputSpec>>) -> Result<Value, Failure> {
    let mut given = BTreeSet::new();
    if let Some((twice, _)) = args.input.iter().find(|(name, _)| !given.insert(name)) {
        return Err(Failure::usage(format_args!("the input '{twice}' is given twice")));
    }
    let mut map = match &args.inputs {
        None if args.input.is_empty() => return Ok(Value::Null),
        None => Map::new(),
        Some(path) => match file(project, path)? {
            Value::Object(map) => map,
            other if args.input.is_empty() => return Ok(other),
            _ => return Err(Failure::usage(format_args!("{}: must hold a map of inputs", path.display()))),
        },
    };
    for (name, text) in &args.input {
        map.insert(name.clone(), value(text, kinds.and_then(|kinds| kinds.get(name)).map(|input| input.kind)));
    }
    Ok(Value::Object(map))
}

/// What a word of the command line says. What reads as JSON is JSON: `3` is a number, `"3"` and `three` are texts. Where
/// a text is wanted every word is one, and a number that would be written another way stays as it was typed: `1.10` is a
/// version.
fn value(word: &str, kind: Option<InputKind>) -> Value {
    let text = || Value::String(word.to_owned());
    match serde_json::from_str(word) {
        Ok(Value::String(text)) => Value::String(text),
        Ok(_) if kind == Some(InputKind::String) => text(),
        Ok(Value::Number(number)) if kind.is_none_or(|kind| kind == InputKind::Any) && number.to_string() != word => {
            text()
        }
        Ok(value) => value,
        Err(_) => text(),
    }
}

fn file(project: &Project, path: &Path) -> Result<Value, Failure> {
    let unreadable = |error: &std::io::Error| Failure::usage(format_args!("{}: {error}", path.display()));
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let most = u64::try_from(MOST).unwrap_or(u64::MAX);
        std::io::stdin().take(most).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        bytes
    } else {
        project.environment().read(path, MOST).map_err(|error| unreadable(&error))?
    };
    if let Ok(value) = serde_json::from_slice(&bytes) {
        return Ok(value);
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format_args!("{}: is neither JSON nor YAML", path.display())))?;
    let tree = read(&path.to_string_lossy(), &text, &Limits::operator()).0?;
    Ok(tree.to_value())
}
