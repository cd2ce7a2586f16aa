//! Any sequence of calls has the same answers from the in-memory store and from SQLite, across reopening the file.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use windflow_core::conformance::store::{batch, new_run, signal, started};
use windflow_core::store::{Batch, Blob, Claim, Created, Lease, NewRun, RunQuery, WorkerId};
use windflow_core::{ContentHash, MemoryStore, Namespace, RunId, RunState, Seq, Store, StoreError, Summary, Timestamp};
use windflow_workflow::{SqliteOptions, SqliteStore};

#[derive(Debug, Clone)]
enum Op {
    Create { run: u8, key: Option<u8>, namespace: u8, worker: u8 },
    Append { run: u8, old: bool, stale: bool, count: u8, state: u8, wake: Option<u8>, consume: bool },
    Claim { run: u8, worker: u8, now: u8, until: u8 },
    Renew { worker: u8, until: u8 },
    Release { run: u8, old: bool },
    Submit { run: u8, dedup: Option<u8>, at: u8 },
    Look { now: u8, limit: u8, state: Option<u8> },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let few = 0..4_u8;
    let time = 0..12_u8;
    prop_oneof![
        3 => (few.clone(), proptest::option::weighted(0.3, 0..2_u8), 0..2_u8, 0..3_u8)
            .prop_map(|(run, key, namespace, worker)| Op::Create { run, key, namespace, worker }),
        8 => (few.clone(), prop::bool::weighted(0.1), prop::bool::weighted(0.1), 0..4_u8, 0..11_u8,
              proptest::option::of(time.clone()), any::<bool>())
            .prop_map(|(run, old, stale, count, state, wake, consume)| {
                Op::Append { run, old, stale, count, state, wake, consume }
            }),
        3 => (few.clone(), 0..3_u8, time.clone(), time.clone())
            .prop_map(|(run, worker, now, until)| Op::Claim { run, worker, now, until }),
        1 => (0..3_u8, time.clone()).prop_map(|(worker, until)| Op::Renew { worker, until }),
        3 => (few.clone(), prop::bool::weighted(0.2)).prop_map(|(run, old)| Op::Release { run, old }),
        3 => (few, proptest::option::of(0..2_u8), time.clone())
            .prop_map(|(run, dedup, at)| Op::Submit { run, dedup, at }),
        3 => (time, 0..4_u8, proptest::option::weighted(0.3, 0..11_u8))
            .prop_map(|(now, limit, state)| Op::Look { now, limit, state }),
        1 => Just(Op::Reopen),
    ]
}

/// What a test knows of a run: enough to write to it.
#[derive(Debug, Clone)]
struct Known {
    lease: Lease,
    former: Option<Lease>,
    summary: Summary,
}

fn run_id(number: u8) -> RunId {
    RunId::new(format!("r{number}")).unwrap()
}

fn namespace(number: u8) -> Namespace {
    Namespace::new(format!("n{number}")).unwrap()
}

/// The part of a failure that a caller acts on; the words differ by store.
fn fault<T>(answer: Result<T, StoreError>) -> Result<T, String> {
    answer.map_err(|error| format!("{:?}", error.fault))
}

struct Both {
    memory: MemoryStore,
    sqlite: SqliteStore,
    known: BTreeMap<u8, Known>,
    /// Workers get new names when the file is reopened, as new processes do.
    life: u32,
}

macro_rules! both {
    ($self:ident, $store:ident => $call:expr) => {{
        let memory = {
            let $store = &$self.memory;
            fault($call.await)
        };
        let sqlite = {
            let $store = &$self.sqlite;
            fault($call.await)
        };
        prop_assert_eq!(&memory, &sqlite);
        memory
    }};
}

impl Both {
    async fn open(path: &Path) -> Self {
        Self { memory: MemoryStore::new(), sqlite: open(path).await, known: BTreeMap::new(), life: 0 }
    }

    fn worker(&self, number: u8) -> WorkerId {
        WorkerId(format!("w{number}-{}", self.life).into())
    }

