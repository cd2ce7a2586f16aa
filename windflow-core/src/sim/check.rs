//! The promises, checked on what a world has left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::ledger::Ledger;
use crate::id::{NodeIndex, RunId};
use crate::outcome::{Seen, Undone};
use crate::run::{Ask, Cause, Event, Recorded, Resolution, Run, RunState, StepState, Summary};
use crate::time::Timestamp;
use crate::workflow::{Body, Compensate, Join, NodeSpec, OnItemFailure, Workflow};

/// What one run has left behind.
pub(super) struct Remains<'a> {
    pub(super) id: &'a RunId,
    pub(super) plan: &'a Arc<Workflow>,
    pub(super) journal: &'a [Recorded],
    pub(super) summary: &'a Summary,
    /// When the run that has started this one told it to stop, if it did.
    pub(super) stopped_at: Option<Timestamp>,
    /// How every run ended.
    pub(super) states: &'a BTreeMap<RunId, RunState>,
    pub(super) ledger: &'a Ledger,
    /// Positions and events a worker was told are durable.
    pub(super) acknowledged: &'a [(u64, Event)],
}

/// Every rule that does not hold, with the promise it belongs to.
pub(super) fn violations(remains: &Remains<'_>) -> Vec<String> {
    let mut found = Vec::new();
    durable(remains, &mut found);
    journal(remains, &mut found);
    let run = match Run::replay(Arc::clone(remains.plan), remains.journal.iter().cloned()) {
        Ok(run) => run,
        Err(error) => {
            found.push(format!("I6: {error}"));
            return found;
        }
    };
    if run.summary() != *remains.summary {
        found.push(format!("I6: the row {:?} is not that of the fold {:?}", remains.summary, run.summary()));
    }
    effects(remains, &mut found);
    obedience(remains, &mut found);
    ending(remains, &run, &mut found);
    found.into_iter().map(|what| format!("{}: {what}", remains.id)).collect()
}

/// I1: what was acknowledged is there. I3: one record per position, epochs never fall.
fn durable(remains: &Remains<'_>, found: &mut Vec<String>) {
    for (at, event) in remains.acknowledged {
        let there = usize::try_from(*at).ok().and_then(|at| remains.journal.get(at.wrapping_sub(1)));
        if there.is_none_or(|recorded| recorded.event != *event) {
            found.push(format!("I1: {} at {at} was acknowledged and is not there", event.kind()));
        }
    }
    for (place, recorded) in (1..).zip(remains.journal) {
        if recorded.seq.0 != place {
            found.push(format!("I3: position {place} holds record {}", recorded.seq));
        }
    }
    if remains.journal.windows(2).any(|pair| pair[0].epoch > pair[1].epoch) {
        found.push("I3: an epoch falls".to_owned());
    }
    if remains.journal.windows(2).any(|pair| pair[0].at > pair[1].at) {
        found.push("I6: time runs backwards".to_owned());
    }
}

