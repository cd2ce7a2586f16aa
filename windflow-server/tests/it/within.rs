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

#[test]
fn a_workflow_calls_that_of_another_file_and_does_the_case_that_fits() {
    let outer = "name: outer
inputs: { env: { type: string, default: dev }, n: { type: integer, default: 2 } }
nodes:
  pick:
    switch: ${{ inputs.env }}
    cases:
      dev: { nodes: { a: { uses: script, with: { script: '\"a\"' } } }, outputs: { said: \"${{ nodes.a.output }}\" } }
      prod: { nodes: { b: { uses: script, with: { script: '\"b\"' } } }, outputs: { said: \"${{ nodes.b.output }}\" } }
    default: { nodes: { c: { uses: script, with: { script: throw 1 } } } }
  each:
    needs: pick
    for_each: [1, 2]
    call: inner/inner.yaml
    with: { n: \"${{ item + inputs.n }}\" }
outputs: { pick: \"${{ nodes.pick.output.said }}\", each: \"${{ nodes.each.output }}\" }
";
    let inner = "name: inner
inputs: { n: integer }
nodes: { x: { uses: script, with: { script: \"${{ inputs.n }} * 10\" } } }
outputs: { n: \"${{ nodes.x.output }}\" }
";
    let world = World::with("w.yaml", outer);
    std::fs::create_dir(world.dir.join("inner")).unwrap();
    world.write("inner/inner.yaml", inner);
    let done = world.expect(0, "run w.yaml --run-id r --json");
    assert!(done.out.contains(r#""output":{"each":[{"n":30},{"n":40}],"pick":"a"}"#), "{}", done.out);
    let done = world.expect(0, "run w.yaml --input env=prod --json");
    assert!(done.out.contains(r#""pick":"b""#), "{}", done.out);
    let done = world.expect(3, "run w.yaml --input env=none");
    assert!(done.err.contains("pick~0' is compensated: c: "), "{}", done.err);

    for (wrong, told) in [
        (
            outer.replace("with: { n: ", "with: { m: "),
            "w.yaml:14:5: nodes.each.with: the workflow it calls has no input 'm'",
        ),
        (
            outer.replace("inner/inner.yaml", "inner/none.yaml"),
            "w.yaml:13:11: nodes.each.call: the workflow file 'inner/none.yaml' cannot be used",
        ),
        (
            outer.replace("inner/inner.yaml", "w.yaml"),
            "w.yaml:13:11: nodes.each.call: calls a workflow that calls this one",
        ),
        (
            outer.replace("uses: script, with: { script: '\"b\"' }", "uses: scrip"),
            "nodes.pick.cases.prod.nodes.b.uses: there is no action 'scrip'",
        ),
        (outer.replace("nodes.b.output", "nodes.a.output"), "nodes.pick.cases.prod.outputs.said: reads 'nodes.a'"),
        (
            outer.replace("switch: ${{ inputs.env }}", "switch: ${{ inputs.evn }}"),
            "w.yaml:5:24: nodes.pick.switch: reads 'inputs.evn'",
        ),
    ] {
        world.write("w.yaml", &wrong);
        let done = world.expect(64, "validate w.yaml");
        assert!(done.out.contains(told) || done.err.contains(told), "{told}\n{}\n{}", done.out, done.err);
    }
    world.write("w.yaml", outer);
    world.write("inner/inner.yaml", &inner.replace("inputs.n", "inputs.m"));
    let done = world.expect(64, "validate w.yaml");
    assert!(done.out.contains("inner.yaml:3:") && done.out.contains("there is no such input"), "{}", done.out);
}
