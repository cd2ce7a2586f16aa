//! Random workflows.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::workflow::{Compensate, Join, Node, OnFailure, OnUnknown, Retry, Workflow};

/// A random workflow of up to twelve nodes.
pub(super) fn random(rng: &mut fastrand::Rng) -> Option<Arc<Workflow>> {
    let count = rng.usize(1..=12);
    let mut builder = Workflow::builder("random").max_parallel(rng.u32(1..=6));
    for i in 0..count {
        let dense = rng.u8(1..=4);
        let needs: Vec<usize> = (0..i).filter(|_| rng.u8(0..8) < dense).collect();
        let attempts = rng.u32(1..=4);
        let mut node = Node::new(format!("n{i}"), if rng.u8(0..6) == 0 { "loose" } else { "act" })
            .needs(needs.iter().map(|need| format!("n{need}")))
            .retry(Retry::attempts(attempts).initial(Duration::from_millis(rng.u64(1..20_000))));
        if rng.u8(0..8) == 0 {
            node = node.when("inputs.yes");
        } else if rng.u8(0..12) == 0 {
            node = node.when("inputs.no");
        }
        if needs.len() > 1 && rng.u8(0..5) == 0 {
            node = node.join(Join::Any);
        }
        if let Some(need) = needs.first()
            && rng.bool()
        {
            node = node.input(json!({ "from": format!("${{{{ nodes.n{need}.output }}}}") }));
        }
        if rng.u8(0..6) == 0 {
            node = node.timeout(Duration::from_millis(rng.u64(500..30_000)));
        }
        if rng.u8(0..12) == 0 {
            node = node.deadline(Duration::from_secs(rng.u64(5..400)));
        }
        node = match rng.u8(0..10) {
            0 => node.compensate(Compensate::Nothing),
            1 => node.compensate(Compensate::Own { retry: Box::new(Retry::attempts(rng.u32(1..=6))) }),
            _ => node,
        };
        if rng.bool() {
            node = node.on_unknown(OnUnknown::Retry);
        }
        builder = builder.node(node);
    }
    if rng.u8(0..5) == 0 {
        builder = builder.on_failure(OnFailure::Stop);
    }
    builder.build().ok()
}
