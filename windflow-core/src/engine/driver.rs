//! Owns one run while it is active: takes in news, makes decisions durable, starts what is owed, stops what is not.
//!
//! First start, retry, cancel, compensation and recovery all pass through [`Driver::reconcile`]: it compares the tasks
//! that run with the commands the run owes. There is no second program for any of them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::builder::Inner;
use super::chunk;
use super::durable::Decided;
use super::error::WaitError;
use super::handle::Report;
use super::hub::Known;
use super::mailbox::{Mailbox, Message};
use super::open::Open;
use super::perform::task;
use super::reporter::Reporter;
use super::stop::Stop;
use super::task::Task;
use crate::action::RunScope;
use crate::id::NodeIndex;
use crate::outcome::StepError;
use crate::planted::{Bug, is_planted};
use crate::run::{Command, Event, Footing, Input, Refused, Run, RunState};
use crate::store::{Fault, Lease, StoreError};
use crate::time::Timestamp;

/// A run that only waits, and for longer than this, is given back to the store.
const LINGER: Duration = Duration::from_secs(5);

pub(super) struct Driver {
    pub(super) inner: Arc<Inner>,
    pub(super) lease: Lease,
    pub(super) run: Run,
    pub(super) mailbox: Arc<Mailbox>,
    scope: Arc<RunScope>,
    /// What runs for the run.
    pub(super) open: Open,
    /// What ends that.
    pub(super) stop: Stop,
    checkpoints: Vec<oneshot::Sender<Result<(), StepError>>>,
    /// Whether the lease was given back with the last append.
    pub(super) released: bool,
    /// How the run stood when tasks were last held against it.
    footing: Footing,
    /// Whether it is about to let go of the run.
    pub(super) leaving: bool,
    /// Whether those who wait were told that it cannot go on by itself.
    halted: bool,
    /// News that wait to be taken in, what they come to, and tasks that wait to be started: room that is kept, because a
    /// step that does nothing costs little more than the allocations made for it.
    pub(super) news: Vec<Input>,
    events: Vec<Event>,
    tasks: Vec<Task>,
}

/// How a run was left.
pub(super) struct Rest {
    /// Whether it is over.
    pub(super) over: bool,
    /// When it wants to be driven again.
    pub(super) wake_at: Option<Timestamp>,
}

impl Rest {
    /// Somebody has to look.
    const UNKNOWN: Self = Self { over: false, wake_at: Some(Timestamp(0)) };
}

/// Why a driver stopped.
pub(super) enum End {
    /// The run needs nobody now.
    Rest,
    /// Somebody else owns it, or its decisions cannot be made durable: what is in memory means nothing.
    Lost(StoreError),
    /// The engine has a bug, and the run must not suffer from it.
    Bug(String),
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        Self::Bug(refused.to_string())
    }
}

impl Driver {
    pub(super) fn new(inner: Arc<Inner>, lease: Lease, run: Run, mailbox: Arc<Mailbox>) -> Self {
        let reporter = Reporter {
            inner: Arc::clone(&inner),
            run: run.id().clone(),
            workflow: Arc::clone(run.workflow()),
            mailbox: Arc::clone(&mailbox),
        };
        let scope = RunScope {
            run: run.id().clone(),
            namespace: run.namespace().clone(),
            epoch: lease.epoch,
            services: Arc::clone(&inner.services),
            reporter: Arc::new(reporter),
        };
        Self {
            open: Open::of(run.workflow().len()),
            footing: run.footing(),
            lease,
            run,
            mailbox,
            scope: Arc::new(scope),
            news: Vec::new(),
            events: Vec::new(),
            tasks: Vec::new(),
            stop: Stop::new(&inner.kill),
            checkpoints: Vec::new(),
            released: false,
            leaving: false,
            halted: false,
            inner,
        }
    }

    /// Drives the run until it needs nobody. `claimed` says that it was taken from the store, and not created just now:
    /// whatever is open in it was left by somebody else. Answers how it is left.
    pub(super) async fn drive(mut self, claimed: bool) -> Rest {
        let kill = self.inner.kill.clone();
        let end = tokio::select! {
            biased;
            () = kill.cancelled() => return Rest::UNKNOWN,
            end = self.work(claimed) => end,
        };
        self.stop.cut.all.cancel();
        let id = self.run.id().clone();
        let rest = match end {
            Ok(()) => Rest { over: self.run.state().is_final(), wake_at: self.run.summary().wake_at },
            Err(_) => Rest::UNKNOWN,
        };
        let end = match end {
            Err(end) => end,
            Ok(()) => End::Rest,
        };
        match end {
            End::Rest => {}
            // What is in memory means nothing any more: whoever takes the run next reads it anew, under a new epoch,
            // which fences out whatever may still be on its way to the store.
            End::Lost(error) => {
                tracing::warn!(run = %id, %error, "the run is given up here");
                // Not when somebody else has it, or it only has to be read again: then all is well.
                if !matches!(error.fault, Fault::Fenced | Fault::Conflict | Fault::Unknown) {
                    self.inner.leave_aside(&id, error.into());
                }
            }
            End::Bug(error) => {
                tracing::error!(run = %id, %error, "the engine does not know how to go on");
                let why = WaitError::Unreadable { run: id.clone(), why: error };
                self.inner.leave_aside(&id, why);
            }
        }
        if !self.released {
            self.give_back().await;
        }
        rest
    }

