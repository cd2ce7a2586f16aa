//! Journals as earlier versions have written them: each build goes on reading them, to the same end.
//!
//! `tests/golden/vN` holds runs that the last build of version N of the vocabulary wrote: workflow, journal, and the row it
//! left. They were taken from its tests and simulations, as few as have every event and every word in it. They are never
//! edited; a new version adds a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use windflow_core::run::{Event, Input, Run, Summary};
use windflow_core::workflow::WorkflowSpec;
use windflow_core::{Epoch, Recorded, Seq, Timestamp, Workflow};

#[derive(Deserialize)]
struct Golden {
    workflow: Value,
    journal: Vec<Kept>,
    summary: Summary,
}

/// A record: its place, and its event as stores keep it.
#[derive(Deserialize)]
struct Kept {
    seq: Seq,
    at: Timestamp,
    epoch: Epoch,
    event: Value,
}

impl Kept {
    fn event(&self) -> Event {
        serde_json::from_value(self.event.clone()).unwrap()
    }
}

fn of_version(version: u16) -> Vec<(String, Golden)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}"));
    let mut all: Vec<(String, Golden)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let golden = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), golden)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Folds one, as the engine does, and compares the row. Answers the kinds of events it has.
fn folds(name: &str, golden: Golden) -> BTreeSet<&'static str> {
    let spec: WorkflowSpec = serde_json::from_value(golden.workflow).unwrap();
    let plan = Workflow::from_spec(spec).unwrap();
    assert_eq!(plan.hash(), golden.summary.hash, "{name}: it pins another workflow now");
    for kept in &golden.journal {
        let again = serde_json::to_value(kept.event()).unwrap();
        assert_eq!(again, kept.event, "{name}: event {} is written otherwise now", kept.seq);
    }
    let record = |kept: &Kept| Recorded { seq: kept.seq, at: kept.at, epoch: kept.epoch, event: kept.event() };
    let journal: Vec<Recorded> = golden.journal.iter().map(record).collect();
    let mut run = Run::replay(plan, journal.clone()).unwrap();
    let mut summary = run.summary();
    summary.build.clone_from(&golden.summary.build);
    assert_eq!(summary, golden.summary, "{name}");
    run.advance(run.updated_at(), Input::Woke).unwrap();
    journal.iter().map(|recorded| recorded.event.kind()).collect()
}

#[test]
fn journals_of_version_1_are_read_to_the_same_end() {
    let all = of_version(1);
    assert!(all.len() >= 18, "{}", all.len());
    let kinds: BTreeSet<&str> = all.into_iter().flat_map(|(name, golden)| folds(&name, golden)).collect();
    assert_eq!(kinds.len(), 28, "every event that version 1 had: {kinds:?}");
}

#[test]
fn a_run_without_others_in_it_is_written_as_version_1_still() {
    let (_, golden) = of_version(1).remove(0);
    let Event::Created(created) = golden.journal[0].event() else { panic!("it begins otherwise") };
    let plan = Workflow::from_spec(serde_json::from_value(golden.workflow).unwrap()).unwrap();
    assert_eq!((created.version, plan.vocabulary()), (1, 1), "an earlier build can take it over");
}
