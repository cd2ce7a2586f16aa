//! Random workflows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hash::ContentHash;
use crate::workflow::{
    Body, Case, Compensate, Join, Node, OnFailure, OnItemFailure, OnUnknown, Retry, Workflow, WorkflowBuilder,
    WorkflowSpec,
};

/// Every workflow that runs of a workflow may have, itself included, by hash.
pub(super) type Plans = HashMap<ContentHash, Arc<Workflow>>;

/// A random workflow of up to twelve nodes, some of which hold others.
pub(super) fn random(rng: &mut fastrand::Rng) -> Option<Arc<Workflow>> {
    Drawing { rng, depth: 0 }.workflow(12, None).build().ok()
}

/// All that is within a workflow.
pub(super) fn plans(of: &Arc<Workflow>) -> Plans {
    let mut all = Plans::new();
    let mut open = vec![Arc::clone(of)];
    while let Some(plan) = open.pop() {
        open.extend(plan.indices().flat_map(|node| plan.bodies(node)).map(Arc::clone));
        all.insert(plan.hash(), plan);
    }
    all
}

struct Drawing<'a> {
    rng: &'a mut fastrand::Rng,
    depth: usize,
}

impl Drawing<'_> {
    /// One of up to so many nodes; `around` is a node it may read.
    fn workflow(&mut self, most: usize, around: Option<&str>) -> WorkflowBuilder {
        let count = self.rng.usize(1..=most);
        // Names tell how deep they lie: what is around is not hidden by what is within.
        let name = |depth: usize, i: usize| format!("{}{i}", ["n", "m", "k"][depth]);
        let mut builder = Workflow::builder("random").max_parallel(self.rng.u32(1..=6));
        for i in 0..count {
            let dense = self.rng.u8(1..=4);
            let needs: Vec<String> =
                (0..i).filter(|_| self.rng.u8(0..8) < dense).map(|need| name(self.depth, need)).collect();
            let read = needs.first().cloned().or_else(|| around.map(str::to_owned));
            let holds = self.depth < 2 && self.rng.u8(0..8) == 0;
            let mut node = match holds {
                true => self.holding(&name(self.depth, i), read.as_deref()),
                false => self.acting(&name(self.depth, i), read.as_deref()),
            };
            if self.rng.u8(0..8) == 0 {
                node = node.when("inputs.yes");
            } else if self.rng.u8(0..12) == 0 {
                node = node.when("inputs.no");
            }
            if needs.len() > 1 && self.rng.u8(0..5) == 0 {
                node = node.join(Join::Any);
            }
            if self.rng.u8(0..12) == 0 {
                node = node.deadline(Duration::from_secs(self.rng.u64(5..400)));
            }
            if self.rng.u8(0..10) == 0 {
                node = node.compensate(Compensate::Nothing);
            }
            builder = builder.node(node.needs(needs));
        }
        if self.rng.u8(0..5) == 0 {
            builder = builder.on_failure(OnFailure::Stop);
        }
        builder
    }

    fn retry(&mut self) -> Retry {
        let attempts = self.rng.u32(1..=4);
        Retry::attempts(attempts).initial(Duration::from_millis(self.rng.u64(1..20_000)))
    }

    fn acting(&mut self, name: &str, read: Option<&str>) -> Node {
        let uses = if self.rng.u8(0..6) == 0 { "loose" } else { "act" };
        let mut node = Node::new(name, uses).retry(self.retry());
        if let Some(need) = read
            && self.rng.bool()
        {
            node = node.input(json!({ "from": format!("${{{{ nodes.{need}.output }}}}") }));
        }
        if self.rng.u8(0..6) == 0 {
            node = node.timeout(Duration::from_millis(self.rng.u64(500..30_000)));
        }
        if self.rng.u8(0..10) == 0 {
            node = node.compensate(Compensate::Own { retry: Box::new(Retry::attempts(self.rng.u32(1..=6))) });
        }
        if self.rng.bool() {
            node = node.on_unknown(OnUnknown::Retry);
        }
        node
    }

    fn inner(&mut self, read: Option<&str>) -> Option<Box<WorkflowSpec>> {
        self.depth += 1;
        let inner = self.workflow(3, read);
        self.depth -= 1;
        let first = ["n", "m", "k"][self.depth + 1];
        inner.outputs(json!(format!("${{{{ nodes.{first}0.output }}}}"))).spec().ok().map(Box::new)
    }

    /// A node that holds a workflow. Sees to it that all of them come up.
    fn holding(&mut self, name: &str, read: Option<&str>) -> Node {
        let kind = self.rng.u8(0..5);
        // A called workflow sees nothing of what is around it.
        let Some(block) = self.inner(read.filter(|_| kind != 0)) else { return self.acting(name, read) };
        let (body, with) = match kind {
            0 => (Body::Call { workflow: block }, json!({ "yes": true, "no": false })),
            1 => (Body::Scope { block }, Value::Null),
            2 => {
                let count = self.rng.usize(0..5);
                let items = match self.rng.bool() {
                    true => (0..count).map(Value::from).collect(),
                    false => Value::Object((0..count).map(|i| (format!("i{i}"), Value::from(i))).collect()),
                };
                let collect = self.rng.u8(0..3) == 0;
                let on_item_failure = if collect { OnItemFailure::Collect } else { OnItemFailure::Stop };
                (Body::ForEach { block, max_parallel: self.rng.u32(1..4), on_item_failure }, items)
            }
            3 => {
                let every = Duration::from_millis(if self.rng.bool() { 0 } else { self.rng.u64(1..60_000) });
                let max_rounds = self.rng.u32(1..5);
                (Body::Repeat { block, until: "item.enough".to_owned(), max_rounds, every }, Value::Null)
            }
            _ => {
                let otherwise = self.rng.bool().then(|| block.clone());
                let cases = vec![Case { is: json!(1), block: *block }];
                (Body::Switch { cases, otherwise }, Value::from(self.rng.u8(1..3)))
            }
        };
        let node = Node::with_body(name, body).input(with);
        if self.rng.u8(0..3) == 0 { node.retry(self.retry()) } else { node }
    }
}
