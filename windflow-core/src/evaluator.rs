//! Expressions are opaque to the engine: an [`Evaluator`] turns them into values, which are journaled before use.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde_json::Value;

use crate::id::{NodeName, RunId};

/// What an expression may read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Scope {
    /// The run's id, read as `run.id`.
    pub run: Option<RunId>,
    /// The run's input, read as `inputs.…`.
    pub inputs: Value,
    /// The outputs of the nodes that are finished, read as `nodes.NAME.output.…`; `null` for a skipped one.
    pub nodes: BTreeMap<NodeName, Value>,
    /// What a block is run for, read as `item`; see [`Body`](crate::workflow::Body).
    pub item: Value,
    /// Its place or key, or the number of the round, read as `key`.
    pub key: Value,
}

impl Scope {
    /// A scope with these inputs and no finished nodes.
    #[must_use]
    pub fn new(run: Option<RunId>, inputs: Value) -> Self {
        Self { run, inputs, nodes: BTreeMap::new(), item: Value::Null, key: Value::Null }
    }

    /// The scope as one value: `{inputs, nodes: {NAME: {output}}, run: {id}, item, key}`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let nodes: serde_json::Map<String, Value> = self
            .nodes
            .iter()
            .map(|(name, output)| (name.to_string(), serde_json::json!({ "output": output })))
            .collect();
        serde_json::json!({
            "inputs": self.inputs,
            "nodes": nodes,
            "run": { "id": self.run.as_ref().map(RunId::as_str) },
            "item": self.item,
            "key": self.key,
        })
    }
}

/// An expression that could not be evaluated. Evaluation is deterministic, so trying again cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot evaluate '{expression}': {reason}")]
#[non_exhaustive]
pub struct EvaluateError {
    /// The expression, cut at 200 characters.
    pub expression: String,
    /// Why.
    pub reason: String,
}

impl EvaluateError {
    /// What went wrong with which expression.
    #[must_use]
    pub fn new(expression: &str, reason: impl fmt::Display) -> Self {
        Self { expression: expression.chars().take(200).collect(), reason: reason.to_string() }
    }
}

/// Turns expressions into values.
///
/// A template is any JSON value; each text in it may hold `${{ … }}` expressions. A text that is exactly one
/// expression becomes the expression's value, of any type; otherwise each expression is written into the text.
#[async_trait]
pub trait Evaluator: fmt::Debug + Send + Sync + 'static {
    /// The template with every expression replaced by its value.
    async fn evaluate(&self, template: &Value, scope: &Scope) -> Result<Value, EvaluateError>;
}

/// Paths only: `inputs.a.b`, `nodes.build.output.url`, `run.id`, numbers for array places. The in-memory implementation: enough for
/// workflows built in Rust, without a script engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathEvaluator;

#[async_trait]
impl Evaluator for PathEvaluator {
    async fn evaluate(&self, template: &Value, scope: &Scope) -> Result<Value, EvaluateError> {
        let root = scope.to_value();
        fill(template, &mut |expression| path(&root, expression))
    }
}

fn path(root: &Value, expression: &str) -> Result<Value, EvaluateError> {
    match expression {
        "true" => return Ok(Value::Bool(true)),
        "false" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let mut at = root;
    for part in expression.split('.') {
        let next = match at {
            Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
            other => other.get(part),
        };
        at = next.ok_or_else(|| EvaluateError::new(expression, format_args!("there is no '{part}'")))?;
    }
    Ok(at.clone())
}

/// Replaces each `${{ expression }}` of a template by what `value_of` says: the rule all evaluators share.
///
/// # Errors
/// What `value_of` answers, or an expression that is opened and never closed.
pub fn fill(
    template: &Value,
    value_of: &mut dyn FnMut(&str) -> Result<Value, EvaluateError>,
) -> Result<Value, EvaluateError> {
    match template {
        Value::String(text) => fill_text(text, value_of),
        Value::Array(items) => items.iter().map(|item| fill(item, value_of)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| Ok((key.clone(), fill(item, value_of)?)))
            .collect::<Result<serde_json::Map<_, _>, _>>()
            .map(Value::Object),
        other => Ok(other.clone()),
    }
}

fn fill_text(
    text: &str,
    value_of: &mut dyn FnMut(&str) -> Result<Value, EvaluateError>,
) -> Result<Value, EvaluateError> {
    let pieces = crate::workflow::pieces(text)
        .map_err(|at| EvaluateError::new(&text[at..], "'${{' is opened here and never closed by '}}'"))?;
    if let [crate::workflow::Piece::Expression(expression)] = pieces.as_slice() {
        return value_of(expression);
    }
    let mut out = String::with_capacity(text.len());
    for piece in pieces {
        match piece {
            crate::workflow::Piece::Text(text) => out.push_str(text),
            crate::workflow::Piece::Expression(expression) => match value_of(expression)? {
                Value::String(text) => out.push_str(&text),
                Value::Null => {}
                other => out.push_str(&other.to_string()),
            },
        }
    }
    Ok(Value::String(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn a_whole_expression_keeps_its_type_and_a_part_becomes_text() {
        let mut scope = Scope::new(None, json!({"n": 3, "list": ["a", "b"]}));
        scope.nodes.insert(NodeName::new("build").unwrap(), json!({"url": "http://x"}));
        let template = json!({
            "n": "${{ inputs.n }}", "text": "n=${{inputs.n}} at ${{ nodes.build.output.url }}",
            "second": "${{ inputs.list.1 }}", "plain": [true, "$${{x"],
        });
        let error = PathEvaluator.evaluate(&template, &scope).await.unwrap_err();
        assert!(error.to_string().contains("never closed"), "{error}");
        let template = json!({
            "n": "${{ inputs.n }}", "text": "n=${{inputs.n}} at ${{ nodes.build.output.url }}",
            "second": "${{ inputs.list.1 }}", "plain": [true, null],
        });
        assert_eq!(
            PathEvaluator.evaluate(&template, &scope).await.unwrap(),
            json!({"n": 3, "text": "n=3 at http://x", "second": "b", "plain": [true, null]})
        );
        let error = PathEvaluator.evaluate(&json!("${{ inputs.missing.x }}"), &scope).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot evaluate 'inputs.missing.x': there is no 'missing'");
    }
}
