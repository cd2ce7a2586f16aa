//! Runs within a run: what a step that holds a workflow starts, asks, hears and hands on.

use std::time::Duration;

use serde_json::{Value, json};

use super::table::Table;
use crate::id::{Principal, RunId};
use crate::outcome::{Outcome, Undone};
use crate::run::{Input, Request, RunState, Subject, Told};
use crate::workflow::{Body, Case, Node, OnFailure, OnItemFailure, Retry, Workflow, WorkflowBuilder, WorkflowSpec};

fn block() -> Box<WorkflowSpec> {
    Box::new(Workflow::builder("block").node(Node::new("inner", "act")).spec().unwrap())
}

fn over(items: Value, max_parallel: u32, on_item_failure: OnItemFailure) -> WorkflowBuilder {
    let body = Body::ForEach { block: block(), max_parallel, on_item_failure };
    Workflow::builder("t")
        .node(Node::new("a", "act"))
        .node(Node::with_body("each", body).input(items).needs(["a"]))
        .node(Node::new("z", "act").needs(["each"]))
}

fn fan(items: Value, max_parallel: u32, on_item_failure: OnItemFailure) -> (Table, Vec<String>) {
    let (mut table, _) = Table::start(over(items, max_parallel, on_item_failure));
    let began = table.done("a");
    (table, began)
}

/// What holds a workflow begins with the first append after the run's own.
fn begin(workflow: WorkflowBuilder) -> (Table, Vec<String>) {
    let (mut table, mut began) = Table::start(workflow);
    began.extend(table.feed(Input::Woke));
    (table, began)
}

fn told() -> Told {
    Told { state: RunState::Running, output: Value::Null, problem: None, leftovers: Vec::new() }
}

const OK: RunState = RunState::Succeeded;

#[test]
fn each_item_has_a_run_and_no_more_run_at_once_than_may() {
    let (mut table, began) = fan(json!([7, 8, 9]), 2, OnItemFailure::Stop);
    let started = |n| format!("child_started each/{n} as r~each~{n}");
    assert_eq!(began, ["succeeded a", "started each#1", &started(0), &started(1)]);
    assert_eq!((table.state(), table.owed()), (RunState::Running, vec![]), "nothing is to be done here");
    assert_eq!(table.tells("each", 1, OK, json!("eight")), ["child_told each/1 succeeded", &started(2)]);
    assert_eq!(table.tells("each", 1, OK, json!("again")), [""; 0], "it has said so");
    let (run, told) = (RunId::new("r~each~0").unwrap(), Told { state: OK, ..told() });
    let lie = Request::Told { node: table.at("each"), place: 0, run, told: Box::new(told) };
    assert_eq!(
        table.asks(lie),
        ["request_refused: cannot hear from a child: only a run that it has started says how that is"]
    );
    assert_eq!(table.claims(), ["claimed"], "a crash of whoever drives it changes nothing");
    assert_eq!(table.tells("each", 2, OK, json!("nine")), ["child_told each/2 succeeded"]);
    let told = table.tells("each", 0, OK, json!("seven"));
    assert_eq!(told, ["child_told each/0 succeeded", "joined each", "started z#1"]);
    assert_eq!(table.run.step(table.at("each")).output, Some(&json!(["seven", "eight", "nine"])));
    assert_eq!(table.done("z"), ["succeeded z", "finished succeeded"]);
}

#[test]
fn the_items_of_a_map_are_handed_on_under_their_keys_and_no_items_are_done_at_once() {
    let (mut table, _) = fan(json!({"x": 1, "y": 2}), 9, OnItemFailure::Stop);
    let around = |place: u32| {
        let run = RunId::new("child").unwrap();
        let (start, _) = table.run.child_start(table.at("each"), place, run).unwrap();
        let around = start.parent.unwrap().around.unwrap();
        (around.key, around.item)
    };
    assert_eq!([around(0), around(1)], [(json!("x"), json!(1)), (json!("y"), json!(2))]);
    table.tells("each", 1, OK, json!("two"));
    table.tells("each", 0, OK, json!("one"));
    assert_eq!(table.run.step(table.at("each")).output, Some(&json!({"x": "one", "y": "two"})));
    let (table, began) = fan(json!([]), 9, OnItemFailure::Stop);
    assert_eq!(began, ["succeeded a", "started each#1", "joined each", "started z#1"]);
    assert_eq!(table.run.step(table.at("each")).output, Some(&json!([])));
    let (mut table, began) = fan(json!("five"), 9, OnItemFailure::Stop);
    assert_eq!(began[1..4], ["started each#1", "failed each for good", "stopping"]);
    let why = table.run.step(table.at("each")).error.unwrap().to_string();
    assert_eq!(why, "it must be given a list or a map, and got \"five\"");
    assert_eq!(table.undoes("a", Ok(Undone::Reversed)).last().unwrap(), "finished compensated");
}

