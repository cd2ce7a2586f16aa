//! Documents against the actions and the sources of secrets there are.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use windflow_core::{MemorySecrets, Registry, SecretSources};
use windflow_workflow::document::{Diagnostics, Limits, Registered, check_stack, check_workflow};
use windflow_workflow::environment::MemoryFiles;
use windflow_workflow::{ActionOptions, Environment, ShellPolicy, builtin_actions};

fn actions() -> Registry {
    builtin_actions(ActionOptions::default().shell(ShellPolicy::allow()))
}

fn sources(names: &[&str]) -> SecretSources {
    names.iter().fold(SecretSources::new(), |all, name| all.with(*name, Arc::new(MemorySecrets::new())))
}

fn here<const N: usize>(files: [(&str, &str); N]) -> Environment {
    let files = files.map(|(name, text)| (format!("/srv/shop/{name}"), text.to_owned()));
    Environment::new("/srv/shop").with_variable("TOKEN", "secret://vualt/t").with_files(MemoryFiles::from(files))
}

fn lines(problems: &Diagnostics) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn check(environment: &Environment, known: &[&str]) -> Vec<String> {
    let path = Path::new("flow.yaml");
    let (actions, secrets, targets) = (actions(), sources(known), BTreeSet::from(["local".parse().unwrap()]));
    let registered = Registered { actions: &actions, secrets: &secrets, targets: Some(&targets) };
    match check_workflow(path, environment, &Limits::operator(), &registered) {
        Ok((_, warnings)) => lines(&warnings),
        Err(problems) => lines(&problems),
    }
}

