//! What passes through is what was said, and is written down.

use windflow_bed::Proxy;

use crate::client::{Client, ask};
use crate::server::Server;

#[test]
fn answers_of_every_form_come_back_to_the_letter_on_one_connection() {
    let server = Server::start("forms");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    server.go.send(()).unwrap();
    let mut client = Client::to(proxy.endpoint());
    client
        .send("GET /v1.41/fixed HTTP/1.1\r\nHost: x\r\n\r\n")
        .sees("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfixed");
    client.send("HEAD /fixed HTTP/1.1\r\n\r\n").sees("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    client.send("DELETE /gone HTTP/1.1\r\n\r\n").sees("HTTP/1.1 204 No Content\r\n\r\n");
    client
        .send("GET /chunks HTTP/1.1\r\n\r\n")
        .sees("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3;x=y\r\ntwo\r\n0\r\nSum: 6\r\n\r\n");
    // Two at once are answered one after the other.
    client.send("GET /fixed HTTP/1.1\r\n\r\nDELETE /gone HTTP/1.1\r\n\r\n");
    client.sees("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfixedHTTP/1.1 204 No Content\r\n\r\n");
    let calls: Vec<String> =
        proxy.calls().iter().map(|call| format!("{} {} {:?}", call.method, call.path, call.status.unwrap())).collect();
    let wanted = ["GET /fixed 200", "HEAD /fixed 200", "DELETE /gone 204", "GET /chunks 200", "GET /fixed 200"];
    assert_eq!(calls[..5], wanted);
    assert_eq!((calls.len(), proxy.mutations()), (6, 2));
    assert_eq!(proxy.calls()[0].target, "/v1.41/fixed");
    proxy.forget();
    assert_eq!((proxy.calls(), proxy.mutations()), (vec![], 0));
}

#[test]
fn a_stream_arrives_piece_by_piece() {
    let server = Server::start("pieces");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    let mut client = Client::to(proxy.endpoint());
    client
        .send("GET /chunks HTTP/1.1\r\n\r\n")
        .sees("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    server.go.send(()).unwrap();
    client.sees("3;x=y\r\ntwo\r\n");
}

#[test]
fn bodies_arrive_whole_and_are_measured() {
    let server = Server::start("bodies");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    let mut client = Client::to(proxy.endpoint());
    let large = vec![b'x'; 3_000_000];
    client
        .send("POST /images/load HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n")
        .send_bytes(&large)
        .sees("HTTP/1.1 200 OK");
    client.sees_up_to("fixed");
    client.send("POST /build HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2\r\n, \r\n");
    client.send("5\r\nworld\r\n0\r\n\r\n").sees_up_to("fixed");
    assert_eq!(server.heard(), ["post /images/load http/1.1 3000000", "post /build http/1.1 12"]);
    assert_eq!(proxy.calls().iter().map(|call| call.body_size).collect::<Vec<u64>>(), [3_000_000, 12]);
}

#[test]
fn an_engine_may_ask_for_the_body_first() {
    let server = Server::start("first");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    let mut client = Client::to(proxy.endpoint());
    client.send("POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    client.sees("HTTP/1.1 100 Continue\r\n\r\n").send("ab").sees("HTTP/1.1 200 OK");
    client.sees_up_to("fixed");
    assert_eq!(server.heard(), ["post /x http/1.1 2"]);
    assert_eq!(proxy.calls()[0].status, Some(200));
}

#[test]
fn an_upgraded_connection_carries_both_ways_and_ends_one_way_at_a_time() {
    let server = Server::start("upgrade");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    for (path, status) in [("/upgrade", 101), ("/raw", 200)] {
        let mut client = Client::to(proxy.endpoint());
        // What comes with the request already belongs to the stream.
        client.send(&format!("POST {path} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}early "));
        let head = client.sees_up_to("\r\n\r\n");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        client.sees("early ").send("more").sees("more");
        client.end_writing();
        assert_eq!(client.rest(), b"bye");
        assert_eq!(proxy.calls().last().unwrap().status, Some(status));
    }
}

#[test]
fn a_client_that_goes_away_is_gone_for_the_engine_too() {
    let server = Server::start("away");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    let mut client = Client::to(proxy.endpoint());
    client.send("GET /forever HTTP/1.1\r\n\r\n").sees_up_to("one\r\n");
    drop(client);
    server.left.recv().unwrap();
}

#[test]
fn an_engine_that_closes_a_connection_has_closed_it_for_the_client() {
    let server = Server::start("closes");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    let mut client = Client::to(proxy.endpoint());
    client.send("GET /once HTTP/1.1\r\n\r\n");
    assert!(client.rest().ends_with(b"once"));
    // Another connection is not touched by that.
    assert_eq!(ask(proxy.endpoint(), "GET", "/once", "").unwrap(), (200, "once".to_owned()));
}

#[test]
fn a_proxy_without_an_engine_ends_connections() {
    let proxy = Proxy::start("unix:///nowhere/s").unwrap();
    assert_eq!(ask(proxy.endpoint(), "GET", "/_ping", ""), None);
    assert_eq!(proxy.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn it_runs_whatever_the_clock_of_the_test_does() {
    let server = Server::start("clock");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    // This blocks the only thread of this runtime.
    assert_eq!(ask(proxy.endpoint(), "GET", "/once", "").unwrap().0, 200);
}