    async fn work(&mut self, claimed: bool) -> Result<(), End> {
        if claimed {
            let (asked, consumed) = self.asked().await?;
            self.news.push(Input::Claimed { epoch: self.lease.epoch });
            self.news.extend(asked);
            self.news.push(Input::Woke);
            self.take_in(consumed).await?;
            self.look_after_children();
        } else {
            // Not everything may begin with the run itself.
            self.news.push(Input::Woke);
        }
        self.tell();
        loop {
            self.reconcile().await;
            let messages = self.mailbox.take();
            if self.news.is_empty() && messages.is_empty() {
                if self.rests()? {
                    return Ok(());
                }
                if self.wait().await {
                    return self.let_go().await;
                }
                self.news.push(Input::Woke);
                self.drop_late();
            }
            let mut look = false;
            for message in messages {
                match message {
                    Message::Input(input) => self.news.push(input),
                    Message::Inputs(inputs) => self.news.extend(inputs),
                    Message::Checkpoint { node, attempt, value, done } => {
                        let input = self.checkpoint(node, attempt, value, done);
                        self.news.extend(input);
                    }
                    Message::Inbox => look = true,
                }
            }
            let mut consumed = Vec::new();
            if look {
                // What people ask comes before what follows by itself: after a cancel nothing new starts.
                let (asked, entries) = self.asked().await?;
                self.news.splice(0..0, asked);
                consumed = entries;
            }
            self.take_in(consumed).await?;
            self.tell();
            if self.released {
                return Ok(());
            }
        }
    }

    /// The news of a checkpoint; nothing when the journal may not grow any more.
    pub(super) fn checkpoint(
        &mut self,
        node: NodeIndex,
        attempt: u32,
        value: Value,
        done: oneshot::Sender<Result<(), StepError>>,
    ) -> Option<Input> {
        if let Some(error) = self.run.no_checkpoint() {
            // Whoever waits may have been stopped meanwhile.
            let _ = done.send(Err(error));
            return None;
        }
        self.checkpoints.push(done);
        Some(Input::Checkpointed { node, attempt, value })
    }

    /// What is asked of the run by whoever does not hold it, and the entries that say so.
    async fn asked(&self) -> Result<(Vec<Input>, Vec<u64>), End> {
        let mut patience = self.patience();
        let entries = loop {
            match self.inner.store.inbox(self.run.id()).await {
                Ok(entries) => break entries,
                // It stays there for whoever takes the run next; what has ended here must still be written down.
                Err(_) if self.inner.closing.is_cancelled() => break Vec::new(),
                Err(error) => tokio::select! {
                    waited = patience.wait(self, error) => waited?,
                    () = self.inner.closing.cancelled() => {}
                },
            }
        };
        let asked = entries.into_iter().map(|entry| {
            let (request, principal) = (entry.submission.request, entry.submission.principal);
            (Input::Asked { request, principal }, entry.id)
        });
        Ok(asked.unzip())
    }

    /// Decides what the news means, makes it durable, tells. Nothing is done about a decision before it is durable.
    pub(super) async fn take_in(&mut self, consumed: Vec<u64>) -> Result<(), End> {
        let (after, now) = (self.run.seq(), self.inner.now());
        let mut news = std::mem::take(&mut self.news);
        for input in news.drain(..) {
            self.close(&input);
            self.run.advance_into(now, input, !self.leaving, &mut self.events)?;
        }
        self.news = news;
        if is_planted(Bug::SkipDurableStart) {
            self.reconcile().await;
            let ended = std::mem::take(&mut self.news);
            if !ended.is_empty() {
                self.mailbox.push(Message::Inputs(ended));
            }
        }
        if !self.events.is_empty() || !consumed.is_empty() {
            let events: Arc<[Event]> = self.events.drain(..).collect();
            let kin = self.kin(&events, self.run.updated_at())?;
            self.append(Decided { after, at: self.run.updated_at(), events, consumed, kin }).await?;
        }
        for done in self.checkpoints.drain(..) {
            // Whoever waits may have been stopped meanwhile.
            let _ = done.send(Ok(()));
        }
        Ok(())
    }

