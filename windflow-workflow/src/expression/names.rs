//! The functions and variables a script names: whether they are there can be told without running it.
//!
//! What may be right is never refused. So a name counts as a variable wherever in the script it is made, and a function
//! kept in a map may have any name.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Position, Stmt};
use windflow_core::workflow::did_you_mean;

use super::sandbox::ScriptProblem;

/// Words the language itself reads as functions, with as many arguments as the case demands.
const WORDS: [&str; 7] = ["Fn", "call", "curry", "is_def_fn", "is_def_var", "is_shared", "type_of"];

/// The names of functions, each with the numbers of arguments it takes.
pub(super) type Functions = BTreeMap<String, BTreeSet<usize>>;

/// All functions an engine offers.
pub(super) fn offered(engine: &Engine) -> Functions {
    let mut functions = Functions::new();
    let all = engine.collect_fn_metadata(
        None,
        |function| Some((function.metadata.name.to_string(), function.metadata.num_params)),
        true,
    );
    for (name, count) in all {
        functions.entry(name).or_default().insert(count);
    }
    functions
}

/// Every function and variable that a script names and that is not there. `given` are the variables it starts with.
pub(super) fn unknown(ast: &AST, offered: &Functions, given: &[&str]) -> Vec<ScriptProblem> {
    let own = Own::of(ast);
    let mut problems = Vec::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::FnCall(call, at))) | Some(ASTNode::Expr(Expr::FnCall(call, at))) => {
                problems.extend(function(call, false, *at, offered, &own));
            }
            Some(ASTNode::Expr(Expr::MethodCall(call, at))) => {
                problems.extend(function(call, true, *at, offered, &own));
            }
            Some(ASTNode::Expr(Expr::Variable(variable, _, at))) => {
                let name = variable.1.as_str();
                if !given.contains(&name) && !own.variables.contains(name) && !own.functions.contains_key(name) {
                    problems.push(no_variable(name, *at, given, &own));
                }
            }
            _ => {}
        }
        true
    });
    // In the order they are read in; a function's body is walked after what stands below it.
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems.dedup();
    problems
}

/// What a script defines itself.
#[derive(Default)]
struct Own {
    functions: Functions,
    variables: BTreeSet<String>,
    /// Whether a function may be kept in a map, and so be called by any name.
    keeps_functions: bool,
}

impl Own {
    fn of(ast: &AST) -> Self {
        let mut own = Self::default();
        for function in ast.iter_fn_def() {
            own.functions.entry(function.name.to_string()).or_default().insert(function.params.len());
            own.variables.extend(function.params.iter().map(ToString::to_string));
        }
        let (mut points, mut keeps) = (!own.functions.is_empty(), false);
        ast.walk(&mut |path: &[ASTNode<'_>]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Var(made, ..))) => drop(own.variables.insert(made.0.name.to_string())),
                Some(ASTNode::Stmt(Stmt::For(made, _))) => {
                    own.variables.insert(made.0.name.to_string());
                    own.variables.extend(made.1.iter().map(|counter| counter.name.to_string()));
                }
                Some(ASTNode::Stmt(Stmt::TryCatch(made, _))) => {
                    if let Expr::Variable(caught, ..) = &made.expr {
                        own.variables.insert(caught.1.to_string());
                    }
                }
                Some(ASTNode::Stmt(Stmt::Assignment(_)) | ASTNode::Expr(Expr::Map(..))) => keeps = true,
                Some(
                    ASTNode::Stmt(Stmt::FnCall(call, _))
                    | ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _)),
                ) => {
                    points |= call.name == "Fn";
                    // What a script asks for before it uses it may be missing.
                    let asks = matches!(call.name.as_str(), "is_def_var" | "is_def_fn");
                    if let (true, Some(Expr::StringConstant(name, _))) = (asks, call.args.first()) {
                        own.variables.insert(name.to_string());
                    }
                    keeps |= call.name == "set";
                }
                _ => {}
            }
            true
        });
        own.keeps_functions = points && keeps;
        own
    }
}

/// What is wrong with a call, if it cannot be right.
fn function(call: &FnCallExpr, method: bool, at: Position, offered: &Functions, own: &Own) -> Option<ScriptProblem> {
    let name = call.name.as_str();
    if call.is_operator_call() || WORDS.contains(&name) || own.variables.contains(name) {
        return None;
    }
    if method && own.keeps_functions {
        return None;
    }
    let (theirs, ours) = (offered.get(name), own.functions.get(name));
    if theirs.is_none() && ours.is_none() {
        return Some(no_function(call, at, offered, own));
    }
    // What stands before the dot is the first argument of a function of ours, and none of a script's own.
    let given = call.args.len();
    let shift = usize::from(method);
    let takes = theirs.into_iter().flatten().filter_map(|count| count.checked_sub(shift));
    let takes: BTreeSet<usize> = takes.chain(ours.into_iter().flatten().copied()).collect();
    if takes.is_empty() || takes.contains(&given) {
        return None;
    }
    let counts: Vec<String> = takes.iter().map(ToString::to_string).collect();
    let counts = match counts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
        None => String::new(),
    };
    let plural = if counts == "1" { "" } else { "s" };
    Some(problem(format!("'{name}' takes {counts} argument{plural} here, not {given}"), None, at))
}

