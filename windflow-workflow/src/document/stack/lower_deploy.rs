//! `deploy` and the older keys beside it: how many, where, with what, and how they are replaced.

use windflow_core::target::{
    Amounts, Cpus, EndpointMode, FailureAction, Mode, Order, Placement, Resources, Restart, RestartPolicy, Rollout,
    Service, Strategy, UpdateConfig,
};

use super::fields::Normal;
use crate::document::diagnostic::Problems;

pub(super) fn deploy(from: &Normal<'_>, service: &mut Service, problems: &mut Problems) {
    let deploy = from.inside("deploy");
    let deploy = deploy.as_ref();
    service.mode = match deploy.and_then(|deploy| deploy.text("mode")).as_deref() {
        Some("global") => Mode::Global,
        Some("replicated-job") => Mode::ReplicatedJob,
        Some("global-job") => Mode::GlobalJob,
        _ => Mode::Replicated,
    };
    service.endpoint_mode = match deploy.and_then(|deploy| deploy.text("endpoint_mode")).as_deref() {
        Some("vip") => Some(EndpointMode::Vip),
        Some("dnsrr") => Some(EndpointMode::Dnsrr),
        _ => None,
    };
    service.deploy_labels = deploy.map(|deploy| deploy.pairs("labels")).unwrap_or_default();
    service.update_config = deploy.and_then(|deploy| deploy.inside("update_config")).map(|at| update(&at));
    service.rollback_config = deploy.and_then(|deploy| deploy.inside("rollback_config")).map(|at| update(&at));
    service.placement =
        deploy.and_then(|deploy| deploy.inside("placement")).map(|at| placement(&at)).unwrap_or_default();
    service.restart = restart(from, deploy);
    service.resources = resources(from, deploy, problems);
}

fn update(at: &Normal<'_>) -> UpdateConfig {
    UpdateConfig {
        parallelism: at.number("parallelism"),
        delay: at.duration("delay"),
        failure_action: match at.text("failure_action").as_deref() {
            Some("continue") => Some(FailureAction::Continue),
            Some("rollback") => Some(FailureAction::Rollback),
            Some("pause") => Some(FailureAction::Pause),
            _ => None,
        },
        monitor: at.duration("monitor"),
        max_failure_ratio: at.text("max_failure_ratio"),
        order: match at.text("order").as_deref() {
            Some("stop-first") => Some(Order::StopFirst),
            Some("start-first") => Some(Order::StartFirst),
            _ => None,
        },
    }
}

fn placement(at: &Normal<'_>) -> Placement {
    Placement {
        constraints: at.texts("constraints"),
        spread: at.items("preferences").iter().filter_map(|at| at.text("spread")).collect(),
        max_replicas_per_node: at.number("max_replicas_per_node"),
    }
}

/// `deploy.restart_policy` says more than `restart`, and counts where both are written.
fn restart(from: &Normal<'_>, deploy: Option<&Normal<'_>>) -> RestartPolicy {
    if let Some(policy) = deploy.and_then(|deploy| deploy.inside("restart_policy")) {
        let on = match policy.text("condition").as_deref() {
            Some("none") => Restart::No,
            Some("on-failure") => Restart::OnFailure,
            Some("unless-stopped") => Restart::UnlessStopped,
            _ => Restart::Always,
        };
        return RestartPolicy {
            max_attempts: policy.number("max_attempts"),
            delay: policy.duration("delay"),
            window: policy.duration("window"),
            ..RestartPolicy::on(on)
        };
    }
    match from.text("restart").as_deref() {
        Some("always") => RestartPolicy::on(Restart::Always),
        Some("unless-stopped") => RestartPolicy::on(Restart::UnlessStopped),
        Some(text) if text.starts_with("on-failure") => RestartPolicy {
            max_attempts: text.split_once(':').and_then(|(_, most)| most.parse().ok()),
            ..RestartPolicy::on(Restart::OnFailure)
        },
        _ => RestartPolicy::default(),
    }
}

