//! Where a secret is, in text that may be stored and shown.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{InvalidName, invalid};

/// `secret://SOURCE/PATH` or `secret://SOURCE/PATH#FIELD`.
///
/// ```
/// use windflow_core::SecretRef;
/// let reference: SecretRef = "secret://env/DB_PASSWORD".parse()?;
/// assert_eq!((reference.source(), reference.path(), reference.field()), ("env", "DB_PASSWORD", None));
/// # Ok::<(), windflow_core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretRef(Arc<str>);

impl SecretRef {
    /// What every reference starts with.
    pub const SCHEME: &'static str = "secret://";

    /// The registered source: `env`, `file`, `vault`…
    #[must_use]
    pub fn source(&self) -> &str {
        self.parts().0
    }

    /// What the source looks up. A file's absolute path keeps its leading slash: `secret://file//etc/token`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts().1
    }

    /// One field of a secret that has several.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.parts().2
    }

    fn parts(&self) -> (&str, &str, Option<&str>) {
        let rest = &self.0[Self::SCHEME.len()..];
        let (source, rest) = rest.split_once('/').unwrap_or((rest, ""));
        match rest.split_once('#') {
            Some((path, field)) => (source, path, Some(field)),
            None => (source, rest, None),
        }
    }
}

impl std::str::FromStr for SecretRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = || invalid("secret reference", text, "must read secret://SOURCE/PATH, optionally with #FIELD");
        let rest = text.strip_prefix(Self::SCHEME).ok_or_else(wrong)?;
        let (source, path) = rest.split_once('/').ok_or_else(wrong)?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let bad = source.is_empty()
            || !source.chars().all(plain)
            || path.is_empty()
            || path.starts_with('#')
            || path.ends_with('#')
            || text.len() > 1024
            || text.chars().any(char::is_control);
        if bad { Err(wrong()) } else { Ok(Self(Arc::from(text))) }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for SecretRef {
    type Error = InvalidName;
    fn try_from(value: String) -> Result<Self, InvalidName> {
        value.parse()
    }
}

impl From<SecretRef> for String {
    fn from(value: SecretRef) -> String {
        value.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_source_a_path_and_maybe_a_field() {
        let reference: SecretRef = "secret://file//run/secrets/db#password".parse().unwrap();
        assert_eq!(reference.source(), "file");
        assert_eq!(reference.path(), "/run/secrets/db");
        assert_eq!(reference.field(), Some("password"));
        for bad in ["", "secret://", "secret://env", "secret://env/", "secret://Env/A", "env/A", "secret://env/#x"] {
            assert!(bad.parse::<SecretRef>().is_err(), "{bad}");
        }
    }
}
