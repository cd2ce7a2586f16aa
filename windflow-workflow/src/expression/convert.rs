//! JSON values into the script's and back.

use rhai::Dynamic;
use serde_json::{Number, Value};

use super::ledger::measure;
use super::limits::SandboxLimits;

/// A JSON value as the script sees it. Whole numbers past 64 bits with a sign become floating point.
pub(super) fn to_script(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(real)) => real.into(),
            (None, None) => Dynamic::UNIT,
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Dynamic::from_array(items.iter().map(to_script).collect()),
        Value::Object(map) => {
            Dynamic::from_map(map.iter().map(|(key, value)| (key.as_str().into(), to_script(value))).collect())
        }
    }
}

/// What a script has answered, as JSON, if it is small enough and JSON can say it.
pub(super) fn from_script(value: &Dynamic, limits: &SandboxLimits) -> Result<Value, String> {
    // First how much it is: the same text or list may be in it a thousand times.
    measure(value, limits)?;
    let mut left = limits.max_result_bytes;
    convert(value, &mut left).map_err(|error| match error {
        Refused::TooLarge => format!("the result is longer than {} bytes", limits.max_result_bytes),
        Refused::Not(what) => format!("the result holds {what}, which is not a value"),
    })
}

enum Refused {
    TooLarge,
    Not(String),
}

fn convert(value: &Dynamic, left: &mut usize) -> Result<Value, Refused> {
    let mut spend = |bytes: usize| {
        *left = left.checked_sub(bytes).ok_or(Refused::TooLarge)?;
        Ok(())
    };
    spend(4)?;
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(value) = value.as_bool() {
        return Ok(Value::Bool(value));
    }
    if let Ok(whole) = value.as_int() {
        return Ok(Value::Number(whole.into()));
    }
    if let Ok(real) = value.as_float() {
        return Number::from_f64(real).map(Value::Number).ok_or_else(|| Refused::Not(format!("the number {real}")));
    }
    if let Ok(character) = value.as_char() {
        return Ok(Value::String(character.to_string()));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        spend(text.len())?;
        return Ok(Value::String(text.to_string()));
    }
    if let Ok(items) = value.as_array_ref() {
        return items.iter().map(|item| convert(item, left)).collect::<Result<_, _>>().map(Value::Array);
    }
    if let Ok(map) = value.as_map_ref() {
        let mut out = serde_json::Map::new();
        for (key, item) in map.iter() {
            *left = left.checked_sub(key.len() + 4).ok_or(Refused::TooLarge)?;
            out.insert(key.to_string(), convert(item, left)?);
        }
        return Ok(Value::Object(out));
    }
    Err(Refused::Not(if value.is_fnptr() { "a function".to_owned() } else { format!("a {}", value.type_name()) }))
}
