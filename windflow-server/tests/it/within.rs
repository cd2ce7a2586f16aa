//! Nodes that hold others, in files: for each item, in rounds, as one.

use crate::world::World;

const FAN: &str = "name: fan
inputs: { hosts: { type: array, default: [a, b, c] }, bad: { type: string, default: none } }
nodes:
  hosts:
    for_each: ${{ inputs.hosts }}
    max_parallel: 2
    uses: shell
    with: { argv: [sh, -ec, \"test ${{ item }} != ${{ inputs.bad }}; touch made-${{ item }}\"] }
    retry: never
    compensate: { uses: shell, with: { argv: [rm, -f, \"made-${{ item }}\"] } }
  last:
    needs: hosts
    nodes:
      count: { uses: script, with: { script: \"1 + ${{ nodes.hosts.output.len() }}\" } }
    outputs: { count: \"${{ nodes.count.output }}\" }
outputs: { count: \"${{ nodes.last.output.count }}\" }
";

#[test]
fn a_node_is_done_for_each_item_and_undone_for_each_when_one_fails() {
    let world = World::with("w.yaml", FAN);
    let done = world.expect(0, "run w.yaml --allow-shell --run-id good --json");
    assert!(done.out.contains(r#""output":{"count":4}"#), "{}", done.out);
    for item in ["a", "b", "c"] {
        assert!(world.dir.join(format!("made-{item}")).exists(), "{item}");
        std::fs::remove_file(world.dir.join(format!("made-{item}"))).unwrap();
    }
    let list = world.expect(0, "runs list");
    assert!(!list.out.contains("good~"), "what a run has started is not in the way: {}", list.out);
    let list = world.expect(0, "runs list --of good");
    assert_eq!(list.out.matches("good~hosts~").count(), 3, "{}", list.out);

    let done = world.expect(3, "run w.yaml --allow-shell --run-id bad --input bad=c");
    assert!(done.err.contains("its run 'bad~hosts~2' is compensated: hosts: "), "{}", done.err);
    for item in ["a", "b", "c"] {
        assert!(!world.dir.join(format!("made-{item}")).exists(), "{item}");
    }
    let show = world.expect(0, "runs show bad");
    assert!(show.out.contains("3 runs: bad~hosts~0 compensated"), "{}", show.out);
    let refused = world.expect(1, "runs retry bad~hosts~2 --allow-shell");
    assert!(refused.err.contains("a part of run 'bad'; ask that one"), "{}", refused.err);
}

#[test]
fn rounds_go_on_until_it_is_enough_and_a_killed_run_goes_on_with_its_own() {
    let text = "name: w
nodes:
  again:
    repeat: { until: \"item.exit == 0\", max: 100, every: 20ms }
    nodes:
      look: { uses: shell, on_unknown: retry, with: { argv: [sh, -c, \"echo x >>rounds; test -e enough\"], expect: { exit: [0, 1] } }, compensate: nothing }
    outputs: { exit: \"${{ nodes.look.output.exit }}\" }
";
    let world = World::with("w.yaml", text);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("rounds");
    run.signal(rustix::process::Signal::KILL);
    drop(run);
    world.write("enough", "");
    world.expect(0, "resume r --allow-shell");
    assert_eq!(world.state("r").as_deref(), Some("succeeded"));
}

#[test]
fn what_a_run_has_started_is_asked_by_its_own_name_and_goes_on_with_it() {
    let text = "name: w
nodes:
  each:
    for_each: { a: 1, b: 2 }
    nodes:
      ask: { uses: approve, with: { message: \"${{ key }}?\" } }
";
    let world = World::with("w.yaml", text);
    let run = world.start("run w.yaml --run-id r");
    world.until_state("r~each~1", "waiting");
    world.until_state("r~each~0", "waiting");
    run.signal(rustix::process::Signal::KILL);
    drop(run);
    let done = world.expect(0, "runs approve r~each~0 ask");
    assert!(done.out.contains("windflow resume r  "), "{}", done.out);
    world.expect(0, "runs approve r~each~1 ask --reject");
    let done = world.expect(3, "resume r");
    assert!(done.err.contains("its run 'r~each~1' is compensated: ask: rejected by"), "{}", done.err);
    let states = world.expect(0, "runs list --of r");
    assert_eq!(states.out.matches("compensated").count(), 2, "{}", states.out);
}
