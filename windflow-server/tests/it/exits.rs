//! Every exit code, shown.

use rustix::process::Signal;

use crate::snapshot;
use crate::world::World;

pub const HELLO: &str = "\
name: hello
inputs: { who: { type: string, default: world } }
nodes:
  greet:
    uses: shell
    with: { argv: [printf, \"hello %s\", \"${{ inputs.who }}\"] }
    compensate: nothing
outputs: { said: \"${{ nodes.greet.output.stdout }}\" }
";

/// The first step can be undone, the second fails.
pub const BROKEN: &str = "\
name: broken
on_failure: ON_FAILURE
nodes:
  make:
    uses: shell
    with: { argv: [touch, made] }
    compensate: { uses: shell, with: { argv: [rm, made] } }
  break:
    uses: shell
    needs: [make]
    with: { argv: [ls, missing] }
    compensate: nothing
";

/// Works until the file `go` is there, and can be undone.
pub const BLOCKED: &str = "\
name: blocked
nodes:
  work:
    uses: shell
    with: { argv: [sh, -c, \"touch began; until [ -e go ]; do sleep 0.05; done\"] }
    compensate: { uses: shell, with: { argv: [touch, undone] } }
";

/// Waits for somebody to agree.
pub const ASKED: &str = "\
name: asked
nodes:
  ask: { uses: approve, with: { message: \"shall we?\" } }
  go: { uses: shell, needs: [ask], with: { argv: [touch, gone] }, compensate: nothing }
";

#[test]
fn success_is_0_and_shows_the_output() {
    let world = World::with("w.yaml", HELLO);
    let done = world.expect(0, "run w.yaml --allow-shell --input who=Ada");
    snapshot::matches("run-succeeded", &world, &format!("{}--\n{}", done.err, done.out));
}

#[test]
fn failure_is_1_and_says_what_to_type_next() {
    let world = World::with("w.yaml", &BROKEN.replace("ON_FAILURE", "stop"));
    let done = world.expect(1, "run w.yaml --allow-shell --run-id r");
    snapshot::matches("run-failed", &world, &done.out);
    assert!(world.dir.join("made").exists());
    // What was missing is put right, and the failed step is tried again.
    world.write("missing", "");
    world.expect(0, "runs retry r --allow-shell");
}

#[test]
fn a_failed_run_is_undone_afterwards_on_request() {
    let world = World::with("w.yaml", &BROKEN.replace("ON_FAILURE", "stop"));
    world.expect(1, "run w.yaml --allow-shell --run-id r");
    world.expect(3, "runs compensate r --allow-shell");
    assert!(!world.dir.join("made").exists());
}

#[test]
fn compensated_is_3_and_nothing_is_left() {
    let world = World::with("w.yaml", &BROKEN.replace("ON_FAILURE", "compensate"));
    let done = world.expect(3, "run w.yaml --allow-shell --run-id r");
    snapshot::matches("run-compensated", &world, &done.out);
    assert!(!world.dir.join("made").exists());
    // A run that is over prints its result again, with its code.
    let again = world.expect(3, "resume r");
    assert_eq!((again.out, again.err.as_str()), (done.out, ""));
}

#[test]
fn ctrl_c_cancels_a_working_run_and_is_4() {
    let world = World::with("w.yaml", BLOCKED);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("began");
    run.signal(Signal::INT);
    let done = run.done();
    assert_eq!(done.code, 4, "{}\n{}", done.out, done.err);
    assert!(world.dir.join("undone").exists(), "{}", done.err);
}

#[test]
fn ctrl_c_leaves_a_waiting_run_waiting_and_is_75() {
    let world = World::with("w.yaml", ASKED);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_state("r", "waiting");
    run.signal(Signal::INT);
    let done = run.done();
    assert_eq!(done.code, 75, "{}\n{}", done.out, done.err);
    snapshot::matches("run-left-waiting", &world, &done.out);
    assert_eq!(world.state("r").as_deref(), Some("waiting"));
    let asked = world.expect(0, "runs approve r --comment fine");
    assert!(asked.out.contains("windflow resume r"), "{}", asked.out);
    world.expect(0, "resume --allow-shell");
    assert!(world.dir.join("gone").exists());
}

#[test]
fn a_second_ctrl_c_leaves_a_run_that_can_be_gone_on_with() {
    let undo = "touch undoing; until [ -e go ]; do sleep 0.05; done; touch undone";
    let world = World::with("w.yaml", &BLOCKED.replace("[touch, undone]", &format!("[sh, -c, \"{undo}\"]")));
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("began");
    run.signal(Signal::INT);
    world.until_file("undoing");
    run.signal(Signal::INT);
    let done = run.done();
    assert_eq!(done.code, 75, "{}\n{}", done.out, done.err);
    world.write("go", "");
    world.expect(4, "resume r --allow-shell");
    assert!(world.dir.join("undone").exists());
}

#[test]
fn a_step_nobody_can_tell_of_is_5_until_somebody_decides() {
    let world = World::with("w.yaml", BLOCKED);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("began");
    run.signal(Signal::KILL);
    drop(run);
    world.write("go", "");
    let done = world.expect(5, "resume r --allow-shell");
    snapshot::matches("run-stuck", &world, &done.out);
    world.expect(0, "runs resolve r work --happened {} --reason seen --allow-shell");
}

#[test]
fn wrong_words_and_wrong_files_are_64() {
    let world = World::with("w.yaml", "name: w\nnodes:\n  a: { uses: shel, neds: b }\n");
    let done = world.expect(64, "run w.yaml");
    snapshot::matches("file-invalid", &world, &done.err);
    for args in [
        "run",
        "run missing.yaml",
        "runs list --limit 0",
        "runs list --limit -1",
        "frobnicate",
        "runs show nothing",
        "resume r",
        "plan missing.yaml",
    ] {
        let done = world.expect(64, args);
        assert!(!done.err.is_empty() && done.out.is_empty(), "{args}: {}", done.out);
    }
    world.expect(64, "validate w.yaml");
    assert!(!world.dir.join(".windflow").exists(), "nothing has begun");
}

#[test]
fn a_state_file_that_cannot_be_used_is_69_and_is_named() {
    let world = World::with("w.yaml", HELLO);
    std::fs::create_dir(world.dir.join(".windflow")).unwrap();
    world.write(".windflow/state.db", &"this is no database\n".repeat(100));
    let done = world.expect(69, "run w.yaml --allow-shell");
    assert!(done.err.contains("state.db") && done.err.contains("hint: "), "{}", done.err);
    let done = world.expect(69, "runs list");
    assert!(done.err.contains("state.db"), "{}", done.err);
}

#[test]
fn what_cannot_be_written_is_a_failure() {
    let world = World::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = world.command("schema workflow");
    let output = command.stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be written: No space left"));
}

#[test]
fn what_a_run_refuses_is_told_before_what_the_command_line_lacks() {
    let world = World::with("w.yaml", HELLO);
    world.expect(0, "run w.yaml --allow-shell --run-id r");
    for asked in ["retry r", "retry r --detach", "compensate r", "resolve r greet --fail --reason why", "give-up r"] {
        let done = world.expect(1, &format!("runs {asked}"));
        assert!(done.err.contains("succeeded") && !done.err.contains("shell"), "{asked}: {}", done.err);
    }
}

#[test]
fn an_input_that_cannot_be_corrected_is_told_and_nothing_is_written() {
    let world = World::with(
        "w.yaml",
        "name: w\non_failure: stop\nnodes:\n  a: { uses: script, with: { script: \"throw 1\" } }\n  b: { uses: script, needs: a, with: { script: \"1\" } }\n",
    );
    world.expect(1, "run w.yaml --run-id r");
    let events = world.expect(0, "runs events r").out;
    for (node, why) in [("zz", "there is no node 'zz'"), ("b", "'b' has not failed, so its input cannot be corrected")]
    {
        let done = world.expect(1, &format!("runs retry r --input {node}={{}}"));
        assert!(done.err.contains(why) && done.out.is_empty(), "{}{}", done.out, done.err);
    }
    assert_eq!(world.expect(0, "runs events r").out, events);
}

#[test]
fn a_run_that_is_not_there_is_64_whatever_is_asked_of_it() {
    let world = World::with("w.yaml", "name: w\nnodes:\n  a: { uses: wait, with: { for: 1ms } }\n");
    world.expect(0, "run w.yaml");
    for asked in ["show", "events", "cancel", "pause", "retry"] {
        let done = world.expect(64, &format!("runs {asked} nope"));
        assert!(done.err.contains("windflow runs list"), "{asked}: {}", done.err);
    }
}
