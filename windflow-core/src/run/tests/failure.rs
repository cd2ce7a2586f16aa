//! Failure: retries, the unknown, crashes, compensation.

use std::time::Duration;

use serde_json::json;

use super::table::{Table, graph, retryable, terminal, unknown};
use crate::outcome::{ErrorClass, Guarantee, Seen, Undone, Until};
use crate::run::{Input, Request, RunState, Subject};
use crate::time::Timestamp;
use crate::workflow::{Compensate, Node, OnFailure, OnUnknown, Retry, Workflow};

#[test]
fn a_retryable_failure_is_tried_again_after_its_delay_and_at_most_so_often() {
    let workflow =
        Workflow::builder("t").node(Node::new("a", "act").retry(Retry::attempts(3).initial(Duration::from_secs(10))));
    let (mut table, _) = Table::start(workflow);
    assert_eq!(table.fails("a", retryable()), ["failed a"]);
    assert_eq!(table.state(), RunState::Waiting);
    let due = table.alarm();
    assert!((1_000..=11_000).contains(&due), "{due}");
    assert_eq!(table.wakes_at(due - 1), [""; 0]);
    assert_eq!(table.wakes_at(due), ["started a#2"]);
    table.fails("a", retryable());
    table.wakes_at(table.alarm());
    let told = table.fails("a", retryable());
    assert_eq!(told, ["failed a for good", "stopping", "compensation_began", "undo_started a#1"]);
}

#[test]
fn a_terminal_error_and_a_class_outside_the_policy_are_not_tried_again() {
    let only_unknown = Retry { on: [ErrorClass::Unknown].into(), ..Retry::default() };
    let workflow = Workflow::builder("t").node(Node::new("a", "act").retry(only_unknown)).on_failure(OnFailure::Stop);
    for error in [terminal(), retryable()] {
        let (mut table, _) = Table::start(workflow.clone());
        assert_eq!(table.fails("a", error), ["failed a for good", "finished failed"]);
    }
}

#[test]
fn a_step_ends_at_its_deadline_over_all_attempts() {
    let node = Node::new("a", "act").deadline(Duration::from_secs(5)).timeout(Duration::from_secs(2));
    let slow = Retry { initial: Duration::from_secs(3600), cap: Duration::from_secs(3600), ..Retry::default() };
    let (mut table, _) = Table::start(Workflow::builder("t").node(node.clone().retry(slow)));
    assert_eq!(table.run.attempt_deadline(table.at("a")), Some(Timestamp(3_000)));
    // The next try would come after the deadline.
    assert_eq!(table.fails("a", retryable())[0], "failed a for good");
    let (mut table, _) = Table::start(Workflow::builder("t").node(node));
    table.parks("a", Until::Time(Timestamp(60_000)));
    assert_eq!(table.alarm(), 6_000);
    assert_eq!(table.wakes_at(6_000)[0], "failed a for good");
}

#[test]
fn an_unknown_end_is_observed_before_anything_else() {
    let start = || {
        let (mut table, _) = Table::start(graph(&["a:"]));
        assert_eq!(table.fails("a", unknown()), ["interrupted a"]);
        assert_eq!(table.owed(), ["observe a#1"]);
        table
    };
    let told = start().sees("a", Seen::Happened(json!(3)), Guarantee::AtLeastOnce);
    assert_eq!(told, ["observed a complete", "finished succeeded"]);
    let mut table = start();
    assert!(table.sees("a", Seen::DidNot, Guarantee::AtLeastOnce)[0].starts_with("observed a {retry"));
    assert_eq!(table.wakes_at(table.alarm()), ["started a#2"]);
    assert!(start().sees("a", Seen::CannotTell, Guarantee::Keyed)[0].starts_with("observed a {retry"));
    let mut table = start();
    assert_eq!(table.sees("a", Seen::CannotTell, Guarantee::AtLeastOnce), ["observed a unresolved", "stuck a"]);
    assert_eq!((table.state(), table.owed()), (RunState::Stuck, vec![]));
}

