//! The keeper of one instance: waits for what it depends on, starts it, watches its health, starts it again by
//! policy, and stops it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use windflow_core::target::{EnvValue, Health, HealthCheck, Probe};
use windflow_core::{Clock as _, ContentHash, Masker, Secret, ServiceName, StackName, SystemClock};

use super::super::layout::InstanceDir;
use super::super::state::{MARK, RunSpec};
use super::board::Board;
use super::capture::Capture;
use super::hold::Hold;
use super::orphans::Mark;
use super::policy::{self, CRASH_LOOP, Ending, Next};
use super::probe;
use super::process::Process;

/// What an instance should do now.
#[derive(Debug)]
pub(super) struct Run {
    pub spec: RunSpec,
    pub identity: ContentHash,
    pub secrets: Arc<BTreeMap<String, Secret>>,
    /// Grows when an instance that has ended for good is to be started once more.
    pub attempt: u64,
}

/// A process that was up for this long starts anew with its count of ends.
const STEADY: Duration = Duration::from_secs(10);
/// Without a health check, a process counts as healthy when it has been up for this long; longer after it fell.
const SETTLE: Duration = Duration::from_millis(300);

/// Keeps one instance.
#[derive(Debug)]
pub(super) struct Keeper {
    pub stack: StackName,
    pub service: ServiceName,
    pub instance: u32,
    pub dir: InstanceDir,
    pub board: Board,
    pub hold: Hold,
    pub masker: Masker,
    pub goal: watch::Receiver<Option<Arc<Run>>>,
    pub process: Option<Process>,
    pub capture: Option<Capture>,
    /// How often it has ended in a row.
    pub in_a_row: u32,
    /// What it has ended for, for good.
    pub settled: Option<(ContentHash, u64)>,
    /// How it is stopped: by the spec it runs under.
    pub stopping: (i32, Duration),
}

