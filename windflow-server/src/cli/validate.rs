//! `windflow validate`.

use std::path::Path;

use serde_json::json;
use windflow_workflow::document::{Diagnostics, Limits, Severity, read};

use super::args::ValidateArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::text::{clean_lines, count};
use crate::wire::Project;

/// Checks workflow and stack files and prints every problem of all of them.
pub fn validate(project: &Project, args: &ValidateArgs) -> Result<Exit, Failure> {
    let output = &project.output;
    let mut all = Diagnostics::default();
    let mut files = Vec::new();
    for file in &args.files {
        let (valid, what, found) = match check(project, file, args.drive.allow_shell) {
            Ok((what, warnings)) => (true, what, warnings),
            Err(Failure { diagnostics: Some(problems), .. }) => (false, String::new(), problems),
            Err(other) => return Err(other),
        };
        let name = file.display().to_string();
        if valid {
            output.text(format!("{name}: valid, {what}"));
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

/// Reads a file as what it is: one with `services` and without `nodes` is a stack.
fn check(project: &Project, file: &Path, allow_shell: bool) -> Result<(String, Diagnostics), Failure> {
    let limits = Limits::operator();
    let bytes = project.environment().read(file, limits.max_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let is_stack = match read(&file.to_string_lossy(), &text, &limits).0 {
        Ok(tree) => tree.get("services").is_some() && tree.get("nodes").is_none(),
        // What cannot be read has no keys yet: how its lines begin says what it was meant to be.
        Err(_) => {
            let begins = |key: &str| text.lines().any(|line| line.starts_with(key));
            begins("services:") && !begins("nodes:")
        }
    };
    if is_stack {
        let document = project.stack(file)?;
        return Ok((count(document.stack().services.len(), "service"), Diagnostics::default()));
    }
    let (document, warnings) = project.workflow(file, allow_shell)?;
    Ok((count(document.workflow().len(), "node"), warnings))
}