#[test]
fn an_author_may_have_an_at_least_once_step_tried_again() {
    let node = Node::new("a", "act").on_unknown(OnUnknown::Retry).retry(Retry::attempts(2));
    let (mut table, _) = Table::start(Workflow::builder("t").node(node).on_failure(OnFailure::Stop));
    table.fails("a", unknown());
    assert!(table.sees("a", Seen::CannotTell, Guarantee::AtLeastOnce)[0].starts_with("observed a {retry"));
    table.wakes_at(table.alarm());
    table.fails("a", unknown());
    assert_eq!(table.sees("a", Seen::CannotTell, Guarantee::AtLeastOnce), ["observed a fail", "finished failed"]);
}

#[test]
fn a_claim_closes_open_attempts_and_a_crash_is_not_the_steps_failure() {
    let (mut table, _) = Table::start(Workflow::builder("t").node(Node::new("a", "act").retry(Retry::never())));
    assert_eq!(table.claims(), ["claimed"]);
    assert_eq!(table.owed(), ["observe a#1"]);
    let told = table.sees("a", Seen::DidNot, Guarantee::AtLeastOnce);
    assert_eq!(told, ["observed a again", "started a#2"], "executions never exceed start records");
    assert_eq!(table.done("a"), ["succeeded a", "finished succeeded"]);
}

#[test]
fn a_run_that_kills_its_worker_three_times_is_quarantined_until_somebody_resumes_it() {
    let (mut table, _) = Table::start(graph(&["a:"]));
    for _ in 0..2 {
        assert_eq!(table.claims(), ["claimed"]);
        table.sees("a", Seen::DidNot, Guarantee::Convergent);
    }
    assert_eq!(table.claims(), ["claimed", "quarantined a"]);
    assert_eq!((table.state(), table.owed()), (RunState::Paused, vec![]));
    assert_eq!(table.run.summary().wake_at, None);
    assert_eq!(table.claims(), ["claimed"]);
    assert_eq!(table.asks(Request::Resume), ["resumed"]);
    assert_eq!(table.owed(), ["observe a#3"]);
}

#[test]
fn being_let_go_in_good_order_is_no_crash() {
    let (mut table, _) = Table::start(graph(&["a:"]));
    for _ in 0..5 {
        assert_eq!(table.feed(Input::Released), ["released"]);
        assert_eq!(table.claims(), ["claimed"]);
        assert_eq!(table.sees("a", Seen::DidNot, Guarantee::Convergent)[0], "observed a again");
    }
}

#[test]
fn what_was_done_is_undone_in_reverse_dependency_order_the_failed_step_included() {
    let (mut table, _) = Table::start(graph(&["a:", "b: a", "c: a", "d: b c", "z: d"]));
    for name in ["a", "b", "c"] {
        table.done(name);
    }
    let told = table.fails("d", terminal());
    assert_eq!(told, ["failed d for good", "stopping", "compensation_began", "undo_started d#1"]);
    assert_eq!(table.state(), RunState::Compensating);
    assert_eq!(table.undoes("d", Ok(Undone::NothingToUndo)), ["undone d", "undo_started b#1", "undo_started c#1"]);
    assert_eq!(table.undoes("c", Ok(Undone::Reversed)), ["undone c"]);
    assert_eq!(table.undoes("b", Ok(Undone::Reversed)), ["undone b", "undo_started a#1"]);
    let why = "no way back".to_owned();
    assert_eq!(table.undoes("a", Ok(Undone::NotUndoable { why })), ["undone a", "finished compensated"]);
    let leftovers: Vec<_> = table.run.leftovers().iter().map(|l| (l.node, l.why.as_str())).collect();
    assert_eq!(leftovers, [(table.at("a"), "no way back")]);
}

#[test]
fn running_siblings_are_stopped_before_anything_is_undone() {
    let (mut table, _) = Table::start(graph(&["a:", "b:", "c: b"]));
    assert_eq!(table.fails("a", terminal()), ["failed a for good", "stopping"]);
    assert_eq!(table.owed(), [""; 0], "the attempt of b is no longer owed");
    // It ends well in spite of it: its output is kept for its compensation, and nothing new starts.
    let told = table.done("b");
    assert_eq!(told, ["succeeded b", "compensation_began", "undo_started a#1", "undo_started b#1"]);
    assert_eq!(table.run.step(table.at("b")).output, Some(&json!("b")));
}

