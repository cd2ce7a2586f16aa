//! Owns one run while it is active: takes in news, makes decisions durable, starts what is owed, stops what is not.
//!
//! First start, retry, cancel, compensation and recovery all pass through [`Driver::reconcile`]: it compares the tasks
//! that run with the commands the run owes. There is no second program for any of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::aside::is_for_good;
use super::builder::Inner;
use super::chunk;
use super::error::WaitError;
use super::handle::Report;
use super::hub::Known;
use super::mailbox::{Mailbox, Message};
use super::perform::task;
use super::reporter::Reporter;
use super::task::Task;
use crate::action::RunScope;
use crate::id::{NodeIndex, Seq};
use crate::outcome::StepError;
use crate::planted::{Bug, is_planted};
use crate::run::{Command, Event, Input, Recorded, Refused, Run, RunState};
use crate::sink::Emitted;
use crate::store::{Batch, Fault, Lease, StoreError};
use crate::time::Timestamp;

/// A run that only waits, and for longer than this, is given back to the store.
const LINGER: Duration = Duration::from_secs(5);
/// How long it waits before it tries again for the first time.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// How long a driver tries to make a decision durable while the store does not answer or is full.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Driver {
    inner: Arc<Inner>,
    lease: Lease,
    run: Run,
    mailbox: Arc<Mailbox>,
    scope: Arc<RunScope>,
    /// What runs for the run, by node; the output's evaluation stands under no node.
    open: BTreeMap<Option<NodeIndex>, Command>,
    /// Asks the open attempts to stop.
    stop: CancellationToken,
    /// Ends their tasks.
    drop: CancellationToken,
    /// When attempts that were asked to stop are dropped.
    drop_at: Option<Timestamp>,
    checkpoints: Vec<oneshot::Sender<Result<(), StepError>>>,
    /// Whether the lease was given back with the last append.
    released: bool,
}

