//! The engine's evaluator in Rhai.

use async_trait::async_trait;
use serde_json::Value;
use windflow_core::evaluator::fill;
use windflow_core::workflow::has_expression;
use windflow_core::{EvaluateError, Evaluator, Scope};

use super::limits::SandboxLimits;
use super::sandbox::Sandbox;

/// Evaluates `${{ … }}` in Rhai: `inputs.x`, `nodes.build.output.url`, `nodes["a-b"].output`, `run.id`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use windflow_core::{Evaluator, Scope};
/// use windflow_workflow::expression::RhaiEvaluator;
/// let scope = Scope::new(None, json!({"replicas": 2}));
/// let template = json!({"replicas": "${{ inputs.replicas * 2 }}", "label": "x${{ inputs.replicas }}"});
/// let value = RhaiEvaluator::operator().evaluate(&template, &scope).await?;
/// assert_eq!(value, json!({"replicas": 4, "label": "x2"}));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RhaiEvaluator {
    sandbox: Sandbox,
}

impl RhaiEvaluator {
    /// Within these bounds.
    #[must_use]
    pub const fn new(limits: SandboxLimits) -> Self {
        Self { sandbox: Sandbox::new(limits) }
    }

    /// Within the bounds for the person who runs the program.
    #[must_use]
    pub const fn operator() -> Self {
        Self::new(SandboxLimits::operator())
    }

    /// Within the bounds for what somebody else has sent.
    #[must_use]
    pub const fn untrusted() -> Self {
        Self::new(SandboxLimits::untrusted())
    }

    /// The sandbox it evaluates in.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }
}

#[async_trait]
impl Evaluator for RhaiEvaluator {
    async fn evaluate(&self, template: &Value, scope: &Scope) -> Result<Value, EvaluateError> {
        if !has_expression(template) {
            return Ok(template.clone());
        }
        let variables = scope.to_value();
        let given = self.sandbox.given("${{ }}", &variables)?;
        // What all expressions of one template make is bounded like what one of them makes.
        let mut left = self.sandbox.limits().max_result_bytes;
        fill(template, &mut |expression| {
            let value = self.sandbox.run_with(expression, &given, &variables)?;
            let spent = weight(&value);
            left = left.checked_sub(spent).ok_or_else(|| {
                let most = self.sandbox.limits().max_result_bytes;
                EvaluateError::new(expression, format_args!("with it the results are longer than {most} bytes"))
            })?;
            Ok(value)
        })
    }
}

fn weight(value: &Value) -> usize {
    4 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(key, item)| key.len() + weight(item)).sum(),
        _ => 0,
    }
}
