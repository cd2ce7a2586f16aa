//! Forwards: order, joins, conditions, expressions, waiting.

use serde_json::json;

use super::table::{Table, graph, terminal};
use crate::id::SignalName;
use crate::outcome::{Resumed, Until};
use crate::run::{Input, Request, RunState, Subject};
use crate::time::Timestamp;
use crate::workflow::{Join, Node, Workflow};

#[test]
fn a_step_starts_in_the_batch_that_completes_what_it_needs() {
    let (mut table, began) = Table::start(graph(&["a:", "b: a", "c: a", "d: b c"]));
    assert_eq!(began, ["created", "started a#1"]);
    assert_eq!(table.done("a"), ["succeeded a", "started b#1", "started c#1"]);
    assert_eq!(table.owed(), ["execute b#1", "execute c#1"]);
    assert_eq!(table.done("c"), ["succeeded c"]);
    assert_eq!(table.done("b"), ["succeeded b", "started d#1"]);
    assert_eq!(table.done("d"), ["succeeded d", "finished succeeded"]);
    assert_eq!((table.state(), table.owed()), (RunState::Succeeded, vec![]));
}

#[test]
fn no_more_steps_run_at_once_than_the_workflow_allows() {
    let (mut table, began) = Table::start(graph(&["a:", "b:", "c:"]).max_parallel(2));
    assert_eq!(began, ["created", "started a#1", "started b#1"]);
    assert_eq!(table.done("b"), ["succeeded b", "started c#1"]);
}

#[test]
fn news_that_is_out_of_date_changes_nothing() {
    let (mut table, _) = Table::start(graph(&["a:", "b: a"]));
    table.done("a");
    let before = table.run.clone();
    assert_eq!(table.done("a"), [""; 0]);
    assert_eq!(table.fails("a", terminal()), [""; 0]);
    assert_eq!(table.wakes_at(99_999), [""; 0]);
    assert_eq!(table.run, before);
}

#[test]
fn a_false_condition_skips_and_dependents_run_unless_all_their_needs_were_skipped() {
    let workflow = Workflow::builder("t")
        .node(Node::new("a", "act"))
        .node(Node::new("b", "act").needs(["a"]).when("inputs.x == 2"))
        .node(Node::new("c", "act").needs(["b"]))
        .node(Node::new("d", "act").needs(["a", "c"]));
    let (mut table, _) = Table::start(workflow);
    table.done("a");
    assert_eq!(table.owed(), ["evaluate b.if"]);
    let (b, c) = (table.at("b"), table.at("c"));
    let told = table.feed(Input::Evaluated { subject: Subject::If(b), result: Ok(json!(false)) });
    assert_eq!(told, ["evaluated b", "skipped b", "skipped c", "started d#1"]);
    assert_eq!(table.run.step(c).output, None);
    assert_eq!(table.done("d"), ["succeeded d", "finished succeeded"]);
}

#[test]
fn a_condition_that_is_no_boolean_fails_the_step() {
    let (mut table, _) = Table::start(Workflow::builder("t").node(Node::new("a", "act").when("inputs.x")));
    let a = table.at("a");
    let told = table.feed(Input::Evaluated { subject: Subject::If(a), result: Ok(json!(1)) });
    assert_eq!(told, ["evaluation_failed a", "stopping", "compensation_began", "finished compensated"]);
    assert!(table.run.summary().problem.unwrap().contains("must be true or false, and is 1"));
}

#[test]
fn join_any_starts_at_the_first_success_and_leaves_the_others_running() {
    let workflow = Workflow::builder("t")
        .node(Node::new("a", "act"))
        .node(Node::new("b", "act"))
        .node(Node::new("c", "act").needs(["a", "b"]).join(Join::Any));
    let (mut table, _) = Table::start(workflow);
    assert_eq!(table.done("b"), ["succeeded b", "started c#1"]);
    assert_eq!(table.done("c"), ["succeeded c"]);
    assert_eq!(table.owed(), ["execute a#1"]);
    assert_eq!(table.done("a"), ["succeeded a", "finished succeeded"]);
}

#[test]
fn an_input_is_evaluated_once_journaled_and_reused_by_every_attempt() {
    let workflow = Workflow::builder("t")
        .node(Node::new("a", "act"))
        .node(Node::new("b", "act").needs(["a"]).input(json!({"v": "${{ nodes.a.output }}"})))
        .outputs(json!("${{ nodes.b.output }}"));
    let (mut table, _) = Table::start(workflow);
    table.done("a");
    let b = table.at("b");
    let scope = table.run.scope(Subject::With(b)).to_value();
    assert_eq!(scope["nodes"], json!({"a": {"output": "a"}}));
    let told = table.feed(Input::Evaluated { subject: Subject::With(b), result: Ok(json!({"v": 5})) });
    assert_eq!(told, ["evaluated b", "started b#1"]);
    table.fails("b", super::table::retryable());
    table.wakes_at(table.alarm());
    assert_eq!(table.run.step_input(b), json!({"v": 5}));
    assert_eq!(table.done("b"), ["succeeded b"]);
    assert_eq!(table.owed(), ["evaluate outputs"]);
    let told = table.feed(Input::Evaluated { subject: Subject::Outputs, result: Ok(json!("out")) });
    assert_eq!(told, ["evaluated", "finished succeeded"]);
    assert_eq!(table.run.output(), Some(&json!("out")));
}

#[test]
fn a_parked_step_is_performed_again_when_its_moment_has_come_and_not_before() {
    let (mut table, _) = Table::start(graph(&["a:"]));
    assert_eq!(table.parks("a", Until::Time(Timestamp(5_000))), ["parked a"]);
    assert_eq!((table.state(), table.alarm()), (RunState::Waiting, 5_000));
    assert_eq!(table.wakes_at(4_999), [""; 0]);
    assert_eq!(table.wakes_at(5_000), ["unparked a", "started a#2"]);
    assert_eq!(table.run.resumed(table.at("a")), Some(&Resumed::Time));
    assert_eq!(table.wakes_at(6_000), [""; 0]);
    assert_eq!(table.done("a"), ["succeeded a", "finished succeeded"]);
}

#[test]
fn a_signal_wakes_who_waits_for_it_even_when_it_came_early_and_once_only() {
    let (mut table, _) = Table::start(graph(&["a:", "b:"]));
    let until = || Until::Signal { name: SignalName::new("go").unwrap(), deadline: Some(Timestamp(9_000)) };
    let go = || Request::Signal { name: SignalName::new("go").unwrap(), payload: json!(1) };
    assert_eq!(table.asks(go()), ["signalled"]);
    assert_eq!(table.parks("a", until()), ["parked a", "unparked a", "started a#2"]);
    assert_eq!(table.parks("b", until()), ["parked b"]);
    assert_eq!(table.asks(go()), ["signalled", "unparked b", "started b#2"]);
    assert_eq!(table.parks("b", until()), ["parked b"]);
    assert_eq!(table.wakes_at(9_000), ["unparked b", "started b#3"]);
    assert_eq!(table.run.resumed(table.at("b")), Some(&Resumed::TimedOut));
}

#[test]
fn a_checkpoint_is_seen_by_the_next_attempt() {
    let (mut table, _) = Table::start(graph(&["a:"]));
    let node = table.at("a");
    assert_eq!(table.feed(Input::Checkpointed { node, attempt: 1, value: json!("id-1") }), ["checkpointed a"]);
    assert_eq!(table.feed(Input::Checkpointed { node, attempt: 2, value: json!("id-2") }), [""; 0]);
    table.claims();
    assert_eq!(table.run.step(node).checkpoint, Some(&json!("id-1")));
}
