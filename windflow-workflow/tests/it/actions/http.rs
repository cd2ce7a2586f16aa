//! `http`, against real servers on the loopback address.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use windflow_core::{Action, ErrorClass, Guarantee, Outcome, StepError};
use windflow_workflow::EgressPolicy;
use windflow_workflow::actions::HttpAction;

use super::step;

/// A server that notes each request and answers with what it is told.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (notes, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (notes, answer) = (Arc::clone(&notes), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    let mut buffer = [0; 4096];
                    while !is_whole(&request) {
                        match socket.read(&mut buffer).await {
                            Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                            _ => break,
                        }
                    }
                    let request = String::from_utf8_lossy(&request).into_owned();
                    let reply = answer(&request);
                    notes.lock().unwrap().push(request);
                    if let Some(reply) = reply {
                        let _ = socket.write_all(reply.as_bytes()).await;
                    }
                });
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// Whether head and announced body are there.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn reply(status: u16, headers: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len()))
}

async fn ask(policy: EgressPolicy, input: Value) -> Result<Value, StepError> {
    let (cx, _cancel) = step().build();
    match HttpAction::new(policy).perform(&cx, input).await? {
        Outcome::Done(output) => Ok(output),
        parked @ Outcome::Parked(_) => panic!("{parked:?}"),
    }
}

async fn operator(input: Value) -> Result<Value, StepError> {
    ask(EgressPolicy::operator(), input).await
}

#[tokio::test]
async fn a_request_carries_what_it_should_and_its_answer_is_looked_at() {
    let server = Server::start(|_| reply(201, "x-kind: very json\r\n", r#"{"ok":true,"id":7}"#)).await;
    let input = json!({
        "url": format!("{}/hook?a=b", server.url),
        "headers": {"Authorization": "Bearer secret://env/TOKEN"},
        "json": {"version": "1.2"},
        "idempotency_header": "Idempotency-Key",
        "expect": {"status": [200, 201], "json": {"ok": true}, "header": {"x-kind": "json"}, "body": "id"},
    });
    assert_eq!(HttpAction::new(EgressPolicy::operator()).check(&input), []);
    let output = operator(input).await.unwrap();
    assert_eq!((&output["status"], &output["json"]["id"]), (&json!(201), &json!(7)));
    let request = server.seen().remove(0);
    assert!(request.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{request}");
    let head = request.to_ascii_lowercase();
    for line in
        ["authorization: bearer hunter2-hunter2", "idempotency-key: run/step/0", "content-type: application/json"]
    {
        assert!(head.contains(line), "{line}: {request}");
    }
    assert!(request.ends_with(r#"{"version":"1.2"}"#), "{request}");
}

#[tokio::test]
async fn what_was_not_expected_says_so_and_whether_to_try_again() {
    for (status, method, class) in [
        (404, "GET", ErrorClass::Terminal),
        (503, "POST", ErrorClass::Retryable),
        (500, "GET", ErrorClass::Retryable),
        (500, "POST", ErrorClass::Unknown),
    ] {
        let server = Server::start(move |_| reply(status, "", "sorry")).await;
        let error = operator(json!({"url": server.url, "method": method})).await.unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (class, "http.status"), "{status} {method}");
        assert!(error.message.contains(&format!("answered {status}: sorry")), "{error}");
    }
    let server = Server::start(|_| reply(200, "", "starting")).await;
    let error = operator(json!({"url": server.url, "expect": {"body": "ready"}})).await.unwrap_err();
    assert_eq!((error.class, error.message.contains("'ready'")), (ErrorClass::Retryable, true), "{error}");
}

#[tokio::test]
async fn a_lost_answer_is_unknown_unless_asking_twice_is_harmless() {
    let server = Server::start(|_| None).await;
    let error = operator(json!({"url": server.url, "method": "PUT", "body": "x"})).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Retryable, "http.lost"));
    let error = operator(json!({"url": server.url, "body": "x"})).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Unknown, "http.lost"));
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = operator(json!({"url": format!("http://{unused}"), "body": "x"})).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Retryable, "http.connect"), "{error}");

    let guarantee = |input: Value| HttpAction::new(EgressPolicy::operator()).guarantee(&input);
    assert_eq!(guarantee(json!({"url": "x"})), Guarantee::Convergent);
    assert_eq!(guarantee(json!({"url": "x", "method": "delete"})), Guarantee::Convergent);
    assert_eq!(guarantee(json!({"url": "x", "json": 1})), Guarantee::AtLeastOnce);
    assert_eq!(guarantee(json!({"url": "x", "method": "PATCH", "idempotency_header": "K"})), Guarantee::Keyed);
}

