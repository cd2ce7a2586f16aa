//! What `windflow.yaml` puts over a target: `timeout`, `breaker`, `limit`, `dry_run`, `traced`.

use std::sync::Arc;
use std::time::Duration;

use windflow_core::target::{Breaker, DryRun, Limit, Target, Timeout, Traced};
use windflow_workflow::document::{Entry, Kind, Node, parse_duration};

use crate::config::{Reader, join};

/// The keys that every kind of target may have.
pub const LAYER_KEYS: [&str; 5] = ["timeout", "breaker", "limit", "dry_run", "traced"];

/// What stands over one target; nothing unless written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerConfig {
    /// How long a question and a change may take.
    pub timeout: Option<(Duration, Duration)>,
    /// How many failures in a row open the breaker, and for how long.
    pub breaker: Option<(u32, Duration)>,
    /// How many calls are made at once.
    pub limit: Option<usize>,
    /// Whether everything is done but the change itself.
    pub dry_run: Option<bool>,
    /// Whether every call is a span.
    pub traced: Option<bool>,
}

impl LayerConfig {
    /// What stands over a target that says this itself, where the others hold for all targets.
    #[must_use]
    pub fn or(&self, all: &Self) -> Self {
        Self {
            timeout: self.timeout.or(all.timeout),
            breaker: self.breaker.or(all.breaker),
            limit: self.limit.or(all.limit),
            dry_run: self.dry_run.or(all.dry_run),
            traced: self.traced.or(all.traced),
        }
    }

    /// The target with all of them over it, in the order in which they make sense of each other.
    #[must_use]
    pub fn over(&self, mut target: Arc<dyn Target>) -> Arc<dyn Target> {
        if let Some((questions, changes)) = self.timeout {
            target = Arc::new(Timeout::over(target).questions(questions).changes(changes));
        }
        if let Some((failures, open_for)) = self.breaker {
            target = Arc::new(Breaker::over(target).threshold(failures).open_for(open_for));
        }
        if let Some(calls) = self.limit {
            target = Arc::new(Limit::over(target).at_once(calls));
        }
        if self.dry_run == Some(true) {
            target = Arc::new(DryRun::over(target));
        }
        if self.traced == Some(true) {
            target = Arc::new(Traced::over(target));
        }
        target
    }
}

