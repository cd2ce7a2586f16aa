//! What the command says of itself.

use crate::snapshot;
use crate::world::World;

const COMMANDS: [&str; 36] = [
    "run",
    "resume",
    "worker",
    "runs",
    "runs list",
    "runs show",
    "runs events",
    "runs cancel",
    "runs terminate",
    "runs pause",
    "runs retry",
    "runs compensate",
    "runs signal",
    "runs approve",
    "runs resolve",
    "runs give-up",
    "validate",
    "config",
    "graph",
    "plan",
    "apply",
    "status",
    "logs",
    "exec",
    "rollback",
    "promote",
    "abort",
    "destroy",
    "scale",
    "restart",
    "targets",
    "schema",
    "init",
    "completions",
    "demo-server",
    "help",
];

#[test]
fn every_command_says_in_a_line_what_it_is_for() {
    let world = World::new();
    let mut all = String::new();
    for command in COMMANDS {
        let done = world.run(&format!("{command} --help"));
        let lines: Vec<&str> = done.out.lines().collect();
        let usage = lines.iter().find(|line| line.starts_with("Usage:")).copied().unwrap_or_default();
        all.push_str(&format!("{}\n    {usage}\n", lines.first().copied().unwrap_or_default()));
    }
    snapshot::matches("help", &world, &all);
}

#[test]
fn the_long_help_lists_the_exit_codes() {
    let world = World::new();
    let done = world.expect(0, "--help");
    assert!(done.out.contains("75  left waiting, paused or resumable"), "{}", done.out);
    assert!(done.out.contains("Examples:"));
}

#[test]
fn schema_and_completions_need_no_project() {
    let world = World::with("windflow.yaml", "this: is wrong");
    let schema: serde_json::Value = serde_json::from_str(&world.expect(0, "schema workflow").out).unwrap();
    assert!(schema["properties"]["nodes"].is_object());
    assert!(world.expect(0, "completions bash").out.contains("windflow"));
}
