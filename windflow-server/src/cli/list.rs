//! `windflow runs list`.

use serde_json::json;
use windflow_core::store::{Kinship, RunQuery};
use windflow_core::{RunState, Store as _, Summary};

use super::args_runs::ListArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::text::{clean, columns, cut, moment};
use crate::render::{json as form, report};
use crate::wire::Project;

/// Lists runs, newest first.
pub async fn list(project: &Project, args: ListArgs) -> Result<Exit, Failure> {
    let mut states = args.states;
    if args.unfinished {
        states.extend(RunState::ALL.into_iter().filter(|state| !state.is_final()));
    }
    let runs = match project.existing_store().await? {
        Some(store) => {
            let limit = args.limit;
            let kinship = match args.of {
                Some(run) => Kinship::ChildrenOf(run),
                None if args.all => Kinship::Any,
                None => Kinship::Roots,
            };
            let query = RunQuery { states, workflow: args.workflow, limit, kinship, ..RunQuery::default() };
            store.list(&query).await?
        }
        None => Vec::new(),
    };
    print(project, &runs);
    Ok(Exit::Success)
}

/// Prints runs as a table, or as one document.
pub fn print(project: &Project, runs: &[Summary]) {
    let output = &project.output;
    let all: Vec<_> = runs.iter().map(form::summary).collect();
    output.document(&json!({ "version": 1, "kind": "runs", "runs": all }));
    if runs.is_empty() {
        return output.text(format!("no runs in {}", project.state.display()));
    }
    let mut rows = vec![["RUN", "WORKFLOW", "STATE", "DONE", "STARTED", "PROBLEM"].map(str::to_owned).to_vec()];
    for run in runs {
        rows.push(vec![
            run.run.to_string(),
            run.workflow.to_string(),
            if run.unreadable().is_some() { "unreadable".to_owned() } else { run.state.to_string() },
            format!("{}/{}", run.finished, run.total),
            moment(run.created_at),
            match run.unreadable() {
                Some(why) => clean(&why),
                None => cut(&clean(run.problem.as_deref().unwrap_or_default()), 60),
            },
        ]);
    }
    let table = columns(&rows);
    // Columns are laid out before anything is coloured.
    for (at, line) in table.lines().enumerate() {
        match at.checked_sub(1).and_then(|at| runs.get(at)) {
            Some(run) => {
                let word = run.state.as_str();
                output.text(line.replacen(
                    &format!(" {word} "),
                    &format!(" {} ", output.paint(report::tone(run.state), word)),
                    1,
                ));
            }
            None => output.text(line),
        }
    }
}
