//! What is wrong with a workflow: all of it, at once.

use std::fmt;

use crate::id::WorkflowName;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where, as a path into the spec: `nodes.build.needs`.
    pub path: String,
    /// What, a lower-case sentence.
    pub message: String,
    /// What a person can do.
    pub hint: Option<String>,
}

impl Problem {
    /// What is wrong where.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { path: path.into(), message: message.to_string(), hint: None }
    }

    /// With what a person can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// A workflow that cannot run, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidWorkflow {
    /// Which workflow.
    pub name: WorkflowName,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for InvalidWorkflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workflow '{}' is invalid", self.name)?;
        let separator = if self.problems.len() == 1 { ": " } else { "\n  - " };
        self.problems.iter().try_for_each(|problem| write!(f, "{separator}{problem}"))
    }
}

impl std::error::Error for InvalidWorkflow {}

/// Looking for what was meant takes a look at every name: done for the first problems only.
pub(crate) const HINTED: usize = 100;

/// The known name nearest to a mistyped one, if any is near, as a hint: `did you mean 'build'?`.
#[must_use]
pub fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let most = given.chars().count() / 3 + 1;
    known
        // Names of very different length are far apart anyway; a hostile one is not worth comparing.
        .filter(|name| name.len().abs_diff(given.len()) <= 4 * most && name.len() <= 1_024)
        .map(|name| (distance(given, name), name))
        .filter(|(far, _)| *far <= most)
        .min()
        .map(|(_, name)| format!("did you mean '{name}'?"))
}

/// Levenshtein's distance, over characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(ca != *cb)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let known = ["build", "deploy", "verify"];
        assert_eq!(did_you_mean("biuld", known.into_iter()).unwrap(), "did you mean 'build'?");
        assert_eq!(did_you_mean("notify-ops", known.into_iter()), None);
    }
}
