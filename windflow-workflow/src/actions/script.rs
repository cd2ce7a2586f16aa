//! `script`: calculates.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use windflow_core::{Action, EvaluateError, Guarantee, Outcome, Reversal, Seen, StepContext, StepError, Undone};

use super::input::{Problems, field, map, read, text};

/// What runs scripts: pure, bounded, without access to anything.
pub trait ScriptEngine: fmt::Debug + Send + Sync + 'static {
    /// Runs a script that sees this value as `input`.
    ///
    /// # Errors
    /// [`EvaluateError`] when the script is wrong, fails, or reaches a bound.
    fn run(&self, script: &str, input: &Value) -> Result<Value, EvaluateError>;

    /// What can be told of a script without running it; nothing, unless the engine knows better.
    fn check(&self, _script: &str) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(feature = "expressions")]
impl ScriptEngine for crate::expression::Sandbox {
    fn run(&self, script: &str, input: &Value) -> Result<Value, EvaluateError> {
        Self::run(self, script, &serde_json::json!({ "input": input }))
    }

    fn check(&self, script: &str) -> Vec<String> {
        let found = Self::check(self, script, &["input"]).unwrap_or_else(|unreadable| vec![unreadable]);
        let place = |line| if line > 1 { format!("line {line}: ") } else { String::new() };
        found.iter().map(|problem| format!("{}{problem}", place(problem.line))).collect()
    }
}

/// Runs a script over a value, which it sees as `input`; its result is the output.
///
/// ```yaml
/// nodes:
///   count:
///     uses: script
///     with:
///       input: { words: ["a", "b"] }
///       script: "input.words.len()"
/// ```
#[derive(Debug, Clone)]
pub struct ScriptAction(Arc<dyn ScriptEngine>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    script: String,
    #[serde(default)]
    input: Value,
}

impl ScriptAction {
    /// Runs scripts with this engine.
    #[must_use]
    pub fn new(engine: Arc<dyn ScriptEngine>) -> Self {
        Self(engine)
    }
}

#[async_trait]
impl Action for ScriptAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Convergent
    }

    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }

    fn check(&self, input: &Value) -> Problems {
        let mut problems = Problems::new();
        if let Some(map) = map(input, &["script", "input"], &["script"], &mut problems) {
            field(map, "script", &mut problems, |value| text(value).map(drop));
            // What an expression will make of it is not known yet.
            let script = map.get("script").and_then(Value::as_str).filter(|script| !script.contains("${{"));
            let found = script.map(|script| self.0.check(script)).unwrap_or_default();
            problems.extend(found.into_iter().map(|message| ("/script".to_owned(), message)));
        }
        problems
    }

    async fn perform(&self, _cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let Input { script, input } = read(input)?;
        let engine = Arc::clone(&self.0);
        let ran = tokio::task::spawn_blocking(move || engine.run(&script, &input)).await;
        let ran = ran.map_err(|error| StepError::terminal("script.panic", error))?;
        ran.map(Outcome::Done).map_err(|error| StepError::terminal("script.failed", error))
    }

    async fn observe(&self, _cx: &StepContext, _input: &Value) -> Result<Seen, StepError> {
        Ok(Seen::DidNot)
    }

    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}
