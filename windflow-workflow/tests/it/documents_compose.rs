//! Stacks of several files, and what holds for every stack.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use windflow_core::target::{EnvValue, FileSource, MountKind, PortMode};
use windflow_workflow::Environment;
use windflow_workflow::document::{Limits, StackDocument, StackFiles, load_stack};
use windflow_workflow::environment::MemoryFiles;

use crate::documents_corpus::cases;

fn load<const N: usize>(files: [(&str, &str); N], asked: StackFiles) -> Result<StackDocument, String> {
    load_with(files, asked, &[], &Limits::operator())
}

fn load_with<const N: usize>(
    files: [(&str, &str); N],
    asked: StackFiles,
    variables: &[(&str, &str)],
    limits: &Limits,
) -> Result<StackDocument, String> {
    let files = files.map(|(name, text)| (format!("/srv/shop/{name}"), text));
    let environment =
        Environment::new("/srv/shop").with_variables(variables.iter().copied()).with_files(MemoryFiles::from(files));
    load_stack(asked, &environment, limits).map_err(|wrong| wrong.to_string())
}

/// The normal form says all there is to say: read again it is the same, as a tree and as a model.
#[test]
fn the_normal_form_of_a_normal_form_is_itself() {
    let mut looked = 0;
    for case in cases() {
        let Ok(document) = case.load() else { continue };
        looked += 1;
        let again = StackFiles::from("compose.yaml").with_profile("*");
        let files = MemoryFiles::from([(case.folder.join("compose.yaml"), document.config_yaml())]);
        let bare = Environment::new(&case.folder).with_files(Both(files));
        let read = load_stack(again, &bare, &Limits::operator())
            .unwrap_or_else(|wrong| panic!("{}: {}\n{}", case.name, wrong.render(), document.config_yaml()));
        pretty_assertions(&case.name, &document.config(), &read.config());
        assert_eq!(document.stack(), read.stack(), "{}", case.name);
        assert_eq!(document.stack().hash(), read.stack().hash(), "{}", case.name);
    }
    assert!(looked >= 180, "only {looked} cases");
}

fn pretty_assertions(name: &str, before: &serde_json::Value, after: &serde_json::Value) {
    assert_eq!(format!("{before:#}"), format!("{after:#}"), "{name}");
}

/// The file in memory, and those on the disk beside it.
#[derive(Debug)]
struct Both(MemoryFiles);

impl windflow_workflow::environment::ReadFile for Both {
    fn read(&self, path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
        let there = self.0.read(path, most);
        if there.is_ok() || path.ends_with(".env") {
            return there;
        }
        windflow_workflow::environment::DiskFiles.read(path, most)
    }
}

#[test]
fn every_problem_is_told_in_the_file_it_is_in() {
    let wrong = load(
        [
            ("compose.yaml", "include: [sub/more.yaml]\nservices:\n  web:\n    extends: { file: base.yaml, service: base }\n    imag: x\n"),
            ("over.yaml", "services:\n  web:\n    ports: [x]\n    networks: [lost]\n"),
            ("base.yaml", "services:\n  base:\n    image: x\n    comand: y\n"),
            ("sub/more.yaml", "services:\n  store: { image: pg, depends_on: [wbe] }\n"),
        ],
        StackFiles::new(["compose.yaml", "over.yaml"]),
    )
    .unwrap_err();
    assert_eq!(
        wrong,
        "compose.yaml:5:5: services.web.imag: is not a key of a service (did you mean 'image'?)\n\
         sub/more.yaml:2:36: services.store.depends_on.wbe: there is no service 'wbe' (did you mean 'web'?)\n\
         base.yaml:4:5: services.base.comand: is not a key of a service (did you mean 'command'?)\n\
         over.yaml:3:13: services.web.ports[0]: 'x' is not a port: a number from 1 to 65535 (write \"8080\", \"8080:80\" or \"127.0.0.1:8080:80/tcp\")\n\
         over.yaml:4:16: services.web.networks.lost: there is no network 'lost' (name it under 'networks' at the top of the file)"
    );
}

