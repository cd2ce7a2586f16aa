//! One saga over a host, a Docker Engine and a Swarm: all of it or nothing of it, whatever fails and whoever is killed.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::corner::Corner;
use crate::gate::{Kill, appends, killed_at};
use crate::world::free_port;

const WORKFLOW: &str = "
name: release
inputs: { version: { type: string }, third: { type: string, default: 'wf-busybox:1' } }
nodes:
  first: { uses: deploy, with: { target: local, stack: host.yaml } }
  second: { uses: deploy, needs: [first], with: { target: docker, stack: second.yaml } }
  third: { uses: deploy, needs: [second], with: { target: swarm, stack: third.yaml } }
";

/// The three, and how they are asked.
struct Saga {
    corner: Corner,
    port: u16,
}

impl Saga {
    fn new() -> Self {
        let (corner, port) = (Corner::new(""), free_port());
        let name = format!("saga-{}", corner.owner);
        corner.world.write("release.yaml", WORKFLOW);
        corner.world.write(
            "host.yaml",
            &format!(
                "name: {name}
services:
  web:
    x-windflow: {{ process: {{ command: [windflow, demo-server, --port, '{port}', --message, 'version ${{{{ inputs.version }}}}.'] }} }}
    healthcheck: {{ interval: 100ms, x-windflow: {{ http: {{ port: {port}, path: / }} }} }}
"
            ),
        );
        for (file, image) in [("second.yaml", "wf-busybox:1"), ("third.yaml", "${{ inputs.third }}")] {
            corner.world.write(
                file,
                &format!(
                    "name: {name}
services:
  web:
    image: '{image}'
    environment: {{ VERSION: '${{{{ inputs.version }}}}' }}
    stop_grace_period: 1s
    deploy: {{ endpoint_mode: dnsrr, restart_policy: {{ condition: any, delay: 100ms }} }}
"
                ),
            );
        }
        Self { corner, port }
    }

    /// What the service says on each of the three.
    fn serving(&self) -> [Vec<String>; 3] {
        let host = self.host().into_iter().collect();
        [host, self.corner.versions(&windflow_bed::docker()), self.corner.versions(&windflow_bed::swarm().endpoint)]
    }

    fn host(&self) -> Option<String> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text.split_once("version ")?.1.split('.').next()?.to_owned())
    }

    /// Waits until all three serve this version, each once: what a Swarm has replaced goes a little later.
    #[track_caller]
    fn serves(&self, version: &str) {
        let wanted = [1, 2, 3].map(|_| vec![version.to_owned()]);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let serving = self.serving();
            if serving == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "not version {version} everywhere: {serving:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn start(run: &str, version: &str, third: &str) -> String {
        format!("run release.yaml --run-id {run} --input version={version} --input third={third} --json")
    }
}

