//! The JSON Schema of workflow files, for editors.

use serde_json::{Map, Value, json};

use windflow_core::workflow::MAX_CHILDREN;

use super::keys;

/// The JSON Schema (draft 2020-12) of workflow files. It says what the decoder says, as far as a schema can: names,
/// types and words, not whether a node that is needed exists.
///
/// ```
/// let schema = windflow_workflow::document::schema();
/// assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
/// ```
#[must_use]
pub fn schema() -> Value {
    let mut workflow = object(keys::WORKFLOW, &["name", "nodes"], |key| match key {
        "name" => described(
            json!({
                "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}$",
            }),
            "What the workflow is called.",
        ),
        "description" => described(json!({"type": "string"}), "For people; not used."),
        "inputs" => described(
            json!({
                "type": ["object", "null"],
                "propertyNames": {"pattern": "^[A-Za-z0-9_-]{1,64}$"},
                "additionalProperties": {"$ref": "#/$defs/input"},
            }),
            "What a run is given, read as ${{ inputs.NAME }}.",
        ),
        "on_failure" => described(
            words(&["compensate", "stop"]),
            "When a step has failed for good: undo everything (the default), or stop and undo nothing.",
        ),
        "max_parallel" => described(
            json!({"type": "integer", "minimum": 1, "maximum": 100_000}),
            "How many steps may run at the same time.",
        ),
        "deadline" => described(duration(), "How long the run may take before it is cancelled."),
        "nodes" => nodes("The work: named nodes."),
        "outputs" => {
            described(json!({"type": ["object", "null"]}), "What the run answers, from ${{ nodes.NAME.output }}.")
        }
        _ => json!({}),
    });
    workflow.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    workflow.insert("title".to_owned(), json!("WindFlow workflow"));
    workflow.insert(
        "$defs".to_owned(),
        json!({
            "input": input(), "node": node(), "repeat": repeat(), "case": case(), "retry": retry(), "compensate": compensate(), "duration": {
                "description": "A duration such as 500ms, 30s, 5m or 1h30m.",
                "type": ["string", "integer"],
                "pattern": "^\\s*(0|([0-9]+(\\.[0-9]{1,6})?(d|h|m|s|ms|us|µs))+)\\s*$",
                "maximum": 0, "minimum": 0,
            },
        }),
    );
    Value::Object(workflow)
}

const NODE_NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$";
const ACTION_NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_./-]{0,63}$";
const KINDS: [&str; 7] = ["string", "integer", "number", "boolean", "array", "object", "any"];

fn input() -> Value {
    let long = object(keys::INPUT, &["type"], |key| match key {
        "type" => described(words(&KINDS), "What it must be."),
        "description" => described(json!({"type": "string"}), "For people."),
        "default" => json!({"description": "Its value when none is given; without one it must be given."}),
        "enum" => json!({"description": "The only values it may have."}),
        _ => json!({}),
    });
    json!({"oneOf": [words(&KINDS), long]})
}

