//! `approve`

use serde_json::{Value, json};
use windflow_core::{Action, Outcome, Principal, Resumed, Timestamp, Until};
use windflow_workflow::actions::ApproveAction;

use super::step;

fn signal(payload: Value, principal: Principal) -> Resumed {
    Resumed::Signal { payload, principal }
}

#[tokio::test]
async fn it_waits_for_its_own_signal_until_its_deadline() {
    let (cx, _) = step().build();
    let Outcome::Parked(Until::Signal { name, deadline }) =
        ApproveAction.perform(&cx, json!({"timeout": "1m"})).await.unwrap()
    else {
        panic!("it must wait");
    };
    assert_eq!((name.as_str(), deadline), ("approve:step", Some(Timestamp(61_000))));
    let parked = ApproveAction.perform(&cx, Value::Null).await.unwrap();
    assert!(matches!(parked, Outcome::Parked(Until::Signal { deadline: None, .. })));
}

#[tokio::test]
async fn a_decision_says_whose_it_is_and_whether_anybody_vouches_for_that() {
    let payload = json!({"decision": "approve", "comment": "ship it"});
    let (cx, _) = step().resumed_by(signal(payload, Principal::unverified("user:ada"))).build();
    let Outcome::Done(output) = ApproveAction.perform(&cx, json!({})).await.unwrap() else { panic!() };
    assert_eq!(output, json!({"approved_by": "user:ada", "verified": false, "comment": "ship it"}));

    let payload = json!({"decision": "reject", "comment": "not today"});
    let (cx, _) = step().resumed_by(signal(payload, Principal::unverified("user:ada"))).build();
    let error = ApproveAction.perform(&cx, json!({})).await.unwrap_err();
    assert_eq!(error.code, "approve.rejected");
    assert_eq!(error.message, "rejected by user:ada (unverified): not today");
}

#[tokio::test]
async fn what_is_no_decision_is_passed_over_and_the_deadline_stays() {
    for payload in [json!(null), json!({"decision": "maybe"}), json!("approve")] {
        let resumed = signal(payload, Principal::system());
        let (cx, _) = step().last_checkpoint(json!({"deadline": 7})).resumed_by(resumed).build();
        let parked = ApproveAction.perform(&cx, json!({"timeout": "1m"})).await.unwrap();
        assert!(matches!(parked, Outcome::Parked(Until::Signal { deadline: Some(Timestamp(7)), .. })));
    }
}

#[tokio::test]
async fn a_time_out_fails_or_rejects() {
    for (input, code) in [(json!({}), "approve.timeout"), (json!({"on_timeout": "reject"}), "approve.rejected")] {
        let (cx, _) = step().resumed_by(Resumed::TimedOut).build();
        assert_eq!(ApproveAction.perform(&cx, input).await.unwrap_err().code, code);
    }
}

#[test]
fn groups_and_quorum_are_refused_as_long_as_nobody_vouches_for_names() {
    assert_eq!(ApproveAction.check(&json!({"message": "Go?", "timeout": "2d", "on_timeout": "fail"})), []);
    assert_eq!(ApproveAction.check(&Value::Null), []);
    for key in ["groups", "quorum", "on_timeout", "who"] {
        let problems = ApproveAction.check(&json!({ key: "x" }));
        assert_eq!(problems.len(), 1, "{key}");
        assert_eq!(problems[0].0, format!("/{key}"));
    }
}
