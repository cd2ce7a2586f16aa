//! `shell`: runs a program on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use windflow_core::{Action, ErrorClass, Guarantee, Outcome, Reversal, RunId, Seen, StepContext, StepError, Undone};

use super::deploy::note;
use super::input::{Problems, field, is_open, map, read, reveal, text};
use super::moment;
use super::offspring::{Leader, MARK, Offspring, Trace};

/// As much of each output is kept.
const MOST: usize = 256 * 1024;

/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// What [`ShellAction`] may run. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShellPolicy(Allowed);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Allowed {
    #[default]
    Nothing,
    Anything,
    Only(BTreeSet<String>),
}

impl ShellPolicy {
    /// Nothing.
    #[must_use]
    pub fn deny() -> Self {
        Self::default()
    }

    /// Anything that whoever runs this may run.
    #[must_use]
    pub fn allow() -> Self {
        Self(Allowed::Anything)
    }

    /// Only these programs, written exactly so.
    #[must_use]
    pub fn allow_only(programs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(Allowed::Only(programs.into_iter().map(Into::into).collect()))
    }

    fn refuses(&self, program: Option<&str>) -> Option<String> {
        match (&self.0, program) {
            (Allowed::Nothing, _) => Some("the shell action is switched off here".to_owned()),
            (Allowed::Only(programs), Some(program)) if !programs.contains(program) => {
                let allowed: Vec<&str> = programs.iter().map(String::as_str).collect();
                Some(format!("'{program}' is not among the programs allowed here: {}", allowed.join(", ")))
            }
            _ => None,
        }
    }
}

/// Runs a program with arguments, never a shell text, in an environment of its own.
///
/// ```yaml
/// nodes:
///   migrate:
///     uses: shell
///     on_unknown: stuck          # the default: nobody can tell whether it ran
///     with:
///       argv: [./migrate, --to, "${{ inputs.version }}"]
///       cwd: /srv/shop
///       env: { PATH: /usr/bin:/bin, DB_PASSWORD: "secret://env/DB_PASSWORD" }
///       stdin: "yes\n"
///       timeout: 10m
///       expect: { exit: [0, 3] }
/// ```
///
/// Output: `exit` (128 + signal when a signal ended it), `stdout` and `stderr` (the first 256 KiB of each),
/// `truncated`. Secrets are given in `env` only: arguments can be read by everybody on the machine.
///
/// The program and all it starts belong to the step, also in a session of their own: they are asked to end when the step
/// is cancelled or its time is up, and killed after five seconds; what is left when the program has ended is killed; and
/// what was left by an engine that was killed is gone before anything else is done for the step. What is to go on is
/// deployed, started by the machine's own service manager, or leaves the step on purpose ([`leave_step`]; `windflow run
/// --detach` does).
#[derive(Debug, Clone, Default)]
pub struct ShellAction(ShellPolicy);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    stdin: Option<String>,
    timeout: Option<String>,
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

impl ShellAction {
    /// Runs what this policy allows.
    #[must_use]
    pub fn new(policy: ShellPolicy) -> Self {
        Self(policy)
    }
}

/// Lets a program outlive the `shell` step it is started from. The program must also leave its session, and its parent
/// must end before the step does.
///
/// ```
/// let mut command = std::process::Command::new("goes-on-for-days");
/// windflow_workflow::actions::leave_step(&mut command);
/// ```
pub fn leave_step(command: &mut std::process::Command) {
    command.env_remove(MARK);
}

/// What is durable of a program that runs.
#[derive(Serialize, Deserialize)]
struct Note {
    program: Trace,
    /// Of which attempt; 0 where that was not written down.
    #[serde(default)]
    attempt: u32,
}

/// The program of an earlier attempt. A checkpoint of another sort is of the action that this one takes back.
fn earlier(cx: &StepContext) -> Option<Note> {
    serde_json::from_value(cx.last_checkpoint()?.clone()).ok()
}

/// Ends what an engine that was killed has left running.
async fn end_earlier(cx: &StepContext) -> Result<(), StepError> {
    let Some(note) = earlier(cx) else { return Ok(()) };
    match note.program.end().await {
        Ok(()) => Ok(()),
        Err(left) => Err(StepError::retryable(
            "shell.left",
            format_args!("an earlier attempt still runs and does not end: {}", processes(&left)),
        )
        .with_hint("end it by hand: it is of another user, or waits for a device")),
    }
}

