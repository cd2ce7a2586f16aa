//! `healthcheck`.

use std::time::Duration;

use windflow_core::target::{HealthCheck, Probe};

use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::keys;
use crate::document::tree::Kind;

/// What a health check says: `Some(None)` when it is switched off.
pub(super) fn healthcheck(at: &At<'_>, problems: &mut Problems) -> Option<Option<HealthCheck>> {
    let fields = at.fields(problems, "a healthcheck", keys::HEALTH, &[])?;
    let off = fields.get("disable").and_then(|at| at.boolean(problems)).unwrap_or(false);
    let time = |key: &str, default: u64, problems: &mut Problems| {
        let given = fields.get(key).filter(|at| at.closed(problems)).and_then(|at| at.duration(problems));
        given.unwrap_or(Duration::from_secs(default))
    };
    let interval = time("interval", 30, problems);
    let timeout = time("timeout", 30, problems);
    let start_period = time("start_period", 0, problems);
    let start_interval = time("start_interval", 5, problems);
    let retries = fields.get("retries").filter(|at| at.closed(problems));
    let retries = retries.and_then(|at| at.whole(problems, 1, 1_000)).and_then(|n| u32::try_from(n).ok()).unwrap_or(3);
    for (key, value) in [("interval", interval), ("timeout", timeout), ("start_interval", start_interval)] {
        if value.is_zero()
            && let Some(at) = fields.get(key)
        {
            at.error(problems, "must be longer than nothing");
        }
    }
    let extension = fields.get("x-windflow");
    if let (Some(at), Some(_)) = (extension, fields.get("test")) {
        at.hinted(problems, "stands beside 'test', and only one of them can tell", "remove one of the two");
    }
    let probe = match (extension, fields.get("test")) {
        (Some(at), _) => ours(at, problems)?,
        (None, Some(at)) => match test(at, problems)? {
            Some(probe) => probe,
            None => return Some(None),
        },
        (None, None) if off => return Some(None),
        (None, None) => {
            let hint =
                "write 'test: [CMD, …]', or 'x-windflow: { http: { port: 8080 } }'; the image's own check is not read";
            at.hinted(problems, "does not say what is tried", hint);
            return None;
        }
    };
    if off {
        return Some(None);
    }
    Some(Some(HealthCheck { probe, interval, timeout, retries, start_period, start_interval }))
}

/// `test:` in the forms of Compose; `None` inside for `NONE`.
fn test(at: &At<'_>, problems: &mut Problems) -> Option<Option<Probe>> {
    if let Kind::Scalar(_) = at.node.kind {
        let text = at.scalar_text(problems)?;
        return Some((text != "NONE").then(|| Probe::Shell(text.to_owned())));
    }
    let words = at.texts(problems)?;
    match words.split_first() {
        Some((first, [])) if first == "NONE" => Some(None),
        Some((first, rest)) if first == "CMD" && !rest.is_empty() => Some(Some(Probe::Exec(rest.to_vec()))),
        Some((first, [text])) if first == "CMD-SHELL" => Some(Some(Probe::Shell(text.clone()))),
        _ => {
            let hint = "write [CMD, program, argument…], [CMD-SHELL, \"text\"] or [NONE]";
            at.hinted(problems, "does not start with CMD, CMD-SHELL or NONE followed by what is tried", hint);
            None
        }
    }
}

/// `x-windflow: { http: { port, path } }` or `{ tcp: { port } }`.
fn ours(at: &At<'_>, problems: &mut Problems) -> Option<Probe> {
    let fields = at.fields(problems, "x-windflow of a healthcheck", keys::HEALTH_OURS, &[])?;
    let port = |at: &At<'_>, problems: &mut Problems| {
        if !at.closed(problems) {
            return None;
        }
        at.whole(problems, 1, 65_535).and_then(|port| u16::try_from(port).ok())
    };
    match (fields.get("http"), fields.get("tcp")) {
        (Some(at), None) => {
            let http = at.fields(problems, "an HTTP check", keys::HTTP, &[])?;
            let path = http.get("path").and_then(|at| {
                let text = at.scalar_text(problems)?;
                if !text.starts_with('/') {
                    at.error(problems, "must start with '/'");
                }
                Some(text.to_owned())
            });
            let found = http.need(problems, "port", "the port the service listens on")?;
            Some(Probe::Http { port: port(found, problems)?, path: path.unwrap_or_else(|| "/".to_owned()) })
        }
        (None, Some(at)) => {
            let tcp = at.fields(problems, "a TCP check", keys::TCP, &[])?;
            let found = tcp.need(problems, "port", "the port the service listens on")?;
            Some(Probe::Tcp { port: port(found, problems)? })
        }
        _ => {
            at.error(problems, "must hold either 'http' or 'tcp'");
            None
        }
    }
}