#[test]
fn files_that_are_not_there_are_told_where_they_are_named() {
    let told = |text: &str| load([("compose.yaml", text)], StackFiles::from("compose.yaml")).unwrap_err();
    let cases = [
        (
            "include: [gone.yaml]\nservices: { web: { image: x } }",
            "compose.yaml:1:11: include[0]: the file cannot be used: gone.yaml: there is no such file",
        ),
        (
            "services: { web: { extends: { file: gone.yaml, service: x } } }",
            "compose.yaml:1:37: services.web.extends: the file cannot be used: gone.yaml: there is no such file",
        ),
        (
            "services: { web: { image: x, env_file: gone.env } }",
            "compose.yaml:1:40: services.web.env_file[0]: the file 'gone.env' cannot be used: there is no such file",
        ),
        (
            "services: { web: { image: x, configs: [c] } }\nconfigs: { c: { file: gone.conf } }",
            "compose.yaml:2:23: configs.c.file: the file '/srv/shop/gone.conf' is not there",
        ),
        (
            "include: [\"https://example.org/x.yaml\"]\nservices: { web: { image: x } }",
            "compose.yaml:1:11: include[0]: 'https://example.org/x.yaml' is not on this machine, and only files that are can be included",
        ),
        (
            "services: { a: { extends: b }, b: { extends: c }, c: { extends: a } }",
            "compose.yaml:1:27: services.a.extends: extends itself: a extends b extends c extends a",
        ),
        (
            "services: { a: { extends: bse, image: x }, base: { image: x } }",
            "compose.yaml:1:27: services.a.extends: there is no service 'bse' (did you mean 'base'?)",
        ),
    ];
    for (text, first) in cases {
        assert_eq!(told(text).lines().next(), Some(first), "{text}");
    }
}

