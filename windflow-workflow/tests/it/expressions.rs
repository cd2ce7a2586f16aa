//! Expressions: what they may say, and that nothing they say gets out or gets large.

use serde_json::{Value, json};
use windflow_core::{Evaluator, NodeName, Scope};
use windflow_workflow::expression::{RhaiEvaluator, Sandbox};

fn scope() -> Value {
    json!({
        "inputs": {"image": "web:1", "replicas": 3, "ratio": 0.5, "tags": ["a", "b"], "none": null},
        "nodes": {"build": {"output": {"url": "http://x", "sizes": [3, 1, 2]}}, "a-b": {"output": null}},
        "run": {"id": "r-1"},
    })
}

fn run(script: &str) -> Result<Value, String> {
    Sandbox::untrusted().run(script, &scope()).map_err(|error| error.reason)
}

#[test]
fn expressions_read_inputs_outputs_and_the_run() {
    for (script, value) in [
        ("inputs.image", json!("web:1")),
        ("inputs.replicas * 2", json!(6)),
        ("inputs.ratio + 1.0", json!(1.5)),
        ("inputs.none == ()", json!(true)),
        ("inputs.tags", json!(["a", "b"])),
        ("inputs.tags[1] + '!'", json!("b!")),
        ("inputs.tags.len()", json!(2)),
        ("inputs.tags.map(|t| t.to_upper())", json!(["A", "B"])),
        ("inputs.tags.filter(|t| t == inputs.tags[0])", json!(["a"])),
        ("nodes.build.output.url", json!("http://x")),
        ("nodes[\"a-b\"].output", json!(null)),
        ("nodes.build.output.sizes.reduce(|sum, n| sum + n, 0)", json!(6)),
        ("run.id", json!("r-1")),
        ("`${inputs.image}@${run.id}`", json!("web:1@r-1")),
        ("if inputs.replicas > 2 { \"many\" } else { \"few\" }", json!("many")),
        ("\"image\" in inputs", json!(true)),
        ("\"missing\" in inputs", json!(false)),
        ("#{a: 1, b: [true, 'x']}", json!({"a": 1, "b": [true, "x"]})),
        ("let x = 1; for n in nodes.build.output.sizes { x += n; } x", json!(7)),
        ("fn double(n) { n * 2 } double(inputs.replicas)", json!(6)),
    ] {
        assert_eq!(run(script), Ok(value), "{script}");
    }
}

#[test]
fn what_is_missing_is_told_with_what_may_have_been_meant() {
    let told = |script| run(script).unwrap_err();
    assert_eq!(told("inputs.imag"), "there is no 'imag' (did you mean 'image'?)");
    assert_eq!(told("nodes.biuld.output"), "there is no 'biuld' (did you mean 'build'?)");
    assert_eq!(told("nodes.build.output.urll"), "there is no 'urll' (did you mean 'url'?)");
    assert_eq!(told("input.image"), "there is no variable 'input' (did you mean 'inputs'?)");
}

#[tokio::test]
async fn templates_are_filled_and_their_results_bounded_together() {
    let mut scope = Scope::new(None, json!({"n": 1000, "list": [1, 2]}));
    scope.nodes.insert(NodeName::new("a").unwrap(), json!({"ok": true}));
    let evaluator = RhaiEvaluator::untrusted();
    let template =
        json!({"list": "${{ inputs.list }}", "text": "n=${{ inputs.n }};", "ok": "${{ nodes.a.output.ok }}"});
    let value = evaluator.evaluate(&template, &scope).await.unwrap();
    assert_eq!(value, json!({"list": [1, 2], "text": "n=1000;", "ok": true}));
    let long = "${{ let s = \"xxxxxxxx\"; while s.len() < 60000 { s += s; } s }}".to_owned();
    let error = evaluator.evaluate(&json!(vec![long; 9]), &scope).await.unwrap_err();
    assert!(error.reason.contains("longer than"), "{error}");
}
