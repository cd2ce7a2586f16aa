//! The example programs, as a person runs them.

use std::path::Path;
use std::process::Command;

/// Runs a program in a folder and answers its exit code (none after a signal) and what it printed.
fn run(program: &str, folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(program).args(args).current_dir(folder).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    (done.status.code(), text)
}

#[test]
fn embed_runs_once_and_finds_its_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(env!("CARGO_BIN_EXE_embed"), folder.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("reserving a teapot under the key ") && lines[0].ends_with("/reserve/0"), "{text}");
    assert_eq!(lines[1..], ["succeeded: \"teapot no. 7 is on its way\""]);
    // The key finds the finished run: nothing is reserved twice.
    let (code, text) = run(env!("CARGO_BIN_EXE_embed"), folder.path(), &[]);
    assert_eq!((code, text.as_str()), (Some(0), "succeeded: \"teapot no. 7 is on its way\"\n"));
}

#[test]
fn the_saga_undoes_in_reverse_order_and_exits_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(env!("CARGO_BIN_EXE_saga"), folder.path(), &[]);
    let lines: Vec<&str> = text.lines().collect();
    let done = ["booking the flight", "booking the hotel", "paying", "cancelling hotel-1", "cancelling flight-1"];
    assert_eq!(lines[..5], done, "{text}");
    assert!(lines[5].starts_with("compensated: ") && lines[5].contains("the card was declined"), "{text}");
    assert_eq!(code, Some(3));
}

#[test]
fn the_custom_action_is_observed_compensated_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(env!("CARGO_BIN_EXE_custom-action"), folder.path(), &["office"]);
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], r#"succeeded: {"grams":500,"to":"Ada"}, 1 posted"#);
    assert!(lines[1].starts_with("compensated: ") && lines[1].ends_with("1100 g is too heavy, 1 posted"), "{text}");
    assert!(lines[2].starts_with("refused: ") && lines[2].contains("where the parcel goes"), "{text}");
}

#[test]
fn the_custom_target_does_what_targets_do() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(env!("CARGO_BIN_EXE_custom-target"), folder.path(), &["place"]);
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "first: + services.web",
        "Revision(Some(1))",
        "again: no changes",
        "Revision(Some(2))",
        "drift: + services.web",
        "back: + services.web",
        "Revision(Some(3))",
        "Revision(None)",
    ];
    assert_eq!(lines, expected);
    let left: Vec<_> = std::fs::read_dir(folder.path().join("place/me")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// With engines: `windflow-server/tests/engines/fallback.rs` does the same by the command.
#[test]
fn a_stack_that_no_engine_takes_is_nowhere_and_the_reason_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = ["unix:///nobody/docker.sock", "unix:///nobody/swarm.sock"];
    let (code, text) = run(env!("CARGO_BIN_EXE_fallback"), folder.path(), &nobody);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("deployments.started") && text.contains("deployments.failed"), "{text}");
}

#[test]
fn a_crash_loses_nothing_and_repeats_nothing_that_was_complete() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(env!("CARGO_BIN_EXE_crash"), folder.path(), &["state"]);
    assert_eq!(code, None, "it ends by a signal: {text}");
    let (code, text) = run(env!("CARGO_BIN_EXE_crash"), folder.path(), &["state"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with("succeeded\n"), "{text}");
    let ledger = std::fs::read_to_string(folder.path().join("state/ledger.txt")).unwrap();
    let expected = [
        "first, attempt 1, key crash-example/first/0",
        "second, attempt 1, key crash-example/second/0",
        "second, attempt 2, key crash-example/second/0",
        "third, attempt 1, key crash-example/third/0",
    ];
    assert_eq!(ledger.lines().collect::<Vec<_>>(), expected);
    // A third start finds it over.
    let (code, text) = run(env!("CARGO_BIN_EXE_crash"), folder.path(), &["state"]);
    assert_eq!((code, text.as_str()), (Some(0), "succeeded\n"));
}
