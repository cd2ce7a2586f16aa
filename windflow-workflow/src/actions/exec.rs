//! `exec`: runs a command inside a service.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windflow_core::target::{Consents, Exec, ExecEvent, ServiceRef, Session};
use windflow_core::{
    Action, Guarantee, Outcome, Reversal, Seen, ServiceName, StackName, StepContext, StepError, TargetName, Undone,
};

use super::deploy::{check_keys, check_name, note, noted};
use super::input::{Problems, field, read, reveal, text};

/// As much of each output is kept.
const MOST: usize = 256 * 1024;

/// Runs a command inside a service of a stack that is deployed.
///
/// ```yaml
/// nodes:
///   migrate:
///     uses: exec
///     timeout: 10m
///     on_unknown: stuck          # the default: nobody can tell whether it ran
///     with:
///       target: local
///       stack: shop
///       service: api
///       instance: 0              # any, unless written
///       argv: [./migrate, --to, "${{ inputs.version }}"]
///       env: { DB_PASSWORD: "secret://env/DB_PASSWORD" }
///       expect: { exit: [0] }
/// ```
///
/// `stack` is the stack's name, or in a document also its file. Secrets are given in `env` only: arguments can be read by
/// everybody who sees the service's processes.
///
/// Output: `exit` (128 + signal when a signal ended it), `stdout` and `stderr` (the first 256 KiB of each), `truncated`.
/// What a command did is not known, and not undone: name a `compensate` for the node. A cancelled step ends its command.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExecAction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    stack: StackName,
    target: TargetName,
    service: ServiceName,
    instance: Option<u32>,
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    exit: Vec<i32>,
}

impl Default for Expect {
    fn default() -> Self {
        Self { exit: vec![0] }
    }
}

/// What is durable before the command begins: before that it has certainly not run.
#[derive(Serialize, Deserialize)]
struct Begun {
    attempt: u32,
}

/// The beginning of an output, and whether there was more.
#[derive(Default)]
struct Kept(Vec<u8>, bool);

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let room = MOST.saturating_sub(self.0.len()).min(bytes.len());
        self.0.extend_from_slice(&bytes[..room]);
        self.1 |= room < bytes.len();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

/// The last lines of an output, for an error.
fn tail(text: &str) -> String {
    let from = text.char_indices().rev().nth(400).map_or(0, |(at, _)| at);
    text[from..].trim().to_owned()
}

async fn follow(cx: &StepContext, mut session: Session) -> Result<(i32, Kept, Kept), StepError> {
    let (mut out, mut errors) = (Kept::default(), Kept::default());
    loop {
        let event = tokio::select! {
            event = session.events.next() => event,
            () = cx.cancelled() => {
                let why = "the command was ended because the attempt was asked to stop";
                return Err(StepError::unknown("exec.stopped", why));
            }
        };
        match event {
            Some(Ok(ExecEvent::Stdout(bytes))) => out.take(&bytes),
            Some(Ok(ExecEvent::Stderr(bytes))) => errors.take(&bytes),
            Some(Ok(ExecEvent::Exit(code))) => return Ok((code, out, errors)),
            // It has begun: whatever cut the line, nobody knows how it went on.
            Some(Err(error)) => return Err(StepError::unknown("exec.lost", error)),
            None => return Err(StepError::unknown("exec.lost", "the end of the command was not told")),
        }
    }
}

#[async_trait]
impl Action for ExecAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn reversal(&self) -> Reversal {
        Reversal::None
    }

    fn check(&self, input: &Value) -> Problems {
        let mut problems =
            check_keys(input, &["service", "argv"], &["service", "instance", "argv", "env", "expect"], check_name);
        let Some(map) = input.as_object() else { return problems };
        field(map, "service", &mut problems, |value| {
            ServiceName::new(text(value)?).map(drop).map_err(|error| error.to_string())
        });
        field(map, "instance", &mut problems, |value| match value.as_u64().map(u32::try_from) {
            Some(Ok(_)) => Ok(()),
            _ => Err("must be a whole number, counted from 0".to_owned()),
        });
        field(map, "argv", &mut problems, |value| {
            let list = value.as_array().filter(|list| !list.is_empty());
            let list = list.ok_or_else(|| "must be a list: the program, then its arguments".to_owned())?;
            for item in list {
                if text(item)?.contains(windflow_core::SecretRef::SCHEME) {
                    return Err("must not hold secrets: arguments can be read by others; give them in 'env'".to_owned());
                }
            }
            Ok(())
        });
        field(map, "env", &mut problems, |value| {
            let texts = value.as_object().is_some_and(|map| map.values().all(Value::is_string));
            if texts { Ok(()) } else { Err("must be a map of texts".to_owned()) }
        });
        field(map, "expect", &mut problems, |value| {
            serde_json::from_value::<Expect>(value.clone())
                .map(drop)
                .map_err(|_| "must name exit codes: { exit: [0] }".to_owned())
        });
        problems
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let input: Input = read(input)?;
        let target = cx.target(&input.target)?;
        let mut command = Exec::new(input.argv.clone());
        for (name, value) in &input.env {
            command.environment.insert(name.clone(), reveal(cx, value).await?.0);
        }
        let of = ServiceRef { instance: input.instance, ..ServiceRef::service(input.stack, input.service) };
        note(cx, &Begun { attempt: cx.attempt() }).await?;
        let session = target.exec(&cx.target_context(Consents::none()), &of, command).await?;
        let (exit, out, errors) = follow(cx, session).await?;
        let (stdout, stderr) = (out.text(), errors.text());
        if !input.expect.exit.contains(&exit) {
            let program = input.argv.first().map_or("", String::as_str);
            let said = tail(if stderr.is_empty() { &stdout } else { &stderr });
            let said = if said.is_empty() { "it wrote nothing".to_owned() } else { said };
            let what = format_args!("'{program}' ended with {exit}: {said}");
            return Err(StepError::retryable("exec.exit", what));
        }
        let truncated = out.1 || errors.1;
        Ok(Outcome::Done(json!({ "exit": exit, "stdout": stdout, "stderr": stderr, "truncated": truncated })))
    }

    async fn observe(&self, cx: &StepContext, _: &Value) -> Result<Seen, StepError> {
        let begun = noted::<Begun>(cx)?.is_some_and(|begun| begun.attempt == cx.attempt());
        Ok(if begun { Seen::CannotTell } else { Seen::DidNot })
    }

    async fn compensate(&self, cx: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        if noted::<Begun>(cx)?.is_none() {
            return Ok(Undone::NothingToUndo);
        }
        Ok(Undone::NotUndoable { why: "what a command did is not known; name a `compensate` for the node".to_owned() })
    }
}