    /// Compares what runs with what is owed: starts what is missing, asks what is no longer owed to stop. What ends at
    /// once is news.
    async fn reconcile(&mut self) {
        let alone = self.open.is_empty();
        if alone && self.stop.late_at.is_some() {
            self.stop = Stop::new(&self.inner.kill);
        }
        let mut surplus = false;
        if self.asks_in_vain() {
            surplus = self.ask_no_longer();
        }
        while let Some(node) = self.run.next_touched() {
            let owed = self.run.owed(node);
            match (self.open.at(node), owed) {
                (Some(open), Some(owed)) if open == owed => {}
                (Some(open), _) if open.is_question() => surplus |= self.ask_no_longer(),
                (Some(_), _) => surplus = true,
                (None, Some(owed)) => self.begin(owed),
                (None, None) => self.news.extend(never_began(&self.run, node)),
            }
        }
        if let Some(outputs) = self.run.owed_outputs()
            && !self.open.outputs()
        {
            self.begin(outputs);
        }
        if surplus && self.stop.late_at.is_none() {
            self.stop.asked.cancel();
            self.stop.late_at = Some(self.inner.now().after(self.inner.grace));
        }
        if !self.tasks.is_empty() {
            chunk::start(&mut self.tasks, alone, &self.mailbox, &self.stop.cut, &mut self.news).await;
        }
    }

    fn begin(&mut self, command: Command) {
        self.open.insert(command);
        self.tasks.extend(task(&self.inner, &self.run, &self.scope, &self.stop.asked, command));
    }

    /// Whether a question is open that is not wanted any more, although no step was touched for that.
    fn asks_in_vain(&mut self) -> bool {
        let footing = self.run.footing();
        let moved = std::mem::replace(&mut self.footing, footing) != footing;
        let wanted = |open: &Command| open.node().and_then(|node| self.run.owed(node)) == Some(*open);
        let about_nodes = || self.open.commands().filter(|open| open.is_question()).any(|open| !wanted(&open));
        self.open.outputs() && self.run.owed_outputs().is_none() || moved && self.open.is_asking() && about_nodes()
    }

    /// Does without the answer to a question. Whether anything else has to stop for that.
    fn ask_no_longer(&mut self) -> bool {
        if is_planted(Bug::StopBesideQuestions) {
            return true;
        }
        self.drop_questions();
        false
    }

    /// Drops all questions: one of them is not wanted any more, and to ask the others again costs little.
    pub(super) fn drop_questions(&mut self) {
        self.stop.drop_questions();
        self.tasks.retain(|task| !task.is_question());
        for node in self.open.drop_questions() {
            self.run.touch(node);
        }
    }

    /// Notes that a task has ended.
    pub(super) fn close(&mut self, input: &Input) {
        let command = match *input {
            Input::Ended { node, attempt, .. } => Command::Execute { node, attempt },
            Input::Observed { node, attempt, .. } => Command::Observe { node, attempt },
            Input::Compensated { node, attempt, .. } => Command::Compensate { node, attempt },
            Input::Evaluated { subject, .. } => Command::Evaluate(subject),
            _ => return,
        };
        // It was surplus, or what is owed now waited for it to end.
        if self.open.remove(command)
            && let Some(node) = command.node()
        {
            self.run.touch(node);
        }
    }

    /// Whether the run needs nobody for a while.
    fn rests(&self) -> Result<bool, End> {
        if !self.open.is_empty() {
            return Ok(false);
        }
        let state = self.run.state();
        if self.run.has_work() {
            // It would be found due again at once, and again.
            return Err(End::Bug(format!("it is {state}, and nothing is owed")));
        }
        if state.is_final() || matches!(state, RunState::Stuck | RunState::Paused) {
            return Ok(true);
        }
        let near = self.inner.now().after(LINGER);
        Ok(self.run.next_alarm().is_none_or(|at| at > near))
    }

    /// Waits for news or for the next alarm. Says whether the engine is closing.
    async fn wait(&self) -> bool {
        let alarm = [self.run.next_alarm(), self.stop.late_at].into_iter().flatten().min();
        let clock = &self.inner.services.clock;
        tokio::select! {
            biased;
            () = self.mailbox.wait() => false,
            () = self.inner.closing.cancelled() => true,
            () = async {
                match alarm {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => false,
        }
    }

    /// Tells whoever waits in this process.
    fn tell(&mut self) {
        let state = self.run.state();
        let halted = state.is_final() || matches!(state, RunState::Stuck | RunState::Paused);
        if halted {
            self.inner.hub.tell(self.run.id(), Known::Ended(Arc::new(Report::of(&self.run))));
        } else if self.halted || self.inner.hub.is_followed() {
            self.inner.hub.grew(self.run.id());
        }
        self.halted = halted;
    }
}

/// The end of an attempt that was decided together with what stopped it: nobody has begun it, and nobody will.
fn never_began(run: &Run, node: NodeIndex) -> Option<Input> {
    let command = run.started(node)?;
    let error = StepError::retryable("cancelled", "it was stopped before it began");
    match command {
        Command::Execute { node, attempt } => Some(Input::Ended { node, attempt, result: Err(error) }),
        Command::Compensate { node, attempt } => Some(Input::Compensated { node, attempt, result: Err(error) }),
        Command::Observe { .. } | Command::Evaluate(_) | Command::WakeAt(_) => None,
    }
}
