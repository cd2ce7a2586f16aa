//! Documents: good ones become workflows and stacks, bad ones become located diagnostics.
use std::fs;
use std::path::{Path, PathBuf};

use windflow_workflow::Environment;
use windflow_workflow::document::{Diagnostics, Limits, StackDocument, WorkflowDocument, load_workflow};
use windflow_workflow::environment::MemoryFiles;

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn problems(path: &Path) -> Diagnostics {
    let name = path.file_name().unwrap().to_string_lossy();
    let text = fs::read_to_string(path).unwrap();
    let limits = if name.contains("untrusted") { Limits::untrusted() } else { Limits::operator() };
    if name.starts_with("stack") {
        StackDocument::parse(&name, &text, Path::new("/srv/shop"), &environment(), &limits).err().unwrap_or_default()
    } else {
        WorkflowDocument::parse(&name, &text, &limits).err().unwrap_or_default()
    }
}

/// Set `WINDFLOW_BLESS=1` to write what is found as what is expected, then look at the difference.
#[test]
fn every_bad_file_is_told_as_expected() {
    let files = fixtures("bad");
    assert!(files.len() >= 60, "only {} bad files", files.len());
    let bless = std::env::var_os("WINDFLOW_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in &files {
        let problems = problems(path);
        assert!(problems.has_errors(), "{} is taken for good", path.display());
        let found = problems.render();
        let beside = path.with_extension("txt");
        if bless {
            fs::write(&beside, &found).unwrap();
        } else if fs::read_to_string(&beside).ok().as_deref() != Some(found.as_str()) {
            wrong.push(format!("--- {}\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} differ from what is expected:\n{}", wrong.len(), wrong.join("\n"));
}

fn environment() -> Environment {
    Environment::new("/srv/shop")
        .with_variables([
            ("TAG", "1.28"),
            ("EMPTY", ""),
            ("NUMBER", "8080"),
            ("TRUE", "true"),
            ("TOKEN", "secret://env/TOKEN"),
        ])
        .with_files(MemoryFiles::from([
            (
                "/srv/shop/deploy/web.yaml",
                "services:\n  web:\n    image: web:${TAG}\n    environment:\n      GREETING: ${{ inputs.greeting }}\n",
            ),
            ("/srv/shop/deploy/broken.yaml", "services:\n  web:\n    imag: web\n"),
            ("/srv/shop/deploy/flow.yaml", FLOW),
            ("/srv/shop/deploy/lost.yaml", LOST),
        ]))
}

const FLOW: &str = "\
name: release
inputs: { greeting: string }
nodes:
  web:
    uses: deploy
    with: { target: local, stack: web.yaml }
    compensate: { uses: deploy, with: { stack: web.yaml } }
";

const LOST: &str = "\
name: release
nodes:
  a: { uses: deploy, with: { target: local, stack: wbe.yaml } }
  b: { uses: deploy, with: { target: local, stack: broken.yaml } }
  c: { uses: deploy, with: { target: local, stack: \"${{ inputs.file }}\" } }
  d: { uses: deploy, with: { target: local, stack: [[a]] }, needs: e }
";

#[test]
fn the_stack_a_node_names_is_pinned_to_the_workflow() {
    let load = |environment: &Environment| {
        load_workflow(Path::new("deploy/flow.yaml"), environment, &Limits::operator()).unwrap()
    };
    let document = load(&environment());
    assert_eq!(
        document.spec().nodes[0].with,
        serde_json::json!({"target": "local", "stack": {"name": "deploy", "services": {"web": {
            "image": "web:1.28", "environment": {"GREETING": {"plain": "${{ \"\" }}${{ inputs.greeting }}"}},
        }}}})
    );
    let undo = serde_json::to_value(&document.spec().nodes[0].compensate).unwrap();
    assert_eq!(undo["action"]["with"]["stack"], document.spec().nodes[0].with["stack"]);
    assert!(document.workflow().is_templated(document.workflow().find("web").unwrap()));
    let other = load(&environment().with_variable("TAG", "2"));
    assert_ne!(document.workflow().hash(), other.workflow().hash());
}

#[test]
fn a_stack_that_is_destroyed_is_named_by_itself_or_by_its_file() {
    let stack = |with: &str| {
        let flow = format!(
            "name: down\ninputs: {{ which: string }}\nnodes:\n  a: {{ uses: destroy, with: {{ target: local, stack: {with} }} }}\n"
        );
        let files = MemoryFiles::from([
            ("/srv/shop/down.yaml", flow.as_str()),
            ("/srv/shop/deploy/web.yaml", "name: shop\nservices:\n  web:\n    image: \"${{ inputs.image }}\"\n"),
        ]);
        let loaded = load_workflow(Path::new("down.yaml"), &environment().with_files(files), &Limits::operator());
        let told = |wrong: Diagnostics| wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        loaded.map(|document| document.spec().nodes[0].with["stack"].clone()).map_err(told)
    };
    assert_eq!(stack("deploy/web.yaml").unwrap(), "shop");
    assert_eq!(stack("shop").unwrap(), "shop");
    assert_eq!(stack("\"${{ inputs.which }}\"").unwrap(), "${{ inputs.which }}");
    let wrong = stack("lost.yaml").unwrap_err();
    assert!(
        wrong.starts_with("down.yaml:4:53: nodes.a.with.stack: the stack file 'lost.yaml' cannot be used"),
        "{wrong}"
    );
}

#[tokio::test]
async fn a_pinned_stack_is_a_stack_again_once_its_expressions_are_filled() {
    use windflow_core::{Evaluator, Scope};
    let document = load_workflow(Path::new("deploy/flow.yaml"), &environment(), &Limits::operator()).unwrap();
    let evaluator = windflow_workflow::expression::RhaiEvaluator::operator();
    for (given, text) in [(serde_json::json!("hello"), "hello"), (serde_json::json!(8080), "8080")] {
        let scope = Scope::new(None, serde_json::json!({"greeting": given}));
        let with = evaluator.evaluate(&document.spec().nodes[0].with, &scope).await.unwrap();
        let stack: windflow_core::target::Stack = serde_json::from_value(with["stack"].clone()).unwrap();
        let value = &stack.services["web"].environment["GREETING"];
        assert_eq!(*value, windflow_core::target::EnvValue::Plain(text.to_owned()));
    }
}

#[test]
fn what_is_wrong_with_a_named_stack_is_told_in_both_files() {
    let lost = load_workflow(Path::new("deploy/lost.yaml"), &environment(), &Limits::operator()).unwrap_err();
    let told: Vec<String> = lost.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "deploy/lost.yaml:3:52: nodes.a.with.stack: the stack file 'wbe.yaml' cannot be used: deploy/wbe.yaml: there is no such file",
            "deploy/lost.yaml:4:52: nodes.b.with.stack: the stack file 'broken.yaml' cannot be used: deploy/broken.yaml:3:5: services.web.imag: is not a key of a service (did you mean 'image'?)",
            "deploy/lost.yaml:5:52: nodes.c.with.stack: cannot be an expression: the stack is pinned to the run before it starts (name the file itself; what differs from run to run stands in it as ${{ inputs.x }})",
            "deploy/lost.yaml:5:64: nodes.c.with.stack: reads 'inputs.file', and there is no such input (the workflow has no inputs)",
            "deploy/lost.yaml:6:52: nodes.d.with.stack: must hold the names of stack files, not a list",
            "deploy/lost.yaml:6:68: nodes.d.needs: there is no node 'e' (did you mean 'a'?)",
            "deploy/wbe.yaml: there is no such file",
            "deploy/broken.yaml:3:5: services.web.imag: is not a key of a service (did you mean 'image'?)",
        ]
    );
}

#[test]
fn an_input_that_only_a_stack_reads_must_be_there_too() {
    let stack = |name: &str| {
        format!("services:\n  web:\n    image: web\n    environment:\n      A: ${{{{ inputs.{name} }}}}\n")
    };
    let files = MemoryFiles::from([
        ("/srv/shop/flow.yaml", FLOW.replacen("web.yaml", "typo.yaml", 1)),
        ("/srv/shop/typo.yaml", stack("greting")),
        ("/srv/shop/web.yaml", stack("greeting")),
    ]);
    let here = environment().with_files(files);
    let wrong = load_workflow(Path::new("flow.yaml"), &here, &Limits::operator()).unwrap_err();
    let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    let problem = "typo.yaml:5:21: services.web.environment.A: reads 'inputs.greting', and there is no such input (did you mean 'greeting'?)";
    assert_eq!(
        told,
        [
            &format!("flow.yaml:6:35: nodes.web.with.stack: the stack file 'typo.yaml' cannot be used: {problem}"),
            problem
        ]
    );
}

#[test]
fn good_files_become_what_stands_beside_them() {
    let bless = std::env::var_os("WINDFLOW_BLESS").is_some();
    let files = fixtures("good");
    assert!(files.len() >= 4);
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let found = if name.starts_with("stack") {
            let document =
                StackDocument::parse(&name, &text, Path::new("/srv/shop"), &environment(), &Limits::operator())
                    .unwrap_or_else(|wrong| panic!("{}", wrong.render()));
            let json = serde_json::to_value(document.stack()).unwrap();
            let back: windflow_core::target::Stack = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(&back, document.stack());
            json
        } else {
            let document = WorkflowDocument::parse(&name, &text, &Limits::operator())
                .unwrap_or_else(|wrong| panic!("{}", wrong.render()));
            let workflow = document.workflow();
            assert_eq!(*windflow_core::Workflow::from_bytes(workflow.bytes()).unwrap(), *workflow);
            serde_json::to_value(document.spec()).unwrap()
        };
        let found = serde_json::to_string_pretty(&found).unwrap() + "\n";
        let beside = path.with_extension("json");
        if bless {
            fs::write(&beside, &found).unwrap();
        }
        assert_eq!(fs::read_to_string(&beside).unwrap_or_default(), found, "{name}");
    }
}

#[derive(Debug)]
struct Picky;

#[async_trait::async_trait]
impl windflow_core::Action for Picky {
    fn guarantee(&self, _input: &serde_json::Value) -> windflow_core::Guarantee {
        windflow_core::Guarantee::AtLeastOnce
    }
    fn reversal(&self) -> windflow_core::Reversal {
        windflow_core::Reversal::None
    }
    fn check(&self, with: &serde_json::Value) -> Vec<(String, String)> {
        match with["list"][1].as_str() {
            Some("bad") => vec![("/list/1".to_owned(), "is bad".to_owned())],
            _ => Vec::new(),
        }
    }
    async fn perform(
        &self,
        _: &windflow_core::StepContext,
        _: serde_json::Value,
    ) -> Result<windflow_core::Outcome, windflow_core::StepError> {
        Ok(windflow_core::Outcome::Done(serde_json::Value::Null))
    }
    async fn observe(
        &self,
        _: &windflow_core::StepContext,
        _: &serde_json::Value,
    ) -> Result<windflow_core::Seen, windflow_core::StepError> {
        Ok(windflow_core::Seen::CannotTell)
    }
    async fn compensate(
        &self,
        _: &windflow_core::StepContext,
        _: &serde_json::Value,
        _: Option<&serde_json::Value>,
    ) -> Result<windflow_core::Undone, windflow_core::StepError> {
        Ok(windflow_core::Undone::NothingToUndo)
    }
}

#[test]
fn findings_about_actions_are_located_in_the_file() {
    let text = "\
name: demo
nodes:
  a:
    uses: picky
    with:
      list: [good, bad]
  b: { uses: piky, compensate: { uses: nothing-known } }
";
    let document = WorkflowDocument::parse("demo.yaml", text, &Limits::operator()).unwrap();
    let name = windflow_core::ActionName::new("picky").unwrap();
    let actions = windflow_core::Registry::new().with(name, std::sync::Arc::new(Picky));
    let found = document.findings(&document.workflow().lint(&actions));
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "demo.yaml:3:3: warning: nodes.a.compensate: is not undoable: 'picky' cannot take its work back (name an action in 'compensate', or write 'compensate: nothing' if it may stay)",
            "demo.yaml:6:20: nodes.a.with.list[1]: is bad",
            "demo.yaml:7:8: nodes.b.uses: there is no action 'piky' (did you mean 'picky'?)",
            "demo.yaml:7:34: nodes.b.compensate.uses: there is no action 'nothing-known'",
        ]
    );
    assert!(found.has_errors());
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json[0]["severity"], "warning");
    assert_eq!(json[1]["line"], 6);
}
