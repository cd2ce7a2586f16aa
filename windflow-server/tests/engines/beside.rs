//! Blue-green through the command, and what a stack that is gone leaves: told by every verb, and as events.

use std::fs;

use serde_json::{Value, json};

use crate::corner::Corner;

fn events(corner: &Corner) -> Vec<String> {
    let text = fs::read_to_string(corner.world.dir.join("events")).unwrap();
    let line = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let more = ["action", "why", "revision", "beside"].map(|key| event["metadata"][key].to_string());
        format!("{} {}", event["event_type"].as_str().unwrap(), more.join(" ")).replace(" null", "").replace('"', "")
    };
    text.lines().map(line).collect()
}

#[test]
fn what_bakes_is_told_promoted_or_aborted_and_so_is_the_volume_that_is_kept() {
    let corner = Corner::new("");
    let (world, endpoint) = (&corner.world, windflow_bed::docker());
    let name = format!("beside-{}", corner.owner);
    world.write(
        "stack.yaml",
        &format!(
            "name: {name}\nservices:\n  web:\n    image: wf-busybox:1\n    command: [sh, -c, 'trap exit TERM; sleep 10000 & wait']\n    \
             environment: {{ VERSION: '${{VERSION}}' }}\n    x-windflow: {{ rollout: {{ strategy: blue_green }} }}\n  \
             db:\n    image: wf-busybox:1\n    command: [sleep, '10000']\n    stop_grace_period: 0s\n    volumes: ['data:/data']\n\
             volumes: {{ data: {{}} }}\n"
        ),
    );
    let apply = |version: &str| {
        world.write(".env", &format!("VERSION={version}\n"));
        let done = world.expect(0, "apply stack.yaml --target docker --yes --json --events events");
        serde_json::from_str::<Value>(&done.out).unwrap()["applied"].clone()
    };
    let decide = |verb: &str| {
        let done = world.expect(0, &format!("{verb} {name} --target docker --yes --json --events events"));
        serde_json::from_str::<Value>(&done.out).unwrap()["applied"].clone()
    };
    let status = || {
        let told = world.expect(0, &format!("status {name} --target docker --json"));
        serde_json::from_str::<Value>(&told.out).unwrap()
    };
    assert_eq!(apply("1"), json!({ "revision": 1 }));
    assert_eq!(apply("2"), json!({ "staged": { "revision": 2, "kept": 1 } }));
    let shown = world.expect(0, &format!("status {name} --target docker"));
    assert!(shown.out.contains("baking"), "{}", shown.out);
    assert_eq!((&status()["revision"], &status()["baking"]["revision"]), (&json!(1), &json!(2)));
    assert_eq!(decide("promote"), json!({ "revision": 2 }));
    assert_eq!(decide("promote"), json!("nothing"));
    assert_eq!(apply("3"), json!({ "staged": { "revision": 3, "kept": 2 } }));
    assert_eq!(decide("abort"), json!({ "revision": 2 }));
    assert!(corner.versions(&endpoint).contains(&"2".to_owned()), "{:?}", corner.versions(&endpoint));

    // Destroyed by its name; its volume is there, and every verb says so, until it is agreed to that it goes.
    let gone = world.expect(0, &format!("destroy {name} --target docker --yes --events events"));
    assert!(gone.out.contains("data") && gone.out.contains("--allow-destroy volume"), "{}", gone.out);
    assert_eq!(corner.marked(&endpoint).len(), 1, "{:?}", corner.marked(&endpoint));
    assert!(status()["retained"].to_string().contains("data"), "{}", status());
    world.expect(0, &format!("destroy {name} --target docker --yes --allow-destroy volume"));
    assert!(corner.marked(&endpoint).is_empty(), "{:?}", corner.marked(&endpoint));
    assert_eq!(
        events(&corner),
        [
            "deployments.started apply",
            "deployments.healthy apply 1",
            "deployments.started apply",
            "deployments.healthy apply 2 1",
            "deployments.started promote",
            "deployments.healthy promote 2",
            "deployments.started apply",
            "deployments.healthy apply 3 2",
            "deployments.started abort",
            "deployments.rolled_back abort aborted 2",
            "deployments.started destroy",
            "deployments.destroyed destroy",
        ]
    );
}