impl Keeper {
    /// Runs until the goal is to be gone.
    pub async fn keep(mut self) {
        loop {
            let Some(run) = self.goal.borrow_and_update().clone() else {
                self.halt().await;
                // Asked again: it may be wanted once more by now. Between this and the return nobody else runs.
                if self.goal.borrow().is_some() {
                    continue;
                }
                self.board.remove(&self.service, self.instance);
                return;
            };
            if self.process.as_ref().is_some_and(|process| process.identity != Some(run.identity)) {
                self.halt().await;
                self.in_a_row = 0;
            }
            self.stopping = (run.spec.stop_signal, run.spec.stop_grace);
            if self.process.is_none() && !self.begin(&run).await {
                continue;
            }
            let Some(mut process) = self.process.take() else { continue };
            let (mut goal, started) = (self.goal.clone(), process.started);
            let ending = tokio::select! {
                changed = goal.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => return, // the supervisor ends; what runs goes on
                },
                ending = process.ended() => Some(ending),
                () = self.watch_health(&run, started) => None,
            };
            match ending {
                None => self.process = Some(process),
                Some(ending) => {
                    if started.elapsed() >= STEADY {
                        self.in_a_row = 0;
                    }
                    self.after(&run, ending).await;
                }
            }
        }
    }

    /// Starts a process, if this run is not over and nothing hinders; says whether to go on to watch it.
    async fn begin(&mut self, run: &Run) -> bool {
        if self.settled == Some((run.identity, run.attempt)) {
            self.new_goal().await;
            return false;
        }
        tokio::select! {
            () = self.new_goal() => return false,
            () = self.board.meets(run.spec.depends_on.iter()) => {}
        }
        tokio::select! {
            () = self.new_goal() => return false,
            () = self.hold.ours() => {}
        }
        // What a supervisor that was killed has left of it, without the process that led it.
        self.mark().end().await;
        match self.start(run) {
            Ok(mut process) => {
                // Another that took the lock since looks for what is there only after that: it cannot have seen this one.
                if !self.hold.is_ours() {
                    process.signal(Signal::KILL);
                    process.ended().await;
                    return false;
                }
                let (id, identity) = (process.id, process.identity);
                self.process = Some(process);
                let falling = self.in_a_row >= CRASH_LOOP;
                self.board.edit_instance(&self.service, self.instance, |state| {
                    let again = state.since.is_some() && state.identity == identity;
                    state.restarts = if again { state.restarts + 1 } else { 0 };
                    (state.process, state.identity) = (Some(id), identity);
                    state.since = Some(SystemClock.now());
                    state.waiting = None;
                    if !falling {
                        state.health = Health::Starting;
                    }
                });
                true
            }
            Err(why) => {
                self.after(run, Ending::NotStarted(why)).await;
                false
            }
        }
    }

    /// Returns when the goal is another; never when the supervisor ends.
    async fn new_goal(&self) {
        if self.goal.clone().changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn start(&mut self, run: &Run) -> Result<Process, String> {
        let environment = self.environment(run)?;
        std::fs::create_dir_all(self.dir.work()).map_err(|error| format!("its directory cannot be made: {error}"))?;
        self.capture.take_if(|capture| !capture.is_there());
        let capture = match &self.capture {
            Some(capture) => capture,
            None => {
                let started = Capture::start(self.dir.clone(), self.masker.clone());
                self.capture.insert(started.map_err(|error| format!("its output cannot be captured: {error}"))?)
            }
        };
        capture.forget();
        let (out, err) = capture.ends().map_err(|error| format!("its output cannot be captured: {error}"))?;
        let program = run.spec.argv.first().map(String::as_str).unwrap_or_default();
        let mut command = command(program, &self.work_dir(run), &environment);
        command.args(run.spec.argv.iter().skip(1)).env(MARK, self.dir.path()).stdout(out).stderr(err);
        Process::start(command, run.identity, self.mark()).map_err(|error| format!("{program}: {error}"))
    }

    fn mark(&self) -> Mark {
        Mark { instance: self.dir.path().to_owned(), hold: self.hold.clone() }
    }

    fn work_dir(&self, run: &Run) -> PathBuf {
        run.spec.working_dir.as_ref().map_or_else(|| self.dir.work(), PathBuf::from)
    }

    /// The whole environment: what the stack says, the search path, and where it is. Nothing is inherited.
    fn environment(&self, run: &Run) -> Result<BTreeMap<String, String>, String> {
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), run.spec.path.clone()),
            ("WINDFLOW_STACK".to_owned(), self.stack.to_string()),
            ("WINDFLOW_SERVICE".to_owned(), self.service.to_string()),
            ("WINDFLOW_REPLICA".to_owned(), self.instance.to_string()),
        ]);
        for (name, value) in &run.spec.environment {
            let value = match value {
                EnvValue::Plain(text) => text.clone(),
                EnvValue::Secret(_) => match run.secrets.get(name) {
                    Some(secret) => secret.expose().to_owned(),
                    None => {
                        let why = "it needs secrets, and this supervisor took over without them: apply again";
                        return Err(why.to_owned());
                    }
                },
            };
            environment.insert(name.clone(), value);
        }
        Ok(environment)
    }

    /// Does what the policy says after an end, waiting before the next start.
    async fn after(&mut self, run: &Run, ending: Ending) {
        self.in_a_row += 1;
        let last = match &self.capture {
            Some(capture) => capture.last_lines().await,
            None => Vec::new(),
        };
        let next = policy::next(&ending, &run.spec.restart, self.in_a_row, &last);
        let health = match &next {
            Next::Done(health) | Next::Again(_, health) => health.clone(),
        };
        self.board.edit_instance(&self.service, self.instance, |state| {
            (state.process, state.identity) = (None, Some(run.identity));
            state.health = health;
        });
        match next {
            Next::Done(_) => self.settled = Some((run.identity, run.attempt)),
            Next::Again(pause, _) => {
                // A new goal ends the pause; it is seen by the loop, because it is only looked at here.
                tokio::select! {
                    () = self.new_goal() => {}
                    () = sleep(pause) => {}
                }
            }
        }
    }

    /// Tells the health of a running process; never returns.
    async fn watch_health(&self, run: &Run, started: Instant) {
        let tell = |health: Health| {
            self.board.edit_instance(&self.service, self.instance, |state| {
                (state.health, state.waiting) = (health, None);
            });
        };
        let Some(check) = &run.spec.healthcheck else {
            let patience = SETTLE.saturating_mul(1 << self.in_a_row.min(5)).min(STEADY);
            sleep_until(started + patience).await;
            tell(Health::Healthy);
            return std::future::pending().await;
        };
        let mut failures = 0;
        loop {
            let healthy = self.board.health(&self.service, self.instance) == Some(Health::Healthy);
            let early = !healthy && started.elapsed() < grace(check);
            sleep(if failures == 0 && !healthy { FIRST_TRY } else { pace(check, early) }).await;
            match self.probe(run, check).await {
                Ok(()) => {
                    failures = 0;
                    tell(Health::Healthy);
                }
                Err(why) => {
                    // A failure while it is coming up does not count.
                    failures = if early { failures.max(1) } else { failures + 1 };
                    if !early && failures >= check.retries().max(1) {
                        tell(Health::Unhealthy { why });
                    } else if !healthy {
                        self.board.edit_instance(&self.service, self.instance, |state| state.waiting = Some(why));
                    }
                }
            }
        }
    }

    async fn probe(&self, run: &Run, check: &HealthCheck) -> Result<(), String> {
        // Only a program is given one: whether a port answers can be seen without the secrets of the service.
        let environment = match &check.probe {
            Probe::Exec(_) | Probe::Shell(_) => self.environment(run)?,
            _ => BTreeMap::new(),
        };
        let dir = self.work_dir(run);
        probe::try_once(&check.probe, check.timeout(), |program| command(program, &dir, &environment)).await
    }

    /// Stops the process: the signal, the grace, then the end. Reaches its whole group.
    async fn halt(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let (signal, grace) = self.stopping;
        process.signal(Signal::from_named_raw(signal).unwrap_or(Signal::TERM));
        if timeout(grace, process.ended()).await.is_err() {
            process.signal(Signal::KILL);
            process.ended().await;
        }
        self.board.edit_instance(&self.service, self.instance, |state| {
            (state.process, state.health) = (None, Health::Starting);
        });
    }
}

/// A program with this folder and this environment and no other.
fn command(program: &str, dir: &std::path::Path, environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env_clear().envs(environment);
    command
}

/// The first try comes at once: most services are up by then.
const FIRST_TRY: Duration = Duration::from_millis(50);

/// How long after the start failures do not count.
fn grace(check: &HealthCheck) -> Duration {
    check.start_period().max(check.interval())
}

fn pace(check: &HealthCheck, early: bool) -> Duration {
    let pace = match early {
        true => check.start_interval().min(check.interval()).min(Duration::from_secs(1)),
        false => check.interval(),
    };
    pace.max(Duration::from_millis(20))
}
