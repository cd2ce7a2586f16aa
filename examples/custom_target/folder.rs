//! A target of one's own: a folder, in which each service of a stack is a file.
//!
//! A toy, and complete: it plans, applies, continues what was cut, keeps revisions, and passes the conformance suite.
//!
//! ```text
//! ROOT/OWNER/STACK/services/NAME.json     what "runs"
//! ROOT/OWNER/STACK/record.json            its revisions, and what is being applied
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use windflow_core::target::{
    Applied, Capabilities, ChangeKind, Context, Desired, Discovered, Exec, Feature, Fingerprint, Health, LogLine,
    LogOptions, Observed, ObservedInstance, ObservedService, Plan, PlanError, Promote, Revision, Service, ServiceRef,
    Session, Stack, Target, TargetError, TargetErrorKind, diff,
};
use windflow_core::{ContentHash, OwnerId, ServiceName, StackName, TargetName};

/// How many revisions are kept.
const KEPT: usize = 10;

/// A folder in which stacks live as files.
#[derive(Clone, Debug)]
pub struct FolderTarget {
    name: TargetName,
    owner: OwnerId,
    root: PathBuf,
    capabilities: Capabilities,
}

/// What is known of a stack besides its services.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    revisions: Vec<Revision>,
    current: Option<u64>,
    /// The intent that is being applied, and its key: what was cut is found here, and continued.
    doing: Option<(ContentHash, String)>,
}

impl FolderTarget {
    /// The stacks of this owner in this folder.
    #[must_use]
    pub fn new(name: TargetName, owner: OwnerId, root: impl Into<PathBuf>) -> Self {
        let capabilities = Capabilities::new("folder").with_features([Feature::Discover]).with_service_fields([
            "image",
            "process",
            "command",
            "environment",
            "ports",
            "depends_on",
            "labels",
        ]);
        Self { name, owner, root: root.into(), capabilities }
    }

    fn dir(&self, stack: &StackName) -> PathBuf {
        self.root.join(self.owner.as_str()).join(stack.as_str())
    }

    fn file(&self, stack: &StackName, service: &ServiceName) -> PathBuf {
        self.dir(stack).join("services").join(format!("{service}.json"))
    }

    fn failed(&self, stack: &StackName) -> impl Fn(io::Error) -> TargetError {
        move |error| {
            let kind = match error.kind() {
                ErrorKind::PermissionDenied => TargetErrorKind::Denied,
                // A file is there or not, so it is safe to try again.
                _ => TargetErrorKind::Transient,
            };
            TargetError::new(&self.name, kind, error).in_stack(stack)
        }
    }

    fn record(&self, stack: &StackName) -> Result<Record, TargetError> {
        let found = read(&self.dir(stack).join("record.json")).map_err(self.failed(stack))?;
        Ok(found.unwrap_or_default())
    }

    fn services(&self, stack: &StackName) -> Result<BTreeMap<ServiceName, Service>, TargetError> {
        let failed = self.failed(stack);
        let mut services = BTreeMap::new();
        for file in names(&self.dir(stack).join("services")).map_err(&failed)? {
            // Whatever is not a service of ours is left alone.
            let Some(name) = file.strip_suffix(".json").and_then(|name| ServiceName::new(name).ok()) else { continue };
            if let Some(service) = read(&self.file(stack, &name)).map_err(&failed)? {
                services.insert(name, service);
            }
        }
        Ok(services)
    }

    fn look(&self, stack: &StackName) -> Result<Observed, TargetError> {
        let mut observed = Observed::absent();
        let record = self.record(stack)?;
        observed.current = record.revisions.into_iter().find(|kept| Some(kept.number) == record.current);
        for (name, service) in self.services(stack)? {
            let spec = diff::owned_spec(&service, &self.capabilities);
            // A file that is there is as healthy as a file can be.
            let mut found = ObservedService::new(spec, Health::Healthy);
            found.instances.push(ObservedInstance::new(format!("{name}.json"), Health::Healthy));
            observed.services.insert(name, found);
        }
        Ok(observed)
    }

    /// Makes the services those of the stack, one file at a time; between two, the call may be cut or cancelled.
    async fn converge(&self, cx: &Context, name: &StackName, wanted: Option<&Stack>) -> Result<(), TargetError> {
        let failed = self.failed(name);
        let there = self.services(name)?;
        for service in there.keys() {
            if wanted.is_none_or(|stack| !stack.services.contains_key(service)) {
                cx.progress(format_args!("removing {service}"));
                fs::remove_file(self.file(name, service)).map_err(&failed)?;
                self.between(cx, name).await?;
            }
        }
        let Some(stack) = wanted else { return Ok(()) };
        for service in stack.start_order() {
            let Some(wanted) = stack.services.get(service) else { continue };
            if there.get(service) != Some(wanted) {
                cx.progress(format_args!("writing {service}"));
                write(&self.file(name, service), wanted).map_err(&failed)?;
                self.between(cx, name).await?;
            }
        }
        Ok(())
    }

    async fn between(&self, cx: &Context, stack: &StackName) -> Result<(), TargetError> {
        tokio::task::yield_now().await;
        match cx.cancel().is_cancelled() {
            false => Ok(()),
            true => {
                Err(TargetError::new(&self.name, TargetErrorKind::Cancelled, "stopped between two files")
                    .in_stack(stack))
            }
        }
    }
}

