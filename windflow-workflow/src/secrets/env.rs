//! Secrets from variables.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use windflow_core::{Secret, SecretError, SecretRef, SecretSource};
use zeroize::Zeroizing;

/// Variables as a secret source: `secret://env/DB_PASSWORD`.
///
/// They are what the caller hands over: this never looks at the process environment by itself.
///
/// ```
/// use windflow_workflow::EnvSecrets;
/// let source = EnvSecrets::new([("DB_PASSWORD", "hunter2")]);
/// assert_eq!(format!("{source:?}"), "EnvSecrets(1 variables)");
/// ```
pub struct EnvSecrets(BTreeMap<String, Zeroizing<String>>);

impl EnvSecrets {
    /// These variables.
    pub fn new<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), Zeroizing::new(value.into()))).collect())
    }
}

impl fmt::Debug for EnvSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvSecrets({} variables)", self.0.len())
    }
}

#[async_trait]
impl SecretSource for EnvSecrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        let missing = |hint: String| SecretError::NotFound { reference: reference.clone(), hint: Some(hint) };
        if reference.field().is_some() {
            return Err(missing("a variable has no fields; leave out what follows '#'".into()));
        }
        let value = self.0.get(reference.path()).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| missing(format!("set the variable {}", reference.path())))?;
        Ok(Secret::new(value.as_str().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_variable_is_found_by_name_and_an_empty_one_is_not_there() {
        let source = EnvSecrets::new([("A", "one"), ("EMPTY", "")]);
        let resolve = |text: &str| {
            let reference: SecretRef = text.parse().unwrap();
            let source = &source;
            async move { source.resolve(&reference).await }
        };
        assert_eq!(resolve("secret://env/A").await.unwrap().expose(), "one");
        for (bad, hint) in [("B", "set the variable B"), ("EMPTY", "set the variable EMPTY"), ("A#x", "no fields")] {
            let error = resolve(&format!("secret://env/{bad}")).await.unwrap_err();
            assert!(error.to_string().contains(hint), "{error}");
        }
    }
}