#[test]
fn the_failure_of_an_item_stops_the_others_and_what_they_did_is_undone_with_the_rest() {
    let (mut table, _) = fan(json!([1, 2, 3, 4]), 3, OnItemFailure::Stop);
    table.tells("each", 0, OK, json!(1));
    let told = table.tells("each", 1, RunState::Compensated, Value::Null);
    assert_eq!(
        told,
        ["child_told each/1 compensated", "child_asked each/2 to cancel", "child_asked each/3 to cancel"],
        "the fourth had begun when the first had ended"
    );
    assert_eq!(table.tells("each", 3, OK, json!(4)), ["child_told each/3 succeeded"]);
    let told = table.tells("each", 2, RunState::Cancelled, Value::Null);
    assert_eq!(
        told,
        [
            "child_told each/2 cancelled",
            "failed each for good",
            "stopping",
            "compensation_began",
            "undo_started each#1",
            "child_asked each/0 to compensate",
            "child_asked each/3 to compensate",
        ]
    );
    let why = table.run.step(table.at("each")).error.unwrap().to_string();
    assert_eq!(why, "its run 'r~each~1' is compensated: no luck");
    table.tells("each", 3, RunState::Compensated, Value::Null);
    let told = table.tells("each", 0, RunState::Compensated, Value::Null);
    assert_eq!(told, ["child_told each/0 compensated", "undone each", "undo_started a#1"]);
    assert_eq!(table.undoes("a", Ok(Undone::Reversed)), ["undone a", "finished compensated"]);
}

#[test]
fn what_is_collected_goes_on_and_says_of_each_how_it_ended() {
    let (mut table, _) = fan(json!([1, 2]), 1, OnItemFailure::Collect);
    let told = table.tells("each", 0, RunState::Compensated, Value::Null);
    assert_eq!(told, ["child_told each/0 compensated", "child_started each/1 as r~each~1"]);
    assert_eq!(table.tells("each", 1, OK, json!(2))[1..], ["joined each", "started z#1"]);
    let output = table.run.step(table.at("each")).output.cloned().unwrap();
    assert_eq!(output, json!([{"state": "compensated", "problem": "no luck"}, {"state": "succeeded", "output": 2}]));
}