fn node() -> Value {
    let mut node = object(keys::NODE, &[], |key| match key {
        "uses" => described(json!({"type": "string", "pattern": ACTION_NAME}), "The action it performs."),
        "description" => described(json!({"type": "string"}), "For people; not used."),
        "with" => json!({"description": "The action's input. Texts may hold ${{ … }}."}),
        "needs" => described(
            json!({"oneOf": [
                {"type": "null"},
                {"type": "string", "pattern": NODE_NAME},
                {"type": "array", "items": {"type": "string", "pattern": NODE_NAME}, "uniqueItems": true},
            ]}),
            "The nodes that must be finished before.",
        ),
        "if" => described(
            json!({"type": ["string", "boolean", "number"]}),
            "An expression, with or without ${{ }}; the node is skipped when it is false.",
        ),
        "join" => described(
            words(&["all", "any"]),
            "Start when all needs are finished (the default), or when the first has succeeded.",
        ),
        "retry" => json!({"$ref": "#/$defs/retry"}),
        "timeout" => described(duration(), "How long one attempt may take."),
        "deadline" => described(duration(), "How long the step may take over all its attempts."),
        "on_unknown" => described(
            words(&["stuck", "retry"]),
            "When nobody can tell whether it has happened: ask an operator (the default), or try again.",
        ),
        "compensate" => json!({"$ref": "#/$defs/compensate"}),
        "for_each" => described(
            json!({"type": ["array", "object", "string"]}),
            "Done once for each item of this list or map, read as ${{ item }}; ${{ key }} is its place or key.",
        ),
        "max_parallel" => described(
            json!({"type": "integer", "minimum": 1, "maximum": MAX_CHILDREN}),
            "How many items are worked on at the same time (10 unless set).",
        ),
        "on_item_failure" => described(
            words(&["stop", "collect"]),
            "When one item fails: stop the others and fail (the default), or do all and say of each how it ended.",
        ),
        "repeat" => json!({"$ref": "#/$defs/repeat"}),
        "switch" => json!({"description": "A value, as a rule ${{ … }}: the case of that name is done."}),
        "cases" => described(
            json!({"type": "object", "additionalProperties": {"$ref": "#/$defs/case"}}),
            "What is done for each value.",
        ),
        "default" => json!({"$ref": "#/$defs/case"}),
        "call" => described(
            json!({"type": "string", "minLength": 1}),
            "Another workflow's file, seen from this one; `with` holds its inputs.",
        ),
        key => within(key),
    });
    let ways = ["uses", "nodes", "switch", "call"].map(|key| json!({"required": [key]}));
    node.insert("anyOf".to_owned(), json!(ways));
    Value::Object(node)
}

fn nodes(description: &str) -> Value {
    let nodes = json!({
        "type": "object", "minProperties": 1,
        "propertyNames": {"pattern": NODE_NAME},
        "additionalProperties": {"$ref": "#/$defs/node"},
    });
    described(nodes, description)
}

/// What a block says: of a node that holds one, and of a case.
fn within(key: &str) -> Value {
    match key {
        "nodes" => nodes("Nodes within this one, done and undone as one."),
        "outputs" => described(json!({"type": ["object", "null"]}), "What the nodes within answer together."),
        "on_failure" => described(
            words(&["compensate", "stop"]),
            "When one of the nodes within has failed for good: undo all of them (the default), or undo nothing.",
        ),
        _ => json!({}),
    }
}

fn case() -> Value {
    described(Value::Object(object(keys::CASE, &["nodes"], within)), "What is done then.")
}

fn repeat() -> Value {
    let repeat = object(keys::REPEAT, &["until", "max"], |key| match key {
        "until" => described(
            json!({"type": ["string", "boolean"]}),
            "An expression, evaluated after each round; its output is `item`, its number, from 0, is `key`.",
        ),
        "max" => described(
            json!({"type": "integer", "minimum": 1, "maximum": MAX_CHILDREN}),
            "How many rounds at most; the node fails when it is not enough then.",
        ),
        "every" => described(duration(), "How long it waits between two rounds."),
        _ => json!({}),
    });
    described(Value::Object(repeat), "Done again and again until it is enough.")
}

fn retry() -> Value {
    let classes = words(&["retryable", "unknown"]);
    let attempts = json!({"type": "integer", "minimum": 1, "maximum": 1_000});
    let long = object(keys::RETRY, &[], |key| match key {
        "max_attempts" => described(attempts.clone(), "Attempts in all, the first included."),
        "initial" => described(duration(), "The upper end of the first delay."),
        "factor" => described(
            json!({"type": "number", "minimum": 1, "maximum": 100}),
            "What the upper end is multiplied by each time.",
        ),
        "cap" => described(duration(), "The upper end never exceeds this."),
        "on" => {
            described(json!({"oneOf": [classes, {"type": "array", "items": classes}]}), "Which errors are tried again.")
        }
        _ => json!({}),
    });
    described(json!({"oneOf": [attempts, {"const": "never"}, long]}), "How it is tried again.")
}