#[test]
fn secrets_and_configs_are_references_or_pinned_and_never_read_by_value() {
    let text = "\
services:
  web: { image: x, secrets: [a, b, c], configs: [d, e, f, g] }
secrets:
  a: { file: ./a.txt }
  b: { environment: TOKEN }
  c: { external: true, name: theirs }
configs:
  d: { file: d.conf }
  e: { content: \"for $TOKEN\" }
  f: { environment: TOKEN }
  g: { file: g.bin }
";
    let files = [("compose.yaml", text), ("d.conf", "$not a variable"), ("g.bin", "\u{fffd}${{ x }}")];
    let document =
        load_with(files, StackFiles::from("compose.yaml"), &[("TOKEN", "value")], &Limits::operator()).unwrap();
    let stack = document.stack();
    let source = |objects: &BTreeMap<String, windflow_core::target::FileObject>, name: &str| match &objects[name].source
    {
        Some(FileSource::Secret(reference)) => reference.to_string(),
        Some(FileSource::Content(text)) => text.clone(),
        Some(FileSource::Base64(text)) => format!("base64 {text}"),
        _ => "somebody else's".to_owned(),
    };
    assert_eq!(source(&stack.secrets, "a"), "secret://file//srv/shop/a.txt");
    assert_eq!(source(&stack.secrets, "b"), "secret://env/TOKEN");
    assert_eq!(source(&stack.secrets, "c"), "somebody else's");
    assert_eq!(stack.secrets["c"].name.as_deref(), Some("theirs"));
    assert_eq!(source(&stack.configs, "d"), "$not a variable");
    assert_eq!(source(&stack.configs, "e"), "for value");
    assert_eq!(source(&stack.configs, "f"), "secret://env/TOKEN");
    assert_eq!(source(&stack.configs, "g"), "base64 77+9JHt7IHggfX0=");
}

#[test]
fn every_key_becomes_a_field_or_is_named_among_the_others() {
    let text = "\
services:
  web:
    image: nginx
    build: .
    gpus: all
    links: [db]
    provider: { type: p }
    post_start: [{ command: a b }]
    blkio_config: { weight: 5 }
    ports: [\"9000-9010:80\", { target: 81, mode: host }]
    volumes: [\"./a:/a:ro\", \"data:/data\"]
    deploy: { resources: { reservations: { devices: [{ capabilities: [gpu] }] } } }
    x-other: kept out
  db: { image: pg }
volumes: { data: { name: mine } }
";
    let document = load([("compose.yaml", text)], StackFiles::from("compose.yaml")).unwrap();
    let web = &document.stack().services["web"];
    let others: Vec<&str> = web.other.keys().map(String::as_str).collect();
    assert_eq!(
        others,
        ["blkio_config", "build", "deploy.resources.reservations.devices", "gpus", "links", "post_start", "provider"]
    );
    assert_eq!(web.ports[0].published, Some(9000));
    assert_eq!(web.ports[0].published_end, Some(9010));
    assert_eq!(web.ports[1].mode, PortMode::Host);
    assert_eq!(web.volumes[0].kind, MountKind::Bind);
    assert_eq!(web.volumes[0].source.as_deref(), Some("/srv/shop/a"));
    assert!(web.volumes[0].read_only && web.volumes[0].bind.as_ref().is_some_and(|bind| bind.create_host_path));
    assert_eq!(document.stack().volumes["data"].name.as_deref(), Some("mine"));
    assert_eq!(web.depends_on.len(), 1, "a link is a dependency");
    assert!(document.stack().networks.is_empty() && web.networks.is_empty(), "the default network is not written");
}

#[test]
fn a_workflow_takes_no_name_and_no_profiles_from_its_surroundings() {
    let files = MemoryFiles::from([
        ("/srv/shop/flow.yaml", "name: x\nnodes: { a: { uses: deploy, with: { target: t, stack: compose.yaml } } }"),
        ("/srv/shop/compose.yaml", "name: own\nservices: { web: { image: x }, dbg: { image: d, profiles: [p] } }"),
    ]);
    let here = Environment::new("/srv/shop")
        .with_variables([("COMPOSE_PROJECT_NAME", "other"), ("COMPOSE_PROFILES", "p")])
        .with_files(files);
    let flow = windflow_workflow::document::load_workflow(Path::new("flow.yaml"), &here, &Limits::operator()).unwrap();
    let stack = &flow.spec().nodes[0].with["stack"];
    assert_eq!(
        (stack["name"].as_str(), stack["services"].as_object().map(serde_json::Map::len)),
        (Some("own"), Some(1))
    );
    let direct = load_stack("compose.yaml", &here, &Limits::operator()).unwrap();
    assert_eq!((direct.stack().name.as_str(), direct.stack().services.len()), ("other", 2));
}

#[test]
fn a_node_deploys_several_files_with_profiles() {
    let flow = |with: &str| {
        let files = MemoryFiles::from([
            (
                "/srv/shop/flow.yaml",
                format!("name: x\nnodes: {{ a: {{ uses: deploy, with: {{ target: t, {with} }} }} }}"),
            ),
            ("/srv/shop/compose.yaml", "services: { web: { image: x }, dbg: { image: d, profiles: [p] } }".to_owned()),
            ("/srv/shop/prod.yaml", "services: { web: { image: y } }".to_owned()),
        ]);
        let here = Environment::new("/srv/shop").with_files(files);
        let read = windflow_workflow::document::load_workflow(Path::new("flow.yaml"), &here, &Limits::operator());
        read.map(|flow| flow.spec().nodes[0].with.clone()).map_err(|wrong| wrong.to_string())
    };
    let with = flow("stack: [compose.yaml, prod.yaml], profiles: [p]").unwrap();
    assert_eq!(
        with,
        serde_json::json!({ "target": "t", "stack": { "name": "shop", "services": {
            "dbg": { "image": "d" }, "web": { "image": "y" },
        } } })
    );
    assert_eq!(
        flow("stack: [compose.yaml, gone.yaml]").unwrap_err().lines().next(),
        Some(
            "flow.yaml:2:55: nodes.a.with.stack: the stack file 'compose.yaml', 'gone.yaml' cannot be used: gone.yaml: there is no such file"
        )
    );
    assert!(
        flow("stack: compose.yaml, profiles: { a: b }").unwrap_err().contains("nodes.a.with.profiles: must be text")
    );
}

#[test]
fn files_are_found_as_compose_finds_them() {
    let found = |names: &[&str], variables: &[(&str, &str)]| {
        let files: Vec<(String, &str)> = names.iter().map(|name| (format!("/srv/{name}"), "")).collect();
        let files: [(String, &str); 2] = files.try_into().unwrap();
        let here =
            Environment::new("/srv").with_variables(variables.iter().copied()).with_files(MemoryFiles::from(files));
        StackFiles::found(&here)
            .files
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(found(&["compose.yaml", "docker-compose.yml"], &[]), "compose.yaml");
    assert_eq!(
        found(&["docker-compose.yml", "docker-compose.override.yml"], &[]),
        "docker-compose.yml docker-compose.override.yml"
    );
    assert_eq!(found(&["a", "b"], &[]), "");
    assert_eq!(found(&["a", "b"], &[("COMPOSE_FILE", "x.yaml:y.yaml")]), "x.yaml y.yaml");
    assert_eq!(
        found(&["a", "b"], &[("COMPOSE_FILE", "x.yaml;y.yaml"), ("COMPOSE_PATH_SEPARATOR", ";")]),
        "x.yaml y.yaml"
    );
}

/// Copies of copies, circles, chains and floods end at a bound, and say so.
#[test]
fn hostile_files_end_at_a_bound() {
    let chain: String = (1..200).rev().map(|i| format!("  s{i}: {{ extends: s{} }}\n", i - 1)).collect();
    let wide: String = (0..2_000).map(|i| format!("      V{i}: x\n")).collect();
    let copies: String = (0..2_000).map(|i| format!("  c{i}: {{ extends: base }}\n")).collect();
    let doubled: String = (1..40).map(|i| format!("A{i}=$A{0}$A{0}\n", i - 1)).collect();
    let cases: [(&str, String, &str); 7] = [
        ("a chain", format!("services:\n{chain}  s0: {{ image: x }}\n"), "extend one another in a row"),
        ("copies", format!("services:\n  base:\n    image: x\n    environment:\n{wide}{copies}"), "copy more than"),
        (
            "ports",
            format!("services: {{ web: {{ image: x, ports: [{}] }} }}", "\"1-65000\",".repeat(100)),
            "too many ports",
        ),
        ("a circle", "include: [compose.yaml]\nservices: { web: { image: x } }".to_owned(), "includes itself"),
        (
            "many files",
            format!("include: [{}]\nservices: {{ web: {{ image: x }} }}", "one.yaml,".repeat(200)),
            "more than 20 files",
        ),
        ("a long value", format!("services: {{ web: {{ image: \"{}\" }} }}", "$LONG".repeat(1_000)), "too long"),
        ("doubling", "services: { web: { image: x, env_file: double.env } }".to_owned(), "longer than"),
    ];
    for (name, text, told) in cases {
        let files = [
            ("compose.yaml", text.as_str()),
            ("one.yaml", "services: { one: { image: x } }"),
            ("double.env", &*format!("A0=xxxxxxxx\n{doubled}")),
        ];
        let long = "x".repeat(100_000);
        let wrong = load_with(files, StackFiles::from("compose.yaml"), &[("LONG", &long)], &Limits::untrusted());
        let wrong = wrong.err().unwrap_or_else(|| panic!("{name} is taken"));
        assert!(wrong.contains(told), "{name}: {}", &wrong[..wrong.len().min(500)]);
    }
}

/// What a text means by the rules, written down as simply as possible.
#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Dollar,
    Bare(usize),
    Braced(usize),
    With(usize, &'static str, Vec<Part>),
}

const NAMES: [&str; 4] = ["SET", "EMPTY", "UNSET", "OTHER"];
const VALUES: [Option<&str>; 4] = [Some("value"), Some(""), None, Some("x y")];

impl Part {
    fn write(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Dollar => "$$".to_owned(),
            Self::Bare(name) => format!("${}", NAMES[*name]),
            Self::Braced(name) => format!("${{{}}}", NAMES[*name]),
            Self::With(name, sign, rest) => {
                format!("${{{}{sign}{}}}", NAMES[*name], rest.iter().map(Self::write).collect::<String>())
            }
        }
    }

    /// `None` is refused.
    fn mean(&self) -> Option<String> {
        let all = |parts: &[Self]| parts.iter().map(Self::mean).collect::<Option<String>>();
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Dollar => Some("$".to_owned()),
            Self::Bare(name) | Self::Braced(name) => VALUES[*name].map(str::to_owned),
            Self::With(name, sign, rest) => {
                let value = VALUES[*name].filter(|value| !(sign.starts_with(':') && value.is_empty()));
                match (sign.trim_start_matches(':'), value) {
                    ("-" | "?", Some(value)) => Some(value.to_owned()),
                    ("-", None) | ("+", Some(_)) => all(rest),
                    ("+", None) => Some(String::new()),
                    _ => None,
                }
            }
        }
    }
}

fn part() -> impl Strategy<Value = Part> {
    // Nothing that could be taken for the end of a name, of a brace or of a YAML text.
    let text = "[a-z0-9./ ][a-z0-9./: -]{0,6}".prop_map(|text| Part::Text(format!(".{text}")));
    let leaf =
        prop_oneof![text, Just(Part::Dollar), (0..4_usize).prop_map(Part::Bare), (0..4_usize).prop_map(Part::Braced),];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let signs = prop::sample::select(vec![":-", "-", ":?", "?", ":+", "+"]);
        (0..4_usize, signs, prop::collection::vec(inner, 0..3))
            .prop_map(|(name, sign, rest)| Part::With(name, sign, rest))
    })
}

