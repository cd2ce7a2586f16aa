//! A run driven, or followed, to where it stops by itself, with what happens shown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use windflow_core::run::{Event, Run, StepState};
use windflow_core::sink::Emitted;
use windflow_core::store::{Fault, Holder, WorkerId};
use windflow_core::{
    Clock as _, Engine, EventSink, Guarantee, NodeIndex, NodeName, OnUnknown, Principal, Recorded, Request, RunId,
    RunState, Seq, Store, StoreError, SubmitError, SystemClock, Timestamp, Workflow,
};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::{Interrupt, Wish};
use crate::render::progress::Progress;
use crate::render::{holder, json, report};
use crate::wire::Project;

/// How long an orderly end may take before the rest is left as if the process had died, which loses nothing.
const LEAVE: Duration = Duration::from_secs(15);

/// Wakes whoever watches, and keeps what steps say for it.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Notify,
    said: Mutex<Vec<(RunId, NodeName, String)>>,
}

impl EventSink for Bell {
    fn emit(&self, _emitted: &Emitted<'_>) {
        self.rung.notify_one();
    }

    fn progress(&self, run: &RunId, node: &NodeName, text: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever watches looks several times a second: more than this in between is not read by anybody.
        if said.len() < 1_000 {
            said.push((run.clone(), node.clone(), text.to_owned()));
        }
        self.rung.notify_one();
    }
}

/// A run read from its journal, record by record.
///
/// Not [`RunHandle::subscribe`](windflow_core::RunHandle::subscribe): that tells events and ends with its engine, and here
/// the run itself is wanted, the records written while the engine lets go belong to the story, and some commands look on
/// without an engine.
#[derive(Debug)]
pub struct Tail {
    store: Arc<dyn Store>,
    /// The run as of the last record read.
    pub run: Run,
}

impl Tail {
    /// The run as it is now, and every record of it.
    ///
    /// # Errors
    /// When there is no such run, or it cannot be read.
    pub async fn open(store: Arc<dyn Store>, id: &RunId) -> Result<(Self, Vec<Recorded>), Failure> {
        let unreadable = |why: String| Failure::unreadable(id, why);
        if let Some(why) = store.summary(id).await?.and_then(|summary| summary.unreadable()) {
            return Err(unreadable(why));
        }
        let mut records = store.journal(id, Seq(0)).await?.into_iter();
        let Some(first) = records.next() else {
            return Err(Failure::usage(format_args!("there is no run {id}"))
                .hint("list the runs of this state: windflow runs list"));
        };
        let Event::Created(created) = &first.event else {
            return Err(unreadable(format!("its journal begins with {}", first.event.kind())));
        };
        let bytes = store.blob(created.workflow).await?;
        let bytes = bytes.ok_or_else(|| unreadable("its workflow is not in the state".to_owned()))?;
        let plan = Workflow::from_bytes(&bytes).map_err(unreadable)?;
        let run = Run::replay(plan, [first.clone()]).map_err(|error| unreadable(error.to_string()))?;
        let rest = std::iter::once(first).chain(records).collect();
        Ok((Self { store, run }, rest))
    }

    /// The run as it is now.
    ///
    /// # Errors
    /// As [`Tail::open`].
    pub async fn read(store: Arc<dyn Store>, id: &RunId) -> Result<Run, Failure> {
        let (mut tail, records) = Self::open(store, id).await?;
        records.iter().try_for_each(|recorded| tail.fold(recorded))?;
        Ok(tail.run)
    }

    /// Folds one record in.
    ///
    /// # Errors
    /// When it does not fold.
    pub fn fold(&mut self, recorded: &Recorded) -> Result<(), Failure> {
        if recorded.seq > self.run.seq() {
            let done = self.run.apply(recorded.at, &recorded.event);
            done.map_err(|error| Failure::failed(format_args!("run {}: {error}", self.run.id())))?;
            while self.run.next_touched().is_some() {}
        }
        Ok(())
    }

    /// Who drives it, unless it is over.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn holder(&self) -> Result<Option<Holder>, StoreError> {
        if self.run.state().is_final() { Ok(None) } else { self.store.holder(self.run.id()).await }
    }

    /// The records since the last call.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn news(&self) -> Result<Vec<Recorded>, StoreError> {
        self.store.journal(self.run.id(), self.run.seq()).await
    }
}

/// Something has begun, and is to be gone on with: not reaching the state means another thing than before that.
fn begun(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Unavailable => Failure { exit: Exit::Left, ..failure },
        _ => failure,
    }
}

