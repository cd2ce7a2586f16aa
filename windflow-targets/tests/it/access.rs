//! Logs, and commands beside a service.

use futures_util::StreamExt as _;
use windflow_core::target::{
    Context, EnvValue, Exec, ExecEvent, LogOptions, LogStream, ServiceRef, Target as _, TargetErrorKind, TargetExt as _,
};

use crate::place::{Place, eventually, sh, stack};

fn cx(key: &str) -> Context {
    Context::new(key)
}

#[tokio::test]
async fn logs_are_kept_by_stream_cut_by_line_and_followed() {
    let place = Place::new();
    let target = place.target();
    let chatty = sh(
        "echo one; echo two >&2; printf '%020000d\\n' 0; while :; do test -e go && echo three && rm go; sleep 0.05; done",
    );
    let stack = stack([("web", chatty), ("other", sh("echo other; exec sleep 1000"))]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let web = ServiceRef::service(stack.name.clone(), "web".parse().unwrap());
    let lines: Vec<_> = target.logs(&cx("logs"), &web, LogOptions::default()).map(Result::unwrap).collect().await;
    let of =
        |stream| lines.iter().filter(|line| line.stream == stream).map(|line| line.text.as_str()).collect::<Vec<_>>();
    assert_eq!(of(LogStream::Stderr), ["two"]);
    assert_eq!(of(LogStream::Stdout)[0], "one");
    assert_eq!(of(LogStream::Stdout)[1].len(), 16 << 10, "a long line is cut, and its rest is no line of its own");
    assert_eq!(of(LogStream::Stdout).len(), 2);
    let all = ServiceRef::stack(stack.name.clone());
    let tail = LogOptions { tail: Some(1), ..LogOptions::default() };
    let lines: Vec<_> = target.logs(&cx("logs"), &all, tail.clone()).map(Result::unwrap).collect().await;
    assert_eq!(lines.len(), 2, "the last of each service");
    let mut follow = target.logs(&cx("logs"), &web, LogOptions { follow: true, ..tail });
    follow.next().await.unwrap().unwrap();
    std::fs::write(place.dir(&stack).join("services/web/0/work/go"), "").unwrap();
    assert_eq!(follow.next().await.unwrap().unwrap().text, "three");
    target.destroy(&cx("gone"), &stack.name).await.unwrap();
    while follow.next().await.is_some() {}
    let missing = target.logs(&cx("logs"), &web, LogOptions::default()).next().await.unwrap().unwrap_err();
    assert_eq!(missing.kind, TargetErrorKind::NotFound);
}

#[tokio::test]
async fn logs_are_bounded_and_read_across_their_rotation() {
    let place = Place::new();
    let target = place.target();
    let flood =
        sh("yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -n 180000; echo end");
    let stack = stack([("web", flood)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let all = ServiceRef::stack(stack.name.clone());
    let last = LogOptions { tail: Some(1), ..LogOptions::default() };
    eventually("all is captured", async || {
        let line = target.logs(&cx("logs"), &all, last.clone()).next().await.unwrap().unwrap();
        (line.text == "end", line)
    })
    .await;
    let dir = place.dir(&stack).join("services/web/0");
    let size = |name: &str| std::fs::metadata(dir.join(name)).map_or(0, |found| found.len());
    assert!(size("log.jsonl") > 0 && size("log.jsonl") < 9 << 20, "{}", size("log.jsonl"));
    assert!(size("log.1.jsonl") > 8 << 20 && size("log.1.jsonl") < 9 << 20, "{}", size("log.1.jsonl"));
    let lines: Vec<_> = target.logs(&cx("logs"), &all, LogOptions::default()).map(Result::unwrap).collect().await;
    assert_eq!(lines.last().unwrap().text, "end");
    assert!(lines.len() > 80_000, "both files are read: {}", lines.len());
    assert!(lines[..lines.len() - 2].iter().all(|line| line.text.len() == 70), "no line is torn");
}

#[tokio::test]
async fn a_command_runs_beside_a_service_and_ends_with_its_session() {
    let place = Place::new();
    let target = place.target();
    let mut service = sh("exec sleep 1000");
    service.environment.insert("COLOUR".to_owned(), EnvValue::Plain("blue".to_owned()));
    let stack = stack([("web", service)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let web = ServiceRef::service(stack.name.clone(), "web".parse().unwrap());
    let command = Exec::new(["sh", "-c", "cat; echo $COLOUR; pwd; env | wc -l; echo oops >&2; exit 5"]);
    let mut command = command;
    command.stdin = true;
    let mut session = target.exec(&cx("exec"), &web, command).await.unwrap();
    session.stdin.take().unwrap().send(b"typed ".to_vec()).await.unwrap();
    let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), None);
    while let Some(event) = session.events.next().await {
        match event.unwrap() {
            ExecEvent::Stdout(bytes) => out.extend(bytes),
            ExecEvent::Stderr(bytes) => err.extend(bytes),
            ExecEvent::Exit(exit) => code = Some(exit),
        }
    }
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("typed blue\n") && out.contains("services/web/0/work"), "{out}");
    assert!(out.trim_end().lines().last().unwrap().trim().parse::<u32>().unwrap() < 10, "nothing is inherited: {out}");
    assert_eq!((err, code), (b"oops\n".to_vec(), Some(5)));

    let mark = place.root.join("running");
    let text = format!("touch {}; sleep 1003 & wait; rm {}", mark.display(), mark.display());
    let session = target.exec(&cx("exec"), &web, Exec::new(["sh", "-c", &text])).await.unwrap();
    eventually("it runs", async || (mark.exists(), ())).await;
    drop(session);
    eventually("it has ended, with what it started", async || {
        let left = std::process::Command::new("ps").args(["-eo", "args"]).output().unwrap().stdout;
        let left = String::from_utf8_lossy(&left).lines().any(|line| line == "sleep 1003");
        (!left, left)
    })
    .await;
    let missing = target.exec(&cx("exec"), &web, Exec::new(["no-such-program"])).await.unwrap_err();
    assert_eq!(missing.kind, TargetErrorKind::NotFound);
}
