//! `windflow config`.

use clap::ValueEnum;
use serde_json::json;
use windflow_workflow::document::StackFiles;

use super::args_stack::{ConfigArgs, FilesArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::wire::Project;

/// How a resolved stack is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ConfigFormat {
    /// For people, and to be read again
    #[default]
    Yaml,
    /// For programs
    Json,
}

/// Prints the stack that files come to: merged, interpolated, everything in long form.
pub fn config(project: &Project, args: &ConfigArgs) -> Result<Exit, Failure> {
    let mut files = args.more.onto(StackFiles::new(&args.files));
    if args.files.is_empty() {
        let found = StackFiles::found(&project.environment());
        if found.files.is_empty() {
            let hint = "name it, set COMPOSE_FILE, or write compose.yaml";
            return Err(Failure::usage("which stack? there is no compose.yaml here").hint(hint));
        }
        files.files = found.files.into_iter().chain(std::mem::take(&mut files.files)).collect();
    }
    if let Some(name) = &args.project_name {
        files = files.named(name);
    }
    let document = project.stack(files)?;
    let output = &project.output;
    let hash = document.stack().hash();
    output.document(&json!({ "version": 1, "kind": "config", "hash": hash, "config": document.config() }));
    if output.json() {
        return Ok(Exit::Success);
    }
    match (args.hash, args.format) {
        (true, _) => output.verbatim(&format!("{hash}\n")),
        (false, ConfigFormat::Yaml) => output.verbatim(&document.config_yaml()),
        (false, ConfigFormat::Json) => output.verbatim(&format!("{:#}\n", document.config())),
    }
    Ok(Exit::Success)
}

impl FilesArgs {
    /// Adds what these say to the files of a stack.
    pub fn onto(&self, mut files: StackFiles) -> StackFiles {
        files.files.extend(self.merge.iter().cloned());
        files.profiles.extend(self.profile.iter().cloned());
        files.env_files.extend(self.env_file.iter().cloned());
        files
    }
}
