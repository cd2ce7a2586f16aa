//! The operator's ways in and out.

use serde_json::json;

use super::table::{Table, graph, retryable, terminal, unknown};
use crate::id::{NodeIndex, NodeName, Principal, Seq};
use crate::outcome::{Guarantee, Seen, Undone, Until};
use crate::run::{Event, Input, Request, Resolution, RunState};
use crate::time::Timestamp;
use crate::workflow::OnFailure;

fn reason() -> String {
    "because".to_owned()
}

fn resolve(node: &str, resolution: Resolution) -> Request {
    Request::Resolve { node: NodeName::new(node).unwrap(), resolution, reason: reason() }
}

#[test]
fn cancelling_undoes_and_a_second_cancel_changes_nothing() {
    let (mut table, _) = Table::start(graph(&["a:", "b: a"]));
    table.done("a");
    assert_eq!(table.asks(Request::Cancel { reason: reason() }), ["stopping"]);
    assert_eq!(table.asks(Request::Cancel { reason: reason() }), [""; 0]);
    let told = table.fails("b", retryable());
    assert_eq!(told, ["interrupted b", "compensation_began", "undo_started b#1"], "no new attempt after a cancel");
    table.undoes("b", Ok(Undone::Reversed));
    assert_eq!(table.undoes("a", Ok(Undone::Reversed)), ["undone a", "finished cancelled"]);
    assert_eq!(
        table.asks(Request::Cancel { reason: reason() }),
        ["request_refused: cannot cancel: it has been cancelled"]
    );
}

#[test]
fn a_waiting_run_and_a_paused_one_can_be_cancelled() {
    let (mut table, _) = Table::start(graph(&["a:"]));
    table.parks("a", Until::Time(Timestamp(99_000)));
    assert_eq!(table.asks(Request::Pause { reason: reason() }), ["paused"]);
    let told = table.asks(Request::Cancel { reason: reason() });
    assert_eq!(told, ["stopping", "compensation_began", "undo_started a#1"]);
}

#[test]
fn a_journal_that_grows_without_end_pauses_its_run_for_good() {
    let (mut table, _) = Table::start(graph(&["a:"]));
    table.parks("a", Until::Time(Timestamp(99_000)));
    let mut run = table.run;
    assert_eq!(run.most_events(), 105_000);
    run.seq = Seq(104_999);
    assert!(run.advance(Timestamp(2_000), Input::Woke).unwrap().is_empty());
    let told = run.advance(Timestamp(99_000), Input::Woke).unwrap();
    assert!(matches!(told.as_slice(), [Event::Unparked { .. }, ..]), "{told:?}");
    let told = run.advance(Timestamp(99_001), Input::Woke).unwrap();
    assert!(matches!(told.as_slice(), [Event::Paused { reason, .. }] if reason.contains("105000 events")), "{told:?}");
    assert_eq!(run.state(), RunState::Paused);
    for request in [Request::Resume, Request::Pause { reason: reason() }] {
        let refused = run.may(&request, &Principal::system()).unwrap_err().to_string();
        assert!(refused.contains("the most a run of its size may have"), "{refused}");
    }
    assert!(run.no_checkpoint().is_some());
    run.may(&Request::Terminate { reason: reason() }, &Principal::system()).unwrap();
    let cancel = Input::Asked { request: Request::Cancel { reason: reason() }, principal: Principal::system() };
    run.advance(Timestamp(99_002), cancel).unwrap();
    let (node, result) = (NodeIndex(0), Err(retryable()));
    run.advance(Timestamp(99_003), Input::Ended { node, attempt: run.step(node).attempt, result }).unwrap();
    assert_eq!(run.state(), RunState::Compensating, "what undoes it goes on");
    assert!(run.no_checkpoint().is_none(), "and may leave checkpoints");
    run.seq = Seq(210_000);
    assert!(run.no_checkpoint().is_some(), "but not for ever");
}

#[test]
fn terminating_stops_at_once_and_lists_what_is_left() {
    let (mut table, _) = Table::start(graph(&["a:", "b: a"]));
    table.done("a");
    assert_eq!(table.asks(Request::Terminate { reason: reason() }), ["stopping"]);
    assert_eq!(table.fails("b", unknown()), ["interrupted b", "finished terminated"]);
    assert_eq!(table.run.leftovers().len(), 2);
}

#[test]
fn a_paused_run_starts_nothing_new_and_goes_on_when_resumed() {
    let (mut table, _) = Table::start(graph(&["a:", "b: a"]));
    assert_eq!(table.asks(Request::Pause { reason: reason() }), ["paused"]);
    assert_eq!(table.done("a"), ["succeeded a"]);
    assert_eq!((table.state(), table.owed()), (RunState::Paused, vec![]));
    assert_eq!(table.asks(Request::Resume), ["resumed", "started b#1"]);
}

