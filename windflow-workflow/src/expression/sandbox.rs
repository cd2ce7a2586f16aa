//! A place for scripts from which nothing leads out: no files, network, processes, clock or environment, an explicit
//! list of functions, and bounds on everything.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage,
    BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{AST, Engine, EvalAltResult, OptimizationLevel, Scope};
use serde_json::Value;
use windflow_core::EvaluateError;
use windflow_core::workflow::did_you_mean;

use super::convert::{from_script, to_script};
use super::ledger::{Ledger, Size, measure};
use super::limits::SandboxLimits;
use super::names;

/// What is wrong with a script, as far as that can be told without running it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
#[non_exhaustive]
pub struct ScriptProblem {
    /// What is wrong.
    pub message: String,
    /// What a person can do.
    pub hint: Option<String>,
    /// The line of the script, from 1; 0 when it is not known.
    pub line: usize,
    /// The column in characters, from 1; 0 when it is not known.
    pub column: usize,
}

/// Runs expressions and scripts.
///
/// ```
/// use serde_json::json;
/// use windflow_workflow::expression::Sandbox;
/// let sandbox = Sandbox::operator();
/// let scope = json!({"inputs": {"names": ["b", "a"]}});
/// assert_eq!(sandbox.run("inputs.names.map(|name| name + '!')", &scope)?, json!(["b!", "a!"]));
/// let error = sandbox.run("loop {}", &scope).unwrap_err();
/// assert!(error.reason.contains("steps"));
/// # Ok::<(), windflow_core::EvaluateError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    limits: SandboxLimits,
}

// The functions a script may call; building the tables is dear, sharing them is not.
struct Packages {
    arithmetic: ArithmeticPackage,
    logic: LogicPackage,
    math: BasicMathPackage,
    strings: BasicStringPackage,
    more_strings: MoreStringPackage,
    arrays: BasicArrayPackage,
    maps: BasicMapPackage,
    iterators: BasicIteratorPackage,
    functions: BasicFnPackage,
}

static PACKAGES: LazyLock<Packages> = LazyLock::new(|| Packages {
    arithmetic: ArithmeticPackage::new(),
    logic: LogicPackage::new(),
    math: BasicMathPackage::new(),
    strings: BasicStringPackage::new(),
    more_strings: MoreStringPackage::new(),
    arrays: BasicArrayPackage::new(),
    maps: BasicMapPackage::new(),
    iterators: BasicIteratorPackage::new(),
    functions: BasicFnPackage::new(),
});