#[tokio::test]
async fn redirects_are_few_and_credentials_stay_behind() {
    let far = Server::start(|_| reply(200, "", "far")).await;
    let to = far.url.clone();
    let near = Server::start(move |request| match request.split(' ').nth(1) {
        Some("/away") => reply(302, &format!("location: {to}/x\r\n"), ""),
        Some("/loop") => reply(302, "location: /loop\r\n", ""),
        Some("/meta") => reply(302, "location: http://169.254.169.254/latest\r\n", ""),
        _ => reply(302, "location: away\r\n", ""),
    })
    .await;
    let headers = json!({"X-Token": "secret://env/TOKEN", "Cookie": "a=b", "Accept": "text/plain"});
    let output = operator(json!({"url": format!("{}/start", near.url), "headers": headers})).await.unwrap();
    assert_eq!(output["body"], "far");
    assert!(near.seen().iter().all(|request| request.contains("hunter2")));
    let arrived = far.seen().remove(0).to_ascii_lowercase();
    assert!(!arrived.contains("hunter2") && !arrived.contains("cookie") && arrived.contains("text/plain"), "{arrived}");

    let error = operator(json!({"url": format!("{}/loop", near.url)})).await.unwrap_err();
    assert_eq!((error.class, error.message.contains("more than 3 redirects")), (ErrorClass::Terminal, true));
    assert_eq!(near.seen().iter().filter(|request| request.starts_with("GET /loop")).count(), 4);
    let error = operator(json!({"url": format!("{}/meta", near.url)})).await.unwrap_err();
    assert!(error.message.contains("169.254.169.254"), "each redirect is judged anew: {error}");
}

#[tokio::test]
async fn no_spelling_of_the_local_machine_is_open_to_who_is_not_trusted() {
    let server = Server::start(|_| reply(200, "", "inside")).await;
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let error = ask(EgressPolicy::untrusted(), json!({"url": format!("http://{host}:{port}/")})).await.unwrap_err();
        assert!(["http.refused", "http.connect", "input"].contains(&error.code.as_str()), "{host}: {error}");
    }
    assert!(server.seen().is_empty(), "nothing may arrive");
    let allowed = EgressPolicy::untrusted().allow_host("127.0.0.1");
    assert_eq!(ask(allowed, json!({"url": server.url})).await.unwrap()["body"], "inside");
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time_and_headers_hold_no_line_breaks() {
    let server = Server::start(|_| reply(200, "", &"x".repeat(1024 * 1024 + 1))).await;
    let error = operator(json!({"url": server.url})).await.unwrap_err();
    assert!(error.message.contains("larger than 1 MiB"), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let error = operator(json!({"url": url, "timeout": "200ms"})).await.unwrap_err();
    assert_eq!(error.code, "http.lost", "{error}");
    assert!(error.message.ends_with(": no answer within 200ms, its timeout"), "{error}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("timeout: 2m")), "{error}");
    let error = operator(json!({"url": server.url, "headers": {"X": "a\r\nY: b"}})).await.unwrap_err();
    assert_eq!(error.code, "input");
    let error = operator(json!({"url": "http://user:pass@127.0.0.1/"})).await.unwrap_err();
    assert!(error.message.contains("credentials"), "{error}");
    // A url that cannot be read may hold them as well.
    let away = Server::start(|_| reply(302, "location: ftp://user:s3cret@a.example/\r\n", "")).await;
    for bad in ["http://user:s3cret@a example/", "ftp://user:s3cret@a.example/", "http://user:s3cret@a:b/", &away.url] {
        let error = operator(json!({"url": bad})).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains("s3cret"), "{bad}: {error}");
    }
}

#[test]
fn what_can_be_told_beforehand_is() {
    let action = HttpAction::new(EgressPolicy::operator());
    for (bad, path) in [
        (json!({}), "/url"),
        (json!({"url": "ftp://x"}), "/url"),
        (json!({"url": "http://x", "method": "BREW"}), "/method"),
        (json!({"url": "http://x", "headers": {"a b": "c"}}), "/headers"),
        (json!({"url": "http://x", "body": "a", "json": 1}), "/json"),
        (json!({"url": "http://x", "timeout": "1h"}), "/timeout"),
        (json!({"url": "http://x", "expect": {"code": 200}}), "/expect"),
        (json!({"url": "http://x", "retries": 3}), "/retries"),
    ] {
        let problems = action.check(&bad);
        assert!(problems.iter().any(|(at, _)| at == path), "{bad}: {problems:?}");
    }
    assert_eq!(action.check(&json!({"url": "${{ inputs.url }}", "expect": {"status": "${{ inputs.code }}"}})), []);
}
