//! What happens to stacks, told to others: `deployments.*` events, derived from the events of runs.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use windflow_core::{Engine, MemoryStore};
//! use windflow_workflow::deployments::DeploymentEvents;
//!
//! let told = Arc::new(Mutex::new(Vec::new()));
//! let queue = Arc::clone(&told);
//! // {"event_type":"deployments.started","deployment_id":"…/web","stack_id":"shop","timestamp":"…","metadata":{…}}
//! let sink = DeploymentEvents::to(move |event| queue.lock().unwrap().push(serde_json::to_string(&event).unwrap()));
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let engine = Engine::builder(MemoryStore::new()).sink(Arc::new(sink)).build();
//! # drop(engine);
//! # });
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use windflow_core::run::{After, Subject};
use windflow_core::sink::Emitted;
use windflow_core::{
    Event, EventSink, NodeIndex, NodeName, NodeSpec, Recorded, RunId, Seen, StackName, StepError, Timestamp, Undone,
};

/// What has happened to a stack. The list is closed: what is new comes with a new minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeploymentEventType {
    /// An attempt to change it began; `metadata.attempt` says which.
    Started,
    /// It runs as wanted, and is healthy: by `deploy`, `scale` or `promote`.
    Healthy,
    /// An attempt failed and is tried again, at `metadata.retry_at`.
    Retrying,
    /// It failed for good; in an undoing `metadata.undoing` is true.
    Failed,
    /// What was before is current again: by `rollback`, by `abort`, by the target itself, or because the run was undone.
    /// `metadata.why` says which: `rollback`, `aborted`, `unhealthy` or `undone`.
    RolledBack,
    /// It is gone.
    Destroyed,
    /// It was taken over.
    Adopted,
}

impl DeploymentEventType {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Started, Self::Healthy, Self::Retrying, Self::Failed, Self::RolledBack, Self::Destroyed, Self::Adopted];

    /// Its name: `deployments.started`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "deployments.started",
            Self::Healthy => "deployments.healthy",
            Self::Retrying => "deployments.retrying",
            Self::Failed => "deployments.failed",
            Self::RolledBack => "deployments.rolled_back",
            Self::Destroyed => "deployments.destroyed",
            Self::Adopted => "deployments.adopted",
        }
    }
}

impl Serialize for DeploymentEventType {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// One event, in the form others read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeploymentEvent {
    /// What has happened.
    pub event_type: DeploymentEventType,
    /// Which deployment: `RUN/NODE`, the same for all its events.
    pub deployment_id: String,
    /// The stack's name; absent when only the run itself knows it yet.
    pub stack_id: Option<String>,
    /// When, in RFC 3339.
    pub timestamp: String,
    /// `run`, `node`, `workflow`, `action` and `seq` always; `target`, `revision`, `fallback_from`, `attempt`,
    /// `retry_at`, `code`, `problem`, `why`, `undoing` where they say something. Never a value of the stack; texts are as
    /// the journal has them, secrets masked.
    pub metadata: Map<String, Value>,
}

impl DeploymentEvent {
    /// One of a change that no run makes, in the same form. `deployment_id` is the same for all events of that change.
    #[must_use]
    pub fn new(
        event_type: DeploymentEventType,
        deployment_id: impl Into<String>,
        stack: &StackName,
        at: Timestamp,
        metadata: Map<String, Value>,
    ) -> Self {
        let (deployment_id, stack_id, timestamp) = (deployment_id.into(), Some(stack.to_string()), at.to_string());
        Self { event_type, deployment_id, stack_id, timestamp, metadata }
    }
}

/// Which target and which stack.
type Place = (Option<String>, Option<String>);

/// Derives [`DeploymentEvent`]s from what runs do, for whoever wants to hear of stacks and not of steps.
///
/// It tells of nodes whose action is `deploy`, `destroy`, `rollback`, `scale`, `promote`, `abort` or `adopt`. Like every
/// [`EventSink`] it is a courtesy: an engine that dies between the append and the call does not tell again, and
/// `metadata.seq` is the place in the run's journal by which a reader knows what it has.
pub struct DeploymentEvents {
    tell: Box<dyn Fn(DeploymentEvent) + Send + Sync>,
    /// Where each step of the runs at hand works, as far as an expression or a fallback has said so.
    places: Mutex<BTreeMap<RunId, BTreeMap<NodeIndex, Place>>>,
}

impl fmt::Debug for DeploymentEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeploymentEvents").finish_non_exhaustive()
    }
}

impl DeploymentEvents {
    /// Told to this function, which must return at once.
    pub fn to(tell: impl Fn(DeploymentEvent) + Send + Sync + 'static) -> Self {
        Self { tell: Box::new(tell), places: Mutex::default() }
    }

    /// Learns where a step works from whatever has a `target` and a `stack`.
    fn learn(&self, run: &RunId, node: NodeIndex, from: &Value) {
        let (target, stack) = place(from);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places.entry(run.clone()).or_default().entry(node).or_default();
        known.0 = target.or(known.0.take());
        known.1 = stack.or(known.1.take());
    }

