//! Graphs, and the work of their nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use windflow_core::{Node, Workflow};

/// Which graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Chain(u32),
    Fan(u32),
    Layered(u32, u32),
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chain(n) => write!(f, "chain {n}"),
            Self::Fan(n) => write!(f, "fan 1-{n}-1"),
            Self::Layered(layers, width) => write!(f, "layered {layers}x{width}"),
        }
    }
}

/// A graph by the parents of each node; parents come first.
#[derive(Debug)]
pub struct Graph(pub Vec<Vec<u32>>);

impl Graph {
    pub fn new(shape: Shape) -> Self {
        Self(match shape {
            Shape::Chain(n) => (0..n).map(|i| i.checked_sub(1).into_iter().collect()).collect(),
            Shape::Fan(n) => {
                let middle = (0..n).map(|_| vec![0]);
                std::iter::once(Vec::new()).chain(middle).chain([(1..=n).collect()]).collect()
            }
            Shape::Layered(layers, width) => layered(layers, width),
        })
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The children of each node.
    pub fn children(&self) -> Vec<Vec<u32>> {
        let mut children = vec![Vec::new(); self.len()];
        for (node, parents) in (0..).zip(&self.0) {
            parents.iter().for_each(|parent| children[*parent as usize].push(node));
        }
        children
    }

    /// The same with a tree of further nodes before each node of more than `most` parents, for crates whose nodes take
    /// their inputs as tuples.
    #[cfg(feature = "peers")]
    pub fn with_fan_in(&self, most: usize) -> Self {
        let (mut all, mut at): (Vec<Vec<u32>>, Vec<u32>) = (Vec::new(), Vec::new());
        for parents in &self.0 {
            let mut parents: Vec<u32> = parents.iter().map(|parent| at[*parent as usize]).collect();
            while parents.len() > most {
                let join = |group: &[u32]| {
                    all.push(group.to_vec());
                    all.len() as u32 - 1
                };
                parents = parents.chunks(most).map(join).collect();
            }
            all.push(parents);
            at.push(all.len() as u32 - 1);
        }
        Self(all)
    }

    /// The same as a workflow; each node's input is its number.
    pub fn workflow(&self) -> Arc<Workflow> {
        let mut builder = Workflow::builder("bench").max_parallel(100_000);
        for (i, parents) in self.0.iter().enumerate() {
            let node = Node::new(format!("n{i}"), "step").input(Value::from(i));
            builder = builder.node(node.needs(parents.iter().map(|parent| format!("n{parent}"))));
        }
        builder.build().unwrap()
    }
}

/// Layers in which each node has three parents of the layer before, drawn the same way every time.
fn layered(layers: u32, width: u32) -> Vec<Vec<u32>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % u64::from(width)) as u32
    };
    let mut all = Vec::with_capacity((layers * width) as usize);
    for layer in 0..layers {
        for _ in 0..width {
            let mut parents: Vec<u32> = Vec::new();
            while layer > 0 && parents.len() < 3.min(width as usize) {
                let parent = (layer - 1) * width + draw();
                if !parents.contains(&parent) {
                    parents.push(parent);
                }
            }
            all.push(parents);
        }
    }
    all
}

/// What a node does: mark that it ran and, perhaps, compute for a while.
#[derive(Debug)]
pub struct Work {
    ran: Vec<AtomicU32>,
    computes: Duration,
}

impl Work {
    pub fn new(nodes: usize, computes: Duration) -> Arc<Self> {
        Arc::new(Self { ran: (0..nodes).map(|_| AtomicU32::new(0)).collect(), computes })
    }

    #[inline(never)]
    pub fn step(&self, node: usize) {
        if !self.computes.is_zero() {
            let began = Instant::now();
            while began.elapsed() < self.computes {
                std::hint::spin_loop();
            }
        }
        self.ran[node].fetch_add(1, Ordering::Relaxed);
    }

    /// Refuses a reading of which not every node ran exactly so many times.
    pub fn check(&self, times: u32) {
        let wrong = self.ran.iter().filter(|ran| ran.load(Ordering::Relaxed) != times).count();
        assert_eq!(wrong, 0, "nodes that did not run exactly {times} times, of {}", self.ran.len());
    }
}
