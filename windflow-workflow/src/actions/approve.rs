//! `approve`: waits for somebody's decision.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use windflow_core::{
    Action, Guarantee, Outcome, Resumed, Reversal, Seen, SignalName, StepContext, StepError, Timestamp, Undone, Until,
};

use super::input::{Problems, field, map, read, text};
use super::moment;

/// Waits for a signal `approve:NODE` that carries `decision: approve | reject` and perhaps a `comment`.
///
/// ```yaml
/// nodes:
///   release:
///     uses: approve
///     with:
///       message: "Release ${{ inputs.version }} to production?"
///       timeout: 2d
///       on_timeout: reject      # or fail, the default
/// ```
///
/// Output: `approved_by`, `verified` (whether an authenticator vouches for that name), `comment`. A rejection and a
/// time-out end the step for good. `groups` and `quorum` are refused: they mean nothing as long as anybody may call
/// themselves anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApproveAction;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Input {
    message: Option<String>,
    timeout: Option<String>,
    #[serde(default)]
    on_timeout: OnTimeout,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "snake_case")]
enum OnTimeout {
    #[default]
    Fail,
    Reject,
}

#[derive(Deserialize)]
struct Payload {
    decision: Decision,
    #[serde(default)]
    comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Approve,
    Reject,
}

impl ApproveAction {
    /// The signal a node waits for.
    ///
    /// # Errors
    /// Terminal when the node's name is too long to be part of a signal's name.
    pub fn signal(node: &windflow_core::NodeName) -> Result<SignalName, StepError> {
        SignalName::new(format!("approve:{node}")).map_err(|error| {
            StepError::terminal("approve.name", error).with_hint("give the node a name of at most 56 characters")
        })
    }

    fn park(cx: &StepContext, deadline: Option<Timestamp>) -> Result<Outcome, StepError> {
        Ok(Outcome::Parked(Until::Signal { name: Self::signal(cx.node())?, deadline }))
    }
}

/// When the decision must have come, as an earlier attempt has noted.
fn noted(cx: &StepContext) -> Option<Timestamp> {
    cx.last_checkpoint()?.get("deadline")?.as_u64().map(Timestamp)
}

#[async_trait]
impl Action for ApproveAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Convergent
    }

    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }

    fn check(&self, input: &Value) -> Problems {
        let mut problems = Problems::new();
        if input.is_null() {
            return problems;
        }
        let known = ["message", "timeout", "on_timeout", "groups", "quorum"];
        if let Some(map) = map(input, &known, &[], &mut problems) {
            field(map, "message", &mut problems, |value| text(value).map(drop));
            field(map, "timeout", &mut problems, |value| moment::duration(text(value)?).map(drop));
            field(map, "on_timeout", &mut problems, |value| match text(value)? {
                "fail" | "reject" => Ok(()),
                other => Err(format!("is 'fail' or 'reject', not '{other}'")),
            });
            for key in ["groups", "quorum"].into_iter().filter(|key| map.contains_key(*key)) {
                let why = "cannot be kept: no authenticator is configured, so anybody may use any name";
                problems.push((format!("/{key}"), why.to_owned()));
            }
        }
        problems
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let input: Input = if input.is_null() { Input::default() } else { read(input)? };
        match cx.resumed_by() {
            Some(Resumed::Signal { payload, principal }) => match serde_json::from_value(payload.clone()) {
                Ok(Payload { decision: Decision::Approve, comment }) => Ok(Outcome::Done(json!({
                    "approved_by": &*principal.name,
                    "verified": principal.verified,
                    "comment": comment,
                }))),
                Ok(Payload { decision: Decision::Reject, comment }) => {
                    let comment = comment.map(|comment| format!(": {comment}")).unwrap_or_default();
                    Err(StepError::terminal("approve.rejected", format_args!("rejected by {principal}{comment}")))
                }
                Err(error) => {
                    cx.progress(&format!("the signal of {principal} is no decision and was passed over: {error}"));
                    Self::park(cx, noted(cx))
                }
            },
            Some(Resumed::TimedOut | Resumed::Time) => Err(match input.on_timeout {
                OnTimeout::Fail => StepError::terminal("approve.timeout", "nobody decided in time"),
                OnTimeout::Reject => StepError::terminal("approve.rejected", "rejected: nobody decided in time"),
            }),
            None => {
                let timeout = input.timeout.as_deref().map(moment::duration).transpose();
                let timeout = timeout.map_err(|why| StepError::terminal("input", why))?;
                let deadline = match noted(cx) {
                    Some(deadline) => Some(deadline),
                    None => timeout.map(|timeout| cx.now().after(timeout)),
                };
                if let (Some(deadline), None) = (deadline, noted(cx)) {
                    cx.checkpoint(json!({ "deadline": deadline.0 })).await?;
                }
                let message = input.message.as_deref().unwrap_or("waiting for approval");
                cx.progress(message);
                Self::park(cx, deadline)
            }
        }
    }

    async fn observe(&self, _cx: &StepContext, _input: &Value) -> Result<Seen, StepError> {
        Ok(Seen::DidNot)
    }

    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}