impl Reader<'_> {
    /// One of [`LAYER_KEYS`].
    pub(crate) fn layer(&mut self, entry: &Entry, path: &str, config: &mut LayerConfig) {
        let node = &entry.value;
        match &*entry.key {
            "timeout" => config.timeout = self.timeout(node, path),
            "breaker" => config.breaker = self.breaker(node, path),
            "limit" => config.limit = self.count(node, path).and_then(|calls| usize::try_from(calls).ok()),
            "dry_run" => config.dry_run = self.switch(node, path),
            "traced" => config.traced = self.switch(node, path),
            _ => {}
        }
    }

    fn switch(&mut self, node: &Node, path: &str) -> Option<bool> {
        let on = node.to_value().as_bool();
        if on.is_none() {
            let message = format!("must be true or false, not {}", node.describe());
            self.problem(node.span.start, path, message, None);
        }
        on
    }

    fn timeout(&mut self, node: &Node, path: &str) -> Option<(Duration, Duration)> {
        let (mut questions, mut changes) = (Timeout::QUESTIONS, Timeout::CHANGES);
        if !matches!(node.kind, Kind::Map(_)) {
            return self.time(node, path).map(|questions| (questions, changes));
        }
        for entry in self.fields(node, path, "a timeout", &["questions", "changes"]) {
            let at = join(path, &entry.key);
            match &*entry.key {
                "questions" => questions = self.time(&entry.value, &at).unwrap_or(questions),
                "changes" => changes = self.time(&entry.value, &at).unwrap_or(changes),
                _ => {}
            }
        }
        Some((questions, changes))
    }

    fn breaker(&mut self, node: &Node, path: &str) -> Option<(u32, Duration)> {
        let (mut failures, mut open_for) = (Breaker::THRESHOLD, Breaker::OPEN_FOR);
        for entry in self.fields(node, path, "a breaker", &["failures", "open_for"]) {
            let at = join(path, &entry.key);
            match &*entry.key {
                "failures" => failures = self.count(&entry.value, &at).unwrap_or(failures),
                "open_for" => open_for = self.time(&entry.value, &at).unwrap_or(open_for),
                _ => {}
            }
        }
        Some((failures, open_for))
    }

    /// A duration that is more than none.
    fn time(&mut self, node: &Node, path: &str) -> Option<Duration> {
        match parse_duration(self.text(node, path)?) {
            Ok(time) if !time.is_zero() => return Some(time),
            Ok(_) => self.problem(node.span.start, path, "must be longer than 0s", None),
            Err(message) => self.problem(node.span.start, path, message, None),
        }
        None
    }

    /// A number of at least one.
    fn count(&mut self, node: &Node, path: &str) -> Option<u32> {
        match node.to_value().as_u64().map(u32::try_from) {
            Some(Ok(number)) if number > 0 => Some(number),
            _ => {
                let message = format!("must be a whole number from 1 to {}, not {}", u32::MAX, node.describe());
                self.problem(node.span.start, path, message, None);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn edge(keys: &str) -> LayerConfig {
        let text = format!("owner: acme\ntargets:\n  edge: {{ kind: host{keys} }}\n");
        let config = Config::parse("windflow.yaml", &text).unwrap();
        config.layers.get("edge").cloned().unwrap_or_default()
    }

    #[test]
    fn layers_are_read_and_absent_unless_written() {
        assert_eq!(edge(""), LayerConfig::default());
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let all =
            edge(", timeout: 30s, breaker: { failures: 3, open_for: 10s }, limit: 4, dry_run: true, traced: true");
        assert_eq!(
            all,
            LayerConfig {
                timeout: Some((30 * second, Timeout::CHANGES)),
                breaker: Some((3, 10 * second)),
                limit: Some(4),
                dry_run: Some(true),
                traced: Some(true),
            }
        );
        assert_eq!(edge(", timeout: { changes: 15m }").timeout, Some((Timeout::QUESTIONS, 15 * minute)));
        assert_eq!(edge(", breaker: {}").breaker, Some((5, 30 * second)));
    }

    #[test]
    fn what_is_written_once_stands_over_all_targets_and_one_may_say_otherwise() {
        let text = "owner: acme\ntargets:\n  edge: { kind: host, timeout: 5s, traced: false }\nlayers: { timeout: 9s, limit: 2, traced: true }\n";
        let config = Config::parse("windflow.yaml", text).unwrap();
        let second = Duration::from_secs(1);
        let all = LayerConfig {
            timeout: Some((9 * second, Timeout::CHANGES)),
            limit: Some(2),
            traced: Some(true),
            ..LayerConfig::default()
        };
        for unwritten in ["local", "docker", "swarm"] {
            assert_eq!(config.layers_of(&unwritten.parse().unwrap()), all);
        }
        let timeout = Some((5 * second, Timeout::CHANGES));
        let edge = LayerConfig { timeout, traced: Some(false), ..all };
        assert_eq!(config.layers_of(&"edge".parse().unwrap()), edge);
        let wrong = Config::parse("windflow.yaml", "owner: acme\nlayers: { limt: 2, timeout: 0s }\n").unwrap_err();
        let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "windflow.yaml:2:11: layers.limt: is not a key of the layers of all targets (did you mean 'limit'?)",
                "windflow.yaml:2:29: layers.timeout: must be longer than 0s",
            ]
        );
    }

    #[test]
    fn what_is_wrong_with_a_layer_is_told_at_its_place() {
        let text = "owner: acme\ntargets:\n  edge:\n    kind: host\n    timeout: 0s\n    breaker: { failure: 3, open_for: soon }\n    limit: 0\n    traced: maybe\n    dry_run: 1\n";
        let problems = Config::parse("windflow.yaml", text).unwrap_err();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let all = lines.join("\n");
        for told in [
            ":5:14: targets.edge.timeout: must be longer than 0s",
            ":6:16: targets.edge.breaker.failure: is not a key of a breaker (did you mean 'failures'?)",
            "targets.edge.breaker.open_for: 'soon' is not a duration",
            ":7:12: targets.edge.limit: must be a whole number from 1 to 4294967295",
            ":8:13: targets.edge.traced: must be true or false",
            ":9:14: targets.edge.dry_run: must be true or false",
        ] {
            assert!(all.contains(told), "{told}\n{all}");
        }
        assert_eq!(lines.len(), 6, "{all}");
    }
}