fn no_function(call: &FnCallExpr, at: Position, offered: &Functions, own: &Own) -> ScriptProblem {
    let name = call.name.as_str();
    let hint = match name {
        "env" | "getenv" | "secret" | "secrets" => {
            let wanted = match call.args.first() {
                Some(Expr::StringConstant(text, _)) => text.as_str(),
                _ => "NAME",
            };
            Some(format!(
                "values come in as inputs, read as inputs.name; a secret stays a reference in the action's own field: secret://env/{wanted}"
            ))
        }
        _ => {
            // There are so many short names that one is always near; a typing error rarely is in the first letter.
            let first = name.chars().next();
            let known = offered.keys().chain(own.functions.keys()).map(String::as_str).chain(WORDS);
            did_you_mean(name, known.filter(|known| known.chars().next() == first && !known.contains('$')))
        }
    };
    problem(format!("there is no function '{name}'"), hint, at)
}

fn no_variable(name: &str, at: Position, given: &[&str], own: &Own) -> ScriptProblem {
    let hint = did_you_mean(name, given.iter().copied().chain(own.variables.iter().map(String::as_str)));
    let hint = hint.unwrap_or_else(|| no_variable_hint(given));
    problem(format!("there is no variable '{name}'"), Some(hint), at)
}

fn no_variable_hint(given: &[&str]) -> String {
    format!("known: {}; a name with '-' is read as [\"a-b\"], and text needs quotes", given.join(", "))
}

