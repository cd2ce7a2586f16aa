//! Images from registries: fetched with progress, with a login by reference where one is asked for; and the password is
//! nowhere to be read.

use std::fs;

use windflow_bed::registry;

use crate::corner::{Corner, docker, docker_may_fail};

const PASSWORD: &str = "REGISTRY_PASSWORD";

struct Fetching {
    corner: Corner,
    endpoint: String,
    target: &'static str,
}

impl Fetching {
    fn on(target: &'static str, endpoint: String) -> Self {
        let closed = registry().closed;
        let login = format!("{{ username: {}, password: 'secret://env/{PASSWORD}' }}", registry().user);
        let corner = Corner::new(&format!(
            "  known: {{ kind: {target}, endpoint: '{endpoint}', health_timeout: 30s, registries: {{ '{closed}': {login} }} }}\n"
        ));
        Self { corner, endpoint, target }
    }

    /// Applies a stack of this image; code, and all that was said.
    fn apply(&self, image: &str, target: &str, password: &str) -> (i32, String) {
        // Fetching must have something to do.
        docker_may_fail(&self.endpoint, &["rmi", "-f", image]);
        self.corner.world.write(
            "stack.yaml",
            &format!(
                "name: {}\nservices:\n  web:\n    image: '{image}'\n    stop_grace_period: 1s\n    deploy: {{ endpoint_mode: dnsrr }}\n",
                self.corner.owner
            ),
        );
        let mut command =
            self.corner.world.command(&format!("apply stack.yaml --yes --target {target} --events events"));
        let out = command.env(PASSWORD, password).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.code().unwrap_or(-1), said)
    }

    fn gone(&self, target: &str) {
        self.corner.world.expect(0, &format!("destroy stack.yaml --yes --target {target}"));
        assert!(self.corner.marked(&self.endpoint).is_empty());
    }

    fn fetches(&self) {
        let (open, closed) = (format!("{}/wf-web:1", registry().open), format!("{}/wf-web:2", registry().closed));
        let password = registry().password;
        let (code, said) = self.apply(&open, self.target, "");
        assert_eq!(code, 0, "{said}");
        self.gone(self.target);

        let (code, said) = self.apply(&closed, "known", &password);
        assert_eq!(code, 0, "{said}");
        let mut everything = said;
        for (kind, id) in self.corner.marked(&self.endpoint) {
            everything += &docker(&self.endpoint, &[kind, "inspect", &id]);
        }
        everything += &fs::read_to_string(self.corner.world.dir.join("events")).unwrap();
        for file in fs::read_dir(self.corner.world.dir.join(".windflow")).into_iter().flatten() {
            everything += &String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap_or_default());
        }
        assert!(everything.contains("healthy") && !everything.contains(&password), "{everything}");
        self.gone("known");

        let (code, without) = self.apply(&closed, self.target, "");
        let (wrong_code, wrong) = self.apply(&closed, "known", "a-wrong-one");
        assert_eq!((code, wrong_code), (1, 1), "{without}{wrong}");
        assert!(without.contains("`registries`") && wrong.contains("`registries`"), "{without}{wrong}");
        assert!(!wrong.contains("a-wrong-one"), "{wrong}");
        let (code, missing) = self.apply(&closed.replace("wf-web", "wf-none"), "known", &password);
        assert!(code != 0 && missing.contains("wf-none:2"), "{missing}");
        assert!(self.corner.marked(&self.endpoint).is_empty());
    }
}

#[test]
fn an_engine_fetches_what_it_has_not_and_shows_its_login_to_nobody_else() {
    let fetching = Fetching::on("docker", windflow_bed::docker());
    fetching.fetches();
    let (_, said) = fetching.apply(&format!("{}/wf-web:1", registry().open), "docker", "");
    assert!(said.contains("fetching the image"), "{said}");
    fetching.gone("docker");
}

#[test]
fn the_nodes_of_a_swarm_fetch_with_the_login_that_is_handed_to_them() {
    Fetching::on("swarm", windflow_bed::swarm().endpoint).fetches();
}
