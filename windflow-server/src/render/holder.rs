//! Who drives a run, as people and programs read it.

use serde_json::{Value, json};
use windflow_core::store::Holder;

use super::text::{clean, moment};

/// How long the random part of a worker's name is: a UUID with its dashes.
const RANDOM: usize = 36;

/// Machine and process of a worker that this command has named: `HOST-PID-RANDOM`. A program that embeds the engine
/// names its workers as it likes.
fn process(worker: &str) -> Option<(&str, u32)> {
    let named = worker.get(..worker.len().checked_sub(RANDOM + 1)?)?;
    let (host, pid) = named.rsplit_once('-')?;
    Some((host, pid.parse().ok()?))
}

/// In one sentence.
pub fn sentence(of: &Holder) -> String {
    let until = moment(of.until);
    let worker = clean(&of.worker.0);
    match process(&of.worker.0) {
        Some((host, pid)) => {
            format!("driven by process {pid} on {}, until {until} unless renewed (worker {worker})", clean(host))
        }
        None => format!("driven by worker {worker}, until {until} unless renewed"),
    }
}

/// As JSON.
pub fn json(of: &Holder) -> Value {
    let (host, pid) = process(&of.worker.0).unzip();
    json!({ "worker": &*of.worker.0, "host": host, "process": pid, "until": of.until.to_string() })
}

#[cfg(test)]
mod tests {
    use windflow_core::Timestamp;
    use windflow_core::store::WorkerId;

    use super::*;

    #[test]
    fn a_worker_of_ours_is_told_by_its_process_and_any_other_by_its_name() {
        let random = WorkerId::generate();
        let of = |worker: String| Holder { worker: WorkerId(worker.into()), until: Timestamp(0) };
        assert!(sentence(&of(format!("my-box-4711-{random}"))).starts_with("driven by process 4711 on my-box, until "));
        for other in [random.to_string(), format!("box-{random}"), "mine".to_owned(), "é".repeat(20)] {
            assert!(sentence(&of(other.clone())).starts_with(&format!("driven by worker {other}, until ")));
            assert_eq!(json(&of(other))["process"], Value::Null);
        }
    }
}
