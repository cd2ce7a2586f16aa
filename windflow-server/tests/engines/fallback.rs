//! Falling back from an engine that cannot be reached to another one, and coming back.

use serde_json::Value;
use windflow_bed::{Cut, Fault, Proxy};

use crate::corner::Corner;
use crate::world::until;

/// A Docker Engine that may be cut off, and a Swarm beside it; `main` and `spare` are what a workflow calls them.
struct Pair {
    corner: Corner,
    main: Proxy,
    spare: Proxy,
}

impl Pair {
    fn new() -> Self {
        let main = Proxy::start(&windflow_bed::docker()).unwrap();
        let spare = Proxy::start(&windflow_bed::swarm().endpoint).unwrap();
        let corner = Corner::new(&format!(
            "  main: {{ kind: docker, endpoint: '{}', health_timeout: 1m, timeout: {{ questions: 3s, changes: 1m }}, limit: 4, breaker: {{ failures: 5 }} }}\n  \
             spare: {{ kind: swarm, endpoint: '{}', health_timeout: 1m, timeout: 30s }}\n",
            main.endpoint(),
            spare.endpoint()
        ));
        for (file, more) in [("release.yaml", ""), ("twice.yaml", ", allow_two_copies: true")] {
            corner.world.write(
                file,
                &format!(
                    "name: release\ninputs: {{ version: {{ type: string }} }}\nnodes:\n  shop:\n    uses: deploy\n    \
                     with: {{ target: main, fallback: [spare], stack: stack.yaml{more} }}\n    retry: never\n\
                     outputs: {{ shop: '${{{{ nodes.shop.output }}}}' }}\n"
                ),
            );
        }
        let pair = Self { corner, main, spare };
        pair.writes("image: wf-busybox:1");
        pair
    }

    fn writes(&self, service: &str) {
        let text = format!(
            "name: shop-{}\nservices:\n  web:\n    {service}\n    environment: {{ VERSION: '${{{{ inputs.version }}}}' }}\n    \
             stop_grace_period: 1s\n    deploy: {{ endpoint_mode: dnsrr }}\n",
            self.corner.owner
        );
        self.corner.world.write("stack.yaml", &text);
    }

    /// Releases a version, and answers what came of it, as the last line of the command has it.
    #[track_caller]
    fn release(&self, code: i32, file: &str, version: &str) -> Value {
        let run = format!("run {file} --run-id {version} --input version={version} --json");
        let done = self.corner.world.expect(code, &run);
        serde_json::from_str(done.out.lines().last().unwrap()).unwrap()
    }

    /// What runs on the two.
    #[track_caller]
    fn runs(&self, main: &[&str], spare: &[&str]) {
        let (docker, swarm) = (windflow_bed::docker(), windflow_bed::swarm().endpoint);
        let are = || self.corner.versions(&docker) == main && self.corner.versions(&swarm) == spare;
        until(&format!("{main:?} on main and {spare:?} on spare"), are);
    }

    /// The failure of the step.
    fn failure(&self, run: &str) -> Value {
        let journal = self.corner.journal(run);
        journal.into_iter().rfind(|event| event["type"] == "failed").unwrap()["error"].clone()
    }

    /// A failure is met by the second target, the journal says from where it comes, and the next release is back.
    fn lands_on_the_second(&self, fault: Fault) {
        self.main.fail(fault).unwrap();
        let done = self.release(0, "release.yaml", "away");
        let shop = &done["output"]["shop"];
        assert_eq!((&shop["target"], &shop["fallback_from"]), (&"spare".into(), &"main".into()), "{done}");
        let journal = self.corner.journal("away");
        let noted: Vec<&Value> = journal.iter().filter(|event| event["type"] == "checkpointed").collect();
        assert_eq!(noted.len(), 1, "{noted:?}");
        let noted = &noted[0]["value"];
        assert_eq!((&noted["target"], &noted["fallback_from"]), (&"spare".into(), &"main".into()), "{noted}");
        self.runs(&[], &["away"]);

        self.main.heal().unwrap();
        let done = self.release(0, "release.yaml", "back");
        let shop = &done["output"]["shop"];
        assert_eq!((&shop["target"], &shop["fallback_from"]), (&"main".into(), &Value::Null), "{done}");
        assert_eq!(shop["returned_from"], serde_json::json!(["spare"]), "{done}");
        self.runs(&["back"], &[]);
    }
}

