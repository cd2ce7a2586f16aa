//! What holds of every run, whatever it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::table::Table;
use crate::id::{Epoch, NodeName, Principal, SignalName};
use crate::outcome::{ErrorClass, Guarantee, Outcome, Seen, StepError, Undone, Until};
use crate::run::{Command, Event, Input, Recorded, Request, Resolution, Run, RunState, Subject};
use crate::time::Timestamp;
use crate::workflow::{Join, Node, OnFailure, Retry, Workflow};

fn workflow(nodes: &[(u8, u8)], stop: bool) -> Arc<Workflow> {
    let name = |i: usize| format!("n{i}");
    let mut builder = Workflow::builder("random").max_parallel(3);
    for (i, (edges, flags)) in nodes.iter().enumerate() {
        let needs: Vec<String> = (0..i).filter(|j| edges >> (j % 8) & 1 == 1).map(name).collect();
        let mut node = Node::new(name(i), "act").retry(Retry::attempts(2));
        if flags & 1 == 1 {
            node = node.when("inputs.x");
        }
        if flags & 2 == 2 && !needs.is_empty() {
            node = node.join(Join::Any);
        }
        if flags & 4 == 4 {
            node = node.input(json!("${{ inputs.x }}"));
        }
        builder = builder.node(node.needs(needs));
    }
    builder.on_failure(if stop { OnFailure::Stop } else { OnFailure::Compensate }).build().unwrap()
}

fn error(draw: u8) -> StepError {
    let class = [ErrorClass::Retryable, ErrorClass::Terminal, ErrorClass::Unknown][usize::from(draw) % 3];
    StepError::new(class, "drawn", "drawn")
}

/// Some answer to something the run owes, or something asked of it.
fn news(run: &Run, draw: (u8, u8, u8)) -> Input {
    let (pick, kind, detail) = draw;
    let owed: Vec<Command> = run.commands().collect();
    if kind > 60 && !owed.is_empty() {
        return match owed[usize::from(pick) % owed.len()] {
            Command::Execute { node, attempt } => {
                let result = match detail {
                    0..150 => Ok(Outcome::Done(json!(detail))),
                    150..170 => Ok(Outcome::Parked(Until::Time(Timestamp(u64::from(detail) * 100)))),
                    170..185 => {
                        let name = SignalName::new("go").unwrap();
                        Ok(Outcome::Parked(Until::Signal { name, deadline: None }))
                    }
                    _ => Err(error(detail)),
                };
                Input::Ended { node, attempt, result }
            }
            Command::Observe { node, attempt } => {
                let seen = [Seen::Happened(json!(0)), Seen::DidNot, Seen::CannotTell][usize::from(detail) % 3].clone();
                let guarantee = if detail > 100 { Guarantee::AtLeastOnce } else { Guarantee::Keyed };
                Input::Observed { node, attempt, result: Ok(seen), guarantee }
            }
            Command::Compensate { node, attempt } => {
                let result = if detail < 150 { Ok(Undone::Reversed) } else { Err(error(detail)) };
                Input::Compensated { node, attempt, result }
            }
            Command::Evaluate(subject) => Input::Evaluated {
                subject,
                result: match (subject, detail) {
                    (_, 240..) => Err(error(1)),
                    (Subject::If(_), _) => Ok(json!(detail > 80)),
                    _ => Ok(json!(detail)),
                },
            },
            Command::WakeAt(_) => Input::Woke,
        };
    }
    let node = NodeName::new(format!("n{}", pick % 8)).unwrap();
    let reason = String::new();
    let request = match kind % 16 {
        0 | 1 => return Input::Claimed { epoch: Epoch(run.epoch().0 + 1) },
        2 => return Input::Released,
        3 => Request::Cancel { reason },
        4 => Request::Terminate { reason },
        5 => Request::Pause { reason },
        6 | 7 => Request::Resume,
        8 => Request::Retry { inputs: BTreeMap::new() },
        9 => Request::Compensate,
        10 => Request::GiveUp { reason },
        11 => Request::Resolve { node, resolution: Resolution::DidNot, reason },
        12 => Request::Resolve { node, resolution: Resolution::Undone, reason },
        13 | 14 => Request::Signal { name: SignalName::new("go").unwrap(), payload: json!(null) },
        _ => return Input::Woke,
    };
    Input::Asked { request, principal: Principal::system() }
}

/// The rules that a whole journal must follow (I2, I4, I5 of the promises).
fn check_journal(plan: &Workflow, journal: &[Recorded]) {
    let (mut complete, mut started, mut undone) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    let mut undoing = false;
    for recorded in journal {
        match &recorded.event {
            Event::Started { node, attempt } => {
                assert!(!complete.contains(node), "{node:?} runs again after it was complete");
                assert!(!undoing, "{node:?} starts after the undoing began");
                assert_eq!(started.insert(*node, *attempt).unwrap_or(0) + 1, *attempt, "attempts count from 1");
            }
            Event::Succeeded { node, .. } => assert!(complete.insert(*node)),
            Event::CompensationBegan => undoing = true,
            Event::UndoStarted { node, .. } => {
                assert!(undoing && started.contains_key(node) && !undone.contains(node));
                for dependent in plan.dependents(*node) {
                    let open = started.contains_key(dependent) && !undone.contains(dependent);
                    assert!(!open, "{node:?} is undone before {dependent:?}, which depends on it");
                }
            }
            Event::Undone { node, .. } => assert!(undone.insert(*node)),
            Event::Resolved { node, resolution: Resolution::Undone, .. } => assert!(undone.insert(*node)),
            Event::Finished { state: RunState::Compensated | RunState::Cancelled, .. } => {
                assert!(started.keys().all(|node| undone.contains(node)), "something started was not accounted for");
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_news_breaks_a_run(
        nodes in prop::collection::vec((any::<u8>(), any::<u8>()), 1..9),
        stop in any::<bool>(),
        draws in prop::collection::vec(any::<(u8, u8, u8)>(), 1..80),
    ) {
        let (mut table, _) = Table::start_with(workflow(&nodes, stop), json!({"x": true}));
        for draw in draws {
            table.now += u64::from(draw.1) * 100;
            let news = news(&table.run, draw);
            // Every feed replays the journal and compares.
            let claimed = matches!(news, Input::Claimed { .. });
            table.feed(news);
            if claimed {
                table.feed(Input::Woke);
            }
            let run = &table.run;
            let mut owed: Vec<Command> = run.commands().collect();
            if run.state().is_final() {
                prop_assert!(owed.is_empty(), "a run that is over owes {owed:?}");
            }
            let waits = run.workflow().indices().any(|node| run.step(node).signal.is_some());
            let needs_operator = matches!(run.state(), RunState::Stuck | RunState::Paused);
            // Stopping waits for attempts that are open and no longer owed.
            let stopping = run.workflow().indices().any(|node| matches!(
                run.step(node).state, crate::run::StepState::Running | crate::run::StepState::Undoing));
            // Let go of, it wants to be claimed, and says so in its row.
            let let_go = table.journal.last().is_some_and(|last| last.event == Event::Released);
            prop_assert!(!let_go || run.summary().wake_at.is_some() || needs_operator);
            prop_assert!(
                let_go || run.state().is_final() || !owed.is_empty() || waits || needs_operator || stopping,
                "the run is stranded as {}", run.state()
            );
            owed.sort();
            owed.dedup();
            prop_assert_eq!(owed.len(), run.commands().count(), "something is owed twice");
        }
        check_journal(table.run.workflow(), &table.journal);
    }
}