proptest! {
    #[test]
    fn variables_mean_what_a_simple_model_says(parts in prop::collection::vec(part(), 1..5)) {
        let text: String = parts.iter().map(Part::write).collect();
        // `$$` before `{` and a bare name before a letter are another text than their parts.
        let mut joined = String::new();
        for part in &parts {
            joined.push_str(&part.write());
            joined.push('.');
        }
        let meant: Option<String> = parts.iter().map(|part| part.mean().map(|text| text + ".")).collect();
        let yaml = format!("services: {{ web: {{ image: x, labels: {{ text: {} }} }} }}", serde_json::Value::from(joined));
        let set: Vec<(&str, &str)> = NAMES.iter().zip(VALUES).filter_map(|(name, value)| Some((*name, value?))).collect();
        let read = load_with([("compose.yaml", &yaml)], StackFiles::from("compose.yaml"), &set, &Limits::operator());
        let found = read.ok().map(|document| document.stack().services["web"].labels["text"].clone());
        prop_assert_eq!(found, meant, "{}", text);
    }

    #[test]
    fn a_generated_stack_is_its_own_normal_form(services in prop::collection::btree_map("[a-z]{2,5}", service(), 1..4)) {
        let yaml = serde_json::json!({ "name": "shop", "services": services }).to_string();
        let first = load([("compose.yaml", &yaml)], StackFiles::from("compose.yaml"));
        prop_assume!(first.is_ok());
        let first = first.unwrap();
        let text = first.config_yaml();
        let again = load([("compose.yaml", &text)], StackFiles::from("compose.yaml")).unwrap();
        prop_assert_eq!(first.config(), again.config());
        prop_assert_eq!(first.stack(), again.stack());
    }

    /// Merging a stack with what is in it already changes nothing, and a later file counts more than an earlier one.
    #[test]
    fn merging_a_file_onto_itself_changes_nothing(service in service(), other in service()) {
        let file = |service: &serde_json::Value| serde_json::json!({ "services": { "web": service } }).to_string();
        let (one, two) = (file(&service), file(&other));
        let read = |files: &[&str]| {
            load([("one.yaml", &one), ("two.yaml", &two)], StackFiles::new(files.iter().copied()).named("shop"))
        };
        let (alone, twice) = (read(&["one.yaml"]), read(&["one.yaml", "one.yaml"]));
        prop_assume!(alone.is_ok());
        prop_assert_eq!(alone.unwrap().config(), twice.unwrap().config());
        if let (Ok(both), Ok(back)) = (read(&["one.yaml", "two.yaml"]), read(&["one.yaml", "two.yaml", "two.yaml"])) {
            prop_assert_eq!(both.config(), back.config());
            let image = other["image"].as_str().unwrap();
            prop_assert_eq!(both.stack().services["web"].image.as_deref(), Some(image));
            for (name, value) in other["environment"].as_object().unwrap() {
                let found = &both.stack().services["web"].environment[name];
                prop_assert_eq!(found, &EnvValue::Plain(value.as_str().unwrap().replace("$$", "$")));
            }
        }
    }
}