fn problem(message: String, hint: Option<String>, at: Position) -> ScriptProblem {
    ScriptProblem { message, hint, line: at.line().unwrap_or(0), column: at.position().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::expression::Sandbox;

    const GIVEN: [&str; 2] = ["inputs", "nodes"];

    fn told(script: &str) -> Vec<String> {
        let found = Sandbox::untrusted().check(script, &GIVEN).unwrap_or_else(|error| panic!("{script}: {error}"));
        found.iter().map(|problem| format!("{}:{} {problem}", problem.line, problem.column)).collect()
    }

    fn runs(script: &str) -> Result<serde_json::Value, String> {
        let scope = json!({"inputs": {"a": [1, 2], "s": "x", "n": 3, "m": {"k": 1}}, "nodes": {}});
        Sandbox::untrusted().run(script, &scope).map_err(|error| error.reason)
    }

    #[test]
    fn what_is_not_there_is_told_where_it_stands() {
        for (script, expected) in [
            (
                "env(\"X\")",
                "1:1 there is no function 'env' (values come in as inputs, read as inputs.name; a secret stays a \
                 reference in the action's own field: secret://env/X)",
            ),
            ("1 + frobnicate(1)", "1:5 there is no function 'frobnicate'"),
            ("inputs.a.mapp(|x| x)", "1:10 there is no function 'mapp' (did you mean 'map'?)"),
            ("inputs.a.map(|x| x.to_uper())", "1:20 there is no function 'to_uper' (did you mean 'to_upper'?)"),
            ("inputs.s.to_upper(1)", "1:10 'to_upper' takes 0 arguments here, not 1"),
            ("len(inputs.a, 1)", "1:1 'len' takes 1 argument here, not 2"),
            ("fn twice(n) { n * 2 } twice(1, 2)", "1:23 'twice' takes 1 argument here, not 2"),
            ("`${inputs.n + mapp()}`", "1:15 there is no function 'mapp' (did you mean 'map'?)"),
            ("if false { 1 } else {\n  bar() }", "2:3 there is no function 'bar'"),
            ("input.n", "1:1 there is no variable 'input' (did you mean 'inputs'?)"),
            (
                "main",
                "1:1 there is no variable 'main' (known: inputs, nodes; a name with '-' is read as [\"a-b\"], and text \
                 needs quotes)",
            ),
        ] {
            assert_eq!(told(script), [expected], "{script}");
            assert!(runs(script).is_err(), "{script}");
        }
    }

    #[test]
    fn what_a_script_makes_itself_is_there() {
        for script in [
            "let x = 1; x + 1",
            "const X = 1; X",
            "let s = 0; for (x, i) in inputs.a { s += x + i; } s",
            "try { throw 1 } catch (e) { e }",
            "fn f(n) { inputs.n + n } f(1)",
            "fn f() { this + 1 } let x = 1; x.f()",
            "fn double(n) { n * 2 } inputs.a.map(double)",
            "let f = |x| x + 1; f.call(1)",
            "let f = |x, y| x + y; f.curry(1).call(2)",
            "let m = #{twice: |x| x * 2}; m.twice(3)",
            "let m = inputs.m; m.other = |x| x; m.other(3)",
            "let m = inputs.m; m.set(\"other\", |x| x); m.other(3)",
            "Fn(\"len\").call(inputs.s)",
            "call(|x| x, 1)",
            "type_of(inputs.n)",
            "if is_def_var(\"fancy\") { fancy } else { 1 }",
            "if is_def_fn(\"fancy\", 1) { fancy(1) } else { 1 }",
            "is_def_var(\"inputs\") && is_def_fn(\"f\", 1)",
            "switch inputs.n { 3 if inputs.s == \"x\" => 1, 1..3 => 2, _ => 3 }",
            "inputs.s.len() + inputs.s.len + inputs.a.len()",
            "inputs.a.filter(|x| x > 1).map(|x| `n${x}`).reduce(|all, x| all + x, \"\")",
            "inputs?.m?.k ?? 2",
            "let x = #{a: [1, #{b: 2}]}; x.a[1].b",
            "let i = 0; do { i += 1; } until i > 3; while i > 0 { i -= 1; } i",
        ] {
            assert_eq!(told(script), [""; 0], "{script}");
            assert!(runs(script).is_ok(), "{script}: {:?}", runs(script));
        }
    }

    const VALUES: [&str; 12] =
        ["1", "2.5", "true", "'c'", "\"ab\"", "()", "[1, 2]", "#{a: 1}", "|x| x", "(0..3)", "inputs.a", "blob(2, 1)"];

    /// Every function there is, with every number of arguments: what is refused would have failed as it ran.
    #[test]
    fn nothing_that_runs_is_refused() {
        let known = offered(&Sandbox::untrusted().engine());
        let (mut calls, mut refused) = (0, 0);
        for name in known.keys().map(String::as_str).filter(|name| rhai::is_valid_identifier(name)).chain(WORDS) {
            for count in 0..4 {
                for first in VALUES {
                    let rest = vec!["1"; count].join(", ");
                    let arguments = if rest.is_empty() { first.to_owned() } else { format!("{first}, {rest}") };
                    for script in
                        [format!("{name}()"), format!("{name}({arguments})"), format!("({first}).{name}({rest})")]
                    {
                        let Ok(found) = Sandbox::untrusted().check(&script, &GIVEN) else { continue };
                        calls += 1;
                        if !found.is_empty() {
                            refused += 1;
                            assert!(runs(&script).is_err(), "{script}: {found:?}");
                        }
                    }
                }
            }
        }
        println!("{} functions, {calls} calls, {refused} refused", known.len());
        assert!(known.len() > 100 && refused > 1_000 && refused < calls);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// The engine finds where an expression ends without reading it: for whatever is one, that must be its end.
        #[test]
        fn whatever_is_an_expression_is_found_whole(
            words in prop::collection::vec(prop::sample::select(vec![
                "\"", "\"a\"", "\\", "'", "'x'", "`", "${", "\\${", "}", "{", "#{a: ", "#{}", "#", "#\"", "\"#", "##\"", "\"##", "//", "/*",
                "*/", "\n", "1", " + ", "}}", "inputs.a", "nodes.b", "/", "*", " ", "\r", "é", ", ", "[", "]", "if true {", "} else {",
            ]), 1..16)
        ) {
            let script = words.concat();
            let script = script.trim();
            let is_fine = |script: &str| Sandbox::untrusted().check(script, &GIVEN).is_ok();
            // A comment that is never closed hides whatever follows it.
            let open = is_fine(&format!("{script}\n)"));
            if !open && !script.is_empty() && is_fine(script) {
                let text = format!("a ${{{{ {script}\n}}}} b");
                let found = windflow_core::workflow::pieces(&text);
                use windflow_core::workflow::Piece::{Expression, Text};
                prop_assert_eq!(found.unwrap(), [Text("a "), Expression(script), Text(" b")]);
            }
        }

        #[test]
        fn whatever_is_put_together_is_refused_only_if_it_fails(
            words in prop::collection::vec(prop::sample::select(vec![
                "inputs", ".a", ".s", ".n", ".m", ".k", "[0]", ".map(", ".filter(", "|x| ", "x", ")", " + ", "1", "len(",
                ".len()", "let x = ", "let f = ", "; ", "f", ".call(", "fn f(n) { n }", "f(", "#{f: ", "}", "{ ", "if true ",
                "else ", "for x in ", "\"t\"", "`${", "}`", " == ", "foo", "foo(", ".foo(", "in ", "try ", "catch (e) ", "e",
                ".to_upper()", "type_of(", "switch ", " => ", "_", ", ", "[", "]", "this", "return ", "min(", "parse_int(",
            ]), 1..14)
        ) {
            let script = words.concat();
            if let Ok(found) = Sandbox::untrusted().check(&script, &GIVEN) {
                // A branch that is never taken may name anything and still run.
                let straight = !["if ", "for ", "try ", "switch ", "fn ", "|", "return "].iter().any(|word| script.contains(word));
                prop_assert!(found.is_empty() || !straight || runs(&script).is_err(), "{script}: {found:?}");
            }
        }
    }
}