#[test]
fn a_refused_connection_lands_the_stack_on_the_second_target() {
    Pair::new().lands_on_the_second(Fault::Refuse);
}

#[test]
fn a_black_hole_lands_the_stack_on_the_second_target() {
    Pair::new().lands_on_the_second(Fault::BlackHole);
}

#[test]
fn an_engine_that_answers_with_its_own_failure_lands_the_stack_on_the_second_target() {
    for status in [503, 500] {
        Pair::new().lands_on_the_second(Fault::Answer(status));
    }
}

/// A target that is lost after something was begun there may hold a copy: it is not forgotten, and nothing is made elsewhere.
#[test]
fn a_target_that_is_lost_in_the_midst_of_an_apply_is_not_passed_over() {
    let pair = Pair::new();
    pair.main.cut_at(2, Cut::After);
    let done = pair.corner.world.run("run release.yaml --run-id half --input version=half --json");
    assert!(pair.main.is_cut(), "{}{}", done.out, done.err);
    assert_eq!(done.code, 5, "nobody can tell what is left there: {}{}", done.out, done.err);
    let journal = pair.corner.journal("half");
    let stuck = journal.iter().rfind(|event| event["type"] == "stuck").unwrap();
    assert_eq!(stuck["leftovers"][0]["node"], "shop", "{stuck}");
    assert_eq!(pair.spare.mutations(), 0, "{:?}", pair.spare.calls());
    // Once it is there again, what was begun is undone there, and the next release is made as if nothing had been.
    pair.main.heal().unwrap();
    pair.corner.world.expect(3, "runs retry half");
    assert_eq!(pair.corner.marked(&windflow_bed::docker()), []);
    pair.release(0, "release.yaml", "whole");
    pair.runs(&["whole"], &[]);
}

#[test]
fn what_is_wrong_with_the_stack_lands_nowhere() {
    let pair = Pair::new();
    // Refused in the plan, not there, and not healthy: none of it is for another engine to try.
    for (version, service, told) in [
        ("refused", "image: wf-busybox:1\n    privileged: true", "privileged"),
        ("missing", "image: wf-not-there:1\n    pull_policy: never", "wf-not-there:1"),
        ("broken", "image: wf-broken:1", "the configuration names no database"),
    ] {
        pair.writes(service);
        pair.release(3, "release.yaml", version);
        let failure = pair.failure(version);
        assert!(failure["message"].as_str().unwrap().contains(told), "{failure}");
        assert_eq!(pair.spare.mutations(), 0, "{:?}", pair.spare.calls());
    }
    pair.runs(&[], &[]);
}

#[test]
fn two_copies_are_only_made_by_whoever_allows_it() {
    let pair = Pair::new();
    pair.release(0, "release.yaml", "one");
    pair.main.fail(Fault::Refuse).unwrap();
    pair.release(3, "release.yaml", "two");
    let failure = pair.failure("two");
    assert_eq!(failure["code"], "target.unreachable", "{failure}");
    assert!(failure["hint"].as_str().unwrap().contains("allow_two_copies: true"), "{failure}");
    pair.runs(&["one"], &[]);
    assert_eq!(pair.spare.mutations(), 0, "{:?}", pair.spare.calls());

    let done = pair.release(0, "twice.yaml", "three");
    assert_eq!(done["output"]["shop"]["fallback_from"], "main", "{done}");
    pair.runs(&["one"], &["three"]);
    pair.main.heal().unwrap();
    let done = pair.release(0, "release.yaml", "four");
    assert_eq!(done["output"]["shop"]["returned_from"], serde_json::json!(["spare"]), "{done}");
    pair.runs(&["four"], &[]);
}