#[test]
fn pauses_and_the_end_reach_every_run_that_goes_on() {
    let (mut table, _) = fan(json!([1, 2, 3]), 2, OnItemFailure::Stop);
    table.tells("each", 0, OK, json!(1));
    let reason = || "because".to_owned();
    let paused = table.asks(Request::Pause { reason: reason() });
    assert_eq!(paused, ["paused", "child_asked each/1 to pause", "child_asked each/2 to pause"]);
    assert_eq!(table.tells("each", 1, OK, json!(2)), ["child_told each/1 succeeded"]);
    assert_eq!(table.asks(Request::Resume), ["resumed", "child_asked each/2 to resume"]);
    let cancelled = table.asks(Request::Cancel { reason: reason() });
    assert_eq!(cancelled, ["stopping", "child_asked each/2 to cancel"]);
    assert_eq!(table.asks(Request::Terminate { reason: reason() }), ["stopping", "child_asked each/2 to terminate"]);
    let told = table.tells("each", 2, RunState::Terminated, Value::Null);
    assert_eq!(told, ["child_told each/2 terminated", "interrupted each", "finished terminated"]);
    let left: Vec<&str> = table.run.leftovers().iter().map(|l| l.why.as_str()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_run_whose_own_runs_are_stuck_is_stuck_until_they_say_more() {
    let (mut table, _) = fan(json!([1, 2]), 2, OnItemFailure::Stop);
    assert_eq!(table.tells("each", 0, RunState::Stuck, Value::Null), ["child_told each/0 stuck"]);
    let told = table.tells("each", 1, OK, json!(2));
    assert_eq!(told, ["child_told each/1 succeeded", "stuck each"]);
    assert_eq!(table.state(), RunState::Stuck);
    assert_eq!(table.run.leftovers()[0].why, "its run 'r~each~0' is stuck");
    let told = table.tells("each", 0, OK, json!(1));
    assert_eq!(told, ["child_told each/0 succeeded", "joined each", "started z#1"]);
    assert_eq!((table.state(), table.run.leftovers().len()), (RunState::Running, 0));
}

#[test]
fn another_attempt_goes_on_with_what_failed_and_runs_anew_what_was_undone() {
    let body = Body::ForEach { block: block(), max_parallel: 9, on_item_failure: OnItemFailure::Stop };
    let each = Node::with_body("each", body).input(json!([1, 2, 3])).retry(Retry::attempts(2));
    let (mut table, _) = begin(Workflow::builder("t").node(each));
    table.tells("each", 0, OK, json!(1));
    table.tells("each", 1, RunState::Failed, Value::Null);
    let told = table.tells("each", 2, RunState::Cancelled, Value::Null);
    assert_eq!(told, ["child_told each/2 cancelled", "failed each"]);
    let again = table.wakes_at(table.alarm());
    assert_eq!(again, ["started each#2", "child_asked each/1 to retry", "child_started each/2 as r~each~2~2"]);
    table.tells("each", 1, OK, json!(2));
    assert_eq!(table.tells("each", 2, OK, json!(3))[1..], ["joined each", "finished succeeded"]);
}

#[test]
fn a_block_is_repeated_until_it_is_enough_and_fails_when_it_never_is() {
    let until = || "item.ready".to_owned();
    let body = |max_rounds| Body::Repeat { block: block(), until: until(), max_rounds, every: Duration::from_secs(5) };
    let again = |max_rounds| Workflow::builder("t").node(Node::with_body("again", body(max_rounds)));
    let judge = |table: &mut Table, enough: bool| {
        let subject = Subject::Until(table.at("again"));
        table.feed(Input::Evaluated { subject, result: Ok(json!(enough)) })
    };
    let (mut table, began) = begin(again(3));
    assert_eq!(began, ["created", "started again#1", "child_started again/0 as r~again~0"]);
    table.tells("again", 0, OK, json!({"ready": false}));
    assert_eq!((table.state(), table.owed()), (RunState::Running, vec!["evaluate again.until".to_owned()]));
    let scope = table.run.scope(Subject::Until(table.at("again")));
    assert_eq!((scope.item, scope.key), (json!({"ready": false}), json!(0)));
    assert_eq!(judge(&mut table, false), ["evaluated again"]);
    assert_eq!((table.alarm(), table.claims()), (6_000, vec!["claimed".to_owned()]));
    assert_eq!(table.wakes_at(5_999), [""; 0]);
    assert_eq!(table.wakes_at(6_000), ["child_started again/1 as r~again~1"]);
    table.tells("again", 1, OK, json!({"ready": true}));
    assert_eq!(judge(&mut table, true), ["evaluated again", "joined again", "finished succeeded"]);
    assert_eq!(table.run.step(table.at("again")).output, Some(&json!({"ready": true})));

    let (mut table, _) = begin(again(1));
    table.tells("again", 0, OK, json!(0));
    let told = judge(&mut table, false);
    assert_eq!(told[1..4], ["failed again for good", "stopping", "compensation_began"]);
    assert_eq!(told[5], "child_asked again/0 to compensate");
    let why = table.run.step(table.at("again")).error.unwrap().to_string();
    assert_eq!(why, "after 1 rounds it is still not enough");
}

#[test]
fn rounds_are_undone_one_by_one_the_last_first() {
    let body = Body::Repeat { block: block(), until: "x".to_owned(), max_rounds: 2, every: Duration::ZERO };
    let (mut table, _) = begin(Workflow::builder("t").node(Node::with_body("again", body)));
    let subject = Subject::Until(table.at("again"));
    for round in 0..2 {
        table.tells("again", round, OK, json!(round));
        table.feed(Input::Evaluated { subject, result: Ok(json!(false)) });
    }
    let told = table.tells("again", 1, RunState::Compensated, Value::Null);
    assert_eq!(told, ["child_told again/1 compensated", "child_asked again/0 to compensate"]);
    let told = table.tells("again", 0, RunState::Failed, Value::Null);
    assert_eq!(told, ["child_told again/0 failed", "undo_failed again for good", "stuck again"]);
}

#[test]
fn the_case_that_fits_is_run_and_none_if_none_does() {
    let case = |is: Value, action: &str| {
        let block = Workflow::builder("case").node(Node::new("inner", action)).spec().unwrap();
        Case { is, block }
    };
    let switch = |on: Value, otherwise| {
        let cases = vec![case(json!("a"), "one"), case(json!(2), "two")];
        Workflow::builder("t").node(Node::with_body("pick", Body::Switch { cases, otherwise }).input(on))
    };
    let picked = |on: Value| {
        let (table, _) = begin(switch(on, Some(block())));
        let run = RunId::new("child").unwrap();
        let (_, plan) = table.run.child_start(table.at("pick"), 0, run).unwrap();
        plan.spec().nodes[0].uses.to_string()
    };
    assert_eq!([picked(json!("a")), picked(json!(2)), picked(json!("2"))], ["one", "two", "act"]);
    let (_, began) = begin(switch(json!("c"), None));
    assert_eq!(began, ["created", "started pick#1", "joined pick", "finished succeeded"]);
}

#[test]
fn a_called_workflow_has_inputs_of_its_own_and_a_block_sees_what_is_around_it() {
    let inner = Workflow::builder("inner")
        .node(Node::new("x", "act").input(json!("${{ inputs.n }} ${{ nodes.a.output }} ${{ item }}")))
        .spec()
        .unwrap();
    let scope = Workflow::builder("scope").node(Node::with_body("in", Body::Scope { block: Box::new(inner) })).spec();
    let each = Body::ForEach { block: Box::new(scope.unwrap()), max_parallel: 1, on_item_failure: OnItemFailure::Stop };
    let workflow = Workflow::builder("t")
        .node(Node::new("a", "act"))
        .node(Node::with_body("each", each).input(json!(["i"])).needs(["a"]));
    let (mut table, _) = begin(workflow);
    table.done("a");
    let child = |run: &crate::run::Run, node: &str| {
        let at = run.workflow().find(node).unwrap();
        let id = run.child_runs(at).next().unwrap().run.clone();
        let (start, plan) = run.child_start(at, 0, id).unwrap();
        let mut child = crate::run::Run::start(start, plan, run.updated_at()).unwrap().0;
        child.advance(run.updated_at(), Input::Woke).unwrap();
        child
    };
    let outer = child(&table.run, "each");
    let inner = child(&outer, "in");
    assert_eq!((outer.id().as_str(), inner.id().as_str()), ("r~each~0", "r~each~0~in~0"));
    let scope = inner.scope(Subject::With(inner.workflow().find("x").unwrap()));
    assert_eq!(scope.inputs, json!({"x": 1}));
    assert_eq!((scope.item, scope.nodes.values().collect::<Vec<_>>()), (json!("i"), vec![&json!("a")]));
}

#[test]
fn only_its_parent_has_a_run_that_is_over_undone_or_tried_again() {
    let body = Body::Scope { block: block() };
    let (table, _) = begin(Workflow::builder("t").node(Node::with_body("in", body)).on_failure(OnFailure::Stop));
    let (start, plan) = table.run.child_start(table.at("in"), 0, RunId::new("r~in~0").unwrap()).unwrap();
    let (mut child, _) = crate::run::Run::start(start, plan, table.run.updated_at()).unwrap();
    let now = child.updated_at();
    let node = child.workflow().find("inner").unwrap();
    child.advance(now, Input::Ended { node, attempt: 1, result: Ok(Outcome::Done(json!(1))) }).unwrap();
    assert_eq!(child.state(), OK);
    let ada = Principal::unverified("ada");
    let refused = child.may(&Request::Compensate, &ada).unwrap_err().to_string();
    assert_eq!(refused, "cannot compensate: it is over, and a part of run 'r'; ask that one");
    let parent = Principal::run(table.run.id());
    let ask = |request| Input::Asked { request, principal: parent.clone() };
    assert_eq!(
        child.advance(now, ask(Request::Cancel { reason: String::new() })).unwrap(),
        [],
        "too late, and no harm"
    );
    child.advance(now, ask(Request::Compensate)).unwrap();
    child.advance(now, Input::Compensated { node, attempt: 1, result: Ok(Undone::Reversed) }).unwrap();
    assert_eq!(child.state(), RunState::Compensated);
}
