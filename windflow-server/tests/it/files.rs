//! The files people write.

use crate::exits::HELLO;
use crate::snapshot;
use crate::world::World;

#[test]
fn the_configuration_is_checked_to_its_last_key() {
    let world = World::with("w.yaml", HELLO);
    world.write("windflow.yaml", "ownr: acme\ntargets:\n  edge: { kind: hots }\n");
    let done = world.expect(64, "run w.yaml --allow-shell");
    snapshot::matches("config-invalid", &world, &done.err);
}

#[test]
fn shell_is_off_until_it_is_allowed() {
    let world = World::with("w.yaml", HELLO);
    let done = world.expect(64, "run w.yaml");
    assert!(done.err.contains("--allow-shell"), "{}", done.err);
    world.write("windflow.yaml", "owner: acme\nallow_shell: true\n");
    world.expect(0, "run w.yaml");
}

#[test]
fn state_is_where_it_was_asked_for() {
    let world = World::with("w.yaml", HELLO);
    world.expect(0, "run w.yaml --allow-shell --state elsewhere/s.db");
    assert!(world.dir.join("elsewhere/s.db").exists() && !world.dir.join(".windflow").exists());
    assert!(world.expect(0, "runs list --state elsewhere/s.db").out.contains("succeeded"));
}

#[test]
fn inputs_come_from_files_standard_input_and_the_command_line() {
    let world = World::with("w.yaml", HELLO);
    world.write("in.yaml", "who: Eve\n");
    assert!(world.expect(0, "run w.yaml --allow-shell --inputs in.yaml").out.contains("hello Eve"));
    let done = world.run_with_input("run w.yaml --allow-shell --inputs -", "{\"who\": \"Bob\"}");
    assert!(done.out.contains("hello Bob"), "{}", done.err);
    let done = world.expect(64, "run w.yaml --allow-shell --input wo=x");
    assert!(done.err.contains("there is no such input"), "{}", done.err);
}

#[test]
fn a_workflow_is_drawn_in_every_form() {
    let text = "name: w\nnodes:\n  a: { uses: wait, with: { for: 1s } }\n  b: { uses: wait, needs: [a], if: \"true\", with: { for: 1s } }\n";
    let world = World::with("w.yaml", text);
    let mut all = String::new();
    for format in ["text", "mermaid", "dot"] {
        all.push_str(&world.expect(0, &format!("graph w.yaml --format {format}")).out);
    }
    snapshot::matches("graph", &world, &all);
    let svg = world.expect(0, "graph w.yaml --format svg").out;
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>") && svg.contains(">b</text>"), "{svg}");
}

