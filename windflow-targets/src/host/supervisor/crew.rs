//! All keepers of a stack, and what is ordered of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use windflow_core::target::Health;
use windflow_core::{Masker, Secret, ServiceName};

use super::super::layout::StackDir;
use super::super::state::{InstanceState, Order, Refusal, StackSpec, StackState, decode};
use super::super::transport::procfs::{self, Stat};
use super::super::transport::write_file;
use super::board::Board;
use super::capture::Capture;
use super::entry::{self, complain};
use super::hold::{Hold, Lost};
use super::keeper::{Keeper, Run};
use super::orders::{self, Asked};
use super::orphans::{self, Mark};
use super::process::Process;

/// A supervisor is started in order to be told something. If whoever started it died before that, it goes on with what
/// is on disk after this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The values of a stack's secrets, by service and variable.
type Secrets = BTreeMap<ServiceName, Arc<BTreeMap<String, Secret>>>;

/// A keeper: its goal, and itself.
type Kept = (watch::Sender<Option<Arc<Run>>>, JoinHandle<()>);

struct Crew {
    dir: StackDir,
    hold: Hold,
    board: Board,
    masker: Masker,
    spec: Option<StackSpec>,
    secrets: Secrets,
    /// What was found alive when this supervisor took over, until its keeper takes it.
    found: BTreeMap<(ServiceName, u32), Process>,
    keepers: BTreeMap<(ServiceName, u32), Kept>,
    attempts: BTreeMap<ServiceName, u64>,
}

/// Supervises the stack of this folder until it is told to stop, or the folder is gone with the lock that is held in it:
/// then nobody could ever tell it.
pub(super) async fn supervise(dir: &StackDir, hold: &Hold) -> io::Result<()> {
    let boot = procfs::boot()?;
    let (spec, state) = (read(dir, dir.spec())?, read::<StackState>(dir, dir.state())?.unwrap_or_default());
    let supervisor = procfs::stat(std::process::id().cast_signed()).map(|own| own.id);
    let (found, services) = adopt(hold, dir, &boot, spec.as_ref(), state.clone());
    let board = Board::new(StackState { boot, supervisor, serial: 0, intent: state.intent, services });
    let (sender, mut received) = mpsc::channel(8);
    tokio::spawn(orders::serve(orders::listen(dir)?, sender, board.told()));
    tokio::spawn(board.clone().publish(dir.clone(), hold.clone()));
    tokio::spawn(orphans::collect(board.clone()));
    let mut crew = Crew {
        dir: dir.clone(),
        hold: hold.clone(),
        board,
        masker: Masker::new(),
        spec,
        secrets: Secrets::new(),
        found,
        keepers: BTreeMap::new(),
        attempts: BTreeMap::new(),
    };
    let patience = Instant::now() + PATIENCE;
    let mut serial = 0;
    let mut patient = true;
    let lost = hold.lost();
    tokio::pin!(lost);
    loop {
        let asked: Option<Asked> = tokio::select! {
            asked = received.recv() => asked,
            () = sleep_until(patience), if patient => None,
            what = &mut lost => match what {
                Lost::Folder => {
                    crew.stop().await;
                    return Ok(());
                }
                // Whoever is in its place looks after the services, and knows them by the same marks.
                Lost::ToAnother => {
                    complain(dir.path(), "another has taken its place");
                    return Ok(());
                }
                Lost::ToNobody => {
                    // Without a spec, another would not know what to look after.
                    if !matches!(read::<StackSpec>(dir, dir.spec()), Ok(Some(_))) {
                        complain(dir.path(), "its lock and its spec are gone: all of it is stopped");
                        crew.stop().await;
                        return Ok(());
                    }
                    complain(dir.path(), "its lock was replaced: another takes over");
                    match entry::follow(dir) {
                        Ok(()) => return Ok(()),
                        Err(error) => complain(dir.path(), &format!("no other can be started: {error}")),
                    }
                    lost.set(hold.lost());
                    continue;
                }
            },
        };
        match asked {
            Some((Order::Run { spec, secrets }, done)) => {
                patient = false;
                if serial == 0 {
                    crew.end_unknown().await;
                }
                serial += 1;
                let _ = done.send(crew.order(*spec, secrets, serial).map(|()| serial));
            }
            Some((Order::Stop, done)) => {
                crew.stop().await;
                let _ = done.send(Ok(serial));
                // The answer is on its way; whoever waits also sees the lock go.
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                return Ok(());
            }
            Some((Order::Watch, done)) => {
                let _ = done.send(Ok(serial));
            }
            None if patient => {
                patient = false;
                match crew.spec.clone() {
                    Some(spec) => crew.run(spec, serial),
                    None => return Ok(()),
                }
            }
            None => return Ok(()),
        }
    }
}

