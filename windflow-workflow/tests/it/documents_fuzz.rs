//! Damaged files: whatever is done to the corpus, the loader answers, within its bounds.
//!
//! `WINDFLOW_FUZZ=N` is how many damaged stacks are loaded (2,000 when absent), `WINDFLOW_FUZZ_SEED=N` which ones. The same
//! seed makes the same stacks; a failure names the seed and the execution, and prints the files.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use windflow_workflow::Environment;
use windflow_workflow::document::{Limits, StackFiles, load_stack};
use windflow_workflow::environment::ReadFile;

use crate::documents_corpus::cases;

/// Small numbers that follow from a seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64, execution: usize) -> Self {
        let mixed = (seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(2 * execution as u64 + 1);
        let mut dice = Self(mixed.max(1));
        for _ in 0..4 {
            dice.next();
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, most: usize) -> usize {
        if most == 0 { 0 } else { (self.next() % most as u64) as usize }
    }
}

/// Pieces that mean something somewhere.
const PIECES: &[&str] = &[
    "${",
    "${A:-",
    "}",
    "$$",
    "$A",
    "${{ x }}",
    "${{",
    "<<: *",
    "&a ",
    "*a",
    "!reset ",
    "!override ",
    "!reset []",
    "!!str ",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "|\n",
    ">\n",
    "#",
    "~",
    "null",
    "true",
    "-1",
    "0",
    "1.5",
    "99999999999999999999",
    "0x1f",
    "1e9",
    "1m30s",
    "64m",
    "\u{e9}",
    "\u{1f600}",
    "\u{feff}",
    "\t",
    "\n",
    "\r\n",
    "   ",
    "\u{0}",
    "\\",
    "..",
    "/",
    "~/",
    "services:\n",
    "  web:\n",
    "extends: web\n",
    "extends: { file: compose.yaml, service: web }\n",
    "include: [compose.yaml]\n",
    "profiles: [x]\n",
    "env_file: .env\n",
    "ports: [\"1-65535\"]\n",
    "secret://env/A",
    "x-windflow: { process: { command: [a] } }\n",
    "volumes_from: [web]\n",
    "network_mode: service:web\n",
    "depends_on: [web]\n",
    "name: x\n",
    "---\n",
    "? ",
    "key: &k {<<: *k}\n",
];

type Files = BTreeMap<PathBuf, Vec<u8>>;

#[derive(Debug)]
struct Damaged(Files);

impl ReadFile for Damaged {
    fn read(&self, path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
        let bytes = self.0.get(path).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(bytes[..bytes.len().min(most.saturating_add(1))].to_vec())
    }
}

fn damage(bytes: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    let lines = |bytes: &[u8]| bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    match dice.below(9) {
        0 if !bytes.is_empty() => {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }
        1 => {
            let from = dice.below(bytes.len() + 1);
            let to = (from + dice.below(12)).min(bytes.len());
            bytes.drain(from..to);
        }
        2 => {
            let from = dice.below(bytes.len() + 1);
            let to = (from + dice.below(40)).min(bytes.len());
            let copy = bytes[from..to].to_vec();
            let at = dice.below(bytes.len() + 1);
            bytes.splice(at..at, copy);
        }
        3..=5 => {
            let at = dice.below(bytes.len() + 1);
            let piece = PIECES[dice.below(PIECES.len())];
            bytes.splice(at..at, piece.bytes());
        }
        6 => {
            let mut all = lines(bytes);
            if all.len() > 1 {
                let (a, b) = (dice.below(all.len()), dice.below(all.len()));
                all.swap(a, b);
                *bytes = all.concat();
            }
        }
        7 => {
            let other = &others[dice.below(others.len())];
            let theirs = lines(other);
            let mut all = lines(bytes);
            let at = dice.below(all.len() + 1);
            let from = dice.below(theirs.len());
            let to = (from + 1 + dice.below(4)).min(theirs.len());
            all.splice(at..at, theirs[from.min(to)..to].to_vec());
            *bytes = all.concat();
        }
        _ => bytes.truncate(dice.below(bytes.len() + 1)),
    }
}

