//! Stacks on the local target.

use std::io::{Read as _, Write as _};

use crate::snapshot;
use crate::world::{World, free_port};

/// The example of `init`, on a port of its own.
fn example() -> (World, u16) {
    let world = World::new();
    world.expect(0, "init");
    let port = free_port();
    move_to(&world, "8080", port);
    (world, port)
}

fn move_to(world: &World, from: &str, port: u16) {
    let stack = std::fs::read_to_string(world.dir.join("stack.yaml")).unwrap();
    world.write("stack.yaml", &stack.replace(from, &port.to_string()));
}

fn answer(port: u16) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn without_port(text: &str, port: u16) -> String {
    text.replace(&port.to_string(), "PORT")
}

#[test]
fn the_example_runs_answers_and_goes() {
    let (world, port) = example();
    let again = world.expect(0, "init");
    assert!(again.out.contains("kept  stack.yaml"), "{}", again.out);
    let done = world.expect(0, "run workflow.yaml");
    snapshot::matches("example-run", &world, &without_port(&done.out, port));
    assert!(answer(port).contains("hello from windflow"));
    let status = world.expect(0, "status stack.yaml");
    snapshot::matches("example-status", &world, &without_port(&status.out, port));
    world.expect(0, "plan stack.yaml");
    assert!(world.expect(0, "logs hello web --tail 1").out.contains("listening on"));
    let refused = world.expect(64, "destroy hello");
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    let gone = world.expect(0, "destroy hello --yes");
    snapshot::matches("example-destroy", &world, &gone.out);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn what_is_deployed_is_not_lost_to_another_owner() {
    let world =
        World::with("s.yaml", "name: s\nservices:\n  a: { x-windflow: { process: { command: [sleep, \"1000\"] } } }\n");
    world.expect(0, "apply s.yaml --yes");
    let init = world.expect(0, "init");
    assert!(init.out.contains("note: the owner is 'default'"), "{}", init.out);
    world.expect(0, "status s");
    assert!(world.expect(0, "plan s.yaml").out.contains("is as it should be"));
    // Somebody changes it by hand.
    world.write("windflow.yaml", "owner: team\n");
    let lost = world.expect(64, "status s");
    assert!(lost.err.contains("owner 'default' has a stack of this name there"), "{}", lost.err);
    let beside = world.expect(0, "apply s.yaml --yes");
    assert!(beside.err.contains("owner 'default' has a stack of this name there; this is another"), "{}", beside.err);
    world.expect(0, "destroy s --yes");
    world.write("windflow.yaml", "owner: default\n");
    world.expect(0, "destroy s --yes");
}

#[test]
fn what_is_ill_and_was_not_changed_does_not_keep_a_run_from_being_undone() {
    let world = World::with(
        "s.yaml",
        "name: s\nservices:\n  a:\n    x-windflow: { process: { command: [sleep, \"1000\"] } }\n    \
         healthcheck: { test: [CMD, test, \"!\", -e, SICK], interval: 100ms, retries: 1 }\n",
    );
    let (sick, stack) = (world.dir.join("sick"), std::fs::read_to_string(world.dir.join("s.yaml")).unwrap());
    world.write("s.yaml", &stack.replace("SICK", sick.to_str().unwrap()));
    world.expect(0, "apply s.yaml --yes");
    let wait = "i=0; while ! windflow status s | grep -q unhealthy; do i=$((i+1)); [ $i -lt 100 ]; sleep 0.1; done";
    let steps = format!(
        "name: w\nnodes:\n  d: {{ uses: deploy, with: {{ target: local, stack: s.yaml }} }}\n  \
         s: {{ uses: shell, needs: d, compensate: nothing, with: {{ argv: [sh, -ec, \"touch sick; {wait}\"], env: {{ PATH: \"PROGRAM:/usr/bin:/bin\" }} }} }}\n  \
         f: {{ uses: script, needs: s, with: {{ script: \"throw 1\" }} }}\n"
    );
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_windflow")).parent().unwrap();
    world.write("w.yaml", &steps.replace("PROGRAM", program.to_str().unwrap()));
    world.expect(3, "run w.yaml --allow-shell");
    world.expect(0, "destroy s --yes");
}

#[test]
fn a_plan_is_2_and_is_applied_as_it_was_made() {
    let (world, port) = example();
    let plan = world.expect(2, "plan stack.yaml --out plan.json");
    snapshot::matches("plan", &world, &without_port(&plan.out, port));
    let written = std::fs::read_to_string(world.dir.join("plan.json")).unwrap();
    world.write("edited.json", &written.replace("demo-server", "other-server"));
    let refused = world.expect(64, "apply --plan edited.json --yes");
    assert!(refused.err.contains("edited.json: was changed after it was written"), "{}", refused.err);
    world.expect(0, "apply --plan plan.json --yes");
    let next = free_port();
    move_to(&world, &port.to_string(), next);
    world.expect(2, "plan stack.yaml");
    world.expect(0, "apply stack.yaml --yes");
    assert!(answer(next).contains("hello"));
    // Somebody else has moved on: the old plan says no.
    world.expect(0, "rollback hello --yes");
    assert!(answer(port).contains("hello"));
    world.expect(0, "restart hello --yes");
    world.expect(0, "destroy hello --yes");
}

#[test]
fn a_name_that_is_no_stack_is_64_and_a_file_that_is_not_deployed_is_nothing_to_do() {
    let (world, _) = example();
    for args in ["status helo", "destroy helo --yes", "plan helo", "logs helo", "scale helo web=2 --yes"] {
        let done = world.expect(64, args);
        assert!(done.err.contains("there is no stack 'helo' on target 'local'"), "{args}: {}", done.err);
        assert!(done.err.contains("stacks there: none"), "{args}: {}", done.err);
    }
    let done = world.expect(0, "destroy stack.yaml --yes");
    assert!(done.out.contains("nothing to do"), "{}", done.out);
    assert!(world.expect(0, "status stack.yaml").out.contains("is not deployed"));
    world.expect(0, "apply stack.yaml --yes");
    for args in ["status helo --json", "destroy helo --yes --json"] {
        let done = world.expect(64, args);
        assert!(done.err.contains("stacks there: hello"), "{args}: {}", done.err);
    }
    world.expect(0, "destroy hello --yes");
    world.expect(64, "destroy hello --yes");
    world.expect(0, "destroy stack.yaml --yes");
}

#[test]
fn exec_passes_on_what_the_command_says_and_its_code() {
    let (world, _) = example();
    world.expect(0, "apply stack.yaml --yes");
    world.write("seven", "echo said; exit 7");
    let done = world.expect(7, &format!("exec hello web -- sh {}/seven", world.dir.display()));
    assert_eq!(done.out, "said\n");
    world.write("on", "while echo more; do sleep 0.1; done");
    let on = format!("exec hello web -- sh {}/on", world.dir.display());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let lost = world.command(&on).stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!(lost.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&lost.stderr).contains("cannot be written: No space left"));
    // Whoever has read enough is told nothing more.
    let mut read = world.command(&on).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(read.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    drop(reader);
    assert_eq!((line.as_str(), read.wait().unwrap().code()), ("more\n", Some(0)));
    world.expect(0, "destroy hello --yes");
}

#[test]
fn what_cannot_run_is_told_before_anything_is_touched() {
    let world = World::new();
    let stack = |web: &str, port: u16| {
        let api =
            format!("api: {{ x-windflow: {{ process: {{ command: [sleep, '1000'] }} }}, ports: ['{port}:{port}'] }}");
        format!("name: shop\nservices:\n  web: {{ x-windflow: {{ process: {{ command: [{web}] }} }} }}\n  {api}\n")
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken_port, free) = (taken.local_addr().unwrap().port(), free_port());
    let by = format!("port {taken_port} is taken by process {} (", std::process::id());
    // On a target that has nothing yet, and on one where the stack runs.
    for _ in 0..2 {
        let before = (world.run("status shop").out, world.processes());
        world.write("stack.yaml", &stack("no-such-program", taken_port));
        for command in ["plan stack.yaml", "apply stack.yaml --yes"] {
            let done = world.expect(64, command);
            let missing = "services.web.process.command: there is no program 'no-such-program' in ";
            assert!(done.err.contains(missing), "{}", done.err);
            assert!(done.err.contains(&format!("services.api.ports[0]: {by}")), "{}", done.err);
            assert!(done.err.contains("hint: "), "{}", done.err);
        }
        // Taken only after the plan was made.
        let planned = free_port();
        world.write("stack.yaml", &stack("sleep, '1001'", planned));
        world.expect(2, "plan stack.yaml --out plan.json");
        let late = std::net::TcpListener::bind(("127.0.0.1", planned)).unwrap();
        let done = world.expect(1, "apply --plan plan.json --yes");
        assert!(done.err.contains(&format!("shop/api: port {planned} is taken by process ")), "{}", done.err);
        assert!(
            done.err.contains("hint: nothing was changed: stop that process, or choose another port"),
            "{}",
            done.err
        );
        drop(late);
        assert_eq!((world.run("status shop").out, world.processes()), before, "nothing was touched");
        world.write("stack.yaml", &stack("sleep, '1000'", free));
        world.expect(0, "apply stack.yaml --yes");
    }
    // What only shows when it runs.
    world.write("stack.yaml", &stack("sh, -c, 'echo no such table; exit 3'", free));
    let done = world.expect(1, "apply stack.yaml --yes");
    let why = "stack 'shop' did not come up: web: it ended with exit code 3; last lines: no such table; revision 1 is current";
    assert!(done.err.contains(why), "{}", done.err);
    assert!(world.expect(0, "status shop").out.contains("web      healthy  1/1"));
    world.expect(0, "destroy shop --yes");
}

#[test]
fn what_only_a_workflow_can_fill_in_is_not_applied_as_it_stands() {
    let world =
        World::with("s.yaml", "name: s\nservices: { web: { image: x, environment: { A: \"${{ inputs.a }}\" } } }\n");
    let done = world.expect(64, "plan s.yaml");
    assert!(done.err.contains("only a workflow can fill in"), "{}", done.err);
}

#[test]
fn a_stack_that_drifted_says_so_and_is_put_right() {
    let (world, port) = example();
    world.expect(0, "apply stack.yaml --yes");
    // The process is killed behind the target's back, and its supervisor with it.
    world.kill_services();
    let status = world.expect(0, "status hello");
    assert!(!status.out.contains(" healthy "), "{}", status.out);
    world.expect(0, "apply stack.yaml --yes");
    assert!(answer(port).contains("hello"));
    world.expect(0, "destroy hello --yes");
}

#[test]
fn a_deploy_whose_time_is_up_says_what_it_waited_for() {
    let world = World::new();
    let deaf = "echo cannot reach the database; exec sleep 1000";
    world.write(
        "stack.yaml",
        &format!(
            "name: shop\nservices:\n  web:\n    x-windflow: {{ process: {{ command: [sh, -c, '{deaf}'] }} }}\n    \
             healthcheck: {{ test: [CMD, test, -e, ready], start_period: 10m, interval: 1s }}\n"
        ),
    );
    let step = "uses: deploy, timeout: 3s, retry: never, with: { target: local, stack: stack.yaml }";
    world.write("w.yaml", &format!("name: w\nnodes:\n  web: {{ {step} }}\n"));
    let done = world.expect(3, "run w.yaml --run-id r");
    let reason = "not healthy when time was up: web is starting: the health check ended with exit status: 1; \
                  last lines: cannot reach the database";
    assert!(done.out.contains(reason) || done.err.contains(reason), "{}{}", done.out, done.err);
    assert!(done.out.contains("1 change to shop") || done.err.contains("1 change to shop"), "{}{}", done.out, done.err);
    let status = world.expect(0, "status stack.yaml");
    assert!(status.out.contains("is not deployed"), "what was begun is taken back: {}", status.out);
}

#[test]
fn a_workflow_waits_scales_looks_inside_goes_back_and_is_undone_on_this_machine() {
    let stack = |version: &str| {
        format!(
            "name: s\nservices:\n  a:\n    x-windflow: {{ process: {{ command: [sleep, \"1000\"] }} }}\n    environment: {{ VERSION: \"{version}\" }}\n"
        )
    };
    let world = World::with("s.yaml", &stack("1"));
    world.expect(0, "apply s.yaml --yes");
    world.write("s.yaml", &stack("2"));
    let on = "target: local, stack: s.yaml";
    let steps = format!(
        "name: w\nnodes:\n  new: {{ uses: deploy, with: {{ {on} }} }}\n  \
         up: {{ uses: wait_healthy, needs: new, with: {{ {on} }} }}\n  \
         more: {{ uses: scale, needs: up, with: {{ {on}, service: a, replicas: 2 }} }}\n  \
         look: {{ uses: exec, needs: more, compensate: nothing, with: {{ {on}, service: a, instance: 1, \
         argv: [sh, -c, \"echo $VERSION $MORE; exit 3\"], env: {{ MORE: \"hi\", PATH: \"/usr/bin:/bin\" }}, expect: {{ exit: [3] }} }} }}\n  \
         back: {{ uses: rollback, needs: look, with: {{ {on}, to: 1 }} }}\nLAST\
         outputs: {{ said: \"${{{{ nodes.look.output.stdout }}}}\", from: \"${{{{ nodes.back.output.from }}}}\" }}\n"
    );
    world.write("w.yaml", &steps.replace("LAST", ""));
    let done = world.expect(0, "run w.yaml --json");
    assert!(done.out.contains(r#""said":"2 hi\n""#) && done.out.contains(r#""from":3"#), "{}", done.out);
    let status = world.expect(0, "status s");
    assert!(status.out.contains("revision 4"), "{}", status.out);
    // The second time all of it is taken back.
    world.write(
        "w.yaml",
        &steps.replace("LAST", "  fails: { uses: script, needs: back, with: { script: \"throw 1\" } }\n"),
    );
    world.expect(3, "run w.yaml");
    world.write("s.yaml", &stack("1"));
    assert!(world.expect(0, "plan s.yaml").out.contains("is as it should be"));
    world.expect(0, "destroy s --yes");
}

#[test]
fn a_stack_goes_to_the_next_target_when_nobody_answers_at_its_own_and_never_was_there() {
    let world = World::with(
        "windflow.yaml",
        "owner: t\ntargets:\n  engine: { kind: docker, endpoint: \"tcp://127.0.0.1:1\", breaker: {}, timeout: 5s }\n",
    );
    world.write(
        "s.yaml",
        "name: s\nservices:\n  a: { image: busybox, x-windflow: { process: { command: [sleep, \"1000\"] } } }\n",
    );
    let deploys = |more: &str| {
        format!(
            "name: w\nnodes:\n  d:\n    uses: deploy\n    retry: {{ max_attempts: 1 }}\n    with: {{ stack: s.yaml, target: engine, fallback: [local]{more} }}\n\
             outputs: {{ on: \"${{{{ nodes.d.output.target }}}}\", from: \"${{{{ nodes.d.output.fallback_from }}}}\" }}\n"
        )
    };
    world.write("w.yaml", &deploys(""));
    let done = world.expect(0, "run w.yaml --json");
    assert!(done.out.contains(r#""on":"local""#) && done.out.contains(r#""from":"engine""#), "{}", done.out);
    world.expect(0, "destroy s --target local --yes");
    // Had it ever been there, it might run there still.
    std::fs::create_dir_all(world.dir.join(".windflow/.placements/engine")).unwrap();
    world.write(".windflow/.placements/engine/s", "");
    let refused = world.run("run w.yaml");
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("engine may still run s, so it is not deployed on local"), "{}", refused.err);
    world.write("w.yaml", &deploys(", allow_two_copies: true"));
    world.expect(0, "run w.yaml");
    world.expect(0, "destroy s --target local --yes");
}

#[test]
fn the_layers_of_all_targets_go_for_those_that_nobody_has_written_too() {
    let world = World::with("windflow.yaml", "owner: me\nlayers: { timeout: { questions: 300ms } }\n");
    // It takes every call and answers none.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", mute.local_addr().unwrap());
    for kind in ["docker", "swarm"] {
        let mut command = world.command(&format!("status shop --target {kind}"));
        let out = command.env("DOCKER_HOST", &endpoint).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(69), "{said}");
        assert!(said.starts_with(&format!("error: {kind}: ")) && said.contains("not answered within 300ms"), "{said}");
    }
}

#[test]
fn a_docker_host_that_leads_nowhere_is_told_to_whoever_names_its_target() {
    let world = World::new();
    let asked = |args: &str| world.command(args).env("DOCKER_HOST", "foo://bar").output().unwrap();
    let out = asked("status shop --target docker");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(64), "{said}");
    assert!(said.contains("target 'docker': DOCKER_HOST: ") && said.contains("foo://bar"), "{said}");
    assert_eq!(asked("targets").status.code(), Some(0), "nothing else is kept from its work");
}

#[test]
fn a_folder_in_place_of_a_stack_file_is_called_one() {
    let world = World::new();
    std::fs::create_dir(world.dir.join("deploy")).unwrap();
    for folder in [".", "./deploy"] {
        let said = world.expect(64, &format!("plan {folder}")).err;
        assert!(said.contains(&format!("'{folder}' is a folder")) && said.contains("compose.yaml"), "{said}");
    }
}

#[test]
fn a_dry_run_tells_what_it_would_do_and_changes_nothing() {
    let world =
        World::with("s.yaml", "name: s\nservices:\n  a: { x-windflow: { process: { command: [sleep, \"1000\"] } } }\n");
    world.write("windflow.yaml", "owner: me\ntargets: { local: { kind: host, dry_run: true } }\n");
    world.expect(2, "plan s.yaml");
    let done = world.expect(1, "apply s.yaml --yes");
    assert!(done.err.contains("nothing was changed: it is a dry run of 1 change"), "{}", done.err);
    assert!(format!("{}{}", done.out, done.err).contains("would change + services.a"), "{}{}", done.out, done.err);
    world.expect(2, "plan s.yaml");
    world.write("windflow.yaml", "owner: me\n");
    world.expect(0, "apply s.yaml --yes");
    world.write("windflow.yaml", "owner: me\nlayers: { dry_run: true }\n");
    assert!(world.expect(0, "apply s.yaml --yes").out.contains("no changes"));
    world.expect(1, "destroy s --yes");
    world.write("windflow.yaml", "owner: me\n");
    world.expect(0, "destroy s --yes");
}
