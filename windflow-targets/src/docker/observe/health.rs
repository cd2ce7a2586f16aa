//! How a container is.

use std::time::Duration;

use bollard::models::{ContainerState, ContainerStateStatusEnum, HealthStatusEnum, RestartPolicyNameEnum};
use windflow_core::Timestamp;
use windflow_core::target::Health;

use crate::docker::look::Found;
use crate::engine::parse_moment;

/// So many restarts in a row are a crash loop: it will not come up by itself.
pub(in crate::docker) const CRASH_LOOP: i64 = 2;

/// The health of a container now. One without a health check is healthy when it has run for `settle`.
pub(in crate::docker) fn health(found: &Found, now: Timestamp, settle: Duration) -> Health {
    let state = found.inspect.state.clone().unwrap_or_default();
    let restarts = found.inspect.restart_count.unwrap_or(0);
    match state.status.unwrap_or(ContainerStateStatusEnum::EMPTY) {
        ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING => {
            running(&state, restarts, now, settle)
        }
        ContainerStateStatusEnum::PAUSED => Health::Unhealthy { why: "it is paused".to_owned() },
        ContainerStateStatusEnum::RESTARTING if restarts >= CRASH_LOOP => {
            Health::Failed { why: format!("{}, again and again ({restarts} restarts)", exit_reason(&state)) }
        }
        ContainerStateStatusEnum::RESTARTING => Health::Starting,
        ContainerStateStatusEnum::EXITED => ended(found, &state),
        ContainerStateStatusEnum::DEAD => Health::Failed { why: "the engine could not remove it".to_owned() },
        ContainerStateStatusEnum::REMOVING => Health::Stopped,
        ContainerStateStatusEnum::CREATED | ContainerStateStatusEnum::EMPTY => match start_error(&state) {
            Some(why) => Health::Failed { why },
            None => Health::Starting,
        },
    }
}

fn running(state: &ContainerState, restarts: i64, now: Timestamp, settle: Duration) -> Health {
    let check = state.health.clone().unwrap_or_default();
    match check.status {
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::UNHEALTHY) => {
            let last = check.log.and_then(|mut log| log.pop());
            let said = last.as_ref().and_then(|last| last.output.as_deref()).unwrap_or("").trim();
            let said = said.lines().last().unwrap_or("");
            let why = match (said, last.as_ref().and_then(|last| last.exit_code)) {
                ("", Some(code)) => format!("its health check ends with exit code {code}"),
                ("", None) => "its health check fails".to_owned(),
                (said, _) => format!("its health check fails: {said}"),
            };
            Health::Unhealthy { why }
        }
        _ => {
            let since = state.started_at.as_deref().and_then(parse_moment);
            let steady = since.is_none_or(|since| since.after(settle) <= now);
            // The clocks of two machines may differ: one that has run into our future has run long enough.
            let ahead = since.is_some_and(|since| since > now.after(Duration::from_secs(60)));
            if steady || (ahead && restarts == 0) { Health::Healthy } else { Health::Starting }
        }
    }
}

/// Whether the engine starts it again whatever it ends with.
pub(in crate::docker) fn comes_back(found: &Found) -> bool {
    let policy = found.inspect.host_config.as_ref().and_then(|host| host.restart_policy.as_ref());
    let policy = policy.and_then(|policy| policy.name).unwrap_or(RestartPolicyNameEnum::NO);
    matches!(policy, RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED)
}

fn ended(found: &Found, state: &ContainerState) -> Health {
    match state.exit_code {
        _ if start_error(state).is_some() => Health::Failed { why: start_error(state).unwrap_or_default() },
        // The engine starts these again whatever they end with, unless somebody has stopped them.
        _ if comes_back(found) => Health::Stopped,
        Some(0) => Health::Completed,
        _ => Health::Failed { why: exit_reason(state) },
    }
}

/// Why the engine could not start it: what it says first.
fn start_error(state: &ContainerState) -> Option<String> {
    let said = state.error.as_deref().filter(|said| !said.is_empty())?;
    Some(format!("it cannot be started: {}", said.lines().next().unwrap_or(said)))
}

