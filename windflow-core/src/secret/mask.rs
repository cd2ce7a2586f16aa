//! The second line of defence: whatever was exposed is taken out of what an action says.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use zeroize::Zeroizing;

use super::Secret;

/// Knows the secret values handed out, and replaces them, plain or in a common encoding, by `***`.
///
/// Values shorter than four bytes are not masked: they would blank out ordinary text.
#[derive(Clone, Default)]
pub struct Masker(Arc<Mutex<Vec<Zeroizing<String>>>>);

impl Masker {
    /// A masker that knows no secret.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns a value and its encodings: JSON, URL, base64 (both alphabets), hexadecimal, and each line of it.
    pub fn learn(&self, secret: &Secret) {
        let value = secret.expose();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut add = |text: String| {
            if text.len() >= 4 && !known.iter().any(|form| **form == text) {
                known.push(Zeroizing::new(text));
            }
        };
        for text in std::iter::once(value).chain(value.lines()) {
            let bytes = text.as_bytes();
            if bytes.len() < 4 {
                continue;
            }
            add(text.to_owned());
            add(serde_json::to_string(text).map(|s| s[1..s.len() - 1].to_owned()).unwrap_or_default());
            add(percent(bytes));
            add(hex(bytes, false));
            add(hex(bytes, true));
            // Base64 of the value wherever it starts within a longer encoded text: the stable middle of each phase.
            for alphabet in [BASE64, BASE64_URL] {
                for phase in 0..3 {
                    add(base64_core(bytes, phase, alphabet));
                }
            }
        }
    }

    /// The text without any known secret.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|secret| text.contains(secret.as_str())) {
            return text.to_owned();
        }
        // Longest first, so that no shorter form leaves the rest of a longer one standing.
        let mut forms: Vec<&str> = known.iter().map(|secret| secret.as_str()).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.into_iter().fold(text.to_owned(), |text, form| text.replace(form, "***"))
    }

    /// The value without any known secret, in keys and in texts.
    #[must_use]
    pub fn mask_value(&self, value: Value) -> Value {
        if self.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.mask(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.mask_value(item)).collect(),
            Value::Object(map) => map.into_iter().map(|(key, item)| (self.mask(&key), self.mask_value(item))).collect(),
            // A secret that is a number must not come back as one.
            Value::Number(number) => {
                let text = number.to_string();
                let masked = self.mask(&text);
                if masked == text { Value::Number(number) } else { Value::String(masked) }
            }
            other => other,
        }
    }

    /// Whether no secret has been handed out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masker(***)")
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The characters of a base64 text that depend on nothing but `bytes`, when `phase` bytes stand before them.
fn base64_core(bytes: &[u8], phase: usize, alphabet: &[u8; 64]) -> String {
    let padded: Vec<u8> = std::iter::repeat_n(0, phase).chain(bytes.iter().copied()).collect();
    let bits = padded.len() * 8;
    // The first character wholly inside our bytes, and one past the last.
    let (from, to) = ((phase * 8).div_ceil(6), bits / 6);
    (from..to)
        .map(|i| {
            let at = i * 6;
            let pair = u16::from(padded[at / 8]) << 8 | u16::from(padded.get(at / 8 + 1).copied().unwrap_or(0));
            char::from(alphabet[usize::from(pair >> (10 - at % 8)) & 63])
        })
        .collect()
}

fn hex(bytes: &[u8], upper: bool) -> String {
    bytes.iter().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect()
}

fn percent(bytes: &[u8]) -> String {
    let kept = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    bytes.iter().map(|&b| if kept(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(value: &str) -> Masker {
        let masker = Masker::new();
        masker.learn(&Secret::new(value.to_owned()));
        masker
    }

    #[test]
    fn a_secret_is_masked_in_every_encoding() {
        let masker = masker("hunter2 & \"co\"");
        let base64 = "aHVudGVyMiAmICJjbyI=";
        for text in [
            "login hunter2 & \"co\" failed",
            r#"{"p":"hunter2 & \"co\""}"#,
            "?p=hunter2%20%26%20%22co%22",
            "68756e74657232202620",
            base64,
        ] {
            let masked = masker.mask(text);
            if text.starts_with("6875") {
                continue; // a prefix of the hexadecimal form only; the whole form is checked below
            }
            assert!(masked.contains("***"), "{text} -> {masked}");
            assert!(!masked.contains("hunter2"), "{masked}");
        }
        assert_eq!(masker.mask(&hex(b"hunter2 & \"co\"", false)), "***");
        // "user:" before it moves the base64 phase by two bytes.
        assert!(masker.mask("dXNlcjpodW50ZXIyICYgImNvIg==").contains("***"));
    }

    #[test]
    fn values_are_masked_deep_inside_and_numbers_too() {
        let masker = masker("12345678");
        let value = serde_json::json!({"a": ["x12345678y", 12_345_678], "12345678": null});
        assert_eq!(masker.mask_value(value).to_string(), r#"{"***":null,"a":["x***y","***"]}"#);
    }

    #[test]
    fn each_line_of_a_secret_is_masked() {
        let masker = masker("first-line\nsecond-line");
        assert_eq!(masker.mask("a second-line b"), "a *** b");
    }
}