/// I2, I4, I5, I9, I10, as far as the journal tells.
fn journal(remains: &Remains<'_>, found: &mut Vec<String>) {
    let (mut complete, mut skipped) = (BTreeSet::new(), BTreeSet::new());
    let (mut started, mut undone): (BTreeMap<NodeIndex, u32>, BTreeSet<NodeIndex>) = Default::default();
    let mut failures: BTreeMap<NodeIndex, u32> = BTreeMap::new();
    let (mut stopping, mut undoing) = (false, false);
    let mut open: BTreeMap<NodeIndex, u32> = BTreeMap::new();
    for recorded in remains.journal {
        match &recorded.event {
            // Its runs go on, whoever lets go of it.
            Event::Started { node, .. } if remains.plan.node(*node).body.is_some() => {}
            Event::Started { node, attempt } => drop(open.insert(*node, *attempt)),
            Event::Claimed { .. } => open.clear(),
            Event::Released => {
                for (node, attempt) in std::mem::take(&mut open) {
                    let name = &remains.plan.node(node).name;
                    if !remains.ledger.attempted.contains(&(remains.id.clone(), name.clone(), attempt)) {
                        found.push(format!("I4: {name} was started by a worker that let go, and that nobody began"));
                    }
                }
            }
            Event::Succeeded { node, .. }
            | Event::Failed { node, .. }
            | Event::Interrupted { node, .. }
            | Event::Joined { node }
            | Event::Parked { node, .. } => drop(open.remove(node)),
            _ => {}
        }
        match &recorded.event {
            Event::Started { node, attempt } => {
                let spec = remains.plan.node(*node);
                if complete.contains(node) {
                    found.push(format!("I2: {} runs again after it was complete", spec.name));
                }
                if stopping {
                    found.push(format!("I9: {} starts after the run began to stop", spec.name));
                }
                if *attempt != started.insert(*node, *attempt).unwrap_or(0) + 1 {
                    found.push(format!("I4: {} has attempt {attempt} out of order", spec.name));
                }
                let needs = remains.plan.needs(*node);
                let met = |need: &&NodeIndex| complete.contains(*need) || skipped.contains(*need);
                let (met, supported) =
                    (needs.iter().filter(met).count(), needs.iter().any(|need| complete.contains(need)));
                let enough = match spec.join {
                    Join::All => met == needs.len() && (supported || needs.is_empty()),
                    Join::Any => supported,
                };
                if !enough {
                    found.push(format!("{} starts before what it needs is finished", spec.name));
                }
            }
            Event::Succeeded { node, .. }
            | Event::Joined { node }
            | Event::Resolved { node, resolution: Resolution::Happened { .. }, .. }
                if !complete.insert(*node) =>
            {
                found.push(format!("I2: {node:?} is completed twice"));
            }
            Event::Observed { node, then: crate::run::After::Complete, .. } => {
                complete.insert(*node);
            }
            Event::Observed { node, seen: Seen::CannotTell, .. } => {
                let (name, attempt) = (&remains.plan.node(*node).name, started.get(node).copied().unwrap_or(0));
                if !remains.ledger.untold.contains(&(remains.id.clone(), name.clone(), attempt)) {
                    found.push(format!("I9: nobody looked in vain for attempt {attempt} of {name}, and it counts"));
                }
            }
            Event::Failed { node, error, .. } | Event::Interrupted { node, error }
                if matches!(error.code.as_str(), "cancelled" | "stopped") && !stopping =>
            {
                found.push(format!("I9: {node:?} was told to stop while the run went on"));
            }
            Event::Failed { node, .. } => {
                let count = failures.entry(*node).or_default();
                *count += 1;
                let spec = remains.plan.node(*node);
                let otherwise = if spec.body.is_some() { 1 } else { 5 };
                let most = spec.retry.as_deref().map_or(otherwise, |retry| retry.max_attempts);
                if *count > most {
                    found.push(format!("I10: {node:?} fails {count} times and may {most} times"));
                }
            }
            Event::Skipped { node } => {
                skipped.insert(*node);
            }
            Event::Stopping { .. } => stopping = true,
            Event::Reopened { .. } => (stopping, failures) = (undoing, BTreeMap::new()),
            Event::CompensationBegan => undoing = true,
            Event::UndoStarted { node, .. } => {
                for dependent in remains.plan.dependents(*node) {
                    let declared =
                        matches!(remains.plan.node(*dependent).compensate.as_deref(), Some(Compensate::Nothing));
                    if started.contains_key(dependent) && !undone.contains(dependent) && !declared {
                        found.push(format!("I5: {node:?} is undone before {dependent:?}, which depends on it"));
                    }
                }
                if undone.contains(node) {
                    found.push(format!("I2: {node:?} is undone again"));
                }
            }
            Event::Undone { node, .. } | Event::Resolved { node, resolution: Resolution::Undone, .. } => {
                undone.insert(*node);
            }
            _ => {}
        }
    }
    for ((run, name), performed) in &remains.ledger.performed {
        let starts = remains.plan.find(name.as_str()).and_then(|node| started.get(&node)).copied().unwrap_or(0);
        if run == remains.id && *performed > starts {
            found.push(format!("I4: {name} was performed {performed} times after {starts} starts"));
        }
    }
}