/// What became of the wish to cancel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cancel {
    No,
    Asked,
    NotRecorded,
    Recorded,
}

/// How a run is watched.
#[derive(Debug)]
pub struct Watch<'p> {
    /// Where it is shown.
    pub project: &'p Project,
    /// Who drives it, unless it is only followed.
    pub engine: &'p Engine,
    /// Rung by that engine.
    pub bell: &'p Bell,
    /// What the first line says: `running`, `resuming`.
    pub verb: &'static str,
    /// From which record on everything is news.
    pub from: Seq,
    /// Whether it was over before, and only its result is wanted.
    pub over: bool,
    /// Whether something was asked of it just now: how it is counts only once that has been taken in.
    pub asked: bool,
}

impl Watch<'_> {
    /// Shows a run until it is over or cannot go on by itself, then says how it came out. The engine is shut down.
    ///
    /// # Errors
    /// When the run cannot be read.
    pub async fn to_end(&self, id: &RunId, interrupt: &mut Interrupt) -> Result<Exit, Failure> {
        let output = &self.project.output;
        let (mut tail, records) = Tail::open(Arc::clone(self.engine.store()), id).await?;
        let mut progress = Progress::new(output.clone(), &tail.run);
        let begins = records.last().is_some_and(|last| last.seq > self.from || !self.over);
        if begins {
            progress.begin(&tail.run, self.verb);
        }
        for recorded in &records {
            tail.fold(recorded)?;
            progress.event(&tail.run, recorded, recorded.seq > self.from);
        }
        let left = self.watch(&mut tail, &mut progress, interrupt).await;
        progress.end();
        self.leave(interrupt).await;
        let left = left.map_err(begun)?;
        // What was decided while letting go of it belongs to the story.
        for recorded in tail.news().await.map_err(|error| begun(error.into()))? {
            tail.fold(&recorded)?;
            progress.event(&tail.run, &recorded, true);
        }
        let exit = if left && !tail.run.state().is_final() { Exit::Left } else { Exit::of_run(tail.run.state()) };
        report::report(output, &tail.run);
        output.line(&json::result(&tail.run, exit.code()));
        Ok(exit)
    }

    /// Until it is over, or somebody wants to leave; says which.
    async fn watch(
        &self,
        tail: &mut Tail,
        progress: &mut Progress,
        interrupt: &mut Interrupt,
    ) -> Result<bool, Failure> {
        let mut cancel = Cancel::No;
        let mut told = false;
        let mut elsewhere = None;
        let mut settled = !self.asked;
        loop {
            if !settled {
                // What is asked is taken in with the append that answers it.
                settled = self.engine.store().inbox(tail.run.id()).await?.is_empty();
                for recorded in tail.news().await? {
                    tail.fold(&recorded)?;
                    progress.event(&tail.run, &recorded, true);
                }
            }
            for (run, node, said) in std::mem::take(&mut *self.bell.said.lock().unwrap_or_else(PoisonError::into_inner))
            {
                if run == *tail.run.id() {
                    progress.say(&tail.run, &node, &said);
                }
            }
            if matches!(cancel, Cancel::Asked | Cancel::NotRecorded) {
                cancel = self.cancel(tail.run.id(), cancel, progress).await?;
            }
            self.tell_holder(tail, progress, &mut elsewhere).await?;
            if let Some(why) = self.engine.why_left_alone(tail.run.id()) {
                let id = tail.run.id();
                let failure = Failure::from(why);
                let hint = failure.hint.as_ref().map(|hint| format!("{hint}; ")).unwrap_or_default();
                let resume = report::driving(&tail.run, &format!("windflow resume {id}"));
                let hint = match cancel {
                    Cancel::NotRecorded => {
                        format!("{hint}the cancel is not recorded: windflow runs cancel {id}, then {resume}")
                    }
                    _ => format!("{hint}then go on with it: {resume}"),
                };
                return Err(failure.hint(hint));
            }
            let state = tail.run.state();
            let rests = matches!(state, RunState::Stuck | RunState::Paused) && !self.is_open(tail);
            if settled && (state.is_final() || rests) {
                return Ok(false);
            }
            // Somebody who comes to a run that waits has not seen why; everybody else has.
            if !std::mem::replace(&mut told, true) && state == RunState::Waiting {
                report::waits(&tail.run).iter().for_each(|line| progress.note(&format!("  {line}")));
            }
            progress.hint = match state {
                _ if elsewhere.is_some() => "Ctrl-C leaves it to whoever drives it",
                RunState::Waiting => "Ctrl-C leaves it waiting",
                _ if cancel != Cancel::No => "Ctrl-C leaves it as it is",
                _ => "Ctrl-C cancels",
            };
            progress.draw(&tail.run, SystemClock.now());
            tokio::select! {
                biased;
                wish = interrupt.wish() => match (wish, state) {
                    (Wish::Leave, _) => {
                        progress.note("leaving; `windflow resume` goes on");
                        if cancel == Cancel::NotRecorded {
                            let id = tail.run.id();
                            progress.note(&format!("  the cancel is not recorded: windflow runs cancel {id}"));
                        }
                        for node in self.doubtful(&tail.run) {
                            progress.note(&format!("  {node} is ended in the middle: what it did must then be decided"));
                        }
                        return Ok(true);
                    }
                    (Wish::Cancel, RunState::Waiting | RunState::Paused) => return Ok(true),
                    (Wish::Cancel, _) if self.engine.active() == 0 => {
                        progress.note("leaving it to whoever drives it; `windflow runs cancel` cancels it");
                        return Ok(true);
                    }
                    (Wish::Cancel, _) => {
                        cancel = Cancel::Asked;
                        progress.note("cancelling, and undoing what was done; Ctrl-C again leaves it as it is");
                    }
                },
                () = self.bell.rung.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            for recorded in tail.news().await? {
                tail.fold(&recorded)?;
                progress.event(&tail.run, &recorded, true);
            }
        }
    }

    /// The steps under way of which nobody will be able to tell what they did.
    fn doubtful(&self, run: &Run) -> Vec<NodeName> {
        let (plan, actions) = (run.workflow(), self.project.actions(true));
        let asks = |at: &NodeIndex| {
            let spec = plan.node(*at);
            let guarantee = actions.get(&spec.uses).map(|action| action.guarantee(&run.step_input(*at)));
            guarantee == Some(Guarantee::AtLeastOnce) && spec.on_unknown == OnUnknown::Stuck
        };
        let running = plan.indices().filter(|at| run.step(*at).state == StepState::Running);
        running.filter(asks).map(|at| plan.node(at).name.clone()).collect()
    }

    fn is_open(&self, tail: &Tail) -> bool {
        tail.run.summary().wake_at == Some(Timestamp(0))
    }

    /// Says who else drives the run, once for each who does, and when it goes on here instead.
    async fn tell_holder(&self, tail: &Tail, progress: &Progress, told: &mut Option<WorkerId>) -> Result<(), Failure> {
        let id = tail.run.id();
        match self.elsewhere(tail).await? {
            Some(holder) if told.as_ref() != Some(&holder.worker) => {
                let hint = "it goes on here when that ends; Ctrl-C leaves it there";
                progress.note(&format!("  {}; {hint}", holder::sentence(&holder)));
                self.project.output.line(&json::held(id, &holder));
                *told = Some(holder.worker);
            }
            None if told.is_some() => {
                progress.note("  it is no longer driven there");
                *told = None;
            }
            _ => {}
        }
        Ok(())
    }

    /// Who else drives it.
    async fn elsewhere(&self, tail: &Tail) -> Result<Option<Holder>, Failure> {
        let holder = if self.engine.active() > 0 { None } else { tail.holder().await? };
        Ok(holder.filter(|holder| holder.worker != *self.engine.worker()))
    }

    async fn cancel(&self, id: &RunId, before: Cancel, progress: &mut Progress) -> Result<Cancel, Failure> {
        let request = Request::Cancel { reason: "Ctrl-C".to_owned() };
        match self.engine.submit(id, request, self.principal(), None).await {
            // It was over before the key was pressed, and says so by itself.
            Ok(_) | Err(SubmitError::Refused { .. }) => Ok(Cancel::Recorded),
            Err(SubmitError::Store(error)) if matches!(error.fault, Fault::Full | Fault::Unavailable) => {
                if before == Cancel::Asked {
                    progress.note(&format!("  the cancel cannot be recorded yet, and is tried again: {error}"));
                }
                Ok(Cancel::NotRecorded)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn principal(&self) -> Principal {
        self.project.principal()
    }

    /// Gives everything back in good order, within bounds.
    async fn leave(&self, interrupt: &mut Interrupt) {
        leave(self.engine, interrupt).await;
    }
}

/// Shuts an engine down in good order; another Ctrl-C, or too much time, ends it at once.
pub async fn leave(engine: &Engine, interrupt: &mut Interrupt) {
    tokio::select! {
        () = engine.shutdown() => {}
        _ = interrupt.wish() => {}
        () = tokio::time::sleep(LEAVE) => {}
    }
}
