//! Runs that outlive the command that started them.

use rustix::process::Signal;

use crate::exits::{ASKED, BLOCKED, HELLO};
use crate::snapshot;
use crate::world::World;

/// Begins a run of [`ASKED`], and leaves it when it waits.
fn leave_waiting(world: &World, id: &str) {
    let run = world.start(&format!("run w.yaml --allow-shell --run-id {id}"));
    world.until_state(id, "waiting");
    run.signal(Signal::INT);
    assert_eq!(run.done().code, 75);
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_was() {
    let text = "\
name: w
nodes:
  first: { uses: shell, with: { argv: [sh, -c, \"echo ran >> first\"] }, compensate: nothing }
  nap: { uses: wait, needs: [first], with: { for: 1s } }
  last: { uses: shell, needs: [nap], with: { argv: [touch, last] }, compensate: nothing }
";
    let world = World::with("w.yaml", text);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_state("r", "waiting");
    run.signal(Signal::KILL);
    drop(run);
    world.expect(0, "resume --allow-shell");
    assert!(world.dir.join("last").exists());
    let ran = std::fs::read_to_string(world.dir.join("first")).unwrap();
    assert_eq!(ran, "ran\n", "a step that is complete never runs again");
}

#[test]
fn a_second_terminal_cancels_what_the_first_drives() {
    let world = World::with("w.yaml", BLOCKED);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("began");
    let asked = world.expect(0, "runs cancel r --reason enough");
    assert!(!asked.out.contains("nobody drives it"), "{}", asked.out);
    let done = run.done();
    assert_eq!(done.code, 4, "{}", done.err);
    assert!(done.err.contains("cancelled by cli:ada (unverified): enough"), "{}", done.err);
}

#[test]
fn a_run_another_process_drives_is_followed_to_its_end() {
    let world = World::with("w.yaml", BLOCKED);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("began");
    let follower = world.start("resume r --allow-shell");
    // Whoever only follows may stop looking without anything being cancelled.
    let other = world.start("resume r --allow-shell --json");
    other.signal(Signal::TERM);
    world.write("go", "");
    assert_eq!(run.done().code, 0);
    assert_eq!(follower.done().code, 0);
    drop(other);
}

#[test]
fn who_drives_a_run_is_said_and_it_is_taken_over_when_that_process_has_gone() {
    let world = World::with("w.yaml", BLOCKED);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("began");
    run.signal(Signal::STOP);
    let driver = format!("driven by process {} on ", run.pid().as_raw_nonzero());
    let follower = world.start_into("text", "resume r --allow-shell");
    world.until_said("text", &driver);
    world.until_said("text", "it goes on here when that ends");
    let programs = world.start_into("json", "run w.yaml --run-id r --allow-shell --json");
    world.until_said("json", &format!("\"process\":{}", run.pid().as_raw_nonzero()));
    assert!(world.expect(0, "runs show r").out.contains(&driver));
    let asked = world.expect(0, "runs pause r --reason lunch");
    assert!(asked.out.contains(&format!("not taken in yet: {driver}")), "{}", asked.out);
    // Whoever only follows may leave; nothing is cancelled.
    programs.signal(Signal::INT);
    assert_eq!(programs.done().code, 75);
    run.signal(Signal::KILL);
    drop(run);
    world.until_said("text", "it is no longer driven there");
    assert_eq!(follower.done().code, 75, "paused, as was asked meanwhile");
}

#[test]
fn a_run_whose_process_is_stopped_is_taken_over_when_its_lease_ends() {
    let world = World::with("w.yaml", &BLOCKED.replace("touch began;", "echo began >> began;"));
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("began");
    run.signal(Signal::STOP);
    // Half a minute after the stopped process last renewed it. Where it was stopped while it wrote, the file stays locked.
    let mut done = world.run("resume r --allow-shell");
    for _ in 0..3 {
        if done.code != 69 {
            break;
        }
        assert!(done.err.contains("database is locked"), "{}", done.err);
        run.signal(Signal::CONT);
        world.expect(0, "runs show r");
        run.signal(Signal::STOP);
        done = world.run("resume r --allow-shell");
    }
    assert_eq!(done.code, 5, "{}", done.err);
    assert!(done.err.contains("it is no longer driven there"), "{}", done.err);
    assert_eq!(std::fs::read_to_string(world.dir.join("began")).unwrap(), "began\n", "nobody can tell: it is asked");
    world.write("go", "");
}

#[test]
fn a_detached_run_goes_on_by_itself() {
    let world = World::with("w.yaml", HELLO);
    let done = world.expect(0, "run w.yaml --allow-shell --detach --run-id r --input who=Ada");
    snapshot::matches("run-detached", &world, &done.out);
    world.until_state("r", "succeeded");
    let shown = world.expect(0, "resume r");
    assert!(shown.out.contains("hello Ada"), "{}", shown.out);
}

#[test]
fn one_id_is_one_run() {
    let world = World::with("w.yaml", HELLO);
    world.expect(0, "run w.yaml --allow-shell --run-id r");
    world.expect(0, "run w.yaml --allow-shell --run-id r");
    let done = world.expect(64, "run w.yaml --allow-shell --run-id r --input who=Eve");
    assert!(done.err.contains("exists already"), "{}", done.err);
}

#[test]
fn a_paused_run_goes_on_when_it_is_resumed() {
    let world = World::with("w.yaml", ASKED);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_state("r", "waiting");
    world.expect(0, "runs pause r --reason lunch");
    let done = run.done();
    assert_eq!(done.code, 75, "{}", done.err);
    world.expect(0, "runs approve r ask");
    let second = world.expect(1, "runs approve r ask --reject");
    assert!(second.err.contains("that was answered already"), "{}", second.err);
    world.expect(0, "resume r --allow-shell");
}

#[test]
fn a_rejection_fails_the_run() {
    let world = World::with("w.yaml", ASKED);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_state("r", "waiting");
    world.expect(0, "runs approve r --reject --comment no");
    assert_eq!(run.done().code, 3);
    assert!(!world.dir.join("gone").exists());
    let done = world.expect(1, "runs approve r");
    assert!(done.err.contains("does not wait"), "{}", done.err);
}

#[test]
fn a_worker_drives_what_was_left() {
    let world = World::with("w.yaml", ASKED);
    for id in ["a", "b"] {
        leave_waiting(&world, id);
        world.expect(0, &format!("runs approve {id}"));
    }
    world.expect(0, "worker --until-idle --allow-shell");
    for id in ["a", "b"] {
        assert_eq!(world.state(id).as_deref(), Some("succeeded"));
    }
    let list = world.expect(0, "runs list");
    snapshot::matches("runs-list", &world, &list.out);
    let done = world.expect(0, "resume");
    assert!(done.out.contains("no unfinished run"));
}

#[test]
fn a_worker_without_shell_leaves_a_run_that_comes_later_to_one_that_may() {
    let world = World::with("w.yaml", BLOCKED);
    world.write("timer.yaml", "name: t\nnodes:\n  nap: { uses: wait, with: { for: 1ms } }\n");
    let worker = world.start_into("worker", "worker");
    world.until_said("worker", "driving the runs");
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("began");
    run.signal(Signal::KILL);
    drop(run);
    world.until_said("worker", "r  left alone: ");
    assert_eq!(world.state("r").as_deref(), Some("running"), "neither failed nor undone");
    assert!(!world.dir.join("undone").exists());
    // It goes on with others.
    let other = world.start("run timer.yaml --run-id other");
    world.until_state("other", "succeeded");
    drop(other);
    worker.signal(Signal::TERM);
    assert_eq!(worker.done().code, 0);
    world.write("go", "");
    world.expect(75, "worker --until-idle");
    world.expect(0, "worker --until-idle --allow-shell");
    assert_eq!(world.state("r").as_deref(), Some("stuck"), "nobody can tell whether it has happened");
}

#[test]
fn a_run_that_a_newer_version_has_written_to_is_left_as_it_is() {
    let world = World::with("w.yaml", ASKED);
    for id in ["r", "other"] {
        leave_waiting(&world, id);
        world.expect(0, &format!("runs approve {id}"));
    }
    let file = rusqlite::Connection::open(world.dir.join(".windflow/state.db")).unwrap();
    let newer = "UPDATE runs SET version = 9, build = '9.9.9' WHERE run = 'r'";
    file.execute(newer, []).unwrap();
    let row = || {
        let row =
            "SELECT state || build || epoch || (SELECT count(*) FROM journal AS j WHERE j.id = r.id) FROM runs AS r";
        file.query_row(&format!("{row} WHERE run = 'r'"), [], |row| row.get::<_, String>(0)).unwrap()
    };
    let before = row();
    let list = world.expect(0, "runs list");
    assert!(list.out.contains("unreadable") && list.out.contains("windflow 9.9.9 has written it"), "{}", list.out);
    for args in ["runs show r", "resume r --allow-shell", "runs retry r", "runs cancel r", "runs events r"] {
        let done = world.expect(1, args);
        assert!(done.err.contains("windflow 9.9.9 has written it"), "{args}: {}", done.err);
        assert!(done.err.contains("hint: use the version that wrote it"), "{args}: {}", done.err);
    }
    let done = world.expect(75, "worker --until-idle --allow-shell");
    assert!(done.err.contains("r  left alone: run r cannot be read: windflow 9.9.9"), "{}", done.err);
    assert_eq!(world.state("other").as_deref(), Some("succeeded"), "others go on");
    let done = world.expect(1, "resume --all --allow-shell");
    assert!(done.err.contains("r  left alone: "), "{}", done.err);
    assert_eq!(row(), before, "nothing about it was changed");
}

#[test]
fn what_a_command_leaves_is_in_the_one_file() {
    let world = World::with("w.yaml", "name: w\nnodes:\n  a: { uses: wait, with: { for: 1ms } }\n");
    world.expect(0, "run w.yaml --run-id r");
    std::fs::copy(world.dir.join(".windflow/state.db"), world.dir.join("copy.db")).unwrap();
    let list = world.expect(0, "runs list --state copy.db");
    assert!(list.out.contains("r  ") && list.out.contains("succeeded"), "{}", list.out);
}

#[test]
fn many_that_begin_in_a_new_folder_at_once_all_do() {
    for _ in 0..3 {
        let world = World::with("w.yaml", "name: w\nnodes:\n  a: { uses: wait, with: { for: 1ms } }\n");
        let all: Vec<_> = (0..8).map(|number| world.start(&format!("run w.yaml --run-id r{number}"))).collect();
        for run in all {
            let done = run.done();
            assert_eq!(done.code, 0, "{}", done.err);
        }
    }
}

#[test]
fn several_unfinished_runs_are_listed_and_not_guessed_at() {
    let world = World::with("w.yaml", ASKED);
    for id in ["a", "b"] {
        leave_waiting(&world, id);
    }
    let done = world.expect(64, "resume");
    assert!(done.out.contains("a  ") && done.out.contains("b  ") && done.err.contains("--all"), "{}", done.out);
    world.expect(0, "runs approve a");
    // Side by side: one that still waits for somebody holds nobody up.
    world.expect(75, "resume --all --allow-shell");
    assert_eq!(world.state("a").as_deref(), Some("succeeded"));
    world.expect(0, "runs approve b");
    world.expect(0, "resume --all --allow-shell");
}

#[test]
fn a_forgotten_word_does_not_fail_a_run_that_was_started_with_it() {
    let world = World::with("w.yaml", ASKED);
    leave_waiting(&world, "r");
    world.expect(0, "runs approve r");
    for args in ["resume r", "resume r --detach", "resume --all"] {
        let done = world.expect(64, args);
        assert!(done.err.contains("--allow-shell"), "{}", done.err);
    }
    // A worker has others to drive: it leaves this one to a worker that may.
    let done = world.expect(75, "worker --until-idle");
    assert!(done.err.contains("r  left alone: ") && done.err.contains("--allow-shell"), "{}", done.err);
    assert_eq!(world.state("r").as_deref(), Some("waiting"));
    let shown = world.expect(0, "runs show r");
    assert!(shown.out.contains("note: run r cannot go on here: go: ") && shown.out.contains("--allow-shell"));
    world.expect(0, "resume r --allow-shell --detach");
    world.until_state("r", "succeeded");
}
