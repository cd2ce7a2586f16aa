//! How instances are started again, and replaced.

use bollard::models::{
    ServiceSpecRollbackConfig, ServiceSpecRollbackConfigFailureActionEnum as RollbackAction,
    ServiceSpecRollbackConfigOrderEnum as RollbackOrder, ServiceSpecUpdateConfig,
    ServiceSpecUpdateConfigFailureActionEnum as UpdateAction, ServiceSpecUpdateConfigOrderEnum as UpdateOrder,
    TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum as On,
};
use windflow_core::target::{FailureAction, Order, PortMode, Restart, Service, Strategy, UpdateConfig};

use super::nanos;
use crate::engine::staged::is_blue_green;

pub(super) fn restart_policy(service: &Service) -> TaskSpecRestartPolicy {
    let policy = &service.restart;
    TaskSpecRestartPolicy {
        condition: Some(match policy.policy {
            Restart::No => On::NONE,
            Restart::OnFailure => On::ON_FAILURE,
            Restart::Always | Restart::UnlessStopped => On::ANY,
        }),
        delay: policy.delay.map(nanos),
        max_attempts: policy.max_attempts.map(i64::from),
        window: policy.window.map(nanos),
    }
}

/// How the Swarm is to replace instances: as `update_config` says, else as the rollout says.
fn replacing(service: &Service) -> Option<UpdateConfig> {
    let rollout = match &service.update_config {
        // Both of its sets change their names while the other has them, or none has.
        Some(config) if is_blue_green(service) => {
            return Some(UpdateConfig { order: Some(Order::StartFirst), ..config.clone() });
        }
        Some(config) => return Some(config.clone()),
        None if service.mode.is_job() => return None,
        None => service.rollout.as_ref()?,
    };
    let holds_a_port = service.ports.iter().any(|port| port.mode == PortMode::Host && port.published.is_some());
    let (parallelism, order) = match rollout.strategy {
        Some(Strategy::Recreate) => (Some(0), Some(Order::StopFirst)),
        Some(Strategy::BlueGreen) => (Some(rollout.batch.unwrap_or(0)), Some(Order::StartFirst)),
        Some(Strategy::Rolling) if !holds_a_port => (Some(rollout.batch.unwrap_or(1)), Some(Order::StartFirst)),
        _ => (rollout.batch, None),
    };
    let config = UpdateConfig { parallelism, order, monitor: rollout.min_healthy, ..UpdateConfig::default() };
    (config != UpdateConfig::default()).then_some(config)
}

pub(super) fn update_config(service: &Service) -> Option<ServiceSpecUpdateConfig> {
    let config = replacing(service)?;
    Some(ServiceSpecUpdateConfig {
        // The engine's own number for nothing said is 0, which is all at once; Compose's is 1.
        parallelism: Some(i64::from(config.parallelism.unwrap_or(1))),
        delay: config.delay.map(nanos),
        failure_action: config.failure_action.map(|action| match action {
            FailureAction::Continue => UpdateAction::CONTINUE,
            FailureAction::Rollback => UpdateAction::ROLLBACK,
            FailureAction::Pause => UpdateAction::PAUSE,
        }),
        monitor: config.monitor.map(nanos),
        max_failure_ratio: config.max_failure_ratio.as_deref().and_then(|ratio| ratio.parse().ok()),
        order: config.order.map(|order| match order {
            Order::StopFirst => UpdateOrder::STOP_FIRST,
            Order::StartFirst => UpdateOrder::START_FIRST,
        }),
    })
}

pub(super) fn rollback_config(service: &Service) -> Option<ServiceSpecRollbackConfig> {
    let config = service.rollback_config.as_ref()?;
    Some(ServiceSpecRollbackConfig {
        parallelism: Some(i64::from(config.parallelism.unwrap_or(1))),
        delay: config.delay.map(nanos),
        failure_action: config.failure_action.map(|action| match action {
            FailureAction::Continue => RollbackAction::CONTINUE,
            FailureAction::Rollback | FailureAction::Pause => RollbackAction::PAUSE,
        }),
        monitor: config.monitor.map(nanos),
        max_failure_ratio: config.max_failure_ratio.as_deref().and_then(|ratio| ratio.parse().ok()),
        order: config.order.map(|order| match order {
            Order::StopFirst => RollbackOrder::STOP_FIRST,
            Order::StartFirst => RollbackOrder::START_FIRST,
        }),
    })
}