fn processes(pids: &[i32]) -> String {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    format!("{} {}", if pids.len() == 1 { "process" } else { "processes" }, pids.join(", "))
}

/// What was written so far, and whether there was more.
#[derive(Debug, Default, Clone)]
struct Captured(Arc<Mutex<(Vec<u8>, bool)>>);

impl Captured {
    /// Reads to the end and keeps the beginning.
    async fn read(self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let room = MOST.saturating_sub(kept.0.len()).min(read);
            kept.0.extend_from_slice(&buffer[..room]);
            kept.1 |= room < read;
        }
    }

    fn text(&self) -> (String, bool) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (String::from_utf8_lossy(&kept.0).into_owned(), kept.1)
    }
}

/// The system takes a NUL for the end of a text. Says nothing of what else it holds: that may be a secret.
fn no_nul(what: &str, text: &str) -> Result<(), String> {
    if !text.contains('\0') {
        return Ok(());
    }
    Err(format!("{what} holds a NUL character, and no program can be given one"))
}

/// The last lines of an output, for an error.
fn tail(text: &str) -> String {
    let from = text.char_indices().rev().nth(400).map_or(0, |(at, _)| at);
    text[from..].trim().to_owned()
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[async_trait]
impl Action for ShellAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn reversal(&self) -> Reversal {
        Reversal::None
    }

    fn check(&self, input: &Value) -> Problems {
        let mut problems = Problems::new();
        if let Some(why) = self.0.refuses(None) {
            problems.push((String::new(), why));
        }
        let known = ["argv", "env", "cwd", "stdin", "timeout", "expect"];
        let Some(map) = map(input, &known, &["argv"], &mut problems) else { return problems };
        field(map, "argv", &mut problems, |value| {
            let list = value.as_array().filter(|list| !list.is_empty());
            let list = list.ok_or_else(|| "must be a list: the program, then its arguments".to_owned())?;
            for (index, item) in list.iter().enumerate() {
                no_nul(&format!("argv[{index}]"), text(item)?)?;
                if text(item)?.contains("secret://") {
                    return Err("must hold no secret: arguments can be read by everybody; use env".to_owned());
                }
            }
            match list[0].as_str().filter(|_| !is_open(&list[0])).and_then(|program| self.0.refuses(Some(program))) {
                Some(why) if self.0 != ShellPolicy::deny() => Err(why),
                _ => Ok(()),
            }
        });
        field(map, "env", &mut problems, |value| {
            let texts = value.as_object().is_some_and(|map| map.values().all(Value::is_string));
            if !texts {
                return Err("must be a map of texts".to_owned());
            }
            let mut values = value.as_object().into_iter().flatten();
            values.try_for_each(|(name, value)| no_nul(name, value.as_str().unwrap_or_default()))
        });
        field(map, "cwd", &mut problems, |value| no_nul("cwd", text(value)?));
        field(map, "stdin", &mut problems, |value| text(value).map(drop));
        field(map, "timeout", &mut problems, |value| moment::duration(text(value)?).map(drop));
        field(map, "expect", &mut problems, |value| {
            serde_json::from_value::<Expect>(value.clone()).map(drop).map_err(|error| error.to_string())
        });
        problems
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let input: Input = read(input)?;
        let [program, arguments @ ..] = input.argv.as_slice() else {
            return Err(StepError::terminal("input", "argv is empty"));
        };
        if let Some(why) = self.0.refuses(Some(program)) {
            return Err(StepError::terminal("shell.denied", why).with_hint("allow it with the command's flag"));
        }
        let unfit = |why: String| StepError::terminal("input", why);
        for (index, word) in input.argv.iter().enumerate() {
            no_nul(&format!("argv[{index}]"), word).map_err(unfit)?;
        }
        no_nul("cwd", input.cwd.as_deref().unwrap_or_default()).map_err(unfit)?;
        let timeout = input.timeout.as_deref().map(moment::duration).transpose().map_err(unfit)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().process_group(0).kill_on_drop(true);
        command.stdin(if input.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // What lets a program do its work once only, or find what an earlier attempt has done.
        command.env("WINDFLOW_RUN", cx.run_id().as_str()).env("WINDFLOW_NODE", cx.node().as_str());
        command.env("WINDFLOW_ATTEMPT", cx.attempt().to_string()).env("WINDFLOW_IDEMPOTENCY_KEY", cx.idempotency_key());
        for (name, value) in &input.env {
            let (value, _) = reveal(cx, value).await?;
            no_nul(&format!("the value of {name}"), &value).map_err(unfit)?;
            command.env(name, value);
        }
        if let Some(cwd) = &input.cwd {
            command.current_dir(cwd);
        }
        end_earlier(cx).await?;
        // A mark of its own, so that whoever still ends an earlier attempt does not end this one. Durable before the
        // program is there, so that whoever comes after a crash can find it.
        let trace = Trace { mark: RunId::generate().to_string(), leader: None };
        note(cx, &Note { program: trace.clone(), attempt: cx.attempt() }).await?;
        command.env(MARK, &trace.mark);
        if cx.is_cancelled() {
            return Err(cx.cancelled_error());
        }
        let mut child = command.spawn().map_err(|error| {
            StepError::terminal("shell.start", format_args!("'{program}' cannot be started: {error}"))
                .with_hint("give its full path, or a PATH in env")
        })?;
        let leader = child.id().and_then(|id| Leader::of(id.cast_signed()));
        let mut offspring = Offspring::new(Trace { leader, ..trace }, &child);
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input.stdin) {
            // On its own, because a program may write much before it reads.
            tokio::spawn(async move { drop(pipe.write_all(text.as_bytes()).await) });
        }
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (out, errors) = (Captured::default(), Captured::default());
        let (from_out, from_errors) = (out.clone().read(stdout), errors.clone().read(stderr));
        let mut reading = tokio::spawn(async move { tokio::join!(from_out, from_errors) });
        // For a program that clears its environment, and with it the mark.
        note(cx, &Note { program: offspring.trace.clone(), attempt: cx.attempt() }).await?;
        let until = timeout.map(|timeout| cx.now().after(timeout));
        let mut stopped = None;
        tokio::select! {
            () = offspring.ended(&mut child) => {}
            () = cx.cancelled() => {
                stopped = Some("the step was asked to stop".to_owned());
                offspring.stop(&mut child, GRACE).await;
            }
            () = async { match until { Some(until) => cx.sleep_until(until).await, None => std::future::pending().await } } => {
                stopped = Some(format!("its timeout of {:?} is over", timeout.unwrap_or_default()));
                offspring.stop(&mut child, GRACE).await;
            }
        }
        // What it left running holds the pipes open and belongs to the step.
        if let Err(left) = offspring.end().await {
            cx.progress(&format!("'{program}' has left {}, which does not end", processes(&left)));
        }
        let status = tokio::time::timeout(GRACE, child.wait()).await;
        let status = status.map_err(|_| StepError::unknown("shell.wait", format_args!("'{program}' does not end")))?;
        let status = status.map_err(|error| StepError::unknown("shell.wait", error))?;
        if tokio::time::timeout(GRACE, &mut reading).await.is_err() {
            // Something that is not found keeps the pipes open: it is not waited for.
            reading.abort();
        }
        let exit = exit_code(status);
        let ((stdout, more), (stderr, more_errors)) = (out.text(), errors.text());
        if let Some(why) = stopped {
            return Err(StepError::unknown("shell.stopped", format_args!("'{program}' was ended with {exit}: {why}")));
        }
        if !input.expect.exit.contains(&exit) {
            let said = tail(if stderr.is_empty() { &stdout } else { &stderr });
            let said = if said.is_empty() { "it wrote nothing".to_owned() } else { said };
            let what = format_args!("'{program}' ended with {exit}: {said}");
            return Err(StepError::new(ErrorClass::Retryable, "shell.exit", what));
        }
        Ok(Outcome::Done(json!({
            "exit": exit, "stdout": stdout, "stderr": stderr, "truncated": more || more_errors,
        })))
    }

    async fn observe(&self, cx: &StepContext, _input: &Value) -> Result<Seen, StepError> {
        // Nobody hears any more what it says, and whoever decides what has happened must not decide too early.
        end_earlier(cx).await?;
        // A program is there only after it was noted.
        let noted = earlier(cx).is_some_and(|note| note.attempt == 0 || note.attempt == cx.attempt());
        Ok(if noted { Seen::CannotTell } else { Seen::DidNot })
    }

    async fn compensate(&self, cx: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        end_earlier(cx).await?;
        Ok(Undone::NotUndoable { why: "what a program did is not known; name a `compensate` for the node".to_owned() })
    }
}