fn resources(from: &Normal<'_>, deploy: Option<&Normal<'_>>, problems: &mut Problems) -> Resources {
    let of = |which: &str| deploy.and_then(|deploy| deploy.inside("resources")).and_then(|at| at.inside(which));
    let (limits, reservations) = (of("limits"), of("reservations"));
    let mut out = Resources::default();
    if let Some(at) = &limits {
        out.limits = amounts(at, problems);
    }
    if let Some(at) = &reservations {
        out.reservations = amounts(at, problems);
    }
    if let Some(found) = cpus(from, "cpus", problems)
        && same(from, "cpus", limits.as_ref(), "cpus", out.limits.cpus.as_ref(), &found, problems)
    {
        out.limits.cpus = Some(found);
    }
    if let Some(found) = from.number::<u64>("mem_limit")
        && same(from, "mem_limit", limits.as_ref(), "memory", out.limits.memory.as_ref(), &found, problems)
    {
        out.limits.memory = Some(found);
    }
    if let Some(found) = from.number::<u64>("mem_reservation") {
        let there = out.reservations.memory.as_ref();
        if same(from, "mem_reservation", reservations.as_ref(), "memory", there, &found, problems) {
            out.reservations.memory = Some(found);
        }
    }
    if let Some(found) = from.number::<i64>("pids_limit")
        && same(from, "pids_limit", limits.as_ref(), "pids", out.limits.pids.as_ref(), &found, problems)
    {
        out.limits.pids = Some(found);
    }
    out
}

fn amounts(at: &Normal<'_>, problems: &mut Problems) -> Amounts {
    let generic = at.items("generic_resources");
    let generic = generic.iter().filter_map(|at| {
        let spec = at.inside("discrete_resource_spec")?;
        Some((spec.text("kind")?, spec.number("value").unwrap_or(0)))
    });
    Amounts {
        cpus: cpus(at, "cpus", problems),
        memory: at.number("memory"),
        pids: at.number("pids"),
        generic: generic.collect(),
    }
}

fn cpus(at: &Normal<'_>, key: &str, problems: &mut Problems) -> Option<Cpus> {
    let entry = at.get(key)?;
    match entry.value.as_text()?.parse::<Cpus>() {
        Ok(cpus) => Some(cpus),
        Err(message) => {
            problems.error(entry.value.span, &format!("{}.{key}", at.path), message);
            None
        }
    }
}

/// Whether an older key may stand beside the one of `deploy`: both say the same.
fn same<T: PartialEq>(
    from: &Normal<'_>,
    key: &str,
    deployed: Option<&Normal<'_>>,
    their_key: &str,
    theirs: Option<&T>,
    ours: &T,
    problems: &mut Problems,
) -> bool {
    let (Some(theirs), Some(deployed), Some(entry)) = (theirs, deployed, from.get(key)) else { return true };
    if theirs != ours {
        let message = format!("differs from '{}.{their_key}'", deployed.path);
        let path = format!("{}.{key}", from.path);
        problems.hinted(entry.value.span, &path, message, Some("keep one of the two".to_owned()));
    }
    theirs == ours
}

/// `x-windflow.rollout`. What would mean nothing with its strategy is refused: whoever wrote it expects something of it.
pub(super) fn rollout(at: &Normal<'_>, problems: &mut Problems) -> Rollout {
    let strategy = match at.text("strategy").as_deref() {
        Some("recreate") => Some(Strategy::Recreate),
        Some("rolling") => Some(Strategy::Rolling),
        Some("blue_green") => Some(Strategy::BlueGreen),
        _ => None,
    };
    let is_wrong = problems.touches(&format!("{}.strategy", at.path));
    let mut idle = |key: &str, message: &str, hint: &str| {
        let Some(entry) = at.get(key) else { return };
        problems.hinted(entry.value.span, &format!("{}.{key}", at.path), message, Some(hint.to_owned()));
    };
    if strategy != Some(Strategy::BlueGreen) && !is_wrong {
        idle("bake", "is only for the strategy blue_green", "set 'strategy: blue_green', or remove it");
    }
    if strategy == Some(Strategy::Recreate) {
        idle(
            "batch",
            "is not for the strategy recreate, which replaces all at once",
            "set 'strategy: rolling', or remove it",
        );
    }
    Rollout {
        strategy,
        batch: at.number("batch"),
        min_healthy: at.duration("min_healthy"),
        progress_deadline: at.duration("progress_deadline"),
        bake: at.duration("bake"),
    }
}
