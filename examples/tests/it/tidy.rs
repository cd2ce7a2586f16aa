//! The shape of the house: which crate may see which, how much the core needs, and habits that are easy to lose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What the core may bring along, itself included.
const MOST_CRATES_OF_CORE: usize = 60;
/// The longest file of a crate's sources.
const LONGEST: usize = 650;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn cargo(args: &[&str]) -> String {
    let done = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(done.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The members by name, with the members each depends on (tests and build scripts aside).
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    let needs = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|need| need["kind"].is_null()).map(name).filter(|need| members.contains(need)).collect()
    };
    packages.iter().map(|package| (name(package), needs(package))).collect()
}

#[test]
fn the_arrows_between_the_crates_point_one_way() {
    let arrows = arrows();
    let of = |name: &str| arrows[name].iter().map(String::as_str).collect::<Vec<&str>>();
    assert_eq!(of("windflow-core"), [""; 0]);
    assert_eq!(of("windflow-targets"), ["windflow-core"]);
    assert_eq!(of("windflow-workflow"), ["windflow-core"]);
    assert_eq!(of("windflow-server"), ["windflow-core", "windflow-targets", "windflow-workflow"]);
    for (name, needs) in &arrows {
        let leaf = needs.iter().find(|need| matches!(need.as_str(), "windflow-examples" | "windflow-benches"));
        assert_eq!(leaf, None, "{name} depends on what nobody may depend on");
    }
}

#[test]
fn nobody_gets_a_program_but_the_command() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let published = metadata["packages"].as_array().unwrap().iter().filter(|package| package["publish"].is_null());
    let programs = |package: &Value| {
        let targets = package["targets"].as_array().unwrap().clone().into_iter();
        targets.filter(|target| target["kind"] == serde_json::json!(["bin"])).collect::<Vec<Value>>()
    };
    let always: Vec<Value> =
        published.clone().flat_map(programs).filter(|it| it["required-features"].is_null()).collect();
    assert_eq!(always.iter().map(|program| &program["name"]).collect::<Vec<_>>(), ["windflow"]);
    // What only the tests run is not even in the package.
    let files = cargo(&["package", "--list", "--allow-dirty", "--offline", "-p", "windflow-targets"]);
    assert!(files.contains("src/host/target.rs") && !files.contains("proof") && !files.contains("tests/"), "{files}");
}

#[test]
fn the_core_is_small() {
    let tree = cargo(&["tree", "-p", "windflow-core", "-e", "normal", "--prefix", "none", "--offline", "--locked"]);
    // A crate that stands there again is marked with a star.
    let crates: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    println!("windflow-core: {} crates", crates.len());
    assert!(crates.len() > 10, "{tree}");
    assert!(crates.len() <= MOST_CRATES_OF_CORE, "{} crates:\n{tree}", crates.len());
    for heavy in ["hyper", "reqwest", "rustls", "openssl", "sqlx", "rhai", "ureq"] {
        assert!(!crates.iter().any(|found| found.starts_with(&format!("{heavy} "))), "the core needs {heavy}");
    }
}

/// Every Rust file below these folders of the members.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for member in arrows().keys() {
        let member = member.strip_prefix("windflow-").filter(|name| matches!(*name, "examples" | "benches"));
        for folder in folders {
            if let Some(member) = member {
                walk(&root().join(member).join(folder), &mut found);
            }
        }
    }
    for name in ["core", "targets", "workflow", "server"] {
        for folder in folders {
            walk(&root().join(format!("windflow-{name}")).join(folder), &mut found);
        }
    }
    assert!(found.len() > 50, "only {} sources were found", found.len());
    found
}

fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

#[test]
fn every_source_says_what_it_is_for_and_is_not_too_long() {
    for (path, text) in sources(&["src"]) {
        assert!(text.starts_with("//! "), "{} does not begin with what it is for", path.display());
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines: more than one concept?", path.display());
    }
}

#[test]
fn no_test_is_ignored() {
    for (path, text) in sources(&["src", "tests"]) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let attribute = line.starts_with("#[ignore");
            let fence = line.starts_with("//") && line.contains("```") && line.contains("ignore");
            assert!(!attribute && !fence, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn nothing_is_allowed_without_a_reason() {
    for (path, text) in sources(&["src"]) {
        let bare = text.lines().position(|line| {
            let line = line.trim_start();
            line.starts_with("#[allow(") || line.starts_with("#![allow(")
        });
        assert_eq!(bare, None, "{}: write #[expect(…, reason = \"…\")]", path.display());
    }
}

/// The README shows the program that is compiled and run, to the letter.
#[test]
fn the_readme_shows_the_embed_example() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let example = std::fs::read_to_string(root().join("examples/embed.rs")).unwrap();
    let blocks: Vec<&str> = readme.split("```").skip(1).step_by(2).collect();
    let shown = blocks.iter().find_map(|block| block.strip_prefix("rust\n").filter(|code| code.contains("fn main")));
    // What only the repository's own lints ask for is left out there.
    let kept = |line: &&str| !line.starts_with("//!") && !line.starts_with("#![");
    let example = example.lines().filter(kept).collect::<Vec<&str>>().join("\n");
    assert_eq!(shown.unwrap_or_default().trim(), example.trim());
    assert!(example.trim().lines().count() <= 40, "it should fit on a page");
}

/// What the documents name is there.
#[test]
fn the_documents_name_files_that_exist() {
    let mut named = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let member = ["windflow-core/", "windflow-targets/", "windflow-workflow/", "windflow-server/", "examples/"];
            if member.iter().any(|start| word.starts_with(start)) && !word.contains([' ', '*', '{', '<']) {
                assert!(root().join(word).exists(), "{document} names {word}, which is not there");
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} files are named");
}

/// Every promise names the tests that guard it, and they are there.
#[test]
fn the_promises_name_tests_that_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let code: String = sources(&["src", "tests"]).into_iter().map(|(_, text)| text).collect();
    let promises = text.split_once("## The promises").unwrap().1.split("\n## ").next().unwrap();
    let mut guarded = 0;
    for line in promises.lines().filter(|line| line.starts_with("| I")) {
        let tests = line.rsplit('|').nth(1).unwrap();
        for test in tests.split('`').skip(1).step_by(2) {
            assert!(code.contains(&format!("fn {test}(")), "{line}\nnames {test}, which is not there");
            guarded += 1;
        }
    }
    assert!(guarded >= 11, "only {guarded} tests are named");
}