/// The nodes of the events of one type, in their order.
fn nodes(journal: &[Value], kind: &str) -> Vec<String> {
    let of_kind = journal.iter().filter(|event| event["type"] == kind);
    of_kind.map(|event| event["node"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_fails_on_the_third_target_returns_the_first_two_in_reverse_order() {
    let saga = Saga::new();
    let world = &saga.corner.world;
    world.expect(0, &Saga::start("one", "1", "wf-busybox:1"));
    saga.serves("1");
    let failed = world.expect(3, &Saga::start("two", "2", "wf-broken:1"));
    saga.serves("1");
    let journal = saga.corner.journal("two");
    assert_eq!(nodes(&journal, "succeeded"), ["first", "second"], "{}", failed.out);
    assert_eq!(nodes(&journal, "undo_started"), ["third", "second", "first"]);
    assert_eq!(nodes(&journal, "undone"), ["third", "second", "first"]);
    let why = journal.iter().find(|event| event["type"] == "failed").unwrap();
    assert_eq!(why["error"]["code"], "deploy.rolled_back", "{why}");
    let told = why["error"]["message"].as_str().unwrap();
    assert!(told.contains("went back to revision 1: web: "), "{told}");
    // The revisions before are current again, and the next release is one more.
    world.expect(0, &Saga::start("three", "3", "wf-busybox:1"));
    saga.serves("3");
}

/// `kill -9` of the command before and after each append to the journal, both of a release that comes about and of one that
/// fails on the third target. All of them with `WINDFLOW_CUTS=all`, otherwise every second one, others each time.
#[test]
fn a_release_that_is_killed_anywhere_is_on_all_three_targets_or_on_none() {
    let saga = Saga::new();
    let world = &saga.corner.world;
    world.expect(0, &Saga::start("good", "good", "wf-busybox:1"));
    world.expect(3, &Saga::start("bad", "bad", "wf-broken:1"));
    let both = |(third, seq)| [Kill::Before(seq), Kill::After(seq)].map(|kill| (third, kill));
    let places = [("good", "wf-busybox:1"), ("bad", "wf-broken:1")].map(|(run, third)| (third, appends(world, run)));
    let places: Vec<(&str, Kill)> =
        places.iter().flat_map(|(third, all)| all.iter().map(|seq| (*third, *seq))).flat_map(both).collect();
    let every = std::env::var("WINDFLOW_CUTS").as_deref() == Ok("all");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (count, first) =
        if every { (places.len(), 0) } else { (places.len() / 2, usize::try_from(now).unwrap() % places.len()) };
    let (mut old, mut kills, mut ends) = ("good".to_owned(), [0; 2], [0; 3]);
    for n in 0..count {
        let (third, kill) = places[(first + n * places.len() / count) % places.len()];
        let (run, new) = (format!("k{n}"), format!("v{n}"));
        let start = Saga::start(&run, &new, third);
        let ended = killed_at(world, &run, kill, &start);
        kills[usize::from(ended.is_some())] += 1;
        let done = match (ended, world.state(&run)) {
            (Some(ended), _) => ended,
            // Killed before the run was durable.
            (None, None) => world.run(&start),
            (None, Some(_)) => world.run(&format!("resume {run} --json")),
        };
        let told = format!("{run} to {third}, killed {kill:?}: {}{}", done.out, done.err);
        println!("{run} to {third}, killed {kill:?}: ended with {}", done.code);
        match done.code {
            0 => {
                assert_eq!(third, "wf-busybox:1", "{told}");
                saga.serves(&new);
                old = new;
                ends[0] += 1;
            }
            3 => {
                assert_eq!(third, "wf-broken:1", "a release that can come about does: {told}");
                saga.serves(&old);
                ends[1] += 1;
            }
            5 => {
                let shown = world.expect(0, &format!("runs show {run} --json"));
                let shown: Value = serde_json::from_str(&shown.out).unwrap();
                let names = |left: &Value| ["first", "second", "third"].iter().any(|node| left["node"] == **node);
                let leftovers = shown["leftovers"].as_array().unwrap();
                assert!(!leftovers.is_empty() && leftovers.iter().all(names), "{shown}");
                ends[2] += 1;
            }
            _ => panic!("{told}"),
        }
    }
    println!(
        "{} of {} places: {} killed there, {} over before; {} all new, {} all old, {} stuck",
        kills.iter().sum::<u32>(),
        places.len(),
        kills[0],
        kills[1],
        ends[0],
        ends[1],
        ends[2]
    );
    assert!(usize::try_from(kills[0]).unwrap() >= count / 2, "only {} of {count} were killed", kills[0]);
}

#[test]
fn a_config_that_alone_has_changed_is_taken_back_with_its_run() {
    let corner = Corner::new("");
    for target in ["docker", "swarm"] {
        corner.world.write(
            "stack.yaml",
            &format!(
                "name: page-{}\nservices:\n  web:\n    image: wf-busybox:1\n    command: [sleep, '1000']\n    stop_grace_period: 0s\n    \
                 deploy: {{ endpoint_mode: dnsrr }}\n    configs: [{{ source: page, target: /page }}]\nconfigs:\n  page: {{ content: '${{{{ inputs.text }}}}' }}\n",
                corner.owner
            ),
        );
        let steps = "  web: { uses: deploy, with: { target: TARGET, stack: stack.yaml } }\n";
        let fails = "  no: { uses: script, needs: [web], with: { script: 'throw 1' } }\n";
        for (file, steps) in [("good.yaml", steps.to_owned()), ("bad.yaml", format!("{steps}{fails}"))] {
            let head = "name: page\ninputs: { text: { type: string } }\nnodes:\n";
            corner.world.write(file, &format!("{head}{steps}").replace("TARGET", target));
        }
        let page = || {
            let done =
                corner.world.expect(0, &format!("exec page-{} web --target {target} -- cat /page", corner.owner));
            done.out
        };
        corner.world.expect(0, "run good.yaml --input text=first");
        assert_eq!(page(), "first", "{target}");
        corner.world.expect(3, "run bad.yaml --input text=second");
        assert_eq!(page(), "first", "{target}");
        corner.world.expect(0, &format!("destroy page-{} --target {target} --yes", corner.owner));
    }
}
