//! `windflow init`.

use std::io::Write as _;

use serde_json::json;

use super::args_stack::ConsentArgs;
use super::place::Call;
use crate::config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::wire::Project;

const WORKFLOW: &str = include_str!("../../assets/workflow.yaml");
const STACK: &str = include_str!("../../assets/stack.yaml");
const CONFIG: &str = include_str!("../../assets/windflow.yaml");

/// Writes a small working example; what is there already stays as it is.
pub async fn init(project: &Project) -> Result<Exit, Failure> {
    let program = project.process.program.to_string_lossy();
    let program = serde_json::to_string(&program).map_err(Failure::failed)?;
    // Under another owner, nobody would see what runs already.
    let deployed = has_stacks(project).await;
    let owner = if deployed { project.config.owner.to_string() } else { owner(project) };
    let files = [
        (config::FILE, CONFIG.replace("OWNER", &owner)),
        ("stack.yaml", STACK.replace("PROGRAM", &program)),
        ("workflow.yaml", WORKFLOW.to_owned()),
    ];
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let path = project.process.working_dir.join(name);
        let failed = |error: &std::io::Error| Failure::failed(format_args!("{}: {error}", path.display()));
        match std::fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
                    // Half a file would be kept by the next `init`.
                    let _ = std::fs::remove_file(&path);
                    return Err(failed(&error));
                }
                written.push(name);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => kept.push(name),
            Err(error) => return Err(failed(&error).hint("the folder must be writable")),
        }
    }
    let output = &project.output;
    output.document(&json!({ "version": 1, "kind": "init", "written": written, "kept": kept }));
    written.iter().for_each(|name| output.text(format!("wrote {name}")));
    kept.iter().for_each(|name| output.text(format!("kept  {name}, which was there")));
    if deployed && written.contains(&config::FILE) {
        output.text(format!("note: the owner is '{owner}', because stacks of that owner are deployed already"));
    }
    output.text(
        "next:\n  windflow run workflow.yaml    # deploys stack.yaml and checks that it answers\n  \
         windflow status stack.yaml    # what runs\n  windflow destroy stack.yaml   # takes it down again",
    );
    Ok(Exit::Success)
}

/// Whether anything is deployed under the owner that counts until now.
async fn has_stacks(project: &Project) -> bool {
    let call = Call::new(project, &ConsentArgs::default());
    for target in project.targets().into_values() {
        if target.stacks(&call.cx).await.is_ok_and(|stacks| !stacks.is_empty()) {
            return true;
        }
    }
    false
}

/// An owner made of the folder's name, so that two projects do not meet.
fn owner(project: &Project) -> String {
    let folder = project.process.working_dir.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = folder.unwrap_or_default().chars().map(kept).take(60).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "me".to_owned() } else { name.to_owned() }
}