/// Why a container ended.
pub(in crate::docker) fn exit_reason(state: &ContainerState) -> String {
    let code = state.exit_code.unwrap_or(0);
    if state.oom_killed == Some(true) {
        return format!("it ran out of memory and was killed (exit code {code})");
    }
    match code {
        126 => "its program cannot be run (exit code 126)".to_owned(),
        127 => "its program is not in the image (exit code 127)".to_owned(),
        code @ 129..=159 => format!("signal {} ended it (exit code {code})", code - 128),
        code => format!("it ended with exit code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::{ContainerInspectResponse, Health as Check, HealthcheckResult, HostConfig, RestartPolicy};
    use windflow_core::ServiceName;
    use windflow_core::target::Service;

    fn found(policy: RestartPolicyNameEnum, restarts: i64, state: ContainerState) -> Found {
        let restart_policy = Some(RestartPolicy { name: Some(policy), ..RestartPolicy::default() });
        let host_config = Some(HostConfig { restart_policy, ..HostConfig::default() });
        let (state, restart_count) = (Some(state), Some(restarts));
        Found {
            id: "1".to_owned(),
            service: ServiceName::new("web").unwrap(),
            instance: 1,
            spec: Service::default(),
            identity: None,
            inspect: ContainerInspectResponse { state, restart_count, host_config, ..Default::default() },
        }
    }

    fn state(status: ContainerStateStatusEnum) -> ContainerState {
        let running = Some(status == ContainerStateStatusEnum::RUNNING);
        let started_at = Some("2026-11-22T00:00:00Z".to_owned());
        ContainerState { status: Some(status), running, started_at, ..ContainerState::default() }
    }

    fn ended(code: i64) -> ContainerState {
        ContainerState { exit_code: Some(code), ..state(ContainerStateStatusEnum::EXITED) }
    }

    /// Half a second after the start.
    fn now() -> Timestamp {
        parse_moment("2026-11-22T00:00:00.5Z").unwrap()
    }

    fn told(found: &Found) -> String {
        match health(found, now(), Duration::from_secs(1)) {
            Health::Failed { why } => format!("failed: {why}"),
            Health::Unhealthy { why } => format!("unhealthy: {why}"),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn a_container_without_a_check_is_healthy_when_it_has_run_for_a_while() {
        let running = found(RestartPolicyNameEnum::NO, 0, state(ContainerStateStatusEnum::RUNNING));
        assert_eq!(health(&running, now(), Duration::from_secs(1)), Health::Starting);
        assert_eq!(health(&running, now(), Duration::from_millis(400)), Health::Healthy);
        let earlier = parse_moment("2026-11-21T00:00:00Z").unwrap();
        assert_eq!(health(&running, earlier, Duration::from_secs(1)), Health::Healthy, "clocks may differ by a day");
    }

    #[test]
    fn an_end_is_told_by_code_signal_memory_and_policy() {
        use RestartPolicyNameEnum::{ALWAYS, NO};
        assert_eq!(told(&found(NO, 0, ended(0))), "completed");
        assert_eq!(told(&found(NO, 0, ended(3))), "failed: it ended with exit code 3");
        assert_eq!(told(&found(NO, 0, ended(137))), "failed: signal 9 ended it (exit code 137)");
        let killed = ContainerState { oom_killed: Some(true), ..ended(137) };
        assert_eq!(told(&found(NO, 0, killed)), "failed: it ran out of memory and was killed (exit code 137)");
        assert_eq!(
            told(&found(ALWAYS, 0, ended(0))),
            "stopped",
            "the engine would start it again, had nobody stopped it"
        );
        let unstarted = ContainerState { error: Some("no such program\nmore".to_owned()), ..ended(127) };
        assert_eq!(told(&found(NO, 0, unstarted)), "failed: it cannot be started: no such program");
    }

    #[test]
    fn a_container_that_keeps_ending_is_in_a_crash_loop() {
        let again = ContainerState { exit_code: Some(7), ..state(ContainerStateStatusEnum::RESTARTING) };
        assert_eq!(told(&found(RestartPolicyNameEnum::ALWAYS, 1, again.clone())), "starting");
        let looping = found(RestartPolicyNameEnum::ALWAYS, 4, again);
        assert_eq!(told(&looping), "failed: it ended with exit code 7, again and again (4 restarts)");
    }

    #[test]
    fn a_check_that_fails_is_told_with_its_last_word() {
        let log = vec![HealthcheckResult { output: Some("no\ndatabase\n".to_owned()), ..Default::default() }];
        let check = Check { status: Some(HealthStatusEnum::UNHEALTHY), log: Some(log), ..Check::default() };
        let sick = ContainerState { health: Some(check), ..state(ContainerStateStatusEnum::RUNNING) };
        assert_eq!(told(&found(RestartPolicyNameEnum::NO, 0, sick)), "unhealthy: its health check fails: database");
        let paused = found(RestartPolicyNameEnum::NO, 0, state(ContainerStateStatusEnum::PAUSED));
        assert_eq!(told(&paused), "unhealthy: it is paused");
    }
}
