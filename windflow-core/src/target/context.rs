//! What a target call is told about who asks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::id::{Epoch, NodeName, RunId};
use crate::secret::{Masker, Secret, SecretError, SecretRef, SecretSources};
use crate::time::{Clock, SystemClock, Timestamp};

/// Which irreversible changes were agreed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Consents(pub BTreeSet<String>);

impl Consents {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Agrees to destroying things of this sort: `volume`…
    #[must_use]
    pub fn allow_destroy(mut self, what: impl Into<String>) -> Self {
        self.0.insert(format!("destroy:{}", what.into()));
        self
    }

    /// Whether destroying things of this sort was agreed to.
    #[must_use]
    pub fn allows_destroy(&self, what: &str) -> bool {
        self.0.contains(&format!("destroy:{what}"))
    }
}

/// Tells who watches what is going on.
pub(crate) type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// Who asks, until when, and with what.
#[derive(Clone)]
pub struct Context {
    key: String,
    run: Option<(RunId, NodeName)>,
    epoch: Option<Epoch>,
    deadline: Option<Timestamp>,
    cancel: CancellationToken,
    secrets: SecretSources,
    masker: Masker,
    consents: Consents,
    clock: Arc<dyn Clock>,
    progress: Option<Progress>,
}

impl Context {
    /// A call under this idempotency key: the same key continues the same intent.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            run: None,
            epoch: None,
            deadline: None,
            cancel: CancellationToken::new(),
            secrets: SecretSources::new(),
            masker: Masker::new(),
            consents: Consents::none(),
            clock: Arc::new(SystemClock),
            progress: None,
        }
    }

    /// Under another idempotency key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// On behalf of this step.
    #[must_use]
    pub fn with_run(mut self, run: RunId, node: NodeName) -> Self {
        self.run = Some((run, node));
        self
    }

    /// Under this epoch.
    #[must_use]
    pub fn with_epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// To be ended by then.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Timestamp>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Cancelled by this token.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// With these secrets, masked by this masker.
    #[must_use]
    pub fn with_secrets(mut self, secrets: SecretSources, masker: Masker) -> Self {
        (self.secrets, self.masker) = (secrets, masker);
        self
    }

    /// With these consents.
    #[must_use]
    pub fn with_consents(mut self, consents: Consents) -> Self {
        self.consents = consents;
        self
    }

    /// On this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Telling this function what is going on.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Fn(&str) + Send + Sync>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// The idempotency key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The step this is for.
    #[must_use]
    pub fn run(&self) -> Option<(&RunId, &NodeName)> {
        self.run.as_ref().map(|(run, node)| (run, node))
    }

    /// The epoch, if a run asks.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// When the call should have ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The cancellation token.
    #[must_use]
    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// What was agreed to.
    #[must_use]
    pub fn consents(&self) -> &Consents {
        &self.consents
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The masker.
    #[must_use]
    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    /// A secret's value now; masked from then on.
    ///
    /// # Errors
    /// What the source answers.
    pub async fn secret(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        let secret = self.secrets.resolve(reference).await?;
        self.masker.learn(&secret);
        Ok(secret)
    }

    /// Tells who watches what is going on.
    pub fn progress(&self, text: impl fmt::Display) {
        if let Some(progress) = &self.progress {
            progress(&self.masker.mask(&text.to_string()));
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("key", &self.key)
            .field("run", &self.run)
            .field("epoch", &self.epoch)
            .field("deadline", &self.deadline)
            .field("consents", &self.consents)
            .finish_non_exhaustive()
    }
}