/// What a file holds. One that was damaged is as good as lost: what runs is found by its marks, and the next order says
/// what should.
fn read<T: serde::de::DeserializeOwned>(dir: &StackDir, path: std::path::PathBuf) -> io::Result<Option<T>> {
    match std::fs::read(&path) {
        Ok(bytes) => {
            Ok(decode(&path, &bytes).map_err(|error| complain(dir.path(), &format!("taken for lost: {error}"))).ok())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

type Services = BTreeMap<ServiceName, BTreeMap<u32, InstanceState>>;

type Found = (BTreeMap<(ServiceName, u32), Process>, Services);

/// What still lives of what another supervisor has started: by its record, or, when it died between a start and the
/// record, by the mark it carries.
fn adopt(hold: &Hold, dir: &StackDir, boot: &str, spec: Option<&StackSpec>, before: StackState) -> Found {
    let mut services = before.services;
    for (name, run) in spec.iter().flat_map(|spec| &spec.services) {
        let instances = services.entry(name.clone()).or_default();
        for n in 0..run.replicas {
            instances.entry(n).or_default();
        }
    }
    let mut found = BTreeMap::new();
    for (name, instances) in &mut services {
        for (n, state) in instances {
            let mark = Mark { instance: dir.instance(name, *n).path().to_owned(), hold: hold.clone() };
            let recorded = state.process.filter(|_| before.boot == boot);
            let known = recorded.and_then(|id| Process::adopt(id, state.identity, mark.clone()));
            let process = known.or_else(|| {
                // Whoever leads a session of its own is what a service has started, and not the service.
                let leads = |found: &Stat| found.group == found.id.pid && found.session != found.id.pid;
                let leaders = procfs::marked(|other| other == mark.instance).into_iter().filter(leads);
                let identity = spec.and_then(|spec| spec.identity(name));
                leaders.into_iter().find_map(|leader| Process::adopt(leader.id, identity, mark.clone()))
            });
            match &process {
                Some(process) => state.process = Some(process.id),
                None if state.process.take().is_some() => state.health = Health::Stopped,
                None => {}
            }
            found.extend(process.map(|process| ((name.clone(), *n), process)));
        }
    }
    (found, services)
}

impl Crew {
    /// Ends what was left here of a stack that nothing is on record of: its folder was removed.
    async fn end_unknown(&self) {
        let known: BTreeSet<PathBuf> = self.board.read(|state| {
            let all = state.services.iter().flat_map(|(name, instances)| instances.keys().map(move |n| (name, *n)));
            all.map(|(name, n)| self.dir.instance(name, n).path().to_owned()).collect()
        });
        orphans::end_unknown(&self.dir, &self.hold, |mark| known.contains(mark)).await;
    }

    /// Takes an order: on disk first, then into force.
    fn order(
        &mut self,
        spec: StackSpec,
        secrets: BTreeMap<ServiceName, BTreeMap<String, String>>,
        serial: u64,
    ) -> Result<(), Refusal> {
        if spec.version > StackSpec::VERSION {
            let (asked, known) = (spec.version, StackSpec::VERSION);
            return Err(Refusal::new(format!("the order is of version {asked}, this supervisor knows {known}")));
        }
        let bytes = serde_json::to_vec(&spec).map_err(|error| Refusal::new(error.to_string()))?;
        let kept = write_file(&self.dir.spec(), &bytes, true);
        kept.map_err(|error| Refusal::failed("the order cannot be kept", &error))?;
        self.secrets.clear();
        for (service, values) in secrets {
            let values: BTreeMap<String, Secret> =
                values.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
            values.values().for_each(|secret| self.masker.learn(secret));
            self.secrets.insert(service, Arc::new(values));
        }
        self.run(spec, serial);
        Ok(())
    }

    fn run(&mut self, spec: StackSpec, serial: u64) {
        let replaced = self.replaced(&spec);
        // Whoever reads the state after this order must not take the old health for the new.
        self.board.edit(|state| {
            (state.intent, state.serial) = (Some(spec.intent), serial);
            for (name, run) in &spec.services {
                let instances = state.services.entry(name.clone()).or_default();
                for n in 0..run.replicas {
                    let instance = instances.entry(n).or_default();
                    if replaced.contains(name) || matches!(instance.health, Health::Failed { .. } | Health::Stopped) {
                        *self.attempts.entry(name.clone()).or_default() += 1;
                        instance.health = Health::Starting;
                    }
                    // What was ill before is judged anew: this order may be its cure.
                    if matches!(instance.health, Health::Unhealthy { .. }) {
                        instance.health = Health::Starting;
                    }
                }
            }
        });
        for (name, run) in &spec.services {
            let forced = replaced.contains(name);
            let Some(identity) = spec.identity(name) else { continue };
            let goal = Arc::new(Run {
                identity,
                secrets: self.secrets.get(name).cloned().unwrap_or_default(),
                attempt: self.attempts.get(name).copied().unwrap_or_default(),
                spec: run.clone(),
            });
            for n in 0..run.replicas {
                self.set(&spec, name, n, Arc::clone(&goal), forced);
            }
        }
        let wanted = |name: &ServiceName, n: u32| spec.services.get(name).is_some_and(|run| n < run.replicas);
        // A keeper that is told to go is kept until it has: the same service may be wanted again before that.
        self.keepers.retain(|(name, n), (goal, task)| {
            if !wanted(name, *n) {
                goal.send_replace(None);
            }
            !task.is_finished()
        });
        // What was found alive and is no longer wanted is stopped as well, by a keeper that is told so at once.
        let left: Vec<(ServiceName, u32)> = self.found.keys().cloned().collect();
        for (name, n) in left {
            let (goal, receiver) = watch::channel(None);
            let keeper = self.keeper(&spec, &name, n, receiver);
            self.keepers.insert((name, n), (goal, tokio::spawn(keeper.keep())));
        }
        // What is on the board and has neither a process nor a place in the spec is only a memory.
        self.board.edit(|state| {
            for (name, instances) in &mut state.services {
                instances.retain(|n, instance| wanted(name, *n) || instance.process.is_some());
            }
            state.services.retain(|_, instances| !instances.is_empty());
        });
        self.spec = Some(spec);
    }

    /// The services whose processes will be others.
    fn replaced(&self, spec: &StackSpec) -> BTreeSet<ServiceName> {
        let new = |name: &&ServiceName| {
            let identity = spec.identity(name);
            self.board.read(|state| {
                state.services.get(*name).is_none_or(|instances| {
                    instances.is_empty() || instances.values().any(|instance| instance.identity != identity)
                })
            })
        };
        spec.services.keys().filter(new).cloned().collect()
    }

    fn set(&mut self, spec: &StackSpec, name: &ServiceName, n: u32, goal: Arc<Run>, forced: bool) {
        let key = (name.clone(), n);
        if let Some((sender, task)) = self.keepers.get(&key)
            && !task.is_finished()
        {
            sender.send_replace(Some(goal));
            return;
        }
        let (sender, receiver) = watch::channel(Some(Arc::clone(&goal)));
        let mut keeper = self.keeper(spec, name, n, receiver);
        // What has run to its end under this very spec is not run again because its supervisor changed.
        let completed = self.board.health(name, n) == Some(Health::Completed);
        if completed && !forced {
            keeper.settled = Some((goal.identity, goal.attempt));
        }
        let task = tokio::spawn(keeper.keep());
        self.keepers.insert(key, (sender, task));
    }

    fn keeper(
        &mut self,
        spec: &StackSpec,
        name: &ServiceName,
        n: u32,
        goal: watch::Receiver<Option<Arc<Run>>>,
    ) -> Keeper {
        let dir = self.dir.instance(name, n);
        let process = self.found.remove(&(name.clone(), n));
        // What lives writes to its pipes: they are read again from now on.
        let capture = process.as_ref().and_then(|process| {
            let started = Capture::resume(dir.clone(), self.masker.clone(), process.id);
            started.map_err(|error| complain(self.dir.path(), &format!("{name}: output is lost: {error}"))).ok()
        });
        let old = self.spec.as_ref().and_then(|spec| spec.services.get(name));
        let stopping = old.map_or((15, Duration::from_secs(10)), |run| (run.stop_signal, run.stop_grace));
        Keeper {
            stack: spec.stack.name.clone(),
            service: name.clone(),
            instance: n,
            dir,
            board: self.board.clone(),
            hold: self.hold.clone(),
            masker: self.masker.clone(),
            goal,
            process,
            capture,
            in_a_row: 0,
            settled: None,
            stopping,
        }
    }

    /// Stops everything, what depends on others first.
    async fn stop(&mut self) {
        if !self.found.is_empty()
            && let Some(spec) = self.spec.clone()
        {
            // Taken over only to be stopped: nothing is started, what lives is.
            self.run(StackSpec { services: BTreeMap::new(), ..spec }, 0);
        }
        let mut order: Vec<Option<ServiceName>> = match &self.spec {
            Some(spec) => spec.stack.start_order().into_iter().rev().cloned().map(Some).collect(),
            None => Vec::new(),
        };
        // And at last whatever is left of earlier orders.
        order.push(None);
        for name in order {
            let among = |service: &ServiceName| name.as_ref().is_none_or(|name| name == service);
            let stopping: Vec<_> = self.keepers.extract_if(.., |(service, _), _| among(service)).collect();
            stopping.iter().for_each(|(_, (goal, _))| {
                goal.send_replace(None);
            });
            for (_, (_goal, task)) in stopping {
                let _ = task.await;
            }
        }
        for left in orphans::end_stack(&self.dir, &self.hold).await {
            complain(self.dir.path(), &format!("process {left} does not end"));
        }
        // Every keeper is gone: what is still on the board is only a memory.
        self.board.edit(|state| state.services.clear());
    }
}