impl Sandbox {
    /// Within these bounds.
    #[must_use]
    pub const fn new(limits: SandboxLimits) -> Self {
        Self { limits }
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

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &SandboxLimits {
        &self.limits
    }

    /// What can be told of a script without running it: which functions and variables it names that are not there, or how
    /// it calls what is there wrongly. `given` are the variables it will be given.
    ///
    /// # Errors
    /// Where it cannot be read at all.
    ///
    /// ```
    /// use windflow_workflow::expression::Sandbox;
    /// let told = Sandbox::operator().check("inputs.tags.lenn() + input.n", &["inputs"])?;
    /// let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    /// assert_eq!(
    ///     told,
    ///     [
    ///         "there is no function 'lenn' (did you mean 'len'?)",
    ///         "there is no variable 'input' (did you mean 'inputs'?)",
    ///     ]
    /// );
    /// # Ok::<(), windflow_workflow::expression::ScriptProblem>(())
    /// ```
    pub fn check(&self, script: &str, given: &[&str]) -> Result<Vec<ScriptProblem>, ScriptProblem> {
        static OFFERED: OnceLock<names::Functions> = OnceLock::new();
        let engine = self.engine();
        let ast = self.compile(&engine, script)?;
        Ok(names::unknown(&ast, OFFERED.get_or_init(|| names::offered(&engine)), given))
    }

    /// Runs a script and answers the value of its last expression. `scope` is a map: each of its keys is a constant
    /// of the script, which functions may read, too.
    ///
    /// # Errors
    /// [`EvaluateError`] when it is no script, fails, or breaks a bound. Only the bound on time is not deterministic.
    pub fn run(&self, script: &str, scope: &Value) -> Result<Value, EvaluateError> {
        self.run_with(script, &self.given(script, scope)?, scope)
    }

    /// What a scope gives to every expression that is run in it.
    pub(super) fn given(&self, script: &str, scope: &Value) -> Result<Given, EvaluateError> {
        // What the engine hands in was bounded where it came from; here only what copying it may cost counts.
        let limits = SandboxLimits { max_string_bytes: usize::MAX, max_value_depth: 256, ..self.limits };
        let mut given = BTreeMap::new();
        let Value::Object(variables) = scope else {
            return Err(EvaluateError::new(script, "the scope of a script must be a map of variables"));
        };
        for (name, value) in variables {
            let value = to_script(value);
            let size = measure(&value, &limits)
                .map_err(|told| EvaluateError::new(script, format_args!("'{name}' is too large to be read: {told}")))?;
            given.insert(name.clone(), (value, size));
        }
        Ok(Given(Arc::new(given)))
    }

    pub(super) fn run_with(&self, script: &str, given: &Given, variables: &Value) -> Result<Value, EvaluateError> {
        let fail = |reason: &dyn fmt::Display| EvaluateError::new(script, reason);
        let mut engine = self.engine();
        let ast = self.compile(&engine, script).map_err(|error| fail(&error))?;
        let mut scope = Scope::new();
        for (name, (value, _)) in given.0.iter() {
            scope.push_constant_dynamic(name.as_str(), value.clone());
        }
        let ledger = Arc::new(Ledger::new(self.limits, Arc::clone(&given.0), script));
        let steps = Arc::clone(&ledger);
        engine.on_progress(move |operations| steps.step(operations));
        #[expect(deprecated, reason = "marked volatile, not going away: the only way to see variables grow")]
        engine.on_var(move |name, index, context| ledger.look(name, index, &context));
        match engine.eval_ast_with_scope::<rhai::Dynamic>(&mut scope, &ast) {
            Ok(value) => from_script(&value, &self.limits).map_err(|told| fail(&told)),
            Err(error) => Err(fail(&explain(&error, script, variables))),
        }
    }

    fn compile(&self, engine: &Engine, script: &str) -> Result<AST, ScriptProblem> {
        if script.len() > self.limits.max_string_bytes {
            let message = format!("is longer than {} bytes", self.limits.max_string_bytes);
            return Err(ScriptProblem { message, hint: None, line: 0, column: 0 });
        }
        if script.trim().is_empty() {
            let message = "the expression is empty".to_owned();
            return Err(ScriptProblem { message, hint: None, line: 0, column: 0 });
        }
        engine.compile(script).map_err(|error| {
            let at = error.position();
            let mut message = lower(&error.err_type().to_string());
            if message.contains("character") && script.contains('\'') {
                message.push_str("; a text stands in double quotes or backticks, not in single quotes");
            }
            ScriptProblem { message, hint: None, line: at.line().unwrap_or(0), column: at.position().unwrap_or(1) }
        })
    }

    pub(super) fn engine(&self) -> Engine {
        let mut engine = Engine::new_raw();
        let packages = &*PACKAGES;
        packages.arithmetic.register_into_engine(&mut engine);
        packages.logic.register_into_engine(&mut engine);
        packages.math.register_into_engine(&mut engine);
        packages.strings.register_into_engine(&mut engine);
        packages.more_strings.register_into_engine(&mut engine);
        packages.arrays.register_into_engine(&mut engine);
        packages.maps.register_into_engine(&mut engine);
        packages.iterators.register_into_engine(&mut engine);
        packages.functions.register_into_engine(&mut engine);
        let limits = &self.limits;
        engine
            .set_optimization_level(OptimizationLevel::None)
            .set_max_operations(limits.max_operations)
            .set_max_call_levels(limits.max_call_levels)
            .set_max_expr_depths(limits.max_expression_depth, limits.max_expression_depth)
            .set_max_string_size(limits.max_string_bytes)
            .set_max_array_size(limits.max_items)
            .set_max_map_size(limits.max_items)
            .set_max_variables(limits.max_variables)
            .set_max_functions(limits.max_functions)
            .set_fail_on_invalid_map_property(true)
            .disable_symbol("eval")
            .disable_symbol("print")
            .disable_symbol("debug");
        engine
    }
}

/// The variables a script is given, measured.
#[derive(Clone, Debug)]
pub(super) struct Given(Arc<BTreeMap<String, (rhai::Dynamic, Size)>>);

fn explain(error: &EvalAltResult, script: &str, variables: &Value) -> String {
    match error {
        EvalAltResult::ErrorPropertyNotFound(name, _) => {
            let known = siblings(script, name, variables);
            let hint = did_you_mean(name, known.iter().map(String::as_str));
            format!("there is no '{name}'{}", hint.map(|hint| format!(" ({hint})")).unwrap_or_default())
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            let known = variables.as_object().into_iter().flat_map(|map| map.keys());
            let hint = did_you_mean(name, known.map(String::as_str));
            let hint = hint.unwrap_or_else(|| "a name with '-' is read as [\"a-b\"]; text needs quotes".to_owned());
            format!("there is no variable '{name}' ({hint})")
        }
        EvalAltResult::ErrorTerminated(told, _) => told.to_string(),
        EvalAltResult::ErrorTooManyOperations(_) => "takes too many steps".to_owned(),
        EvalAltResult::ErrorStackOverflow(_) => "calls functions too deeply".to_owned(),
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => explain(inner, script, variables),
        other => lower(&other.to_string()),
    }
}

/// The names that stand beside a missing one: those of the value whose path comes before it in the script.
fn siblings(script: &str, missing: &str, variables: &Value) -> Vec<String> {
    let mut known = Vec::new();
    for (at, _) in script.match_indices(missing) {
        let before = script[..at].trim_end_matches(['"', '\'']).trim_end_matches(['.', '[', '?']);
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let start = before
            .rfind(|c: char| !word(c))
            .map_or(0, |found| found + before[found..].chars().next().map_or(1, char::len_utf8));
        let found = before[start..].split('.').try_fold(variables, |value, key| value.get(key));
        known.extend(found.and_then(Value::as_object).into_iter().flat_map(|map| map.keys().cloned()));
    }
    known
}

/// Messages are fragments: they start small, unless with a name.
fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}