/// Why a driver stopped.
enum End {
    /// The run needs nobody now.
    Rest,
    /// Somebody else owns it, or its decisions cannot be made durable: what is in memory means nothing.
    Lost(StoreError),
    /// The engine has a bug, and the run must not suffer from it.
    Bug(Refused),
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        Self::Bug(refused)
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
            lease,
            run,
            mailbox,
            scope: Arc::new(scope),
            open: BTreeMap::new(),
            stop: CancellationToken::new(),
            drop: inner.kill.child_token(),
            drop_at: None,
            checkpoints: Vec::new(),
            released: false,
            inner,
        }
    }

    /// Drives the run until it needs nobody. `claimed` says that it was taken from the store, and not created just now:
    /// whatever is open in it was left by somebody else. Answers whether the run is over.
    pub(super) async fn drive(mut self, claimed: bool) -> bool {
        let kill = self.inner.kill.clone();
        let end = tokio::select! {
            biased;
            () = kill.cancelled() => return false,
            end = self.work(claimed) => end,
        };
        self.drop.cancel();
        let id = self.run.id().clone();
        let over = end.is_ok() && self.run.state().is_final();
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
                if is_for_good(&error.clone().into()) {
                    self.inner.aside.leave(&id, error.into(), self.inner.now());
                }
            }
            End::Bug(error) => {
                tracing::error!(run = %id, %error, "the engine refused its own decision");
                let why = WaitError::Unreadable { run: id.clone(), why: error.to_string() };
                self.inner.aside.leave(&id, why, self.inner.now());
            }
        }
        if !self.released {
            self.give_back().await;
        }
        over
    }

    /// Gives the lease back, however long the store is away: a lease that is kept and not used would be renewed for
    /// ever, and nobody else could take the run.
    async fn give_back(&self) {
        let mut delay = Duration::from_millis(100);
        while let Err(error) = self.inner.store.release(&self.lease).await {
            tracing::warn!(run = %self.run.id(), %error, "the lease could not be given back");
            if self.inner.closing.is_cancelled() {
                return;
            }
            self.inner.services.clock.sleep_until(self.inner.now().after(delay)).await;
            delay = (delay * 2).min(Duration::from_secs(5));
        }
    }

    async fn work(&mut self, claimed: bool) -> Result<(), End> {
        if claimed {
            let (mut inputs, consumed) = self.asked().await?;
            inputs.insert(0, Input::Claimed { epoch: self.lease.epoch });
            inputs.push(Input::Woke);
            self.take_in(inputs, consumed).await?;
        }
        self.tell();
        loop {
            let mut ended = self.reconcile().await;
            let messages = self.mailbox.take();
            if ended.is_empty() && messages.is_empty() {
                if self.rests() {
                    return Ok(());
                }
                if self.wait().await {
                    return self.let_go().await;
                }
                ended.push(Input::Woke);
                self.drop_late(&mut ended);
            }
            let mut look = false;
            for message in messages {
                match message {
                    Message::Input(input) => ended.push(input),
                    Message::Inputs(inputs) => ended.extend(inputs),
                    Message::Checkpoint { node, attempt, value, done } => {
                        ended.extend(self.checkpoint(node, attempt, value, done));
                    }
                    Message::Inbox => look = true,
                }
            }
            let mut consumed = Vec::new();
            if look {
                // What people ask comes before what follows by itself: after a cancel nothing new starts.
                let (mut asked, entries) = self.asked().await?;
                asked.append(&mut ended);
                (ended, consumed) = (asked, entries);
            }
            self.take_in(ended, consumed).await?;
            self.tell();
            if self.released {
                return Ok(());
            }
        }
    }

    /// The news of a checkpoint; nothing when the journal may not grow any more.
    fn checkpoint(
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
        let entries = self.inner.store.inbox(self.run.id()).await.map_err(End::Lost)?;
        let asked = entries.into_iter().map(|entry| {
            let (request, principal) = (entry.submission.request, entry.submission.principal);
            (Input::Asked { request, principal }, entry.id)
        });
        Ok(asked.unzip())
    }

    /// Decides, makes durable, tells. Nothing is done about the decisions before they are durable.
    async fn take_in(&mut self, inputs: Vec<Input>, consumed: Vec<u64>) -> Result<(), End> {
        let (after, now) = (self.run.seq(), self.inner.now());
        let mut events = Vec::new();
        for input in inputs {
            self.close(&input);
            events.extend(self.run.advance(now, input)?);
        }
        if is_planted(Bug::SkipDurableStart) {
            let ended = self.reconcile().await;
            if !ended.is_empty() {
                self.mailbox.push(Message::Inputs(ended));
            }
        }
        if !events.is_empty() || !consumed.is_empty() {
            let at = self.run.updated_at();
            self.append(after, at, events, consumed).await?;
        }
        for done in self.checkpoints.drain(..) {
            // Whoever waits may have been stopped meanwhile.
            let _ = done.send(Ok(()));
        }
        Ok(())
    }

    async fn append(&mut self, after: Seq, at: Timestamp, events: Vec<Event>, consumed: Vec<u64>) -> Result<(), End> {
        let batch = Batch {
            lease: self.lease.clone(),
            after,
            at,
            events: events.into(),
            summary: self.run.summary(),
            consumed,
            release: self.open.is_empty() && self.run.state().is_final(),
        };
        let give_up_at = self.inner.now().after(PATIENCE);
        let mut delay = FIRST_DELAY;
        loop {
            let Err(error) = self.inner.store.append(batch.clone()).await else { break };
            match error.fault {
                // It may have happened: nothing is decided before that is known.
                Fault::Unknown if is_planted(Bug::UnknownCommitIsSuccess) || self.is_durable(&batch).await => break,
                Fault::Unavailable | Fault::Full if self.inner.now() < give_up_at => {
                    // Told once where people see it: until it is over, the run stands still.
                    if delay == FIRST_DELAY {
                        tracing::error!(run = %self.run.id(), %error, "the run waits for its state file");
                    } else {
                        tracing::warn!(run = %self.run.id(), %error, "a decision is not durable yet");
                    }
                    self.inner.services.clock.sleep_until(self.inner.now().after(delay)).await;
                    delay = (delay * 2).min(Duration::from_secs(2));
                }
                _ => return Err(End::Lost(error)),
            }
        }
        self.released = batch.release;
        self.emit(&batch);
        Ok(())
    }

    /// Whether a batch is there after all. When that cannot be found out either, the run is given up: the next claim
    /// fences out whatever may still be on its way.
    async fn is_durable(&self, batch: &Batch) -> bool {
        match self.inner.store.journal(self.run.id(), batch.after).await {
            Ok(found) => {
                found.len() == batch.events.len()
                    && found.iter().zip(batch.events.iter()).all(|(a, b)| a.epoch == batch.lease.epoch && a.event == *b)
            }
            Err(_) => false,
        }
    }

    fn emit(&self, batch: &Batch) {
        if self.inner.sinks.is_empty() {
            return;
        }
        let recorded = record(batch.after, batch.at, batch.lease.epoch, &batch.events);
        let emitted = Emitted { run: self.run.id(), workflow: self.run.workflow(), events: &recorded };
        self.inner.sinks.iter().for_each(|sink| sink.emit(&emitted));
    }

    /// Compares what runs with what is owed: starts what is missing, asks what is no longer owed to stop. Returns the
    /// news of what ended at once.
    async fn reconcile(&mut self) -> Vec<Input> {
        let mut missing = Vec::new();
        let mut surplus = false;
        for node in self.run.take_touched() {
            let owed = self.run.owed(node);
            match (self.open.get(&Some(node)), owed) {
                (Some(open), Some(owed)) if *open == owed => {}
                (Some(_), _) => surplus = true,
                (None, Some(owed)) => missing.push(owed),
                (None, None) => {}
            }
        }
        if let Some(outputs) = self.run.owed_outputs()
            && !self.open.contains_key(&None)
        {
            missing.push(outputs);
        }
        if surplus && self.drop_at.is_none() {
            self.stop.cancel();
            self.drop_at = Some(self.inner.now().after(self.inner.grace));
        }
        if self.open.is_empty() && self.drop_at.take().is_some() {
            (self.stop, self.drop) = (CancellationToken::new(), self.inner.kill.child_token());
        }
        let alone = self.open.is_empty();
        let mut tasks: Vec<Task> = Vec::with_capacity(missing.len());
        for command in missing {
            // A node named twice is started once.
            if self.open.insert(slot(&command), command).is_none() {
                tasks.extend(task(&self.inner, &self.run, &self.scope, &self.stop, command));
            }
        }
        if tasks.is_empty() { Vec::new() } else { chunk::start(tasks, alone, &self.mailbox, &self.drop).await }
    }

    /// Notes that a task has ended.
    fn close(&mut self, input: &Input) {
        let (node, attempt) = match input {
            Input::Ended { node, attempt, .. }
            | Input::Observed { node, attempt, .. }
            | Input::Compensated { node, attempt, .. } => (Some(*node), Some(*attempt)),
            Input::Evaluated { subject, .. } => (subject.node(), None),
            _ => return,
        };
        let same = self.open.get(&node).is_some_and(|open| match open {
            Command::Execute { attempt: of, .. }
            | Command::Observe { attempt: of, .. }
            | Command::Compensate { attempt: of, .. } => attempt == Some(*of),
            Command::Evaluate(_) | Command::WakeAt(_) => attempt.is_none(),
        });
        if same {
            self.open.remove(&node);
            // It was surplus, or what is owed now waited for it to end.
            if let Some(node) = node {
                self.run.touch(node);
            }
        }
    }

    /// Drops attempts that were asked to stop and did not: nobody knows how they ended.
    fn drop_late(&mut self, ended: &mut Vec<Input>) {
        if self.drop_at.is_none_or(|at| at > self.inner.now()) {
            return;
        }
        self.drop.cancel();
        let error = || StepError::unknown("stopped", "the attempt did not stop within the grace period");
        for command in self.open.values() {
            match *command {
                Command::Execute { node, attempt } => {
                    ended.push(Input::Ended { node, attempt, result: Err(error()) });
                }
                Command::Compensate { node, attempt } => {
                    ended.push(Input::Compensated { node, attempt, result: Err(error()) });
                }
                _ => {}
            }
        }
        self.open.retain(|_, command| matches!(command, Command::Execute { .. } | Command::Compensate { .. }));
    }

    /// Whether the run needs nobody for a while.
    fn rests(&self) -> bool {
        if !self.open.is_empty() {
            return false;
        }
        let state = self.run.state();
        if state.is_final() || matches!(state, RunState::Stuck | RunState::Paused) {
            return true;
        }
        let near = self.inner.now().after(LINGER);
        state != RunState::Running && self.run.next_alarm().is_none_or(|at| at > near)
    }

    /// Waits for news or for the next alarm. Says whether the engine is closing.
    async fn wait(&self) -> bool {
        let alarm = [self.run.next_alarm(), self.drop_at].into_iter().flatten().min();
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

    /// Brings the open attempts to an end, writes down which have ended well, and lets go of the run: whoever takes it
    /// next closes what is left open.
    async fn let_go(&mut self) -> Result<(), End> {
        self.stop.cancel();
        let until = self.inner.now().after(self.inner.grace);
        while !self.open.is_empty() {
            tokio::select! {
                biased;
                () = self.mailbox.wait() => {}
                () = self.inner.services.clock.sleep_until(until) => break,
            }
            let mut done = Vec::new();
            let messages = self.mailbox.take();
            let inputs = messages.into_iter().flat_map(|message| match message {
                Message::Input(input) => vec![input],
                Message::Inputs(inputs) => inputs,
                Message::Checkpoint { node, attempt, value, done } => {
                    self.checkpoint(node, attempt, value, done).into_iter().collect()
                }
                Message::Inbox => Vec::new(),
            });
            for input in inputs.collect::<Vec<_>>() {
                match &input {
                    // It failed because it was told to stop: that is not the step's failure.
                    Input::Ended { result: Err(_), .. } | Input::Compensated { result: Err(_), .. } => {
                        self.close(&input);
                    }
                    _ => done.push(input),
                }
            }
            self.take_in(done, Vec::new()).await?;
        }
        self.take_in(vec![Input::Released], Vec::new()).await
    }

    /// Tells whoever waits in this process.
    fn tell(&self) {
        let state = self.run.state();
        if state.is_final() || matches!(state, RunState::Stuck | RunState::Paused) {
            self.inner.hub.tell(self.run.id(), Known::Ended(Arc::new(Report::of(&self.run))));
        } else {
            self.inner.hub.grew(self.run.id());
        }
    }
}

fn slot(command: &Command) -> Option<NodeIndex> {
    match command {
        Command::Execute { node, .. } | Command::Observe { node, .. } | Command::Compensate { node, .. } => Some(*node),
        Command::Evaluate(subject) => subject.node(),
        Command::WakeAt(_) => None,
    }
}

/// Events at their places.
pub(super) fn record(after: Seq, at: Timestamp, epoch: crate::id::Epoch, events: &[Event]) -> Vec<Recorded> {
    (after.0 + 1..)
        .zip(events)
        .map(|(seq, event)| Recorded { seq: Seq(seq), at, epoch, event: event.clone() })
        .collect()
}
