//! What the writer is asked, and how it answers when the commit is known.

use tokio::sync::oneshot;
use windflow_core::store::{Batch, Claim, Created, Lease, NewRun, Submission, WorkerId};
use windflow_core::{Epoch, RunId, Seq, StoreError, Summary, Timestamp};

type To<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer needs of a [`Batch`]: the rest is let go where it was made, because to free what another thread has
/// allocated costs the one thread that writes more than anything else about it.
#[derive(Debug)]
pub(super) struct Append {
    pub run: RunId,
    pub epoch: Epoch,
    pub after: Seq,
    pub at: Timestamp,
    pub count: usize,
    pub events: Vec<u8>,
    pub summary: Summary,
    pub consumed: Vec<u64>,
    pub release: bool,
    /// Runs that begin with it, and their events.
    pub children: Vec<(NewRun, Vec<u8>)>,
    pub submissions: Vec<Submission>,
}

impl Append {
    pub(super) fn of(batch: Batch, events: Vec<u8>, firsts: Vec<Vec<u8>>) -> Self {
        let Batch { lease, after, at, events: decoded, summary, consumed, release, children, submissions } = batch;
        let (run, epoch, count) = (lease.run, lease.epoch, decoded.len());
        let children = children.into_iter().zip(firsts).collect();
        Self { run, epoch, after, at, count, events, summary, consumed, release, children, submissions }
    }
}

/// One call that writes. Events were encoded by the caller, so that callers share that work.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most requests are appends: a box of each would be freed by the writer")]
pub(super) enum Request {
    Create {
        new: Box<NewRun>,
        events: Vec<u8>,
        to: To<Created>,
    },
    Append {
        append: Append,
        to: To<()>,
    },
    Claim {
        run: RunId,
        worker: WorkerId,
        now: Timestamp,
        until: Timestamp,
        to: To<Claim>,
    },
    Renew {
        worker: WorkerId,
        until: Timestamp,
        to: To<()>,
    },
    Release {
        lease: Lease,
        to: To<()>,
    },
    Submit {
        submission: Box<Submission>,
        to: To<(u64, bool)>,
    },
    /// Look whether another process has written.
    Look,
}

impl Request {
    /// The run it is about.
    pub(super) fn run(&self) -> Option<&RunId> {
        match self {
            Self::Create { new, .. } => Some(&new.summary.run),
            Self::Append { append, .. } => Some(&append.run),
            Self::Claim { run, .. } => Some(run),
            Self::Release { lease, .. } => Some(&lease.run),
            Self::Submit { submission, .. } => Some(&submission.run),
            Self::Renew { .. } | Self::Look => None,
        }
    }

    /// Other runs that an append is about.
    pub(super) fn kin(&self) -> impl Iterator<Item = &RunId> {
        let append = match self {
            Self::Append { append, .. } => Some(append),
            _ => None,
        };
        append.into_iter().flat_map(|append| {
            let children = append.children.iter().map(|(new, _)| &new.summary.run);
            children.chain(append.submissions.iter().map(|submission| &submission.run))
        })
    }

    /// Whether a run begins with it.
    pub(super) fn creates(&self) -> bool {
        match self {
            Self::Create { .. } => true,
            Self::Append { append, .. } => !append.children.is_empty(),
            _ => false,
        }
    }

    /// Answers that it failed.
    pub(super) fn fail(self, error: StoreError) {
        match self {
            Self::Create { to, .. } => drop(to.send(Err(error))),
            Self::Claim { to, .. } => drop(to.send(Err(error))),
            Self::Submit { to, .. } => drop(to.send(Err(error))),
            Self::Look => {}
            Self::Append { to, .. } | Self::Renew { to, .. } | Self::Release { to, .. } => drop(to.send(Err(error))),
        }
    }
}

/// An answer that is held back until the commit is known. Whoever asked may have gone.
#[derive(Debug)]
pub(super) enum Answer {
    Created(To<Created>, Result<Created, StoreError>),
    Done(To<()>, Result<(), StoreError>),
    Claimed(To<Claim>, Result<Claim, StoreError>),
    Submitted(To<(u64, bool)>, Result<(u64, bool), StoreError>),
}

impl Answer {
    /// Says it, or that the whole group failed.
    pub(super) fn say(self, failure: Option<&StoreError>) {
        fn tell<T>(to: To<T>, answer: Result<T, StoreError>, failure: Option<&StoreError>) {
            drop(to.send(failure.map_or(answer, |failure| Err(failure.clone()))));
        }
        match self {
            Self::Created(to, answer) => tell(to, answer, failure),
            Self::Done(to, answer) => tell(to, answer, failure),
            Self::Claimed(to, answer) => tell(to, answer, failure),
            Self::Submitted(to, answer) => tell(to, answer, failure),
        }
    }
}
