//! The typed inputs of a workflow.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What an input must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list.
    Array,
    /// A map.
    Object,
    /// Anything.
    Any,
}

impl InputKind {
    /// Whether a value is of this kind.
    #[must_use]
    pub fn takes(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
            Self::Any => true,
        }
    }
}

impl fmt::Display for InputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Array => "an array",
            Self::Object => "an object",
            Self::Any => "anything",
        })
    }
}

/// One input of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// What it must be.
    #[serde(rename = "type")]
    pub kind: InputKind,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value when none is given; without one it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The only values it may have; any when empty.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
}

/// The input of a run with defaults filled in, or every problem with it: the input's name and a sentence.
pub(crate) fn resolve(
    specs: Option<&BTreeMap<String, InputSpec>>,
    given: Value,
) -> Result<Value, Vec<(String, String)>> {
    let Some(specs) = specs else { return Ok(given) };
    let given = match given {
        Value::Null => Map::new(),
        Value::Object(map) => map,
        _ => return Err(vec![(String::new(), "the input must be an object, one key for each input".to_owned())]),
    };
    let mut problems = Vec::new();
    for name in given.keys().filter(|name| !specs.contains_key(*name)) {
        let known: Vec<&str> = specs.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "the workflow takes none".to_owned() } else { known.join(", ") };
        problems.push((name.clone(), format!("there is no such input; known: {known}")));
    }
    let mut resolved = Map::new();
    for (name, spec) in specs {
        match given.get(name).or(spec.default.as_ref()) {
            None => problems.push((name.clone(), format!("is missing: it must be {}", spec.kind))),
            Some(value) if !spec.kind.takes(value) => {
                problems.push((name.clone(), format!("must be {}, not {value}", spec.kind)));
            }
            Some(value) if !spec.choices.is_empty() && !spec.choices.contains(value) => {
                let choices: Vec<String> = spec.choices.iter().map(Value::to_string).collect();
                problems.push((name.clone(), format!("must be one of {}, not {value}", choices.join(", "))));
            }
            Some(value) => {
                resolved.insert(name.clone(), value.clone());
            }
        }
    }
    if problems.is_empty() { Ok(Value::Object(resolved)) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_filled_in_and_every_problem_is_told_at_once() {
        let specs: BTreeMap<String, InputSpec> = serde_json::from_value(json!({
            "image": {"type": "string"}, "count": {"type": "integer", "default": 2},
            "env": {"type": "string", "default": "dev", "enum": ["dev", "prod"]},
        }))
        .unwrap();
        assert_eq!(
            resolve(Some(&specs), json!({"image": "x"})).unwrap(),
            json!({"image": "x", "count": 2, "env": "dev"})
        );
        let problems = resolve(Some(&specs), json!({"count": "2", "env": "test", "imag": 1})).unwrap_err();
        let names: Vec<&str> = problems.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["imag", "count", "env", "image"]);
        assert_eq!(resolve(None, json!([1])).unwrap(), json!([1]));
    }
}
