//! How actions read what an author wrote.

use serde::de::DeserializeOwned;
use serde_json::Value;
use windflow_core::{SecretRef, StepContext, StepError};

/// What is wrong with an input: a path into it, and a sentence.
pub(super) type Problems = Vec<(String, String)>;

/// Whether a value is not known before the run: it is, or may become, something else.
pub(super) fn is_open(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains("${{"))
}

/// Looks at an input that should be a map with these keys, and hands over the map when there is more to look at.
pub(super) fn map<'a>(
    input: &'a Value,
    known: &[&str],
    required: &[&str],
    problems: &mut Problems,
) -> Option<&'a serde_json::Map<String, Value>> {
    if is_open(input) {
        return None;
    }
    let Some(map) = input.as_object() else {
        let keys = if required.is_empty() { known } else { required };
        problems.push((String::new(), format!("must be a map with {}", keys.join(", "))));
        return None;
    };
    for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
        problems.push((format!("/{key}"), format!("is not known here; known are {}", known.join(", "))));
    }
    for key in required.iter().filter(|key| !map.contains_key(**key)) {
        problems.push((format!("/{key}"), "is missing".to_owned()));
    }
    Some(map)
}

/// Looks at one value of a map with `check`, unless it is absent or not known yet.
pub(super) fn field(
    map: &serde_json::Map<String, Value>,
    key: &str,
    problems: &mut Problems,
    check: impl FnOnce(&Value) -> Result<(), String>,
) {
    if let Some(value) = map.get(key).filter(|value| !is_open(value))
        && let Err(why) = check(value)
    {
        problems.push((format!("/{key}"), why));
    }
}

/// A value must be a text.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "must be a text".to_owned())
}

/// An input as this action's own type.
pub(super) fn read<T: DeserializeOwned>(input: Value) -> Result<T, StepError> {
    serde_json::from_value(input)
        .map_err(|error| StepError::terminal("input", format_args!("the input does not fit: {error}")))
}

/// A text with every word that is a secret reference replaced by its value. Tells whether there was one.
pub(super) async fn reveal(cx: &StepContext, text: &str) -> Result<(String, bool), StepError> {
    if !text.contains(SecretRef::SCHEME) {
        return Ok((text.to_owned(), false));
    }
    let mut revealed = String::with_capacity(text.len());
    let mut found = false;
    for word in text.split_inclusive(' ') {
        let (bare, space) = word.strip_suffix(' ').map_or((word, ""), |bare| (bare, " "));
        match bare.parse::<SecretRef>() {
            Ok(reference) => {
                revealed.push_str(cx.secret(&reference).await?.expose());
                found = true;
            }
            Err(_) => revealed.push_str(bare),
        }
        revealed.push_str(space);
    }
    Ok((revealed, found))
}
