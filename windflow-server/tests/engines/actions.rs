//! What workflows do to a stack besides deploying it, on both engines.

use serde_json::Value;

use crate::corner::Corner;

/// Deployed, waited for, scaled, looked into and taken back; and the second time undone as a whole.
fn waits_scales_looks_inside_goes_back_and_is_undone(target: &str, endpoint: &str) {
    let corner = Corner::new("");
    let world = &corner.world;
    let name = format!("acts-{}", corner.owner);
    let stack = |version: &str| {
        format!(
            "name: {name}\nservices:\n  a:\n    image: wf-busybox:1\n    command: [sleep, '10000']\n    stop_grace_period: 0s\n    \
             environment: {{ VERSION: '{version}' }}\n    deploy: {{ endpoint_mode: dnsrr }}\n"
        )
    };
    world.write("s.yaml", &stack("1"));
    world.expect(0, &format!("apply s.yaml --target {target} --yes"));
    world.write("s.yaml", &stack("2"));
    let on = format!("target: {target}, stack: s.yaml");
    let steps = format!(
        "name: w\nnodes:\n  new: {{ uses: deploy, with: {{ {on} }} }}\n  \
         up: {{ uses: wait_healthy, needs: new, with: {{ {on} }} }}\n  \
         more: {{ uses: scale, needs: up, with: {{ {on}, service: a, replicas: 2 }} }}\n  \
         look: {{ uses: exec, needs: more, compensate: nothing, with: {{ {on}, service: a, \
         argv: [sh, -c, \"echo $VERSION $MORE; exit 3\"], env: {{ MORE: \"hi\" }}, expect: {{ exit: [3] }} }} }}\n  \
         back: {{ uses: rollback, needs: look, with: {{ {on}, to: 1 }} }}\nLAST\
         outputs: {{ said: \"${{{{ nodes.look.output.stdout }}}}\", from: \"${{{{ nodes.back.output.from }}}}\" }}\n"
    );
    world.write("w.yaml", &steps.replace("LAST", ""));
    let done = world.expect(0, "run w.yaml --json");
    let last: Value = serde_json::from_str(done.out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["output"]["said"], &last["output"]["from"]), (&"2 hi\n".into(), &3.into()), "{last}");
    assert_eq!(corner.versions(endpoint), ["1"]);
    let status = world.expect(0, &format!("status {name} --target {target} --json"));
    assert_eq!(serde_json::from_str::<Value>(&status.out).unwrap()["revision"], 4);
    let fails = "  fails: { uses: script, needs: back, with: { script: \"throw 1\" } }\n";
    world.write("w.yaml", &steps.replace("LAST", fails));
    world.expect(3, "run w.yaml");
    world.write("s.yaml", &stack("1"));
    let plan = world.expect(0, &format!("plan s.yaml --target {target}"));
    assert!(plan.out.contains("is as it should be"), "{}", plan.out);
    world.expect(0, &format!("destroy {name} --target {target} --yes"));
}

#[test]
fn a_workflow_acts_on_a_docker_engine() {
    waits_scales_looks_inside_goes_back_and_is_undone("docker", &windflow_bed::docker());
}

#[test]
fn a_workflow_acts_on_a_swarm() {
    let endpoint = windflow_bed::swarm().endpoint;
    waits_scales_looks_inside_goes_back_and_is_undone("swarm", &endpoint);
}