/// A service in long and short forms.
fn service() -> impl Strategy<Value = serde_json::Value> {
    let text = "[ -~]{0,8}".prop_map(|text| text.replace('$', "$$"));
    let pairs = prop::collection::btree_map("[A-Z]{1,3}", text, 0..4);
    let port =
        prop_oneof![(1..9_u16).prop_map(|p| p.to_string()), (1..9_u16, 1..9_u16).prop_map(|(a, b)| format!("{a}:{b}"))];
    let ports = prop::collection::btree_set(port, 0..3);
    let tmpfs = prop::collection::btree_set("/[a-c]", 0..3);
    let caps = prop::collection::btree_set("[A-C]{2}", 0..3);
    let numbers = (0..3_u32, 1..100_u32, any::<bool>());
    ("[a-z]{1,6}", pairs.clone(), pairs, ports, tmpfs, caps, numbers).prop_map(
        |(image, environment, labels, ports, tmpfs, caps, (replicas, seconds, tty))| {
            serde_json::json!({
                "image": image,
                "environment": environment,
                "labels": labels,
                "ports": ports,
                "tmpfs": tmpfs,
                "cap_add": caps,
                "tty": tty,
                "stop_grace_period": format!("{seconds}s"),
                "deploy": { "replicas": replicas },
                "mem_limit": format!("{seconds}m"),
            })
        },
    )
}

