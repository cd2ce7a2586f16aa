//! `windflow validate`.

use serde_json::json;
use windflow_workflow::document::{Diagnostics, Severity};

use super::args::ValidateArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::text::{clean_lines, count};
use crate::wire::Project;

/// Checks workflow files and prints every problem of all of them.
pub fn validate(project: &Project, args: &ValidateArgs) -> Result<Exit, Failure> {
    let output = &project.output;
    let mut all = Diagnostics::default();
    let mut files = Vec::new();
    for file in &args.files {
        let (valid, nodes, found) = match project.workflow(file, args.drive.allow_shell) {
            Ok((document, warnings)) => (true, document.workflow().len(), warnings),
            Err(Failure { diagnostics: Some(problems), .. }) => (false, 0, problems),
            Err(other) => return Err(other),
        };
        let name = file.display().to_string();
        if valid {
            output.text(format!("{name}: valid, {}", count(nodes, "node")));
        }
        files.push(json!({ "file": name, "valid": valid }));
        all = all.merge(found);
    }
    let valid = !all.has_errors();
    output.document(&json!({
        "version": 1, "kind": "validation", "valid": valid, "files": files, "diagnostics": all,
    }));
    if !all.is_empty() {
        output.text(clean_lines(&all.render()));
    }
    if valid {
        return Ok(Exit::Success);
    }
    let errors = all.iter().filter(|problem| problem.severity == Severity::Error).count();
    output.text(count(errors, "problem"));
    Ok(Exit::Usage)
}
