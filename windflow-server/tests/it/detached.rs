//! What is left to a process of its own is done there, and what cannot be is told at once.

use crate::world::World;

/// Fails until there is a flag; what it then leaves is taken away by undoing.
const FLAG: &str = "name: w\non_failure: stop\nnodes:\n  s: { uses: shell, retry: never, compensate: nothing, with: { argv: [/usr/bin/test, -e, flag] } }\n";

#[test]
fn a_run_that_is_over_is_retried_and_undone_in_the_background() {
    let world = World::with("w.yaml", FLAG);
    world.expect(1, "run w.yaml --allow-shell --run-id r");
    world.write("flag", "");
    world.expect(0, "runs retry r --detach --allow-shell");
    world.until_state("r", "succeeded");

    let done = "name: u\non_failure: stop\nnodes:\n  a: { uses: script, compensate: nothing, with: { script: \"1\" } }\n  \
                b: { uses: script, needs: a, compensate: nothing, with: { script: \"throw 1\" } }\n";
    world.write("u.yaml", done);
    world.expect(1, "run u.yaml --run-id u");
    world.expect(0, "runs compensate u --detach");
    world.until_state("u", "compensated");
}

#[test]
fn a_request_that_nobody_has_taken_in_is_shown_and_taken_in_by_resume() {
    let world = World::with("w.yaml", FLAG);
    world.expect(1, "run w.yaml --allow-shell --run-id r");
    world.write("flag", "");
    // As somebody leaves it whose process died right after asking.
    let ask_for = |request: &str| {
        let store = rusqlite::Connection::open(world.dir.join(".windflow/state.db")).unwrap();
        let ask = "INSERT INTO inbox (id, at, principal, request) \
                   SELECT id, 0, '{\"name\":\"ada\",\"verified\":false}', ?1 FROM runs WHERE run = 'r'";
        store.execute(ask, [request]).unwrap();
    };
    ask_for("{\"request\":\"retry\",\"inputs\":{}}");
    assert!(world.expect(0, "runs show r").out.contains("asked, and not taken in yet: retry"), "it is shown");
    world.expect(0, "resume --all --allow-shell");
    assert_eq!(world.state("r").as_deref(), Some("succeeded"));
    // Too late: a run that is over takes up nothing of the kind, and nothing is needed to show it.
    ask_for("{\"request\":\"pause\",\"reason\":\"lunch\"}");
    let shown = world.expect(0, "resume r");
    assert!(shown.out.contains("succeeded"), "{}", shown.out);
    for args in ["resume", "resume --all", "resume --detach"] {
        let none = world.expect(0, args);
        assert!(none.out.contains("there is no unfinished run"), "{args}: {}", none.out);
    }
}

#[test]
fn what_was_resolved_goes_on_in_the_background_to_its_end() {
    let world = World::with(
        "w.yaml",
        "name: w\nnodes:\n  s: { uses: shell, compensate: nothing, with: { argv: [/bin/sleep, \"1000\"] } }\n  \
         w: { uses: wait, needs: s, with: { for: 2s } }\n  z: { uses: script, needs: w, compensate: nothing, with: { script: \"1\" } }\n",
    );
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_state("r", "running");
    run.signal(rustix::process::Signal::KILL);
    run.done();
    world.expect(5, "resume r --allow-shell");
    world.expect(0, "runs resolve r s --happened null --reason seen --detach --allow-shell");
    world.until_state("r", "waiting");
    let shown = world.expect(0, "runs show r");
    assert!(!shown.out.contains("left behind"), "what was resolved is not left behind: {}", shown.out);
    world.until_state("r", "succeeded");
}

#[test]
fn another_input_for_a_run_that_is_there_is_told_at_once() {
    let world = World::with(
        "w.yaml",
        "name: w\ninputs: { s: string }\nnodes:\n  a: { uses: script, compensate: nothing, with: { script: \"1\" } }\n",
    );
    world.expect(0, "run w.yaml --run-id r -i s=x");
    for how in ["", " --detach"] {
        let refused = world.expect(64, &format!("run w.yaml --run-id r -i s=other{how}"));
        assert!(refused.err.contains("run r exists already, with another workflow or input"), "{}", refused.err);
        world.expect(0, &format!("run w.yaml --run-id r -i s=x{how}"));
    }
}

#[test]
fn a_text_is_a_text_whatever_it_looks_like() {
    let world = World::with(
        "w.yaml",
        "name: w\ninputs: { version: string, any: any, count: integer }\noutputs: { v: \"${{ inputs.version }}\", a: \"${{ inputs.any }}\", c: \"${{ inputs.count }}\" }\n\
         nodes:\n  a: { uses: script, compensate: nothing, with: { script: \"1\" } }\n",
    );
    let output = |args: &str| {
        let done = world.expect(0, &format!("run w.yaml --json {args}"));
        let last = done.out.lines().last().unwrap().to_owned();
        serde_json::from_str::<serde_json::Value>(&last).unwrap()["output"].clone()
    };
    assert_eq!(output("-i version=1.4 -i any=1.10 -i count=3"), serde_json::json!({"v": "1.4", "a": "1.10", "c": 3}));
    assert_eq!(output("-i version=true -i any=1.5 -i count=3"), serde_json::json!({"v": "true", "a": 1.5, "c": 3}));
    assert_eq!(output("-i version=\"1\" -i any=[1] -i count=3"), serde_json::json!({"v": "1", "a": [1], "c": 3}));
    let twice = world.expect(64, "run w.yaml -i version=1 -i any=1 -i count=3 -i count=4");
    assert!(twice.err.contains("the input 'count' is given twice"), "{}", twice.err);
}

#[test]
fn a_run_whose_state_was_removed_is_told_and_left() {
    let world = World::with(
        "w.yaml",
        "name: w\nnodes:\n  s: { uses: shell, compensate: nothing, with: { argv: [/bin/sleep, \"1\"] } }\n",
    );
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_state("r", "running");
    std::fs::remove_dir_all(world.dir.join(".windflow")).unwrap();
    let done = run.done();
    assert_eq!(done.code, 75, "{}", done.err);
    assert!(done.err.contains("was removed or replaced while it was open"), "{}", done.err);
}
