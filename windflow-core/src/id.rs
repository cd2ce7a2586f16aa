//! Names and numbers: every identifier is a type of its own, checked once, where it enters.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hash::ContentHash;

/// A name that does not follow its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} '{value}' {rule}")]
pub struct InvalidName {
    /// What was being named: `node name`, `run id`…
    pub kind: &'static str,
    /// What was given, cut at 80 characters.
    pub value: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

pub(crate) fn invalid(kind: &'static str, value: &str, rule: &'static str) -> InvalidName {
    InvalidName { kind, value: value.chars().take(80).collect(), rule }
}

fn identifier(value: &str, most: usize, extra: &[char]) -> bool {
    let mut chars = value.chars();
    value.len() <= most
        && chars.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || extra.contains(&c))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $most:literal, $extra:expr, $rule:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            #[doc = concat!("[`InvalidName`] when the ", $kind, " ", $rule, ".")]
            pub fn new(value: impl AsRef<str>) -> Result<Self, InvalidName> {
                let value = value.as_ref();
                if identifier(value, $most, $extra) {
                    Ok(Self(Arc::from(value)))
                } else {
                    Err(invalid($kind, value, $rule))
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(value: String) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }
        impl TryFrom<&str> for $name {
            type Error = InvalidName;
            fn try_from(value: &str) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }
        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(value: &str) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0.as_ref().to_owned()
            }
        }
    )*};
}

names! {
    /// One execution of a workflow. Chosen by the caller, or made by [`RunId::generate`].
    RunId, "run id", 128, &['-', '.', ':', '~'],
        "must be 1 to 128 characters of A-Z a-z 0-9 _ - . : ~ and start with a letter, a digit or _";
    /// A workflow's name, for people; the hash is what identifies it.
    WorkflowName, "workflow name", 128, &['-', '.', ':', '/'],
        "must be 1 to 128 characters of A-Z a-z 0-9 _ - . : / and start with a letter, a digit or _";
    /// One vertex of a workflow.
    NodeName, "node name", 64, &['-'],
        "must be 1 to 64 characters of A-Z a-z 0-9 _ - and start with a letter, a digit or _";
    /// The name an action is registered under.
    ActionName, "action name", 64, &['-', '.', '/'],
        "must be 1 to 64 characters of A-Z a-z 0-9 _ - . / and start with a letter, a digit or _";
    /// The name a target is registered under.
    TargetName, "target name", 64, &['-', '.'],
        "must be 1 to 64 characters of A-Z a-z 0-9 _ - . and start with a letter, a digit or _";
    /// The Compose project name of a stack.
    StackName, "stack name", 63, &['-'],
        "must be 1 to 63 characters of A-Z a-z 0-9 _ - and start with a letter, a digit or _";
    /// One member of a stack.
    ServiceName, "service name", 63, &['-', '.'],
        "must be 1 to 63 characters of A-Z a-z 0-9 _ - . and start with a letter, a digit or _";
    /// Whose stacks these are: configuration, never state. Objects of another owner are not touched.
    OwnerId, "owner", 63, &['-', '.'],
        "must be 1 to 63 characters of A-Z a-z 0-9 _ - . and start with a letter, a digit or _";
    /// An opaque partition of a store; every row has one.
    Namespace, "namespace", 64, &['-', '.'],
        "must be 1 to 64 characters of A-Z a-z 0-9 _ - . and start with a letter, a digit or _";
    /// What a waiting run is called by from outside.
    SignalName, "signal name", 64, &['-', '.', ':'],
        "must be 1 to 64 characters of A-Z a-z 0-9 _ - . : and start with a letter, a digit or _";
}

/// Names that the code itself gives, known to follow their rule.
macro_rules! fixed {
    ($($name:ident)*) => {$(
        impl $name {
            pub(crate) fn fixed(value: &'static str) -> Self {
                Self(Arc::from(value))
            }
        }
    )*};
}

fixed! { WorkflowName NodeName ActionName }

impl RunId {
    /// A new id that sorts by the time it was made (UUID version 7).
    #[must_use]
    pub fn generate() -> Self {
        Self(Arc::from(uuid::Uuid::now_v7().to_string()))
    }

    /// What the run is called that a run starts for one of its nodes, as the so-manieth at a place: `release~hosts~3`, and
    /// `release~hosts~3~2` for the second there. Where that is too long, a hash stands for the beginning.
    #[must_use]
    pub(crate) fn child(&self, node: &NodeName, place: u32, number: u32) -> Self {
        let tail = match number {
            0 | 1 => format!("~{node}~{place}"),
            _ => format!("~{node}~{place}~{number}"),
        };
        let head = if self.0.len() + tail.len() <= 128 {
            self.0.to_string()
        } else {
            ContentHash::of(self.0.as_bytes()).to_string().chars().filter(char::is_ascii_hexdigit).take(32).collect()
        };
        Self(Arc::from(head + &tail))
    }

    /// Whether a run has started it.
    #[must_use]
    pub fn is_child(&self) -> bool {
        self.0.contains('~')
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

/// Who asked for something. Every input from outside a run carries one.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// `user:ada`, `system:timer`…
    pub name: Arc<str>,
    /// Whether an authenticator vouches for the name. A name typed on a command line is not verified.
    pub verified: bool,
}

impl Principal {
    /// A name nobody vouches for.
    #[must_use]
    pub fn unverified(name: impl AsRef<str>) -> Self {
        Self { name: Arc::from(name.as_ref()), verified: false }
    }

    /// A run, to those it has started and to that which has started it.
    #[must_use]
    pub(crate) fn run(run: &RunId) -> Self {
        Self { name: Arc::from(format!("run:{run}")), verified: true }
    }

    /// The engine itself.
    #[must_use]
    pub fn system() -> Self {
        Self { name: Arc::from("system"), verified: true }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.verified { "" } else { " (unverified)" })
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({self})")
    }
}

/// A node's place in its workflow's list; stable for the life of a run, because the workflow is pinned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeIndex(pub u32);

impl NodeIndex {
    /// As an index into a slice.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A position in a journal, counted from 1; 0 is "before the first record".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number that fences out the previous holder of a run: it grows by one with every claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rule_and_say_it_when_not() {
        assert_eq!(NodeName::new("build-1").unwrap().as_str(), "build-1");
        for bad in ["", "-x", "a b", "a/b", &"x".repeat(65), "é"] {
            let error = NodeName::new(bad).unwrap_err();
            assert!(error.to_string().contains("must be 1 to 64 characters"), "{error}");
        }
        assert!(serde_json::from_str::<NodeName>("\"a b\"").unwrap_err().to_string().contains("node name 'a b'"));
    }

    #[test]
    fn generated_run_ids_sort_by_time() {
        let ids: Vec<RunId> = (0..100).map(|_| RunId::generate()).collect();
        assert!(ids.windows(2).all(|w| w[0] < w[1]));
    }
}
