//! What can go wrong between a caller and the engine.

use std::fmt;

use crate::id::RunId;
use crate::run::Refused;
use crate::store::StoreError;
use crate::workflow::Finding;

/// Why a run was not started. Nothing has begun.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The input does not fit: each problem is the input's name and a sentence.
    #[error("the input does not fit: {}", Pairs(.0))]
    Input(Vec<(String, String)>),
    /// The workflow asks for what this engine does not have.
    #[error("the workflow cannot run here: {}", Findings(.0))]
    Workflow(Vec<Finding>),
    /// A run of this id, or under this key, exists with another workflow or another input.
    #[error("run {run} exists already, with another workflow or input (choose another run id or key)")]
    Different {
        /// That run.
        run: RunId,
    },
    /// The id is one of those that runs within runs have.
    #[error("a run cannot be called '{run}': names with '~' are those of runs within runs")]
    Id {
        /// What was asked for.
        run: RunId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    Closing,
    /// The run refused its own beginning: a bug.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Why a request was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// There is no such run.
    #[error("there is no run {run}")]
    NotFound {
        /// What was asked for.
        run: RunId,
    },
    /// The run is in no state for that.
    #[error("{run}: {why}")]
    Refused {
        /// Which run.
        run: RunId,
        /// Why.
        why: Refused,
    },
    /// The run cannot be read.
    #[error("run {run} cannot be read: {why}")]
    Unreadable {
        /// Which run.
        run: RunId,
        /// Why.
        why: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why waiting for a run ended without a report.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// There is no such run.
    #[error("there is no run {run}")]
    NotFound {
        /// What was asked for.
        run: RunId,
    },
    /// The engine is shutting down; the run goes on when it is driven again.
    #[error("the engine was shut down before run {run} was over")]
    Closing {
        /// Which run.
        run: RunId,
    },
    /// The run cannot be read.
    #[error("run {run} cannot be read: {why}")]
    Unreadable {
        /// Which run.
        run: RunId,
        /// Why.
        why: String,
    },
    /// The run asks for what this engine does not have: another one may drive it.
    #[error("run {run} cannot be driven here: {}", Findings(.findings))]
    Lacking {
        /// Which run.
        run: RunId,
        /// What is missing, node by node.
        findings: Vec<Finding>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Pairs<'a>(&'a [(String, String)]);

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, sentence)) in self.0.iter().enumerate() {
            write!(f, "{}{name}{}{sentence}", if i == 0 { "" } else { "; " }, if name.is_empty() { "" } else { ": " })?;
        }
        Ok(())
    }
}

struct Findings<'a>(&'a [Finding]);

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            write!(f, "{}{}.{}: {}", if i == 0 { "" } else { "; " }, finding.node, finding.path, finding.message)?;
            if let Some(hint) = &finding.hint {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}
