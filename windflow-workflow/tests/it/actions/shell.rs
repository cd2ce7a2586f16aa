//! `shell`, with real processes.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windflow_core::action::Services;
use windflow_core::{Action, ErrorClass, NodeName, Outcome, RunId, StepContext};
use windflow_workflow::ShellPolicy;
use windflow_workflow::actions::ShellAction;

use super::step;

fn shell() -> ShellAction {
    ShellAction::new(ShellPolicy::allow())
}

async fn done(cx: &StepContext, input: Value) -> Value {
    match shell().perform(cx, input).await {
        Ok(Outcome::Done(output)) => output,
        other => panic!("{other:?}"),
    }
}

fn sh(script: &str) -> Vec<&str> {
    vec!["/bin/sh", "-c", script]
}

#[tokio::test]
async fn a_program_runs_in_an_environment_of_its_own() {
    let (cx, _) = step().build();
    let input = json!({"argv": ["/usr/bin/env"], "env": {"A": "1", "TOKEN": "secret://env/TOKEN"}});
    let output = done(&cx, input).await;
    let mut lines: Vec<&str> = output["stdout"].as_str().unwrap().lines().collect();
    lines.sort_unstable();
    let own = [
        "A=1",
        "TOKEN=hunter2-hunter2",
        "WINDFLOW_ATTEMPT=1",
        "WINDFLOW_IDEMPOTENCY_KEY=run/step/0",
        "WINDFLOW_NODE=step",
    ];
    assert_eq!(lines[..5], own, "nothing is inherited");
    assert_eq!(lines[5..], ["WINDFLOW_RUN=run"]);
    assert_eq!(output["exit"], 0);
    let input = json!({"argv": ["/bin/cat"], "stdin": "x".repeat(500_000), "cwd": "/"});
    let output = done(&cx, input).await;
    assert_eq!(output["stdout"].as_str().unwrap().len(), 256 * 1024);
    assert_eq!(output["truncated"], true);
    let output = done(&cx, json!({"argv": sh("echo oops >&2; exit 3"), "expect": {"exit": [0, 3]}})).await;
    assert_eq!((&output["exit"], &output["stderr"]), (&json!(3), &json!("oops\n")));
}

#[tokio::test]
async fn an_unexpected_exit_says_what_the_program_said() {
    let (cx, _) = step().build();
    let error = shell().perform(&cx, json!({"argv": sh("echo no disk >&2; exit 4")})).await.unwrap_err();
    assert_eq!(error.message, "'/bin/sh' ended with 4: no disk");
    let error = shell().perform(&cx, json!({"argv": ["/no/such/program"]})).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.class), ("shell.start", ErrorClass::Terminal));
    let error = shell().perform(&cx, json!({"argv": sh("kill -KILL $$")})).await.unwrap_err();
    assert!(error.message.contains("ended with 137"), "{error}");
}

#[tokio::test]
async fn it_is_off_unless_allowed() {
    let (cx, _) = step().build();
    let input = json!({"argv": ["/bin/true"]});
    let error = ShellAction::default().perform(&cx, input.clone()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.class), ("shell.denied", ErrorClass::Terminal));
    let some = ShellAction::new(ShellPolicy::allow_only(["/bin/true"]));
    assert!(some.perform(&cx, input).await.is_ok());
    assert!(some.perform(&cx, json!({"argv": ["/bin/false"]})).await.is_err());
    assert_eq!(some.check(&json!({"argv": ["/bin/false"]}))[0].0, "/argv");
    let problems = shell().check(&json!({"argv": ["curl", "secret://env/TOKEN"]}));
    assert!(problems[0].1.contains("no secret"), "{problems:?}");
}

#[tokio::test]
async fn what_no_program_can_be_given_is_told_before_and_during_a_run() {
    let (cx, _) = step().build();
    for (input, place, told) in [
        (json!({"argv": ["/bin/echo", "a\0b"]}), "/argv", "argv[1] holds a NUL character"),
        (json!({"argv": ["/bin/echo"], "cwd": "/\0"}), "/cwd", "cwd holds a NUL character"),
        (json!({"argv": ["/bin/echo"], "env": {"A": "\0"}}), "/env", "A holds a NUL character"),
    ] {
        let (at, before) = shell().check(&input).remove(0);
        assert!(at == place && before.contains(told), "{at}: {before}");
        let error = shell().perform(&cx, input).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.class), ("input", ErrorClass::Terminal));
        assert!(error.message.contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_timeout_is_named_with_its_length() {
    // A step on the real clock.
    let builder = StepContext::builder(RunId::new("run").unwrap(), NodeName::new("step").unwrap());
    let (cx, _cancel) = builder.services(Services::default()).build();
    let input = json!({"argv": ["/bin/sleep", "1000"], "timeout": "50ms"});
    let error = shell().perform(&cx, input).await.unwrap_err();
    assert!(error.message.ends_with("its timeout of 50ms is over"), "{error}");
}

fn is_alive(pid: &str) -> bool {
    // A zombie is dead: nobody reaps the orphans of a test.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A program with a child, which writes its child's pid into a file.
fn with_child(file: &Path) -> Value {
    let script = format!("/bin/sleep 1000 & echo $! > {0}.new; /bin/mv {0}.new {0}; wait", file.display());
    json!({ "argv": ["/bin/sh", "-c", script] })
}

#[tokio::test]
async fn the_whole_group_ends_when_the_step_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let (cx, cancel) = step().build();
    let input = with_child(&file);
    let running = tokio::spawn(async move { shell().perform(&cx, input).await });
    eventually("the program starts", || file.exists()).await;
    let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(is_alive(&pid));
    cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!((error.code.as_str(), error.class), ("shell.stopped", ErrorClass::Unknown));
    eventually("the child ends too", || !is_alive(&pid)).await;
}

#[tokio::test]
async fn the_whole_group_ends_when_the_attempt_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let (cx, _cancel) = step().build();
    let input = with_child(&file);
    let running = tokio::spawn(async move { shell().perform(&cx, input).await });
    eventually("the program starts", || file.exists()).await;
    let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    running.abort();
    eventually("the child ends too", || !is_alive(&pid)).await;
}
