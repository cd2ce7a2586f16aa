//! An engine that cannot be reached, in each of the ways.

use std::io::ErrorKind;
use std::time::Duration;

use windflow_bed::{Fault, Proxy};

use crate::client::{Client, ask};
use crate::server::Server;

fn both(server: &Server) -> [Proxy; 2] {
    [Proxy::start(&server.endpoint()).unwrap(), Proxy::start_tcp(&server.endpoint()).unwrap()]
}

#[test]
fn refused_is_refused_and_healed_is_at_the_same_place() {
    let server = Server::start("refused");
    for proxy in both(&server) {
        let mut under_way = Client::to(proxy.endpoint());
        under_way.send("GET /x HTTP/1.1\r\n\r\n").sees_up_to("fixed");
        proxy.fail(Fault::Refuse).unwrap();
        assert_eq!(Client::connect(proxy.endpoint()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(under_way.rest(), b"");
        proxy.heal().unwrap();
        assert_eq!(ask(proxy.endpoint(), "GET", "/once", "").unwrap().0, 200);
    }
    assert_eq!(server.heard().len(), 4);
}

#[test]
fn a_black_hole_takes_everything_and_says_nothing() {
    let server = Server::start("hole");
    for proxy in both(&server) {
        proxy.fail(Fault::BlackHole).unwrap();
        let mut client = Client::to(proxy.endpoint());
        client.send("GET /x HTTP/1.1\r\n\r\n");
        assert!(client.hears_nothing_for(Duration::from_millis(200)));
        proxy.heal().unwrap();
        assert_eq!(client.rest(), b"");
    }
    assert_eq!(server.heard(), [""; 0]);
}

#[test]
fn nonsense_is_said_as_it_is_and_then_the_connection_ends() {
    let server = Server::start("nonsense");
    for proxy in both(&server) {
        proxy.fail(Fault::Nonsense(b"\xff\x00 what?")).unwrap();
        let mut client = Client::to(proxy.endpoint());
        client.send("POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nab");
        assert_eq!(client.rest(), b"\xff\x00 what?");
        proxy.heal().unwrap();
        assert_eq!(ask(proxy.endpoint(), "GET", "/once", "").unwrap().0, 200);
    }
    assert_eq!(server.heard().len(), 2);
}

#[test]
fn an_engine_that_is_not_well_says_so_to_everybody() {
    let server = Server::start("unwell");
    for proxy in both(&server) {
        proxy.fail(Fault::Answer(503)).unwrap();
        let (status, body) = ask(proxy.endpoint(), "GET", "/x", "").unwrap_or_default();
        assert_eq!((status, body.as_str()), (503, r#"{"message":"the test bed answers 503"}"#));
        assert_eq!(proxy.calls()[0].status, Some(503));
        proxy.fail(Fault::Answer(500)).unwrap();
        let mut client = Client::to(proxy.endpoint());
        client.send("POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nab").sees_up_to("500\"}");
        client.send("HEAD /x HTTP/1.1\r\n\r\n").sees_up_to("\r\n\r\n");
        client.send("GET /x HTTP/1.1\r\n\r\n").sees("HTTP/1.1 500 ");
    }
    assert_eq!(server.heard(), [""; 0]);
}
