//! What an apply says that has waited for health in vain: of each service that is not ready, how it is, why, and what it
//! wrote last.

use futures_util::StreamExt as _;
use windflow_core::target::{Condition, Context, Health, LogOptions, ServiceRef};
use windflow_core::{ServiceName, StackName};

use super::HostTarget;
use super::logs;
use super::state::{InstanceState, RunSpec, StackSpec, StackState};

/// How many lines are quoted of each service.
const QUOTED: usize = 3;

impl HostTarget {
    /// What is not ready, from what the supervisor told last.
    pub(super) async fn waiting(&self, cx: &Context, spec: &StackSpec, told: Option<&StackState>) -> String {
        let Some(told) = told else { return "its supervisor has not answered".to_owned() };
        let mut all = Vec::new();
        for (name, run) in &spec.services {
            let instances = told.services.get(name);
            let instance = |n| instances.and_then(|instances| instances.get(&n)).cloned().unwrap_or_default();
            let late = (0..run.replicas).map(|n| (n, instance(n))).find(|(_, instance)| !instance.health.is_ready());
            let Some((n, late)) = late else { continue };
            let said = self.last_lines(cx, &spec.stack.name, name, n, &late).await;
            let said = if said.is_empty() { String::new() } else { format!("; last lines: {}", said.join(" | ")) };
            all.push(format!("{name} is {}{said}", state(run, &late)));
        }
        cx.masker().mask(&all.join(", "))
    }

    /// What the process that runs now wrote last; nothing when that cannot be read.
    async fn last_lines(
        &self,
        cx: &Context,
        stack: &StackName,
        service: &ServiceName,
        instance: u32,
        state: &InstanceState,
    ) -> Vec<String> {
        let Some(since) = state.since else { return Vec::new() };
        let of = ServiceRef { stack: stack.clone(), service: Some(service.clone()), instance: Some(instance) };
        let options = LogOptions { tail: Some(QUOTED), ..LogOptions::default() };
        let lines = logs::logs(self.clone(), cx.clone(), of, options);
        let own = lines.filter_map(async |line| line.ok().filter(|line| line.at.is_some_and(|at| at >= since)));
        own.map(|line| line.text.chars().take(200).collect()).collect().await
    }
}

fn state(run: &RunSpec, instance: &InstanceState) -> String {
    match (&instance.health, &instance.waiting) {
        (Health::Failed { why }, _) => format!("failed: {why}"),
        (Health::Unhealthy { why }, _) => format!("unhealthy: {why}"),
        (_, Some(why)) => format!("starting: {why}"),
        (_, None) if instance.process.is_some() || run.depends_on.is_empty() => "starting".to_owned(),
        (_, None) => {
            let needs: Vec<String> =
                run.depends_on.iter().map(|(name, need)| format!("{name} {}", until(need.condition))).collect();
            format!("not started: it waits for {}", needs.join(" and "))
        }
    }
}

fn until(condition: Condition) -> &'static str {
    match condition {
        Condition::ServiceStarted => "to be started",
        Condition::ServiceHealthy => "to be healthy",
        Condition::ServiceCompletedSuccessfully => "to be done",
    }
}
