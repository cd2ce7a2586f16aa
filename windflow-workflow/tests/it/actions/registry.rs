//! What an engine is given.

use windflow_core::ActionName;
use windflow_workflow::{ActionOptions, ShellPolicy, builtin_actions};

#[test]
fn the_built_in_actions_are_there_by_name() {
    let names = |options| builtin_actions(options).names().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    #[cfg(feature = "http")]
    assert_eq!(
        names(ActionOptions::default()),
        "abort adopt approve deploy destroy exec http promote rollback scale shell wait wait_healthy"
    );
    #[cfg(feature = "expressions")]
    {
        use serde_json::json;
        let engine = std::sync::Arc::new(windflow_workflow::expression::Sandbox::default());
        let registry = builtin_actions(ActionOptions::default().script(engine));
        assert!(registry.get(&ActionName::new("script").unwrap()).is_some());
        let problems = registry.get(&ActionName::new("script").unwrap()).unwrap().check(&json!({}));
        assert_eq!(problems[0].0, "/script");
    }
    let shell = |options| builtin_actions(options).get(&ActionName::new("shell").unwrap()).cloned().unwrap();
    let input = serde_json::json!({"argv": ["true"]});
    assert_eq!(shell(ActionOptions::default()).check(&input).len(), 1, "off unless allowed");
    assert!(shell(ActionOptions::default().shell(ShellPolicy::allow())).check(&input).is_empty());
}

#[cfg(feature = "expressions")]
#[tokio::test]
async fn a_script_sees_its_input_and_nothing_else() {
    use serde_json::json;
    use windflow_core::{Action, Outcome};
    use windflow_workflow::actions::ScriptAction;

    let action = ScriptAction::new(std::sync::Arc::new(windflow_workflow::expression::Sandbox::default()));
    let (cx, _) = super::step().build();
    let input = json!({"script": "input.words.len() + 1", "input": {"words": ["a", "b"]}});
    assert_eq!(action.perform(&cx, input).await.unwrap(), Outcome::Done(json!(3)));
    let error = action.perform(&cx, json!({"script": "secrets.x"})).await.unwrap_err();
    assert_eq!(error.code, "script.failed");
    let told = action.check(&json!({"script": "let n = input.words.len();\nn + inputs.x + foo(1)", "input": {}}));
    let told: Vec<String> = told.into_iter().map(|(path, message)| format!("{path}: {message}")).collect();
    assert_eq!(
        told,
        [
            "/script: line 2: there is no variable 'inputs' (did you mean 'input'?)",
            "/script: line 2: there is no function 'foo' (did you mean 'floor'?)",
        ]
    );
    assert_eq!(action.check(&json!({"script": "1 +"})).len(), 1);
    assert_eq!(action.check(&json!({"script": "${{ inputs.script }}"})), []);
}