#[test]
fn a_variable_that_holds_a_reference_brings_in_a_reference_and_never_a_value() {
    let text = "
        name: shop
        services:
          db: { image: db, environment: { PASSWORD: '${PASSWORD}', OTHER: } }
        ";
    let files = [("compose.yaml", text), (".env", "PASSWORD=secret://file//run/db\n")];
    let read = load_with(files, StackFiles::from("compose.yaml"), &[("OTHER", "secret://env/O")], &Limits::operator());
    let document = read.unwrap();
    let found = &document.stack().services["db"].environment;
    let reference = |text: &str| EnvValue::Secret(text.parse().unwrap());
    assert_eq!(found["PASSWORD"], reference("secret://file//run/db"));
    assert_eq!(found["OTHER"], reference("secret://env/O"));
    let within = text.replace("'${PASSWORD}'", "'postgres://shop:${PASSWORD}@db'");
    let wrong = load_with(
        [("compose.yaml", &within), files[1]],
        StackFiles::from("compose.yaml"),
        &[("OTHER", "o")],
        &Limits::operator(),
    );
    let wrong = wrong.unwrap_err();
    assert!(
        wrong.contains("compose.yaml:4:")
            && wrong.contains("environment.PASSWORD: a reference to a secret stands alone"),
        "{wrong}"
    );
}

/// What a shell hands over through a pipe: it can be read once.
#[derive(Debug)]
struct Once(std::sync::Mutex<Option<String>>);

impl windflow_workflow::environment::ReadFile for Once {
    fn read(&self, path: &Path, _: usize) -> std::io::Result<Vec<u8>> {
        match path.ends_with("fd/63") {
            true => Ok(self.0.lock().unwrap().take().unwrap_or_default().into_bytes()),
            false => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

#[test]
fn a_stack_that_comes_through_a_pipe_is_read_once() {
    let text = "name: shop\nservices: { web: { image: web } }\n".to_owned();
    let environment = Environment::new("/srv/shop").with_files(Once(std::sync::Mutex::new(Some(text))));
    let read = load_stack(StackFiles::from("/dev/fd/63"), &environment, &Limits::operator()).unwrap();
    assert_eq!(read.stack().name.as_str(), "shop");
}
