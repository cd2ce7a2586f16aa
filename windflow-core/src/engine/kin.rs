//! What a decision of one run means for its kin, durable together with it: runs that begin for its nodes, and words between
//! them and the run they are children of.

use super::driver::{Driver, End};
use crate::hash::ContentHash;
use crate::id::{Principal, RunId};
use crate::planted::{Bug, is_planted};
use crate::run::{Ask, Event, Request, Run, Told};
use crate::store::{Blob, Lease, NewRun, Submission};
use crate::time::Timestamp;

/// What is to be done for the kin of a run.
#[derive(Default)]
pub(super) struct Kin {
    pub(super) children: Vec<Begun>,
    pub(super) submissions: Vec<Submission>,
}

/// A child that begins.
pub(super) struct Begun {
    pub(super) new: NewRun,
    pub(super) run: Run,
    is_driven: bool,
}

impl Driver {
    /// What events that are decided and not yet durable mean for others.
    pub(super) fn kin(&self, events: &[Event], at: Timestamp) -> Result<Kin, End> {
        let mut kin = Kin::default();
        // Whoever lets go of a run begins nothing, nor does whoever has enough to do: the first to find the child drives it.
        let mut places = if self.leaving { 0 } else { self.inner.free_places() };
        for event in events {
            match event {
                Event::ChildStarted { .. } if is_planted(Bug::RecordChildOnly) => {}
                Event::ChildAsked { ask: Ask::Cancel, .. } if is_planted(Bug::CancelWithoutChildren) => {}
                Event::ChildStarted { node, place, child: run } => {
                    let start = self.run.child_start(*node, *place, run.clone());
                    let (start, plan) =
                        start.ok_or_else(|| End::Bug(format!("run '{run}' has nothing to begin with")))?;
                    let pinned = Blob { hash: plan.hash(), bytes: plan.bytes().clone() };
                    let fingerprint = ContentHash::of_value(&serde_json::json!([plan.hash(), start.input]));
                    let is_driven = places > 0;
                    places = places.saturating_sub(1);
                    let (run, events) = Run::begin(start, plan, at, is_driven)?;
                    let until = if is_driven { self.inner.lease_until() } else { at };
                    let new = NewRun {
                        key: None,
                        fingerprint,
                        worker: self.inner.worker.clone(),
                        until,
                        at,
                        events: events.into(),
                        summary: run.summary(),
                        blobs: vec![pinned],
                    };
                    kin.children.push(Begun { new, run, is_driven });
                }
                Event::ChildAsked { node, place, ask } => {
                    let reason = format!("run '{}' was", self.run.id());
                    let request = match ask {
                        Ask::Cancel => Request::Cancel { reason: format!("{reason} stopped") },
                        Ask::Terminate => Request::Terminate { reason: format!("{reason} terminated") },
                        Ask::Pause => Request::Pause { reason: format!("{reason} paused") },
                        Ask::Resume => Request::Resume,
                        Ask::Retry => Request::Retry { inputs: [].into() },
                        Ask::Compensate => Request::Compensate,
                    };
                    let child = self.run.child_runs(*node).nth(*place as usize);
                    let run = child.ok_or_else(|| End::Bug(format!("there is no run {place} to ask")))?.run.clone();
                    kin.submissions.push(self.word(run, request, at));
                }
                Event::Finished { .. } | Event::Stuck { .. } => kin.submissions.extend(self.told(at)),
                // What it cannot do its parent must not wait for.
                Event::RequestRefused { principal, .. } if self.run.is_parent(principal) => {
                    kin.submissions.extend(self.told(at));
                }
                _ => {}
            }
        }
        Ok(kin)
    }

    fn word(&self, run: RunId, request: Request, at: Timestamp) -> Submission {
        Submission { run, request, principal: Principal::run(self.run.id()), dedup: None, at }
    }

    /// What it tells the run that it is a child of.
    fn told(&self, at: Timestamp) -> Option<Submission> {
        let parent = self.run.parent().filter(|_| !is_planted(Bug::KeepEndFromParent))?;
        let summary = self.run.summary();
        let name = |at| &self.run.workflow().node(at).name;
        let leftovers = self.run.leftovers().iter().map(|left| format!("{}: {}", name(left.node), left.why)).collect();
        let told = Told {
            state: summary.state,
            output: self.run.output().filter(|_| summary.state.is_final()).cloned().unwrap_or_default(),
            problem: summary.problem,
            leftovers,
        };
        let (node, place, run) = (parent.at, parent.place, self.run.id().clone());
        Some(self.word(parent.run.clone(), Request::Told { node, place, run, told: Box::new(told) }, at))
    }

    /// Looks after the runs that a run has started, as after itself: whoever drove them may be gone.
    pub(super) fn look_after_children(&self) {
        for child in self.run.open_children().filter(|child| !self.inner.is_active(child)) {
            self.inner.own_insert(child.clone(), Some(Timestamp(0)));
            self.inner.look.notify_one();
        }
    }

    /// Drives the children that have begun, and tells those who have something to hear.
    pub(super) fn spread(&self, kin: Kin) {
        for Begun { new, run, is_driven } in kin.children {
            let id = run.id().clone();
            self.inner.own_insert(id.clone(), (!is_driven).then_some(Timestamp(0)));
            self.inner.emit_first(&run, new.at, &new.events);
            if !is_driven {
                self.inner.look.notify_one();
                continue;
            }
            let lease = Lease { run: id, worker: new.worker, epoch: run.epoch() };
            self.inner.spawn(lease, run, false);
        }
        for Submission { run, .. } in &kin.submissions {
            match self.run.parent() {
                Some(parent) if parent.run == *run => self.inner.poke(run),
                // A child that was over is nobody's to look after; and now it has something to do.
                _ => self.inner.poke_own(run),
            }
        }
    }
}
