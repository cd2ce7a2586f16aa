//! Documents: good ones become workflows and stacks, bad ones become located diagnostics.

use std::fs;
use std::path::{Path, PathBuf};

use windflow_workflow::document::{Diagnostics, Limits, WorkflowDocument};

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn problems(path: &Path) -> Diagnostics {
    let name = path.file_name().unwrap().to_string_lossy();
    let text = fs::read_to_string(path).unwrap();
    let limits = if name.contains("untrusted") { Limits::untrusted() } else { Limits::operator() };
    WorkflowDocument::parse(&name, &text, &limits).err().unwrap_or_default()
}

/// Set `WINDFLOW_BLESS=1` to write what is found as what is expected, then look at the difference.
#[test]
fn every_bad_file_is_told_as_expected() {
    let files = fixtures("bad");
    let bless = std::env::var_os("WINDFLOW_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in &files {
        let problems = problems(path);
        assert!(problems.has_errors(), "{} is taken for good", path.display());
        let found = problems.render();
        let beside = path.with_extension("txt");
        if bless {
            fs::write(&beside, &found).unwrap();
        } else if fs::read_to_string(&beside).ok().as_deref() != Some(found.as_str()) {
            wrong.push(format!("--- {}\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} differ from what is expected:\n{}", wrong.len(), wrong.join("\n"));
}
