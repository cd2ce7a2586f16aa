//! `shell`, with real processes.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windflow_core::action::Services;
use windflow_core::{Action, ErrorClass, NodeName, Outcome, RunId, Seen, StepContext};
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
    assert_eq!(lines[5], "WINDFLOW_RUN=run");
    assert!(lines[6].starts_with("WINDFLOW_STEP="), "what it starts is found again by this");
    assert_eq!(lines.len(), 7);
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

/// A program with children in its group, in a session of their own, and there without the environment they came from;
/// it writes their numbers into a file, and goes on as `then` says.
fn with_children(file: &Path, then: &str) -> Value {
    let script = format!(
        "/bin/sleep 1000 & a=$!; /usr/bin/setsid /bin/sleep 1001 & b=$!; \
         /usr/bin/env -i /usr/bin/setsid /bin/sh -c 'trap \"\" TERM; /bin/sleep 1002; :' & c=$!; \
         until [ \"$(/usr/bin/cut -d' ' -f6 /proc/$c/stat)\" = $c ]; do :; done; \
         echo $a $b $c > {0}.new; /bin/mv {0}.new {0}; {then}",
        file.display()
    );
    json!({ "argv": ["/bin/sh", "-c", script] })
}

async fn pids(file: &Path) -> Vec<String> {
    eventually("the program starts", || file.exists()).await;
    let pids: Vec<String> = std::fs::read_to_string(file).unwrap().split_whitespace().map(str::to_owned).collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| is_alive(pid)), "{pids:?}");
    pids
}

#[tokio::test]
async fn all_it_has_started_ends_when_the_step_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let (cx, cancel) = step().build();
    let input = with_children(&file, "wait");
    let running = tokio::spawn(async move { shell().perform(&cx, input).await });
    let pids = pids(&file).await;
    cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!((error.code.as_str(), error.class), ("shell.stopped", ErrorClass::Unknown));
    assert!(!pids.iter().any(|pid| is_alive(pid)), "nothing is left when the step has ended");
}

#[tokio::test]
async fn all_it_has_started_ends_when_the_attempt_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let (cx, _cancel) = step().build();
    let input = with_children(&file, "wait");
    let running = tokio::spawn(async move { shell().perform(&cx, input).await });
    let pids = pids(&file).await;
    running.abort();
    eventually("the children end too", || !pids.iter().any(|pid| is_alive(pid))).await;
}

#[tokio::test]
async fn what_a_program_has_left_running_ends_with_it() {
    let (cx, _cancel) = step().build();
    let script = "/bin/sleep 1000 & echo $!; /usr/bin/setsid /bin/sleep 1001 & echo $!";
    let output = done(&cx, json!({"argv": sh(script)})).await;
    let pids: Vec<&str> = output["stdout"].as_str().unwrap().lines().collect();
    assert_eq!(pids.len(), 2);
    assert!(!pids.iter().any(|pid| is_alive(pid)), "{pids:?}");
}

/// A program of this engine's that it lost sight of, and its checkpoint.
async fn lost(mark: &str) -> (tokio::process::Child, Value) {
    let mut command = tokio::process::Command::new("/bin/sleep");
    command.arg("1000").env_clear().env("WINDFLOW_STEP", mark).process_group(0).kill_on_drop(true);
    let child = command.spawn().unwrap();
    // For a moment after it was started, a program's environment is not there to be read yet.
    let environment = format!("/proc/{}/environ", child.id().unwrap());
    eventually("its mark shows", || std::fs::read_to_string(&environment).unwrap().contains(mark)).await;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id().unwrap())).unwrap();
    let started: u64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let place = format!("{}/{}", boot.trim(), std::fs::read_link("/proc/self/ns/pid").unwrap().display());
    let leader = json!({ "pid": child.id().unwrap(), "started": started, "place": place });
    (child, json!({ "program": { "mark": "of-another-start", "leader": leader } }))
}

#[tokio::test]
async fn a_program_that_was_not_noted_has_not_run() {
    let (cx, _) = step().attempt(2).build();
    assert!(matches!(shell().observe(&cx, &Value::Null).await.unwrap(), Seen::DidNot));
    let program = json!({"mark": "of-nobody", "leader": null});
    for (noted, attempt, ran) in [(Some(2), 2, true), (Some(2), 3, false), (None, 3, true)] {
        let mut note = json!({ "program": program });
        note["attempt"] = noted.map_or(json!(0), |noted| json!(noted));
        let (cx, _) = step().attempt(attempt).last_checkpoint(note).build();
        let seen = shell().observe(&cx, &Value::Null).await.unwrap();
        assert_eq!(matches!(seen, Seen::CannotTell), ran, "attempt {attempt}: {seen:?}");
    }
}

#[tokio::test]
async fn a_number_that_was_reused_is_left_alone() {
    let (mut stranger, checkpoint) = lost("a-strangers").await;
    let mut reused = [checkpoint.clone(), checkpoint.clone()];
    let started = checkpoint["program"]["leader"]["started"].as_u64().unwrap();
    reused[0]["program"]["leader"]["started"] = json!(started - 1);
    reused[1]["program"]["leader"]["place"] = json!("another boot");
    for checkpoint in reused {
        let (cx, _) = step().last_checkpoint(checkpoint).build();
        done(&cx, json!({"argv": ["/bin/true"]})).await;
        assert!(stranger.try_wait().unwrap().is_none(), "only the number is the same");
    }
    // What has that number, that start and that place is the program itself, whatever its environment says by now.
    let (cx, _) = step().last_checkpoint(checkpoint).build();
    shell().compensate(&cx, &Value::Null, None).await.unwrap();
    assert!(!is_alive(&stranger.id().unwrap().to_string()));
    let (marked, _) = lost("of-another-start").await;
    let (cx, _) = step().last_checkpoint(json!({"program": {"mark": "of-another-start", "leader": null}})).build();
    shell().observe(&cx, &Value::Null).await.unwrap();
    assert!(!is_alive(&marked.id().unwrap().to_string()), "a mark alone suffices");
}