/// The cases as files in memory, all below one folder.
fn stacks() -> Vec<(Files, StackFiles, BTreeMap<String, String>)> {
    let folder = Path::new("/srv/shop");
    let stack = |case: crate::documents_corpus::Case| {
        let mut files = Files::new();
        let single = case.folder.ends_with("corpus");
        let mut open = vec![case.folder.clone()];
        while let Some(at) = open.pop() {
            for entry in fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !single {
                    open.push(path);
                } else if path.is_file() && (!single || case.files.files.iter().any(|file| path.ends_with(file))) {
                    let name = folder.join(path.strip_prefix(&case.folder).unwrap());
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        (files, case.files, case.variables)
    };
    cases().into_iter().map(stack).collect()
}

#[test]
fn no_damaged_file_breaks_the_loader() {
    let number = |name: &str, or: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or);
    let (executions, seed) = (number("WINDFLOW_FUZZ", 2_000) as usize, number("WINDFLOW_FUZZ_SEED", 1));
    let stacks = stacks();
    let texts: Vec<Vec<u8>> =
        stacks.iter().flat_map(|(files, ..)| files.values().cloned()).filter(|text| !text.is_empty()).collect();
    let (next, taken, refused) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = std::sync::Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let execution = next.fetch_add(1, Ordering::Relaxed);
                    if execution >= executions || failed.lock().unwrap().is_some() {
                        break;
                    }
                    let mut dice = Dice::new(seed, execution);
                    let (files, asked, variables) = &stacks[dice.below(stacks.len())];
                    let mut files = files.clone();
                    let names: Vec<PathBuf> = files.keys().cloned().collect();
                    for _ in 0..=dice.below(6) {
                        let name = &names[dice.below(names.len())];
                        damage(files.get_mut(name).unwrap(), &texts, &mut dice);
                    }
                    let limits = if dice.below(2) == 0 { Limits::operator() } else { Limits::untrusted() };
                    let here = Environment::new("/srv/shop")
                        .with_variables(variables.clone())
                        .with_files(Damaged(files.clone()));
                    let answer = catch_unwind(AssertUnwindSafe(|| look(asked, &here, &limits)));
                    match answer {
                        Ok(Ok(true)) => taken.fetch_add(1, Ordering::Relaxed),
                        Ok(Ok(false)) => refused.fetch_add(1, Ordering::Relaxed),
                        wrong => {
                            let what = match wrong {
                                Ok(Err(what)) => what,
                                _ => "it panicked".to_owned(),
                            };
                            let shown: String = files
                                .iter()
                                .map(|(name, text)| {
                                    format!("--- {}\n{}\n", name.display(), String::from_utf8_lossy(text))
                                })
                                .collect();
                            *failed.lock().unwrap() =
                                Some(format!("seed {seed}, execution {execution}: {what}\n{shown}"));
                            break;
                        }
                    };
                }
            });
        }
    });
    if let Some(what) = failed.into_inner().unwrap() {
        panic!("{what}");
    }
    let (taken, refused) = (taken.into_inner(), refused.into_inner());
    println!("{executions} damaged stacks: {taken} taken, {refused} refused");
    assert_eq!(taken + refused, executions);
    assert!(
        executions < 1_000 || (taken > executions / 50 && refused > executions / 5),
        "the damage is too small or too large"
    );
}

/// Whether a stack is taken; what it says then holds together, and what it is refused for is located.
fn look(asked: &StackFiles, here: &Environment, limits: &Limits) -> Result<bool, String> {
    let began = std::time::Instant::now();
    let read = load_stack(asked.clone(), here, limits);
    // Far above anything that was seen: only what never ends, or grows without bound, is caught by it.
    if began.elapsed().as_secs() > 20 {
        return Err(format!("it took {:?}", began.elapsed()));
    }
    match read {
        Ok(document) => {
            let text = document.config_yaml();
            let files = Files::from([("/srv/shop/again.yaml".into(), text.clone().into_bytes())]);
            let alone = Environment::new("/srv/shop").with_files(Beside(files, here.clone()));
            let again = load_stack(StackFiles::from("again.yaml").with_profile("*"), &alone, &Limits::operator());
            match again {
                Ok(again) if again.stack() == document.stack() => Ok(true),
                Ok(_) => Err(format!("its normal form says something else:\n{text}")),
                Err(wrong) => Err(format!("its normal form cannot be read: {wrong}\n{text}")),
            }
        }
        Err(wrong) => match wrong.iter().find(|problem| problem.message.is_empty() || problem.file.is_empty()) {
            _ if wrong.is_empty() => Err("it is refused without a word".to_owned()),
            Some(problem) => Err(format!("a problem says nothing: {problem:?}")),
            None => Ok(false),
        },
    }
}

/// Files in memory before those of another environment.
#[derive(Debug)]
struct Beside(Files, Environment);

impl ReadFile for Beside {
    fn read(&self, path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
        if path.ends_with(".env") {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        match self.0.get(path) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.1.read(path, most),
        }
    }
}