fn compensate() -> Value {
    let long = object(keys::COMPENSATE, &[], |key| match key {
        "uses" => described(json!({"type": "string", "pattern": ACTION_NAME}), "The action that undoes it."),
        "with" => json!({"description": "That action's input; it may read the node's own output."}),
        "retry" => json!({"$ref": "#/$defs/retry"}),
        _ => json!({}),
    });
    let mut long = long;
    long.insert("dependentRequired".to_owned(), json!({"with": ["uses"]}));
    long.insert("minProperties".to_owned(), json!(1));
    described(
        json!({"oneOf": [{"const": "nothing"}, long]}),
        "How it is undone, if not by its action's own compensation.",
    )
}

/// A map with these keys and no others.
fn object(known: &[&str], required: &[&str], mut of: impl FnMut(&str) -> Value) -> Map<String, Value> {
    let properties: Map<String, Value> = known.iter().map(|key| ((*key).to_owned(), of(key))).collect();
    let mut out = Map::new();
    out.insert("type".to_owned(), json!("object"));
    out.insert("properties".to_owned(), Value::Object(properties));
    out.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        out.insert("required".to_owned(), json!(required));
    }
    out
}

fn words(words: &[&str]) -> Value {
    json!({"enum": words})
}

fn duration() -> Value {
    json!({"$ref": "#/$defs/duration"})
}

fn described(mut schema: Value, description: &str) -> Value {
    if let Value::Object(map) = &mut schema {
        map.insert("description".to_owned(), json!(description));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Limits, WorkflowDocument};

    /// Every key of the decoder has a schema that says something, and every word of it is one the decoder takes.
    #[test]
    fn the_schema_and_the_decoder_know_the_same_keys_and_words() {
        let schema = schema();
        let defs = &schema["$defs"];
        let maps = [
            (&schema, keys::WORKFLOW, ""),
            (&defs["node"], keys::NODE, "nodes.a"),
            (&defs["input"]["oneOf"][1], keys::INPUT, "inputs.i"),
            (&defs["retry"]["oneOf"][2], keys::RETRY, "nodes.a.retry"),
            (&defs["repeat"], keys::REPEAT, "nodes.c.repeat"),
            (&defs["case"], keys::CASE, "nodes.f.default"),
            (&defs["compensate"]["oneOf"][1], keys::COMPENSATE, "nodes.a.compensate"),
        ];
        for (map, known, path) in maps {
            let properties = map["properties"].as_object().unwrap();
            assert_eq!(properties.len(), known.len(), "{path}");
            for key in known {
                let property = &properties[*key];
                assert_ne!(property, &json!({}), "{path}.{key} has no schema");
                // What says something only of a node that holds others.
                let of_blocks = path == "nodes.a" && ["on_item_failure", "on_failure"].contains(key);
                let path = if of_blocks { "nodes.d" } else { path };
                for word in property["enum"].as_array().into_iter().flatten() {
                    let problems = with(path, key, word);
                    assert!(problems.is_empty(), "{path}.{key}: {word}: {problems:?}");
                }
                if property.get("enum").is_some() {
                    assert!(!with(path, key, &json!("no-such-word")).is_empty(), "{path}.{key} takes any word");
                }
            }
        }
    }

    /// What the decoder says of the place when a key has a value.
    fn with(path: &str, key: &str, value: &Value) -> Vec<String> {
        let mut document = json!({
            "name": "x", "inputs": {"i": {"type": "any"}},
            "nodes": {"a": {"uses": "u", "needs": "b", "retry": {}, "compensate": {"uses": "u"}}, "b": {"uses": "u"},
                "c": {"uses": "u", "repeat": {"until": "true", "max": 1}},
                "d": {"for_each": [], "nodes": {"e": {"uses": "u"}}},
                "f": {"switch": 1, "cases": {}, "default": {"nodes": {"e": {"uses": "u"}}}}},
        });
        let place = path.split('.').filter(|part| !part.is_empty()).fold(&mut document, |at, part| &mut at[part]);
        place[key] = value.clone();
        let text = serde_json::to_string(&document).unwrap();
        let problems = WorkflowDocument::parse("f.yaml", &text, &Limits::operator()).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    }
}
