//! `wait`

use serde_json::json;
use windflow_core::{Action, Outcome, Resumed, Timestamp, Until};
use windflow_workflow::actions::WaitAction;

use super::step;

#[tokio::test]
async fn a_wait_parks_once_and_a_crash_does_not_begin_it_anew() {
    let (cx, _) = step().build();
    let parked = WaitAction.perform(&cx, json!({"for": "10s"})).await.unwrap();
    assert_eq!(parked, Outcome::Parked(Until::Time(Timestamp(11_000))));
    // Another attempt, later, after the deadline was noted.
    let (cx, _) = step().last_checkpoint(json!({"until": 5_000})).attempt(2).build();
    let parked = WaitAction.perform(&cx, json!({"for": "10s"})).await.unwrap();
    assert_eq!(parked, Outcome::Parked(Until::Time(Timestamp(5_000))));
    let (cx, _) = step().last_checkpoint(json!({"until": 11_000})).resumed_by(Resumed::Time).build();
    let done = WaitAction.perform(&cx, json!({"for": "10s"})).await.unwrap();
    assert_eq!(done, Outcome::Done(json!({"until": "1970-01-01T00:00:11.000Z"})));
}

#[tokio::test]
async fn a_moment_that_has_passed_is_not_waited_for() {
    let (cx, _) = step().build();
    let done = WaitAction.perform(&cx, json!({"until": "1970-01-01T00:00:00.500Z"})).await.unwrap();
    assert!(matches!(done, Outcome::Done(_)));
    let parked = WaitAction.perform(&cx, json!({"until": "1970-01-01T00:00:02Z"})).await.unwrap();
    assert_eq!(parked, Outcome::Parked(Until::Time(Timestamp(2_000))));
}

#[test]
fn what_can_be_told_beforehand_is() {
    for good in [
        json!({"for": "1m30s"}),
        json!({"until": "2027-01-01T00:00:00Z"}),
        json!({"for": "${{ inputs.t }}"}),
        json!("${{ x }}"),
    ] {
        assert_eq!(WaitAction.check(&good), [], "{good}");
    }
    for (bad, path) in [
        (json!({}), ""),
        (json!({"for": "1s", "until": "2027-01-01T00:00:00Z"}), ""),
        (json!({"for": 10}), "/for"),
        (json!({"for": "ten"}), "/for"),
        (json!({"until": "tomorrow"}), "/until"),
        (json!({"for": "1s", "seconds": 1}), "/seconds"),
        (json!([]), ""),
    ] {
        let problems = WaitAction.check(&bad);
        assert!(problems.iter().any(|(at, _)| at == path), "{bad}: {problems:?}");
    }
}