#[async_trait]
impl Target for FolderTarget {
    fn name(&self) -> &TargetName {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn probe(&self, _: &Context) -> Result<Fingerprint, TargetError> {
        fs::create_dir_all(&self.root)
            .map_err(|error| TargetError::new(&self.name, TargetErrorKind::Unreachable, error))?;
        Ok(Fingerprint::new("1", std::env::consts::ARCH).with("folder", self.root.to_string_lossy()))
    }

    async fn observe(&self, _: &Context, stack: &StackName) -> Result<Observed, TargetError> {
        self.look(stack)
    }

    fn watch(&self, _: &Context, stack: &StackName) -> BoxStream<'static, Result<Observed, TargetError>> {
        // Nobody tells of changes here, and the capabilities say so: it looks once a second.
        let (this, stack) = (self.clone(), stack.clone());
        stream::unfold(true, move |first| {
            let (this, stack) = (this.clone(), stack.clone());
            async move {
                if !first {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Some((this.look(&stack), false))
            }
        })
        .boxed()
    }

    async fn plan(&self, cx: &Context, desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
        if let Desired::Present(stack) = desired {
            diff::refuse(stack, &self.capabilities, &self.name)?;
        }
        let mut plan = Plan::on(cx, &self.owner, &self.name, desired, observed);
        plan.changes = diff::changes(desired, observed, &self.capabilities, |_| ChangeKind::Update);
        Ok(plan)
    }

    async fn apply(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        let name = plan.desired.stack();
        let failed = self.failed(name);
        diff::check_bound(plan, &self.owner, &self.name)?;
        let mut record = self.record(name)?;
        let mine = (plan.intent(), cx.key().to_owned());
        // What this very call began earlier may always be continued; anything else must find the ground unmoved.
        if record.doing.as_ref() != Some(&mine) {
            let observed = self.look(name)?;
            if let Some(done) = diff::already(plan, &observed, cx.key(), &self.capabilities) {
                return Ok(done);
            }
            diff::check_moved(plan, &observed, &self.name)?;
            record.doing = Some(mine);
            write(&self.dir(name).join("record.json"), &record).map_err(&failed)?;
            self.between(cx, name).await?;
        }
        let Desired::Present(stack) = &plan.desired else {
            self.converge(cx, name, None).await?;
            fs::remove_dir_all(self.dir(name)).map_err(&failed)?;
            return Ok(Applied::Revision(None));
        };
        self.converge(cx, name, Some(stack)).await?;
        let number = record.revisions.last().map_or(1, |last| last.number + 1);
        record.revisions.push(Revision::new(number, stack.clone(), cx.key(), cx.clock().now()));
        record.revisions.drain(..record.revisions.len().saturating_sub(KEPT));
        (record.current, record.doing) = (Some(number), None);
        write(&self.dir(name).join("record.json"), &record).map_err(&failed)?;
        Ok(Applied::Revision(Some(number)))
    }

    async fn stacks(&self, _: &Context) -> Result<Vec<StackName>, TargetError> {
        let ours = names(&self.root.join(self.owner.as_str()));
        let ours = ours.map_err(|error| TargetError::new(&self.name, TargetErrorKind::Transient, error))?;
        Ok(ours.iter().filter_map(|name| StackName::new(name).ok()).collect())
    }

    async fn revisions(&self, _: &Context, stack: &StackName) -> Result<Vec<Revision>, TargetError> {
        Ok(self.record(stack)?.revisions)
    }

    async fn discover(&self, _: &Context) -> Result<Vec<Discovered>, TargetError> {
        let failed = |error| TargetError::new(&self.name, TargetErrorKind::Transient, error);
        let mut found = Vec::new();
        for owner in names(&self.root).map_err(failed)?.into_iter().filter(|owner| owner != self.owner.as_str()) {
            for stack in names(&self.root.join(&owner)).map_err(failed)? {
                let Ok(name) = StackName::new(&stack) else { continue };
                let files = names(&self.root.join(&owner).join(&stack).join("services")).map_err(failed)?;
                let services = files.iter().filter_map(|file| file.strip_suffix(".json")).map(str::to_owned).collect();
                found.push(Discovered::new(name, Some(owner.clone()), services, serde_json::Value::Null));
            }
        }
        Ok(found)
    }

    // What is not offered says so, and the capabilities agree.

    async fn promote(&self, _: &Context, stack: &StackName, _: Promote) -> Result<Applied, TargetError> {
        Err(TargetError::unsupported(&self.name, "staged rollouts").in_stack(stack))
    }

    async fn adopt(&self, _: &Context, found: &Discovered, _: &Desired) -> Result<Revision, TargetError> {
        Err(TargetError::unsupported(&self.name, "adoption").in_stack(&found.name))
    }

    fn logs(&self, _: &Context, of: &ServiceRef, _: LogOptions) -> BoxStream<'static, Result<LogLine, TargetError>> {
        stream::iter([Err(TargetError::unsupported(&self.name, "logs").in_stack(&of.stack))]).boxed()
    }

    async fn exec(&self, _: &Context, of: &ServiceRef, _: Exec) -> Result<Session, TargetError> {
        Err(TargetError::unsupported(&self.name, "running commands").in_stack(&of.stack))
    }
}

/// The names in a folder, in order; none when it is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> io::Result<Option<T>> {
    match fs::read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => Ok(Some(serde_json::from_slice(&bytes?)?)),
    }
}

/// Whole or not at all: written beside, then put in its place.
fn write(file: &Path, value: &impl Serialize) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension("new");
    fs::write(&beside, serde_json::to_vec_pretty(value)?)?;
    fs::rename(beside, file)
}