#[test]
fn with_stop_siblings_finish_nothing_new_starts_and_the_failed_steps_can_be_tried_again() {
    let (mut table, _) = Table::start(graph(&["a:", "b:", "c: b"]).on_failure(OnFailure::Stop));
    assert_eq!(table.fails("a", terminal()), ["failed a for good"]);
    assert_eq!(table.fails("b", retryable()), ["failed b"]);
    assert_eq!(table.wakes_at(table.alarm()), ["started b#2"], "what was started goes on to its end");
    assert_eq!(table.done("b"), ["succeeded b", "finished failed"]);
    assert_eq!(table.run.generation(table.at("a")), 0);
    let told = table.asks(Request::Retry { inputs: [].into() });
    assert_eq!(told, ["reopened", "started c#1", "started a#2"], "what was ready and never started goes first");
    assert_eq!(table.run.generation(table.at("a")), 0, "the same key");
    table.done("c");
    assert_eq!(table.fails("a", terminal()), ["failed a for good", "finished failed"]);
    let corrected = [(NodeName::new("a").unwrap(), json!({"v": 2}))].into();
    table.asks(Request::Retry { inputs: corrected });
    assert_eq!(table.run.generation(table.at("a")), 1, "a corrected input has a key of its own");
    assert_eq!(table.run.step_input(table.at("a")), json!({"v": 2}));
    assert_eq!(table.done("a"), ["succeeded a", "finished succeeded"]);
}

#[test]
fn a_run_that_failed_with_stop_can_be_undone() {
    let (mut table, _) = Table::start(graph(&["a:", "b: a"]).on_failure(OnFailure::Stop));
    table.done("a");
    table.fails("b", terminal());
    assert_eq!(table.asks(Request::Compensate), ["stopping", "compensation_began", "undo_started b#1"]);
    table.undoes("b", Ok(Undone::Reversed));
    assert_eq!(table.undoes("a", Ok(Undone::Reversed)), ["undone a", "finished compensated"]);
    assert_eq!(
        table.asks(Request::Retry { inputs: [].into() }),
        ["request_refused: cannot retry: it has been compensated"]
    );
}

fn stuck_in_undoing() -> Table {
    let (mut table, _) = Table::start(graph(&["a:", "b: a", "c: a"]));
    table.done("a");
    table.done("c");
    table.fails("b", terminal());
    table.undoes("c", Ok(Undone::Reversed));
    assert_eq!(table.undoes("b", Err(terminal())), ["undo_failed b for good", "stuck b a"]);
    assert_eq!((table.state(), table.owed()), (RunState::Stuck, vec![]));
    table
}

#[test]
fn a_stuck_compensation_can_be_tried_again_resolved_by_hand_or_given_up() {
    let mut table = stuck_in_undoing();
    assert_eq!(table.asks(Request::Retry { inputs: [].into() }), ["reopened", "undo_started b#2"]);
    assert_eq!(table.undoes("b", Ok(Undone::Reversed)), ["undone b", "undo_started a#1"]);

    let mut table = stuck_in_undoing();
    assert_eq!(table.asks(resolve("b", Resolution::Undone)), ["resolved b", "undo_started a#1"]);
    assert_eq!(table.undoes("a", Ok(Undone::Reversed)), ["undone a", "finished compensated"]);

    let mut table = stuck_in_undoing();
    assert_eq!(table.asks(Request::GiveUp { reason: reason() }), ["finished failed"]);
    assert_eq!(table.run.leftovers().len(), 2);
    assert_eq!(
        table.asks(Request::Retry { inputs: [].into() }),
        ["request_refused: cannot retry: some of its steps have been undone"]
    );
}

#[test]
fn an_operator_decides_what_nobody_can_tell() {
    let start = || {
        let (mut table, _) = Table::start(graph(&["a:", "b: a"]));
        table.fails("a", unknown());
        table.sees("a", Seen::CannotTell, Guarantee::AtLeastOnce);
        assert_eq!(table.state(), RunState::Stuck);
        table
    };
    let mut table = start();
    let told = table.asks(resolve("a", Resolution::Happened { output: json!(1) }));
    assert_eq!(told, ["resolved a", "started b#1"]);
    assert_eq!(start().asks(resolve("a", Resolution::DidNot)), ["resolved a", "started a#2"]);
    let told = start().asks(resolve("a", Resolution::Fail));
    assert_eq!(told, ["resolved a", "stopping", "compensation_began", "undo_started a#1"]);
    let told = start().asks(resolve("b", Resolution::DidNot));
    assert_eq!(told, ["request_refused: cannot resolve: 'b' is blocked, there is nothing to decide"]);
    let told = start().asks(Request::Cancel { reason: reason() });
    assert_eq!(told, ["stopping", "compensation_began", "undo_started a#1"]);
}
