//! The Compose corpus: every file's normal form is what `config` of the reference implementation prints.
//!
//! A case is a file `corpus/NAME.yaml`, or a folder `corpus/NAME/` with a `compose.yaml`, which may have a file `case` beside
//! it: lines of `file F`, `profile P`, `env K=V`, `env-file F` and `project-name N`. Both refuse a case whose name begins
//! with `refused-`. Set `WINDFLOW_COMPOSE` to the reference's binary (`scripts/bed/compose` installs it and prints its path).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use windflow_workflow::Environment;
use windflow_workflow::document::{Diagnostics, Limits, StackDocument, StackFiles, load_stack};

/// How many cases there are at least.
const LEAST: usize = 120;

/// What differs on purpose.
enum Difference {
    /// The reference takes it, and it is refused here.
    RefusedHere,
    /// The reference refuses it, and it is taken here.
    TakenHere,
    /// This part of it differs: a JSON pointer in which `*` stands for any key.
    At(&'static str),
}

/// Every intended difference, with its reason. An empty case is all of them.
const DIFFERENCES: &[(&str, Difference, &str)] = &[
    ("differs-zero", Difference::At("/services/*/mem_swappiness"), "never to swap is not the same as to say nothing"),
    ("differs-zero", Difference::At("/services/*/ulimits"), "a bound of nothing is one"),
    (
        "",
        Difference::At("/**/x-*"),
        "the reference's JSON leaves extensions out that are not at the top; its YAML does not",
    ),
    ("models", Difference::At("/models"), "the reference's JSON leaves models out; its YAML does not"),
    ("blkio", Difference::At("/services/*/blkio_config"), "the reference's JSON writes 'Path' where files say 'path'"),
    (
        "label-file",
        Difference::At("/services/*/label_file"),
        "what was read from it stands in 'labels', as with env_file",
    ),
    ("label-file-text", Difference::At("/services/*/label_file"), "what was read from it stands in 'labels'"),
    (
        "interpolation-keys-stay",
        Difference::At("/services/*/labels"),
        "the reference writes '$' of a key as '$$' and does not read it so: keys hold no variables",
    ),
    (
        "healthcheck-none-text",
        Difference::At("/services/*/healthcheck/test"),
        "a check that is the word NONE is none; the reference would run a program of that name",
    ),
    (
        "differs-numbers",
        Difference::At("/services"),
        "a number where text is meant stays as it is written: version 1.10 is not 1.1",
    ),
    (
        "pre-start",
        Difference::At("/services/*/pre_start/*/networks"),
        "the reference writes a field that nobody can fill",
    ),
    ("differs-volume-letter", Difference::At("/"), "the reference takes one letter for a drive of Windows"),
    ("differs-build-ssh", Difference::TakenHere, "the reference cannot write what it has read as JSON"),
    ("differs-cpu-percent", Difference::TakenHere, "a number is a number with or without quotes"),
    ("differs-process", Difference::TakenHere, "a service may be a process of a host, and have no image"),
    ("differs-extensions", Difference::TakenHere, "extensions of others may hold anything, also '$'"),
    ("differs-unset", Difference::RefusedHere, "a stack that silently lacks a value is worse than none"),
    ("differs-unset-environment", Difference::RefusedHere, "a stack that silently lacks a value is worse than none"),
    (
        "differs-shell",
        Difference::RefusedHere,
        "the reference silently leaves out what follows ';', '&', '|', '<' and '>'",
    ),
    (
        "differs-health-image",
        Difference::RefusedHere,
        "the check inside an image is not known, so nothing can wait for it",
    ),
    ("differs-volume-option", Difference::RefusedHere, "the reference silently leaves out options it does not know"),
    ("differs-twice", Difference::RefusedHere, "what stands in one list twice is a mistake"),
    ("differs-yaml-1.1", Difference::RefusedHere, "'yes' is text in YAML 1.2; the message says what to write"),
    ("differs-documents", Difference::RefusedHere, "one file, one document: its parts are merged as files"),
];

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) files: StackFiles,
    pub(crate) variables: BTreeMap<String, String>,
}

/// All cases, by name.
pub(crate) fn cases() -> Vec<Case> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/corpus");
    let mut cases: Vec<Case> = fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| case(&path, &corpus))
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn case(path: &Path, corpus: &Path) -> Case {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut variables = BTreeMap::from([("HOME".to_owned(), "/home/somebody".to_owned())]);
    if !path.is_dir() {
        let files = StackFiles::from(path.file_name().unwrap());
        return Case { name, folder: corpus.to_path_buf(), files, variables };
    }
    let mut files = StackFiles::default();
    for line in fs::read_to_string(path.join("case")).unwrap_or_default().lines() {
        let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{name}: {line}"));
        match word {
            "file" => files = files.and(rest),
            "profile" => files = files.with_profile(rest),
            "env-file" => files = files.with_env_file(rest),
            "project-name" => files = files.named(rest),
            "env" => {
                let (key, value) = rest.split_once('=').unwrap();
                variables.insert(key.to_owned(), value.to_owned());
            }
            _ => panic!("{name}: {line}"),
        }
    }
    if files.files.is_empty() {
        files = files.and("compose.yaml");
    }
    Case { name, folder: path.to_path_buf(), files, variables }
}

impl Case {
    pub(crate) fn load(&self) -> Result<StackDocument, Diagnostics> {
        load_stack(self.files.clone(), &self.environment(), &Limits::operator())
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment::new(&self.folder).with_variables(self.variables.clone())
    }

