//! What programs read.

use serde_json::Value;

use crate::exits::HELLO;
use crate::world::World;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn a_run_is_a_stream_of_events_that_ends_with_its_result() {
    let world = World::with("w.yaml", HELLO);
    let done = world.expect(0, "run w.yaml --allow-shell --run-id r --json");
    let all = lines(&done.out);
    assert!(all.iter().all(|line| line["version"] == 1 && line["run"] == "r"), "{}", done.out);
    let started = all.iter().find(|line| line["type"] == "started").unwrap();
    assert_eq!((&started["kind"], &started["node"]), (&"event".into(), &"greet".into()));
    assert!(started["at"].as_str().unwrap().ends_with('Z'));
    let last = all.last().unwrap();
    assert_eq!((&last["kind"], &last["state"], &last["exit"]), (&"result".into(), &"succeeded".into(), &0.into()));
    assert_eq!(last["output"]["said"], "hello world");
    assert_eq!(done.err, "");
    // The journal is the same stream without the result.
    let events = lines(&world.expect(0, "runs events r --json").out);
    assert_eq!(events, all[..all.len() - 1]);
}

#[test]
fn documents_say_their_version_and_kind() {
    let world = World::with("w.yaml", HELLO);
    world.write("s.yaml", "name: s\nservices: { web: { x-windflow: { process: { command: [true] } } } }\n");
    world.expect(0, "run w.yaml --allow-shell --run-id r");
    for (args, kind) in [
        ("runs list --json", "runs"),
        ("runs show r --json", "run"),
        ("validate w.yaml --allow-shell --json", "validation"),
        ("graph w.yaml --json", "graph"),
        ("targets --json", "targets"),
        ("init --json", "init"),
        ("status s.yaml --json", "status"),
    ] {
        let value: Value = serde_json::from_str(&world.expect(0, args).out).unwrap();
        assert_eq!((&value["version"], &value["kind"]), (&1.into(), &kind.into()), "{args}");
    }
}

#[test]
fn errors_are_objects_on_standard_error() {
    let world = World::with("w.yaml", "name: w\nnodes: {}\n");
    for args in ["run w.yaml --json", "--json frobnicate", "runs show r --json"] {
        let done = world.expect(64, args);
        assert_eq!(done.out, "", "{args}");
        let error: Value = serde_json::from_str(&done.err).unwrap();
        assert_eq!((&error["version"], &error["error"]["exit"]), (&1.into(), &64.into()), "{args}");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
    let done = world.run("run w.yaml --json");
    let error: Value = serde_json::from_str(&done.err).unwrap();
    assert!(error["error"]["diagnostics"][0]["line"].is_u64(), "{}", done.err);
}