    fn place_of(&self, run: &RunId, node: NodeIndex, spec: &NodeSpec) -> Place {
        let (target, stack) = place(&spec.with);
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places.get(run).and_then(|nodes| nodes.get(&node)).cloned().unwrap_or_default();
        (known.0.or(target), known.1.or(stack))
    }

    fn forget(&self, run: &RunId) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
    }
}

/// The target and the stack that a value names, where it names them in so many words.
fn place(value: &Value) -> Place {
    let said = |value: Option<&Value>| value?.as_str().filter(|text| !text.contains("${{")).map(str::to_owned);
    let stack = value.get("stack");
    let stack = said(stack).or_else(|| said(stack?.get("name")));
    (said(value.get("target")), stack)
}

/// What an event means for a stack, and what more there is to say.
fn meaning(action: &str, spec: &NodeSpec, event: &Event) -> Vec<(DeploymentEventType, Value)> {
    use DeploymentEventType::{Adopted, Destroyed, Failed, Healthy, Retrying, RolledBack, Started};
    let success = |output: &Value| {
        let mut more = Map::new();
        for key in ["revision", "fallback_from", "returned_from"] {
            if let Some(value) = output.get(key).filter(|value| !value.is_null() && **value != json!([])) {
                more.insert(key.to_owned(), value.clone());
            }
        }
        let kind = match action {
            "destroy" => Destroyed,
            "adopt" => Adopted,
            "rollback" => {
                more.insert("why".to_owned(), json!("rollback"));
                RolledBack
            }
            "abort" if output.get("aborted") == Some(&json!(true)) => {
                more.insert("why".to_owned(), json!("aborted"));
                RolledBack
            }
            _ => Healthy,
        };
        vec![(kind, Value::Object(more))]
    };
    let failure = |error: &StepError, retry_at: Option<Timestamp>, undoing: bool| {
        let mut more = json!({ "code": error.code, "problem": error.message });
        if undoing {
            more["undoing"] = json!(true);
        }
        let Some(at) = retry_at else { return (Failed, more) };
        more["retry_at"] = json!(at.to_string());
        (Retrying, more)
    };
    match event {
        Event::Started { attempt, .. } => vec![(Started, json!({ "attempt": attempt }))],
        Event::Succeeded { output, .. } => success(output),
        Event::Observed { seen: Seen::Happened(output), then: After::Complete, .. } => success(output),
        Event::Observed { then: After::Fail, .. } => vec![(Failed, json!({}))],
        Event::Failed { error, retry_at, .. } => {
            let went_back = (error.code == "deploy.rolled_back")
                .then(|| (RolledBack, json!({ "why": "unhealthy", "problem": error.message })));
            went_back.into_iter().chain([failure(error, *retry_at, false)]).collect()
        }
        // Another action that undoes the node says nothing of the stack.
        Event::Undone { undone: Undone::Reversed, .. } if spec.compensate.is_none() => {
            vec![(RolledBack, json!({ "why": "undone" }))]
        }
        Event::UndoFailed { error, retry_at, .. } => vec![failure(error, *retry_at, true)],
        _ => Vec::new(),
    }
}

impl EventSink for DeploymentEvents {
    fn emit(&self, emitted: &Emitted<'_>) {
        for Recorded { seq, at, event, .. } in emitted.events {
            if matches!(event, Event::Finished { .. } | Event::Released) {
                self.forget(emitted.run);
            }
            let Some(node) = event.node() else { continue };
            let spec = emitted.workflow.node(node);
            let action = spec.uses.as_str();
            if !matches!(action, "deploy" | "destroy" | "rollback" | "scale" | "promote" | "abort" | "adopt") {
                continue;
            }
            match event {
                Event::Evaluated { subject: Subject::With(_), value } => self.learn(emitted.run, node, value),
                // A checkpoint names the place of a fallback, an output that of the whole.
                Event::Checkpointed { value, .. } if value.get("goes").is_none() => {
                    self.learn(emitted.run, node, &json!({ "target": value.get("target") }));
                }
                Event::Succeeded { output, .. } => self.learn(emitted.run, node, output),
                _ => {}
            }
            let (target, stack) = self.place_of(emitted.run, node, spec);
            for (event_type, more) in meaning(action, spec, event) {
                let mut metadata = Map::new();
                metadata.insert("run".to_owned(), json!(emitted.run));
                metadata.insert("node".to_owned(), json!(spec.name));
                metadata.insert("workflow".to_owned(), json!(emitted.workflow.name()));
                metadata.insert("action".to_owned(), json!(action));
                metadata.insert("seq".to_owned(), json!(seq));
                metadata.extend(target.iter().map(|target| ("target".to_owned(), json!(target))));
                if let Value::Object(more) = more {
                    metadata.extend(more);
                }
                (self.tell)(DeploymentEvent {
                    event_type,
                    deployment_id: format!("{}/{}", emitted.run, spec.name),
                    stack_id: stack.clone(),
                    timestamp: at.to_string(),
                    metadata,
                });
            }
        }
    }

    fn progress(&self, _run: &RunId, _node: &NodeName, _text: &str) {}
}
