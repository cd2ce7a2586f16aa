//! What a script may use up.

use std::time::Duration;

/// The bounds a script runs within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxLimits {
    /// Steps of the interpreter. Looking at large values counts, too: one step for every 16 pieces.
    pub max_operations: u64,
    /// How deep functions may call one another.
    pub max_call_levels: usize,
    /// How deep an expression may be nested.
    pub max_expression_depth: usize,
    /// The longest text, in bytes; also the longest script.
    pub max_string_bytes: usize,
    /// The most members of all the lists inside one value, and likewise of all its maps.
    pub max_items: usize,
    /// The most variables.
    pub max_variables: usize,
    /// The most functions a script may define.
    pub max_functions: usize,
    /// How deep lists and maps may be nested inside a value.
    pub max_value_depth: usize,
    /// About how many bytes the values of a script may take in all.
    pub max_memory: usize,
    /// The most bytes of a result, written as JSON without escapes.
    pub max_result_bytes: usize,
    /// How long it may take.
    pub max_time: Duration,
}

impl SandboxLimits {
    /// For the workflows of the person who runs the program.
    #[must_use]
    pub const fn operator() -> Self {
        Self {
            max_operations: 1_000_000,
            max_call_levels: 32,
            max_expression_depth: 48,
            max_string_bytes: 1024 * 1024,
            max_items: 10_000,
            max_variables: 64,
            max_functions: 64,
            max_value_depth: 64,
            max_memory: 16 * 1024 * 1024,
            max_result_bytes: 4 * 1024 * 1024,
            max_time: Duration::from_secs(5),
        }
    }

    /// For what somebody else has sent.
    #[must_use]
    pub const fn untrusted() -> Self {
        Self {
            max_operations: 100_000,
            max_call_levels: 32,
            max_expression_depth: 32,
            max_string_bytes: 64 * 1024,
            max_items: 1_000,
            max_variables: 64,
            max_functions: 16,
            max_value_depth: 32,
            max_memory: 2 * 1024 * 1024,
            max_result_bytes: 256 * 1024,
            max_time: Duration::from_millis(50),
        }
    }
}

impl Default for SandboxLimits {
    /// The tight ones.
    fn default() -> Self {
        Self::untrusted()
    }
}