#[test]
fn what_steps_say_cannot_speak_to_the_terminal() {
    let text = "\
name: w
nodes:
  loud:
    uses: shell
    with: { argv: [printf, \"\\\\033[31mred\"] }
    compensate: nothing
outputs: { said: \"${{ nodes.loud.output.stdout }}\" }
";
    let world = World::with("w.yaml", text);
    let done = world.expect(0, "run w.yaml --allow-shell");
    assert!(!done.out.contains('\u{1b}') && done.out.contains("red"), "{:?}", done.out);
}

#[test]
fn stacks_are_checked_too() {
    let world = World::with("s.yaml", "name: s\nservices: { web: { image: nginx } }\n");
    let done = world.expect(0, "validate s.yaml");
    assert_eq!(done.out, "s.yaml: valid, 1 service\n");
    world.write("s.yaml", "name: s\nservices: { web: { imag: nginx } }\n");
    world.expect(64, "validate s.yaml");
    world.write("s.yaml", "name: s\nservices:\n  web: { image: nginx, image: nginx }\n");
    let done = world.expect(64, "validate s.yaml");
    assert!(done.out.contains("'image' is there twice") && done.out.ends_with("1 problem\n"), "{}", done.out);
}

/// What is printed is the stack itself: read again it is the same, to the hash.
#[test]
fn a_stack_of_several_files_is_printed_as_one() {
    let world = World::with(
        "compose.yaml",
        "name: s\nservices:\n  web: { image: \"nginx:${TAG}\", ports: [\"8080:80\"], command: serve --all }\n  dbg: { image: d, profiles: [debug] }\n",
    );
    world.write("prod.yaml", "services: { web: { environment: { MODE: \"$$prod\" } } }\n");
    world.write(".env", "TAG=1.27\n");
    let done = world.expect(0, "config compose.yaml prod.yaml");
    let expected = "\
name: s
networks:
  default:
    name: s_default
services:
  web:
    command:
      - serve
      - \"--all\"
    environment:
      MODE: $$prod
    image: nginx:1.27
    networks:
      default: null
    ports:
      - mode: ingress
        protocol: tcp
        published: \"8080\"
        target: 80
";
    assert_eq!(done.out, expected);
    world.write("whole.yaml", expected);
    assert_eq!(world.expect(0, "config whole.yaml").out, expected);
    let hash = world.expect(0, "config compose.yaml --merge prod.yaml --hash").out;
    assert_eq!(world.expect(0, "config whole.yaml --hash").out, hash);
    assert_ne!(world.expect(0, "config --hash").out, hash, "compose.yaml alone is another stack");
    let json: serde_json::Value =
        serde_json::from_str(&world.expect(0, "config --format json --profile debug -p other").out).unwrap();
    assert_eq!((json["name"].as_str(), json["services"]["dbg"]["image"].as_str()), (Some("other"), Some("d")));
    let told = world.expect(0, "config --json").out;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((told["kind"].as_str(), told["config"]["name"].as_str()), (Some("config"), Some("s")));
    world.write("bad.yaml", "services: { web: { ports: [x] } }\n");
    let wrong = world.expect(64, "config compose.yaml bad.yaml");
    assert!(wrong.err.starts_with("bad.yaml:1:28: services.web.ports[0]: 'x' is not a port"), "{}", wrong.err);
    assert!(World::new().expect(64, "config").err.contains("there is no compose.yaml here"));
}

#[test]
fn a_secret_from_nowhere_is_told_before_anything_begins() {
    let stack = "name: s\nservices:\n  web: { image: nginx, environment: { T: secret://vualt/t } }\n";
    let world = World::with("s.yaml", stack);
    let flow = HELLO.replace("argv:", "env: { T: secret://fiel/t }, argv:");
    world.write("w.yaml", &flow);
    world.write("d.yaml", "name: d\nnodes: { a: { uses: deploy, with: { target: local, stack: s.yaml } } }\n");
    let told = "s.yaml:3:42: services.web.environment.T: 'secret://vualt/t' names the secret source 'vualt', and there is no such source (known: env, file)\n";
    for command in ["validate s.yaml", "plan s.yaml", "apply s.yaml --yes", "validate d.yaml", "run d.yaml"] {
        let done = world.expect(64, command);
        assert!(format!("{}{}", done.out, done.err).contains(told), "{command}: {}{}", done.out, done.err);
    }
    let done = world.expect(64, "run w.yaml --allow-shell");
    assert!(done.err.contains("no such source (did you mean 'file'?)"), "{}", done.err);
    assert!(!world.dir.join(".windflow").exists(), "something has begun");
}

#[test]
fn what_is_wrong_with_a_file_as_a_whole_is_told_in_one_line() {
    let world = World::with("empty.yaml", "");
    std::fs::write(world.dir.join("latin.yaml"), b"name: x\ndescription: caf\xe9\n").unwrap();
    world.write("large.yaml", &"a: b\n".repeat(300_000));
    let done = world.expect(64, "validate gone.yaml empty.yaml latin.yaml large.yaml .");
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            ".: cannot be read: Is a directory (os error 21)",
            "5 problems",
            "empty.yaml: the file is empty",
            "gone.yaml: there is no such file",
            "large.yaml: the file is longer than 1048576 bytes, the most that is read (split it, or move data to files that the steps read themselves)",
            "latin.yaml:2:17: is not UTF-8 text (save the file as UTF-8)",
        ]
    );
    let done = world.expect(64, "run gone.yaml --config lost.yaml");
    assert!(done.err.starts_with("lost.yaml: there is no such file\nerror: "), "{}", done.err);
}

#[test]
fn a_file_may_come_through_a_pipe_and_a_pipe_in_a_folder_is_waited_for_by_nobody() {
    let world = World::with("s.yaml", "name: s\nservices:\n  web: { image: nginx, env_file: pipe }\n");
    let stack = "name: piped\nservices:\n  web: { image: nginx }\n";
    for command in ["validate /dev/stdin", "config /dev/stdin"] {
        let done = world.run_with_input(command, stack);
        assert_eq!(done.code, 0, "{command}: {}{}", done.out, done.err);
    }
    let made = std::process::Command::new("mkfifo").arg(world.dir.join("pipe")).status().unwrap();
    assert!(made.success());
    let done = world.expect(64, "validate s.yaml");
    assert!(done.out.contains("s.yaml:3:34: ") && done.out.contains("it is no file"), "{}", done.out);
    world.expect(64, "--config pipe targets");
}