    async fn apply(&mut self, path: &Path, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Create { run, key, namespace: of, worker } => {
                let mut new = new_run(&run_id(run), &namespace(of), &self.worker(worker));
                new.key = key.map(|key| format!("k{key}"));
                new.blobs = vec![Blob::new(vec![run].into())];
                new.fingerprint = ContentHash::of(&[run, of]);
                new.until = Timestamp(6);
                let made: NewRun = new.clone();
                let created = both!(self, store => store.create(made.clone()));
                if let Ok(Created::New(lease)) = created {
                    self.known.insert(run, Known { lease, former: None, summary: new.summary });
                }
            }
            Op::Append { run, old, stale, count, state, wake, consume } => {
                let Some(known) = self.known.get(&run).cloned() else { return Ok(()) };
                let lease = known.former.filter(|_| old).unwrap_or(known.lease);
                let events = (0..u32::from(count)).map(started).collect();
                let mut batch: Batch = batch(&lease, &known.summary, 3, events);
                batch.summary.state = RunState::ALL[usize::from(state)];
                batch.summary.wake_at = wake.map(|at| Timestamp(at.into()));
                batch.summary.finished += u32::from(count);
                batch.after.0 -= u64::from(stale && batch.after.0 > 0);
                if consume {
                    batch.consumed = both!(self, store => store.inbox(&run_id(run)))
                        .unwrap_or_default()
                        .iter()
                        .map(|entry| entry.id)
                        .collect();
                }
                if both!(self, store => store.append(batch.clone())).is_ok() {
                    self.known.get_mut(&run).unwrap().summary = batch.summary;
                }
            }
            Op::Claim { run, worker, now, until } => {
                let (run, worker) = (run, self.worker(worker));
                let (now, until) = (Timestamp(now.into()), Timestamp(until.into()));
                let claim = both!(self, store => store.claim(&run_id(run), &worker, now, until));
                if let Ok(Claim::Taken(lease)) = claim {
                    let known = self.known.get_mut(&run).unwrap();
                    known.former = Some(std::mem::replace(&mut known.lease, lease));
                }
            }
            Op::Renew { worker, until } => {
                let worker = self.worker(worker);
                both!(self, store => store.renew(&worker, Timestamp(until.into()))).unwrap();
            }
            Op::Release { run, old } => {
                let Some(known) = self.known.get(&run).cloned() else { return Ok(()) };
                let lease = known.former.filter(|_| old).unwrap_or(known.lease);
                both!(self, store => store.release(&lease)).unwrap();
            }
            Op::Submit { run, dedup, at } => {
                let dedup = dedup.map(|key| format!("d{key}"));
                let submission = signal(&run_id(run), dedup.as_deref(), at.into());
                let _ = both!(self, store => store.submit(submission.clone()));
            }
            Op::Look { now, limit, state } => self.look(now, limit, state).await?,
            Op::Reopen => {
                self.sqlite.clone().close().await;
                let next = open(path).await;
                std::mem::replace(&mut self.sqlite, next).close().await;
                self.life += 1;
                // Whoever held a run went with the process.
                for known in self.known.values() {
                    self.memory.release(&known.lease).await.unwrap();
                }
            }
        }
        Ok(())
    }

    async fn look(&mut self, now: u8, limit: u8, state: Option<u8>) -> Result<(), TestCaseError> {
        let states: Vec<RunState> = state.map(|state| RunState::ALL[usize::from(state)]).into_iter().collect();
        for of in 0..2 {
            let of = namespace(of);
            let query = RunQuery {
                namespace: of.clone(),
                states: states.clone(),
                before: (limit == 3).then(|| run_id(now % 4)),
                limit: limit.into(),
                ..RunQuery::default()
            };
            let _ = both!(self, store => store.list(&query));
            let _ = both!(self, store => store.due(&of, Timestamp(now.into()), limit.into()));
            let _ = both!(self, store => store.next_wake(&of, Timestamp(now.into())));
        }
        for run in 0..4 {
            let id = run_id(run);
            let _ = both!(self, store => store.summary(&id));
            let _ = both!(self, store => store.journal(&id, Seq(u64::from(limit))));
            let _ = both!(self, store => store.inbox(&id));
            let _ = both!(self, store => store.blob(ContentHash::of(&[run])));
        }
        Ok(())
    }
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).await.unwrap()
}

#[test]
fn memory_and_sqlite_answer_alike() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    // What is proved here is answers, not durability: a file system in memory saves the waiting for the disk.
    let memory = Path::new("/dev/shm");
    let fast = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let fast = fast.as_path();
    let config = ProptestConfig { cases, ..ProptestConfig::default() };
    proptest!(config, |(ops in prop::collection::vec(op(), 1..24))| {
        runtime.block_on(async {
            let folder = tempfile::tempdir_in(fast).unwrap();
            let path = folder.path().join("windflow.db");
            let mut both = Both::open(&path).await;
            for op in ops {
                both.apply(&path, op).await?;
            }
            both.look(5, 3, None).await
        })?;
    });
}
