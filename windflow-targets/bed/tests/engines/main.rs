//! The proxy in front of a real engine: within `scripts/bed/run`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the tests without an engine use more of it")]
#[path = "../it/client.rs"]
mod client;

use std::io::Write;
use std::process::{Command, Stdio};

use windflow_bed::{Cut, Engine, Proxy, docker};

use client::{Client, ask};

/// Containers by this name, without the one that asks.
fn named(name: &str) -> usize {
    let target = format!("/containers/json?all=true&filters=%7B%22name%22%3A%5B%22{name}%22%5D%7D");
    ask(&docker(), "GET", &target, "").unwrap().1.matches("\"Id\"").count()
}

fn create(endpoint: &str, name: &str) -> Option<(u16, String)> {
    let body = r#"{"Image":"wf-busybox:1","Cmd":["sh","-c","echo hello; exec sleep 1000"]}"#;
    ask(endpoint, "POST", &format!("/v1.41/containers/create?name={name}"), body)
}

fn unique(name: &str) -> String {
    format!("bed-{name}-{}", std::process::id())
}

fn remove(name: &str) {
    assert_eq!(ask(&docker(), "DELETE", &format!("/containers/{name}?force=true"), "").unwrap().0, 204);
}

#[test]
fn a_container_lives_through_it_and_every_call_is_known() {
    let proxy = Proxy::start(&docker()).unwrap();
    let name = unique("lives");
    let at = |end: &str| format!("/v1.41/containers/{name}{end}");
    assert_eq!(ask(proxy.endpoint(), "GET", "/_ping", "").unwrap(), (200, "OK".to_owned()));
    assert_eq!(create(proxy.endpoint(), &name).unwrap().0, 201);
    assert_eq!(ask(proxy.endpoint(), "POST", &at("/start"), "").unwrap().0, 204);
    let mut logs = Client::to(proxy.endpoint());
    logs.send(&format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", at("/logs?follow=1&stdout=1"))).sees_up_to("hello\n");
    let mut wait = Client::to(proxy.endpoint());
    wait.send(&format!("POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", at("/wait")));
    assert_eq!(ask(proxy.endpoint(), "DELETE", &at("?force=true"), "").unwrap().0, 204);
    wait.sees_up_to("\"StatusCode\":137");
    let changed: Vec<String> = proxy.calls().iter().filter(|call| call.mutates).map(|call| call.path.clone()).collect();
    let at = |end: &str| format!("/containers/{name}{end}");
    assert_eq!(changed, ["/containers/create".to_owned(), at("/start"), at("")]);
    assert_eq!(proxy.calls().len(), 6);
}

/// The real client, which upgrades connections, streams and keeps some of them.
#[test]
fn a_command_gets_its_input_and_gives_its_output_through_it() {
    let proxy = Proxy::start_tcp(&docker()).unwrap();
    let run = ["run", "--rm", "-i", "--pull=never", "wf-busybox:1", "sh", "-c", "cat; echo end >&2; exit 3"];
    let mut client = Command::new("docker")
        .args(run)
        .env("DOCKER_HOST", proxy.endpoint())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = "a line\n".repeat(20_000);
    client.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let done = client.wait_with_output().unwrap();
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(3), "end\n"));
    assert_eq!(String::from_utf8(done.stdout).unwrap(), lines);
    assert_eq!(proxy.mutations(), 2, "{:?}", proxy.calls());
}

#[test]
fn an_image_goes_out_and_in_again_through_it() {
    let proxy = Proxy::start(&docker()).unwrap();
    let docker = |args: &[&str], input: Stdio| {
        let mut command = Command::new("docker");
        command.args(args).env("DOCKER_HOST", proxy.endpoint()).stdin(input).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut saved = docker(&["save", "wf-redis:1"], Stdio::null());
    let loaded = docker(&["load"], saved.stdout.take().unwrap().into()).wait_with_output().unwrap();
    assert!(saved.wait().unwrap().success());
    assert_eq!(String::from_utf8(loaded.stdout).unwrap(), "Loaded image: wf-redis:1\n");
    let load = proxy.calls().into_iter().find(|call| call.path == "/images/load").unwrap();
    assert!(load.body_size > 10_000_000, "{load:?}");
}

#[test]
fn what_is_cut_before_is_not_there_and_what_is_cut_after_is() {
    let proxy = Proxy::start(&docker()).unwrap();
    let name = unique("cut");
    proxy.cut_at(1, Cut::Before);
    assert_eq!(create(proxy.endpoint(), &name), None);
    assert!(proxy.is_cut());
    assert_eq!(named(&name), 0);
    proxy.heal().unwrap();
    proxy.cut_at(1, Cut::After);
    assert_eq!(create(proxy.endpoint(), &name), None);
    assert!(proxy.is_cut());
    assert_eq!(named(&name), 1);
    proxy.heal().unwrap();
    assert_eq!(create(proxy.endpoint(), &name).unwrap().0, 409);
    remove(&name);
}

#[test]
fn events_arrive_as_they_happen() {
    let proxy = Proxy::start(&docker()).unwrap();
    let name = unique("events");
    let mut events = Client::to(proxy.endpoint());
    events.send("GET /v1.41/events HTTP/1.1\r\nHost: x\r\n\r\n").sees_up_to("\r\n\r\n");
    assert_eq!(create(&docker(), &name).unwrap().0, 201);
    events.sees_up_to(&name);
    remove(&name);
    events.sees_up_to("\"status\":\"destroy\"");
}

#[test]
fn a_test_may_have_an_engine_of_its_own_and_restart_it() {
    let engine = Engine::start();
    let at = engine.endpoint();
    assert_eq!(create(&at, "kept").unwrap().0, 201);
    assert_eq!(ask(&at, "POST", "/containers/kept/start", "").unwrap().0, 204);
    engine.restart();
    let (status, kept) = ask(&at, "GET", "/containers/kept/json", "").unwrap();
    assert_eq!(status, 200);
    assert!(kept.contains("\"Status\":\"exited\""), "{kept}");
    assert!(!ask(&docker(), "GET", "/containers/kept/json", "").unwrap().1.contains("\"Id\""));
    drop(engine);
    assert_eq!(ask(&at, "GET", "/_ping", ""), None);
}
