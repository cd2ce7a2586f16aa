//! What the README says to type, typed.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::world::{Done, World, free_port};

/// The examples as they lie in the repository, with ports of their own.
struct Session {
    world: World,
    variables: BTreeMap<&'static str, String>,
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").canonicalize().unwrap()
}

impl Session {
    fn new(ports: &[&'static str]) -> Self {
        let variables = ports.iter().map(|name| (*name, free_port().to_string())).collect();
        Self { world: World::new(), variables }
    }

    #[track_caller]
    fn expect(&self, code: i32, args: &str) -> Done {
        let args = args.replace("examples/", &format!("{}/", examples().display()));
        let mut command = self.world.command(&args);
        command.envs(&self.variables).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let done = Done { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) };
        assert_eq!(done.code, code, "windflow {args}\n{}\n{}", done.out, done.err);
        done
    }

    /// What the service behind a port answers; nothing when nobody listens.
    fn answer(&self, port: &str) -> Option<String> {
        let port: u16 = self.variables[port].parse().unwrap();
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        Some(text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Everything there is on disk, but for what the state folder holds.
    fn outside_the_state(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.world.dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".windflow").collect()
    }
}

#[test]
fn the_quickstart_from_the_first_command_to_the_last() {
    let mut session = Session::new(&["API_PORT", "WEB_PORT"]);
    let stack = "examples/quickstart/stack.yaml";
    let url = format!("http://127.0.0.1:{}", session.variables["WEB_PORT"]);

    let done = session.expect(0, "run examples/quickstart/workflow.yaml");
    assert!(done.out.contains("answers at:") && done.out.contains(&url), "{}", done.out);
    // web waited for api: it is told of its health, which comes after the other's.
    let place = |what: &str| done.err.find(what).unwrap_or_else(|| panic!("no '{what}' in {}", done.err));
    assert!(place("api is healthy") < place("web is healthy"), "{}", done.err);
    assert_eq!(session.answer("WEB_PORT").unwrap(), "the api says: hello\n");

    let status = session.expect(0, &format!("status {stack}"));
    assert!(status.out.contains("revision 1") && status.out.matches("healthy").count() == 2, "{}", status.out);
    assert!(session.expect(0, &format!("logs {stack} web")).out.contains(&format!("listening on {url}")));
    assert!(session.expect(0, &format!("plan {stack}")).out.contains("no changes"));

    session.variables.insert("GREETING", "good morning".to_owned());
    assert!(session.expect(2, &format!("plan {stack}")).out.contains("! services.api.process"));
    session.expect(0, "run examples/quickstart/workflow.yaml");
    assert_eq!(session.answer("WEB_PORT").unwrap(), "the api says: good morning\n");
    session.expect(0, &format!("rollback {stack} --yes"));
    assert_eq!(session.answer("WEB_PORT").unwrap(), "the api says: hello\n");

    let running = session.world.processes();
    assert!(running.len() >= 3, "two services and their supervisor: {running:?}");
    session.expect(0, &format!("destroy {stack} --yes"));
    assert_eq!((session.answer("API_PORT"), session.answer("WEB_PORT")), (None, None));
    crate::world::until("the supervisor's end", || session.world.processes().is_empty());
    assert_eq!(session.outside_the_state(), Vec::<String>::new());
    // And of the stack nothing is left in the state folder either.
    let left: Vec<_> = walk(&session.world.dir).into_iter().filter(|path| path.contains("quickstart")).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

#[test]
fn the_saga_takes_both_deployments_back_and_exits_with_3() {
    let session = Session::new(&["ORDERS_PORT", "SHOP_PORT"]);
    let done = session.expect(3, "run examples/saga/workflow.yaml");
    assert!(done.out.contains("compensated"), "{}", done.out);
    let undone = |node: &str| {
        done.err.lines().position(|line| line.contains(node) && line.contains("undone")).unwrap_or_else(|| {
            panic!("{node} is not undone: {}", done.err);
        })
    };
    assert!(undone("shop") < undone("orders"), "the last one first: {}", done.err);
    assert_eq!((session.answer("ORDERS_PORT"), session.answer("SHOP_PORT")), (None, None));
    for stack in ["orders", "shop"] {
        let gone = session.expect(64, &format!("status {stack}"));
        assert!(gone.err.contains("there is no stack"), "{}", gone.err);
    }
}