#[test]
fn the_order_of_undoing_reaches_through_steps_that_were_skipped() {
    let workflow = Workflow::builder("t")
        .node(Node::new("a", "act"))
        .node(Node::new("s", "act").needs(["a"]).when("false"))
        .node(Node::new("x", "act").needs(["a"]))
        .node(Node::new("c", "act").needs(["s", "x"]));
    let (mut table, _) = Table::start(workflow);
    table.done("a");
    let s = table.at("s");
    table.feed(Input::Evaluated { subject: Subject::If(s), result: Ok(json!(false)) });
    table.done("x");
    let told = table.fails("c", terminal());
    assert_eq!(told[1..], ["stopping", "compensation_began", "undo_started c#1"]);
    assert_eq!(table.undoes("c", Ok(Undone::Reversed)), ["undone c", "undo_started x#1"]);
    assert_eq!(table.undoes("x", Ok(Undone::Reversed)), ["undone x", "undo_started a#1"]);
}

#[test]
fn a_compensation_has_its_own_retries_and_is_simply_tried_again_after_a_crash() {
    let own = Compensate::Own { retry: Box::new(Retry::attempts(2)) };
    let (mut table, _) = Table::start(Workflow::builder("t").node(Node::new("a", "act").compensate(own)));
    table.fails("a", terminal());
    assert_eq!(table.claims(), ["claimed", "undo_started a#2"]);
    assert_eq!(table.undoes("a", Err(unknown())), ["undo_failed a"]);
    assert_eq!(table.wakes_at(table.alarm()), ["undo_started a#3"]);
    assert_eq!(table.undoes("a", Err(retryable())), ["undo_failed a for good", "stuck a"]);
}

#[test]
fn a_node_may_name_what_undoes_it_or_say_that_nothing_need() {
    let with = json!({"id": "${{ nodes.a.output.id }}"});
    let by = Compensate::Action { uses: crate::ActionName::new("rm").unwrap(), with, retry: None };
    let workflow = Workflow::builder("t")
        .node(Node::new("a", "act").compensate(by))
        .node(Node::new("b", "act").needs(["a"]).compensate(Compensate::Nothing))
        .node(Node::new("c", "act").needs(["b"]));
    let (mut table, _) = Table::start(workflow);
    table.done_with("a", json!({"id": 9}));
    table.done("b");
    table.fails("c", terminal());
    assert_eq!(table.undoes("c", Ok(Undone::NothingToUndo)), ["undone c"]);
    assert_eq!(table.owed(), ["evaluate a.undo"]);
    let a = table.at("a");
    assert_eq!(table.run.scope(Subject::CompensateWith(a)).to_value()["nodes"]["a"]["output"]["id"], 9);
    let told = table.feed(Input::Evaluated { subject: Subject::CompensateWith(a), result: Ok(json!({"id": 9})) });
    assert_eq!(told, ["evaluated a", "undo_started a#1"]);
    assert_eq!(table.undoes("a", Ok(Undone::Reversed)), ["undone a", "finished compensated"]);
}

#[test]
fn outputs_that_cannot_be_evaluated_fail_the_run() {
    let workflow = Workflow::builder("t").node(Node::new("a", "act")).outputs(json!("${{ nodes.a.output.x }}"));
    let (mut table, _) = Table::start(workflow);
    table.done("a");
    let told = table.feed(Input::Evaluated { subject: Subject::Outputs, result: Err(terminal()) });
    assert_eq!(told, ["evaluation_failed", "stopping", "compensation_began", "undo_started a#1"]);
    assert_eq!(table.run.summary().problem.unwrap(), "outputs: no");
}

#[test]
fn a_run_is_cancelled_at_its_deadline() {
    let (mut table, _) = Table::start(graph(&["a:"]).deadline(Duration::from_secs(1)));
    assert_eq!(table.alarm(), 2_000);
    assert_eq!(table.wakes_at(2_000), ["stopping"]);
    assert_eq!(table.fails("a", retryable()), ["interrupted a", "compensation_began", "undo_started a#1"]);
    assert_eq!(table.undoes("a", Ok(Undone::Reversed)), ["undone a", "finished cancelled"]);
}
