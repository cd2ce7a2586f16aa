//! What a running script holds. Rhai counts steps and checks the results of functions, but not what an assignment to
//! `map[key]` adds, nor what all variables take together; so every look at a variable is answered here, and measured.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rhai::{Dynamic, EvalAltResult, EvalContext, Position};

use super::limits::SandboxLimits;

/// What one value takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Scalars, lists and maps.
    pub(super) pieces: usize,
    /// About how many bytes.
    pub(super) bytes: usize,
}

/// Measures a value, and gives up with a sentence as soon as it is too large: the work is bounded as well.
pub(super) fn measure(value: &Dynamic, limits: &SandboxLimits) -> Result<Size, String> {
    let mut size = Size::default();
    walk(value, 0, limits, &mut size)?;
    Ok(size)
}

fn walk(value: &Dynamic, depth: usize, limits: &SandboxLimits, size: &mut Size) -> Result<(), String> {
    size.pieces += 1;
    size.bytes += size_of::<Dynamic>();
    if let Ok(text) = value.as_immutable_string_ref() {
        if text.len() > limits.max_string_bytes {
            return Err(format!("a text is longer than {} bytes", limits.max_string_bytes));
        }
        size.bytes += text.len();
    } else if let Ok(items) = value.as_array_ref() {
        deeper(depth, limits)?;
        for item in items.iter() {
            walk(item, depth + 1, limits, size)?;
        }
    } else if let Ok(map) = value.as_map_ref() {
        deeper(depth, limits)?;
        for (key, item) in map.iter() {
            // An entry of a B-tree takes about this much besides its key's text and its value.
            size.bytes += key.len() + 32;
            walk(item, depth + 1, limits, size)?;
        }
    } else if let Ok(bytes) = value.as_blob_ref() {
        size.bytes += bytes.len();
    }
    if size.bytes > limits.max_memory {
        return Err(format!("the values take more than {} bytes", limits.max_memory));
    }
    Ok(())
}

fn deeper(depth: usize, limits: &SandboxLimits) -> Result<(), String> {
    if depth < limits.max_value_depth {
        Ok(())
    } else {
        Err(format!("a value is nested more than {} levels deep", limits.max_value_depth))
    }
}

/// The account of one run of a script.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: SandboxLimits,
    ends: Option<Instant>,
    /// What the script was given and may read anywhere, functions included.
    given: Arc<BTreeMap<String, (Dynamic, Size)>>,
    /// What one look may add besides copies of what is looked at: keys made of the script's own literals.
    literals: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Steps charged for looking at values.
    charged: u64,
    /// The most that may have been added since all variables were last measured.
    unseen: usize,
    /// What the variables of each function call under way took when they were last measured.
    levels: Vec<usize>,
}

impl Ledger {
    pub(super) fn new(limits: SandboxLimits, given: Arc<BTreeMap<String, (Dynamic, Size)>>, script: &str) -> Self {
        let ends = Instant::now().checked_add(limits.max_time);
        Self { limits, ends, given, literals: script.len() + 256, state: Mutex::default() }
    }

    /// Asked at every step: what to stop with, if it must stop.
    pub(super) fn step(&self, operations: u64) -> Option<Dynamic> {
        let charged = self.state.lock().unwrap_or_else(PoisonError::into_inner).charged;
        if operations.saturating_add(charged) > self.limits.max_operations {
            return Some(format!("takes more than {} steps", self.limits.max_operations).into());
        }
        // Asking for the time is dearer than a step.
        if operations.is_multiple_of(64) && self.ends.is_some_and(|ends| Instant::now() > ends) {
            return Some(format!("takes longer than {:?}", self.limits.max_time).into());
        }
        None
    }

    /// Asked at every look at a variable, before it is read or changed.
    ///
    /// A step adds at most copies of what it looks at. So what has been looked at since the last measuring bounds what
    /// may have been added since, and all variables are measured again before that grows past a part of the memory
    /// allowed. Scripts over small values hardly ever pay for it.
    pub(super) fn look(
        &self,
        name: &str,
        index: usize,
        context: &EvalContext<'_, '_, '_, '_, '_, '_>,
    ) -> Result<Option<Dynamic>, Box<EvalAltResult>> {
        let stop = |told: String| Box::new(EvalAltResult::ErrorTerminated(told.into(), Position::NONE));
        let (scope, level) = (context.scope(), context.call_level());
        let own = level == 0 || scope.contains(name);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let given = self.given.get(name);
        let size = match given {
            // What was given is constant and was measured once.
            Some((_, size)) if level == 0 || !own => *size,
            _ => {
                // The variables come newest first, as `index` counts them; a shadowed one has the same name.
                let at = index.checked_sub(1).and_then(|at| scope.iter_raw().nth(at));
                let found = at.filter(|(known, ..)| *known == name);
                let found = found.or_else(|| scope.iter_raw().find(|(known, ..)| *known == name));
                match found {
                    Some((.., value)) => measure(value, &self.limits).map_err(stop)?,
                    None => Size::default(),
                }
            }
        };
        let mut looked_at = size.pieces;
        state.unseen = state.unseen.saturating_add(size.bytes).saturating_add(self.literals);
        if state.levels.len() != level + 1 || state.unseen > self.limits.max_memory / 4 {
            state.levels.resize(level, 0);
            let mut bytes = 0;
            let held = scope.iter_raw().filter(|(_, constant, _)| !constant).map(|(_, _, value)| value);
            for value in held.chain(context.this_ptr()) {
                let size = measure(value, &self.limits).map_err(stop)?;
                looked_at += size.pieces;
                bytes += size.bytes;
            }
            state.levels.push(bytes);
            state.unseen = 0;
        }
        if !own {
            looked_at += size.pieces;
        }
        state.charged += u64::try_from(looked_at / 16).unwrap_or(u64::MAX);
        if state.levels.iter().sum::<usize>() > self.limits.max_memory {
            return Err(stop(format!("the values take more than {} bytes", self.limits.max_memory)));
        }
        // A function sees its own variables only; what the script was given is there all the same.
        Ok(given.filter(|_| !own).map(|(value, _)| value.clone()))
    }
}