const FLOW: &str = "\
name: release
inputs:
  token: { type: string, default: secret://vualt/token }
nodes:
  build:
    uses: shell
    with: { argv: [make], env: { A: secret://env/A, B: 'x secret://vault/b' } }
    compensate: { uses: http, with: { url: 'https://x', headers: { Authorization: Bearer secret://fil/t } } }
  web:
    uses: deploy
    with: { target: local, stack: stack.yaml }
  late: { uses: wait, with: { for: \"secret://${{ inputs.token }}/x\" } }
";

const STACK: &str = "\
name: shop
services:
  web:
    image: web
    environment: { A: secret://env/A, B: secret://vault/b, TOKEN: }
  api:
    image: api
    environment: [C=secret://vault/c, TOKEN]
";

#[test]
fn a_source_of_secrets_that_is_not_there_is_told_where_it_is_named() {
    let environment = here([("flow.yaml", FLOW), ("stack.yaml", STACK)]);
    assert_eq!(
        check(&environment, &["env", "file"]),
        [
            "flow.yaml:3:35: inputs.token.default: 'secret://vualt/token' names the secret source 'vualt', and there is no such source (known: env, file)",
            "flow.yaml:7:59: nodes.build.with.env.B: 'secret://vault/b' names the secret source 'vault', and there is no such source (known: env, file)",
            "flow.yaml:8:90: nodes.build.compensate.with.headers.Authorization: 'secret://fil/t' names the secret source 'fil', and there is no such source (did you mean 'file'?)",
            "flow.yaml:11:35: nodes.web.with.stack: the stack file 'stack.yaml' cannot be used: stack.yaml:5:42: services.web.environment.B: 'secret://vault/b' names the secret source 'vault', and there is no such source (known: env, file)",
            "stack.yaml:5:42: services.web.environment.B: 'secret://vault/b' names the secret source 'vault', and there is no such source (known: env, file)",
            "stack.yaml:5:60: services.web.environment.TOKEN: 'secret://vualt/t' names the secret source 'vualt', and there is no such source (known: env, file)",
            "stack.yaml:8:19: services.api.environment.C: 'secret://vault/c' names the secret source 'vault', and there is no such source (known: env, file)",
            "stack.yaml:8:39: services.api.environment.TOKEN: 'secret://vualt/t' names the secret source 'vualt', and there is no such source (known: env, file)",
        ]
    );
    let path = Path::new("stack.yaml");
    let wrong = check_stack(path, &environment, &Limits::operator(), &sources(&["env"])).unwrap_err();
    assert_eq!(wrong.len(), 4);
}

#[test]
fn whoever_registers_a_source_may_name_it() {
    let environment = here([("flow.yaml", FLOW), ("stack.yaml", STACK)]);
    let all = ["env", "file", "vault", "vualt", "fil"];
    assert_eq!(check(&environment, &all), [""; 0]);
    check_stack(Path::new("stack.yaml"), &environment, &Limits::operator(), &sources(&all)).unwrap();
}

#[test]
fn a_reference_that_is_none_is_told_and_prose_is_left_alone() {
    let flow = "\
name: x
nodes:
  a: { uses: shell, with: { argv: [make], env: { A: secret://Env/A, B: \"secret://env\" } }, compensate: nothing }
  b: { uses: approve, with: { message: 'the scheme is secret:// and nothing else' }, needs: a }
";
    let told = check(&here([("flow.yaml", flow)]), &["env"]);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("flow.yaml:3:53: nodes.a.with.env.A: secret reference 'secret://Env/A' must read"));
    assert!(told[1].starts_with("flow.yaml:3:73: nodes.a.with.env.B: secret reference 'secret://env' must read"));
}

#[test]
fn a_target_or_a_profile_that_is_not_there_is_told_where_it_is_named() {
    let flow = "\
name: x
nodes:
  a:
    uses: deploy
    with:
      target: lokal
      fallback: [edge, '${{ inputs.other }}', local]
      stack: stack.yaml
      profiles: [debgu, '*', debug]
    compensate: { uses: destroy, with: { target: cloud, stack: shop } }
  b: { uses: exec, needs: a, with: { target: nowhere, stack: shop, service: web, argv: [ls] }, compensate: nothing }
inputs: { other: { type: string } }
";
    let stack = "name: shop\nservices:\n  web: { image: web }\n  probe: { image: probe, profiles: [debug] }\n";
    assert_eq!(
        check(&here([("flow.yaml", flow), ("stack.yaml", stack)]), &["env"]),
        [
            "flow.yaml:6:15: nodes.a.with.target: there is no target 'lokal' (did you mean 'local'?)",
            "flow.yaml:7:18: nodes.a.with.fallback[0]: there is no target 'edge' (known: local)",
            "flow.yaml:9:18: nodes.a.with.profiles[0]: no service has the profile 'debgu' (did you mean 'debug'?)",
            "flow.yaml:10:50: nodes.a.compensate.with.target: there is no target 'cloud' (known: local)",
            "flow.yaml:11:46: nodes.b.with.target: there is no target 'nowhere' (known: local)",
        ]
    );
}

/// One key is not known, one node is nothing, one has no name: everything else is looked at all the same, and nothing is
/// told that would be gone once these are put right.
#[test]
fn all_that_can_be_said_is_said_at_once() {
    let flow = "\
name: x
descripton: typo
nodes:
  build: { uses: shel, with: { argv: [make] } }
  test: { usses: shell, needs: [biuld, lint] }
  lint: make
  b c: { uses: shell }
  call: { uses: http, neds: build, with: { url: nowhere, body: \"${{ nodes.build.output }}\" } }
  web: { uses: deploy, with: { target: local, stack: gone.yaml }, needs: [call, lint] }
  late: { uses: wait, with: { for: \"${{ tomorrow() }}\" }, compensate: { use: shell } }
outputs: { a: \"${{ nodes.lint.output }}\", b: \"${{ nodes.tset.output }}\" }
";
    let told = check(&here([("flow.yaml", flow)]), &["env"]);
    assert_eq!(
        told,
        [
            "flow.yaml:2:1: descripton: is not a key of a workflow (did you mean 'description'?)",
            "flow.yaml:4:12: nodes.build.uses: there is no action 'shel' (did you mean 'shell'?)",
            "flow.yaml:5:11: nodes.test.usses: is not a key of a node (did you mean 'uses'?)",
            "flow.yaml:5:33: nodes.test.needs[0]: there is no node 'biuld' (did you mean 'build'?)",
            "flow.yaml:6:9: nodes.lint: must be a map, not the text 'make'",
            "flow.yaml:7:3: nodes.b c: node name 'b c' must be 1 to 64 characters of A-Z a-z 0-9 _ - and start with a letter, a digit or _",
            "flow.yaml:8:3: warning: nodes.call.compensate: is not undoable: 'http' cannot take its work back (name an action in 'compensate', or write 'compensate: nothing' if it may stay)",
            "flow.yaml:8:23: nodes.call.neds: is not a key of a node (did you mean 'needs'?)",
            "flow.yaml:8:44: nodes.call.with.url: must begin with https:// or http:// and name a host",
            "flow.yaml:9:54: nodes.web.with.stack: the stack file 'gone.yaml' cannot be used: gone.yaml: there is no such file",
            "flow.yaml:10:41: nodes.late.with.for: there is no function 'tomorrow'",
            "flow.yaml:10:73: nodes.late.compensate.use: is not a key of compensate (did you mean 'uses'?)",
            "flow.yaml:11:57: outputs.b: reads 'nodes.tset', and there is no such node",
            "gone.yaml: there is no such file",
        ]
    );
}
