//! `x-windflow: { process: … }`: a service as a process of a host.

use std::path::{Component, Path, PathBuf};

use windflow_core::target::Process;

use super::build::Around;
use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::keys;

/// What is wrong with a text that the system would take for shorter than it is.
pub(super) const NUL: &str = "holds a NUL character, and no program can be given one";

pub(super) fn process(at: &At<'_>, around: &Around<'_>, problems: &mut Problems) -> Option<Process> {
    let fields = at.fields(problems, "a process", keys::PROCESS, &[])?;
    let working_dir =
        fields.get("working_dir").and_then(|at| at.scalar_text(problems)).map(|text| absolute(around.folder, text));
    let search = fields.get("search").map(|at| {
        let folders = at.one_or_many();
        folders.iter().filter_map(|at| Some(absolute(around.folder, at.scalar_text(problems)?))).collect::<Vec<_>>()
    });
    let at = fields.need(problems, "command", "a list: the program and its arguments")?;
    if at.raw().is_some() {
        let hint = "write a list, such as [python3, -m, http.server]; for a shell write [sh, -c, \"…\"]";
        at.hinted(problems, "must be a list: no shell splits it", hint);
        return None;
    }
    let mut command = at.texts(problems)?;
    for word in at.one_or_many().iter().filter(|word| word.raw().is_some_and(|text| text.contains('\0'))) {
        word.error(problems, NUL);
    }
    let Some(program) = command.first_mut().filter(|program| !program.is_empty()) else {
        at.error(problems, "must name a program");
        return None;
    };
    // A program with a slash is a file; one without is looked for beside the stack file, unless told where.
    let by_path = program.contains('/') && !program.starts_with("${{");
    let search =
        search.unwrap_or_else(|| if by_path { Vec::new() } else { vec![around.folder.to_string_lossy().into_owned()] });
    if by_path {
        *program = absolute(around.folder, program);
    }
    Some(Process { command, search, working_dir })
}

/// A path as seen from a folder, without `.` in it. What begins with an expression is left as it is.
fn absolute(folder: &Path, path: &str) -> String {
    if path.starts_with("${{") {
        return path.to_owned();
    }
    let joined = folder.join(path);
    let plain: PathBuf = joined.components().filter(|part| *part != Component::CurDir).collect();
    plain.to_string_lossy().into_owned()
}