    /// What the reference prints, or what it says is wrong.
    fn reference(&self, binary: &Path) -> Result<Value, String> {
        let mut command = Command::new(binary);
        command.current_dir(&self.folder).env_clear().envs(&self.variables).stdin(Stdio::null());
        for file in &self.files.files {
            command.arg("-f").arg(file);
        }
        for profile in &self.files.profiles {
            command.arg("--profile").arg(profile);
        }
        for file in &self.files.env_files {
            command.arg("--env-file").arg(file);
        }
        if let Some(name) = &self.files.project_name {
            command.arg("-p").arg(name);
        }
        let output = command.args(["config", "--format", "json"]).output().unwrap();
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()),
        }
    }
}

/// Leaves out what the reference writes because of the language it is written in: fields that hold nothing. A network, and a
/// dependency, are there by their name alone.
fn tidied(value: Value, inside: &str) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| tidied(item, "")).collect(),
        Value::Object(map) => {
            let named = matches!(inside, "networks" | "models");
            let nothing = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
            let map = map.into_iter().filter(|(_, value)| named || !nothing(value));
            let map = map.map(|(key, value)| (key.clone(), tidied(value, &key)));
            Value::Object(map.filter(|(_, value)| named || !nothing(value)).collect())
        }
        Value::Number(number) => match number.as_f64() {
            Some(float) => serde_json::json!(float),
            None => Value::Number(number),
        },
        other => other,
    }
}

/// Where two values differ, as JSON pointers, with both.
fn compare(path: &str, theirs: &Value, ours: &Value, out: &mut Vec<(String, String)>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                compare(&format!("{path}/{key}"), a, b, out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}/{index}"), a, b, out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push((path.to_owned(), format!("the reference says {a}, here it is {b}"))),
    }
}

/// Whether a pointer lies at or below a pattern: `*` stands for any key, `x-*` for any that begins so, `**` at its start for
/// any number of keys.
fn matches(pattern: &str, path: &str) -> bool {
    if pattern == "/" {
        return true;
    }
    let path: Vec<&str> = path.split('/').skip(1).collect();
    let (deep, pattern) = pattern.strip_prefix("/**").map_or((false, pattern), |rest| (true, rest));
    let parts: Vec<&str> = pattern.split('/').skip(1).collect();
    let one = |(part, there): (&&str, &&str)| match part.strip_suffix('*') {
        Some(start) => there.starts_with(start),
        None => part == there,
    };
    let starts = if deep { 1..path.len().max(1) } else { 0..1 };
    starts.into_iter().any(|start| {
        let rest = path.get(start..).unwrap_or_default();
        parts.len() <= rest.len() && parts.iter().zip(rest).all(one)
    })
}

#[test]
fn the_normal_form_is_what_the_reference_implementation_prints() {
    let cases = cases();
    let Some(binary) = std::env::var_os("WINDFLOW_COMPOSE").map(PathBuf::from) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "WINDFLOW_COMPOSE must name the reference's binary: see scripts/bed/compose"
        );
        eprintln!("SKIPPED: set WINDFLOW_COMPOSE to compare {} files with the reference implementation", cases.len());
        return;
    };
    let told = std::sync::Mutex::new(Vec::new());
    let used = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let (wrong, of) = look(case, &binary);
                    told.lock().unwrap().extend(wrong);
                    used.lock().unwrap().extend(of);
                }
            });
        }
    });
    let mut told = told.into_inner().unwrap();
    told.sort();
    assert!(told.is_empty(), "{} differences:\n{}", told.len(), told.join("\n"));
    let used = used.into_inner().unwrap();
    let idle: Vec<&str> = (0..DIFFERENCES.len()).filter(|i| !used.contains(i)).map(|i| DIFFERENCES[i].2).collect();
    assert!(idle.is_empty(), "no case shows these differences any more: {idle:#?}");
    println!("{} cases compared with the reference implementation", cases.len());
    assert!(cases.len() >= LEAST, "only {} cases", cases.len());
}

/// What is wrong with a case, and which intended differences it shows.
fn look(case: &Case, binary: &Path) -> (Vec<String>, Vec<usize>) {
    let name = &case.name;
    let intended = || DIFFERENCES.iter().enumerate().filter(|(_, (of, ..))| of.is_empty() || of == name);
    let find = |wanted: fn(&Difference) -> bool| intended().find(|(_, (_, what, _))| wanted(what)).map(|(at, _)| at);
    let ours = case.load();
    match (case.reference(binary), ours) {
        (Err(_), Err(_)) if name.starts_with("refused-") => (Vec::new(), Vec::new()),
        (Err(theirs), Err(ours)) => (vec![format!("{name}: both refuse it:\n  {theirs}\n  {ours}")], Vec::new()),
        (Ok(_), Err(ours)) => match find(|what| matches!(what, Difference::RefusedHere)) {
            Some(at) => (Vec::new(), vec![at]),
            None => (vec![format!("{name}: is refused here: {ours}")], Vec::new()),
        },
        (Err(theirs), Ok(_)) => match find(|what| matches!(what, Difference::TakenHere)) {
            Some(at) => (Vec::new(), vec![at]),
            None => (vec![format!("{name}: is taken here, and the reference says: {theirs}")], Vec::new()),
        },
        (Ok(theirs), Ok(ours)) => {
            let mut found = Vec::new();
            compare("", &tidied(theirs, ""), &tidied(ours.config(), ""), &mut found);
            let mut used = Vec::new();
            found.retain(|(path, _)| {
                let known =
                    intended().find(|(_, (_, what, _))| matches!(what, Difference::At(at) if matches(at, path)));
                used.extend(known.map(|(at, _)| at));
                known.is_none()
            });
            (found.into_iter().map(|(path, what)| format!("{name}: {path}: {what}")).collect(), used)
        }
    }
}
