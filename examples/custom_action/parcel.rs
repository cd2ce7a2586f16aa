//! An action of one's own, with everything an action may have: a guarantee, checks, observation and compensation.

use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::{Value, json};
use windflow_core::{Action, Guarantee, Outcome, Reversal, Seen, StepContext, StepError, Undone};

/// Posts a parcel: a file in a folder that plays the post office, named after the idempotency key, so that posting
/// twice under one key is posting once.
#[derive(Clone, Debug)]
pub struct PostParcel {
    office: PathBuf,
    loses_answers: bool,
}

impl PostParcel {
    /// Posts at this office.
    #[must_use]
    pub fn new(office: impl Into<PathBuf>) -> Self {
        Self { office: office.into(), loses_answers: false }
    }

    /// An office that takes each parcel and whose answer never arrives: nobody can tell whether it has happened, until
    /// the action looks.
    #[must_use]
    pub fn losing_answers(mut self) -> Self {
        self.loses_answers = true;
        self
    }

    /// The key is the same for every attempt of one step; a compensation has the same one with `/undo` behind it.
    fn parcel(&self, cx: &StepContext) -> PathBuf {
        let key = cx.idempotency_key();
        self.office.join(key.trim_end_matches("/undo").replace('/', "."))
    }

    fn failed(error: std::io::Error) -> StepError {
        StepError::retryable("post.closed", error).with_hint("is the office open?")
    }
}

#[async_trait]
impl Action for PostParcel {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        // The other side knows the key.
        Guarantee::Keyed
    }

    fn reversal(&self) -> Reversal {
        Reversal::Own
    }

    fn check(&self, input: &Value) -> Vec<(String, String)> {
        // Found before anything runs; the text may still hold an expression.
        match input.get("to") {
            Some(Value::String(_)) => Vec::new(),
            _ => vec![("/to".to_owned(), "must be a text: where the parcel goes".to_owned())],
        }
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        cx.progress("at the counter");
        let to = input["to"].as_str().ok_or_else(|| StepError::terminal("post.address", "there is no address"))?;
        let parcel = self.parcel(cx);
        std::fs::create_dir_all(&self.office).map_err(Self::failed)?;
        std::fs::write(&parcel, to).map_err(Self::failed)?;
        if self.loses_answers {
            return Err(StepError::unknown("post.answer", "the counter closed before the receipt was handed over"));
        }
        Ok(Outcome::Done(json!({ "to": to })))
    }

    async fn observe(&self, cx: &StepContext, _input: &Value) -> Result<Seen, StepError> {
        match std::fs::read_to_string(self.parcel(cx)) {
            Ok(to) => Ok(Seen::Happened(json!({ "to": to }))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Seen::DidNot),
            Err(error) => Err(Self::failed(error)),
        }
    }

    async fn compensate(&self, cx: &StepContext, _input: &Value, _output: Option<&Value>) -> Result<Undone, StepError> {
        match std::fs::remove_file(self.parcel(cx)) {
            Ok(()) => Ok(Undone::Reversed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Undone::NothingToUndo),
            Err(error) => Err(Self::failed(error)),
        }
    }
}
