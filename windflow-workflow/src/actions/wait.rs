//! `wait`: lets time pass.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use windflow_core::{
    Action, Guarantee, Outcome, Resumed, Reversal, Seen, StepContext, StepError, Timestamp, Undone, Until,
};

use super::input::{Problems, field, map, read, text};
use super::moment;

/// Waits for some time, or until a moment. No task waits meanwhile, and a crash does not begin the wait anew.
///
/// ```yaml
/// nodes:
///   settle:
///     uses: wait
///     with: { for: 10s }
///   night:
///     uses: wait
///     with: { until: "2027-01-31T22:00:00Z" }
/// ```
///
/// Output: `until`, the moment it waited for.
#[derive(Debug, Clone, Copy, Default)]
pub struct WaitAction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    r#for: Option<String>,
    until: Option<String>,
}

fn wrong(why: String) -> StepError {
    StepError::terminal("input", why)
}

/// When the wait ends: as an earlier attempt has noted, or reckoned from now.
fn end(cx: &StepContext, input: Value) -> Result<Timestamp, StepError> {
    if let Some(noted) = cx.last_checkpoint().and_then(|noted| noted.get("until")).and_then(Value::as_u64) {
        return Ok(Timestamp(noted));
    }
    match read(input)? {
        Input { r#for: Some(time), until: None } => Ok(cx.now().after(moment::duration(&time).map_err(wrong)?)),
        Input { r#for: None, until: Some(at) } => moment::instant(&at).map_err(wrong),
        _ => Err(wrong("give either `for` or `until`".to_owned())),
    }
}

#[async_trait]
impl Action for WaitAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Convergent
    }

    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }

    fn check(&self, input: &Value) -> Problems {
        let mut problems = Problems::new();
        if let Some(map) = map(input, &["for", "until"], &[], &mut problems) {
            if map.contains_key("for") == map.contains_key("until") {
                problems.push((String::new(), "give either `for` or `until`".to_owned()));
            }
            field(map, "for", &mut problems, |value| moment::duration(text(value)?).map(drop));
            field(map, "until", &mut problems, |value| moment::instant(text(value)?).map(drop));
        }
        problems
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let until = end(cx, input)?;
        if cx.resumed_by() == Some(&Resumed::Time) || cx.now() >= until {
            return Ok(Outcome::Done(json!({ "until": until.to_string() })));
        }
        if cx.last_checkpoint().is_none() {
            cx.checkpoint(json!({ "until": until.0 })).await?;
        }
        Ok(Outcome::Parked(Until::Time(until)))
    }

    async fn observe(&self, _cx: &StepContext, _input: &Value) -> Result<Seen, StepError> {
        Ok(Seen::DidNot)
    }

    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}
