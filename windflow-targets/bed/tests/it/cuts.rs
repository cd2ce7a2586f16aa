//! Cut off in the middle of everything, as when the client's process dies.

use windflow_bed::{Cut, Proxy};

use crate::client::{Client, ask};
use crate::server::Server;

/// Asks for five things of which three change something, until one is cut. Says how many were answered.
fn work(endpoint: &str) -> usize {
    let all = [("GET", "/a"), ("POST", "/b"), ("POST", "/containers/x/wait"), ("PUT", "/c"), ("DELETE", "/gone")];
    all.iter().take_while(|(method, path)| ask(endpoint, method, path, "").is_some()).count()
}

#[test]
fn a_call_that_is_cut_before_never_reaches_the_engine() {
    for (n, answered) in [(1, 1), (2, 3), (3, 4)] {
        let server = Server::start(&format!("before{n}"));
        let proxy = Proxy::start(&server.endpoint()).unwrap();
        proxy.cut_at(n, Cut::Before);
        assert!(!proxy.is_cut());
        assert_eq!(work(proxy.endpoint()), answered, "cut at {n}");
        assert!(proxy.is_cut());
        assert_eq!((server.heard().len(), proxy.mutations()), (answered, n));
        assert_eq!(proxy.calls().last().unwrap().status, None);
    }
}

#[test]
fn a_call_that_is_cut_after_has_been_done_and_nobody_was_told() {
    for (n, answered) in [(1, 1), (2, 3), (3, 4)] {
        let server = Server::start(&format!("after{n}"));
        let proxy = Proxy::start(&server.endpoint()).unwrap();
        proxy.cut_at(n, Cut::After);
        assert_eq!(work(proxy.endpoint()), answered, "cut at {n}");
        assert!(proxy.is_cut());
        assert_eq!((server.heard().len(), proxy.mutations()), (answered + 1, n));
        assert!(proxy.calls().last().unwrap().status.is_some());
    }
}

#[test]
fn nothing_of_a_long_answer_comes_through_and_all_of_it_was_made() {
    let server = Server::start("long");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    proxy.cut_at(1, Cut::After);
    let mut client = Client::to(proxy.endpoint());
    client.send("POST /chunks HTTP/1.1\r\n\r\n");
    // It has been answered in part, and is not cut before it has been in full.
    server.go.send(()).unwrap();
    assert_eq!(client.rest(), b"");
    assert!(proxy.is_cut());
}

#[test]
fn an_upgrade_is_cut_once_the_engine_has_agreed() {
    let server = Server::start("agreed");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    proxy.cut_at(1, Cut::After);
    assert_eq!(Client::to(proxy.endpoint()).send("POST /upgrade HTTP/1.1\r\n\r\n").rest(), b"");
    assert_eq!(proxy.calls()[0].status, Some(101));
}

#[test]
fn a_cut_ends_every_other_connection_and_nobody_gets_in_until_it_is_healed() {
    let server = Server::start("others");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    let (mut stream, mut idle) = (Client::to(proxy.endpoint()), Client::to(proxy.endpoint()));
    stream.send("GET /forever HTTP/1.1\r\n\r\n").sees_up_to("one\r\n");
    idle.send("GET /x HTTP/1.1\r\n\r\n").sees_up_to("fixed");
    proxy.cut_at(1, Cut::Before);
    assert_eq!(ask(proxy.endpoint(), "POST", "/x", ""), None);
    assert_eq!((stream.rest(), idle.rest()), (vec![], vec![]));
    server.left.recv().unwrap();
    for _ in 0..10 {
        assert_eq!(ask(proxy.endpoint(), "GET", "/x", ""), None);
    }
    proxy.heal().unwrap();
    assert!(!proxy.is_cut());
    assert_eq!(work(proxy.endpoint()), 5);
    // One cut is for one time.
    assert_eq!(work(proxy.endpoint()), 5);
}

#[test]
fn a_cut_is_counted_from_when_it_was_asked_for_and_healing_takes_it_back() {
    let server = Server::start("count");
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    assert_eq!(work(proxy.endpoint()), 5);
    proxy.cut_at(1, Cut::Before);
    proxy.heal().unwrap();
    assert_eq!(work(proxy.endpoint()), 5);
    proxy.cut_at(3, Cut::Before);
    assert_eq!(work(proxy.endpoint()), 4);
    assert_eq!(proxy.mutations(), 9);
}
