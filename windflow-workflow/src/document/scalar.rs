//! Scalars: what a word in a YAML 1.2 file means.

use serde_json::{Number, Value};

/// A scalar as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    text: Box<str>,
    style: Style,
}

/// How a scalar came to be, which decides what its text may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Without quotes.
    Plain,
    /// With quotes, as a block, or tagged as text.
    Quoted,
    /// With quotes or variables in a stack file.
    Loose,
}

impl Scalar {
    /// Its text, and whether it was written without quotes.
    pub(crate) fn new(text: impl Into<Box<str>>, plain: bool) -> Self {
        Self { text: text.into(), style: if plain { Style::Plain } else { Style::Quoted } }
    }

    /// The same in a stack file, with its variables replaced. As in Compose, what stood in quotes or came from a variable is
    /// text, except where a number or a boolean is wanted; see [`Scalar::cast`].
    pub(crate) fn filled(&self, text: String) -> Self {
        let style = if self.is_plain() && *text == *self.text { Style::Plain } else { Style::Loose };
        Self { text: text.into_boxed_str(), style }
    }

    /// Its text, quotes and escapes undone.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it was written without quotes, so that `true`, `5` and `null` are not texts.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.style == Style::Plain
    }

    /// Its value by the core schema of YAML 1.2: `null`, `true` and `false`, numbers, `0x1f` and `0o17`; everything
    /// else is text, `yes`, `on` and `0777` included (the last is the number 777).
    #[must_use]
    pub fn to_value(&self) -> Value {
        if self.is_plain() { meaning(&self.text) } else { Value::String(self.text.to_string()) }
    }

    /// Its value where a number or a boolean is wanted: in a stack file quotes do not count there.
    pub(crate) fn cast(&self) -> Value {
        if self.style == Style::Quoted { Value::String(self.text.to_string()) } else { meaning(&self.text) }
    }

    /// What it is, for a message.
    #[must_use]
    pub fn describe(&self) -> String {
        let cut: String = self.text.chars().take(60).collect();
        match self.to_value() {
            Value::Null => "nothing".to_owned(),
            Value::Bool(_) => format!("the boolean {cut}"),
            Value::Number(_) => format!("the number {cut}"),
            _ => format!("the text '{cut}'"),
        }
    }

    /// What an author of YAML 1.1 may have meant by a text that is none of it today.
    #[must_use]
    pub fn surprise(&self) -> Option<&'static str> {
        if self.style == Style::Quoted {
            return None;
        }
        match &*self.text {
            "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some("YAML 1.2 reads this as text: write true"),
            "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Some("YAML 1.2 reads this as text: write false"),
            _ => None,
        }
    }
}

fn meaning(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        text => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let first = digits.bytes().next()?;
    if !first.is_ascii_digit() && first != b'.' {
        return None;
    }
    if let Some(hex) = text.strip_prefix("0x").filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())) {
        return u64::from_str_radix(hex, 16).ok().map(Number::from);
    }
    if let Some(octal) = text.strip_prefix("0o").filter(|octal| octal.bytes().all(|b| matches!(b, b'0'..=b'7'))) {
        return u64::from_str_radix(octal, 8).ok().map(Number::from);
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let signed = text.parse::<i64>().ok().map(Number::from);
        if let Some(whole) = signed.or_else(|| text.parse::<u64>().ok().map(Number::from)) {
            return Some(whole);
        }
    }
    // [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?  — narrower than what Rust would take.
    let (mantissa, exponent) = digits.split_once(['e', 'E']).map_or((digits, None), |(m, e)| (m, Some(e)));
    let whole = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shaped = (whole(before) && (after.is_empty() || whole(after))) || (before.is_empty() && whole(after));
    let raised = exponent.is_none_or(|e| whole(e.strip_prefix(['-', '+']).unwrap_or(e)));
    if shaped && raised { text.parse::<f64>().ok().and_then(Number::from_f64) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_mean_what_the_core_schema_says() {
        let plain = |text: &str| Scalar::new(text, true).to_value();
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("null", json!(null)),
            ("True", json!(true)),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("+5", json!(5)),
            ("0777", json!(777)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("1_000", json!("1_000")),
            ("1.2.3", json!("1.2.3")),
            ("12:30", json!("12:30")),
            ("inf", json!("inf")),
            ("0x", json!("0x")),
            ("-", json!("-")),
            (".", json!(".")),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
        assert_eq!(Scalar::new("5", false).to_value(), json!("5"));
    }
}