/// When each run was told to stop by the one that has started it, as far as this journal says.
pub(super) fn told_to_stop(journal: &[Recorded]) -> BTreeMap<RunId, Timestamp> {
    let (mut runs, mut told) = (BTreeMap::new(), BTreeMap::new());
    for recorded in journal {
        match &recorded.event {
            Event::ChildStarted { node, place, child } => drop(runs.insert((*node, *place), child)),
            Event::ChildAsked { node, place, ask } => {
                let Some(run) = runs.get(&(*node, *place)).map(|run| RunId::clone(run)) else { continue };
                match ask {
                    Ask::Cancel => drop(told.insert(run, recorded.at)),
                    Ask::Retry => drop(told.remove(&run)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    told
}

/// I9: whoever takes a run that was told to stop starts nothing more of it.
fn obedience(remains: &Remains<'_>, found: &mut Vec<String>) {
    // What was decided then may have become durable later: a worker may freeze in the middle of that.
    let Some(told) = remains.stopped_at.map(|at| at.after(Duration::from_secs(200))) else { return };
    let taken = remains.journal.iter().position(|r| matches!(r.event, Event::Claimed { .. }) && r.at > told);
    for recorded in remains.journal.iter().skip(taken.unwrap_or(usize::MAX)) {
        if let Event::Started { node, .. } = recorded.event {
            found.push(format!("I9: {node:?} starts although the run was told to stop before it was taken"));
        }
    }
}

/// I4: one key for all attempts.
fn effects(remains: &Remains<'_>, found: &mut Vec<String>) {
    for ((run, name), keys) in &remains.ledger.keys {
        if run == remains.id && keys.len() > 1 {
            found.push(format!("I4: {name} was performed under {} keys", keys.len()));
        }
    }
}

/// I5: what the runs of a run have done is there when it succeeded, and undone when it was undone.
fn children(remains: &Remains<'_>, run: &Run, found: &mut Vec<String>) {
    for node in remains.plan.indices() {
        let (spec, step) = (remains.plan.node(node), run.step(node));
        let declared = matches!(spec.compensate.as_deref(), Some(Compensate::Nothing));
        let excused = matches!(step.undone, Some(Undone::NotUndoable { .. }));
        for child in run.child_runs(node).map(|child| child.run) {
            let Some(state) = remains.states.get(child).copied() else {
                found.push(format!("I7: {child} was started and is not there"));
                continue;
            };
            let wrong = match run.state() {
                RunState::Succeeded => {
                    step.state == StepState::Succeeded && !collects(spec) && state != RunState::Succeeded
                }
                RunState::Compensated | RunState::Cancelled if declared || excused => false,
                RunState::Compensated | RunState::Cancelled => {
                    !matches!(state, RunState::Compensated | RunState::Cancelled)
                }
                _ => false,
            };
            if wrong {
                found.push(format!("I5: the run is {}, and {child}, which it has started, is {state}", run.state()));
            }
        }
    }
}

fn collects(spec: &NodeSpec) -> bool {
    matches!(spec.body.as_deref(), Some(Body::ForEach { on_item_failure: OnItemFailure::Collect, .. }))
}

/// I5: everything that was started is accounted for. I9: what was cancelled does not succeed as if nothing had been
/// said.
fn ending(remains: &Remains<'_>, run: &Run, found: &mut Vec<String>) {
    let there = |node: NodeIndex| {
        let place = (remains.id.clone(), remains.plan.node(node).name.clone());
        remains.ledger.effects.get(&place).is_some_and(|effect| effect.there)
    };
    children(remains, run, found);
    for node in remains.plan.indices().filter(|node| remains.plan.node(*node).body.is_none()) {
        let step = run.step(node);
        let declared = matches!(remains.plan.node(node).compensate.as_deref(), Some(Compensate::Nothing));
        match run.state() {
            RunState::Succeeded if step.state == StepState::Succeeded && !there(node) => {
                found.push(format!("I5: the run succeeded, and the effect of {} is not there", step.name));
            }
            RunState::Succeeded if !matches!(step.state, StepState::Succeeded | StepState::Skipped) => {
                found.push(format!("I5: the run succeeded, and {} is {}", step.name, step.state.as_str()));
            }
            RunState::Compensated | RunState::Cancelled if there(node) && !declared => {
                let excused = matches!(step.undone, Some(Undone::NotUndoable { .. }));
                if !excused {
                    found.push(format!("I5: the run was undone, and the effect of {} is there", step.name));
                }
            }
            _ => {}
        }
    }
    let cancelled = remains.ledger.cancelled.contains(remains.id);
    let heard = remains
        .journal
        .iter()
        .any(|recorded| matches!(recorded.event, Event::Stopping { .. } | Event::RequestRefused { .. }));
    if cancelled && !heard && run.state() == RunState::Succeeded {
        let asked_of_the_over = matches!(run.cause(), Some(Cause::Cancel { .. }));
        if !asked_of_the_over {
            found.push("I9: a cancel was acknowledged and forgotten".to_owned());
        }
    }
}
