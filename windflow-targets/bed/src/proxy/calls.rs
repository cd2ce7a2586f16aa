//! What is remembered of a call, and whether it changes something.

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `POST`, …
    pub method: String,
    /// What was asked for, to the letter: with the version in front and the query behind.
    pub target: String,
    /// The target without version and query: `/containers/create`.
    pub path: String,
    /// Bytes of the body, without the framing of chunks, as far as they have come.
    pub body_size: u64,
    /// Whether it may change something on the engine: all but `GET`, `HEAD` and `OPTIONS` do, and a few that are known not to.
    pub mutates: bool,
    /// What the engine has answered, once it has.
    pub status: Option<u16>,
}

/// Requests that change nothing although their method says so. `*` stands for one part of a path.
///
/// Creating and starting an exec is *not* among them: what it runs may change anything.
const HARMLESS: [(&str, &str); 6] = [
    // Answers when a container ends.
    ("POST", "/containers/*/wait"),
    // A stream.
    ("POST", "/containers/*/attach"),
    // The size of somebody's terminal.
    ("POST", "/containers/*/resize"),
    ("POST", "/exec/*/resize"),
    // Asks a registry whether a password is right.
    ("POST", "/auth"),
    // Dials a connection for a builder to ask back on.
    ("POST", "/session"),
];

impl Call {
    pub(super) fn new(method: &str, target: &str) -> Self {
        let path = path_of(target);
        Self {
            mutates: mutates(method, &path),
            method: method.to_owned(),
            target: target.to_owned(),
            path,
            body_size: 0,
            status: None,
        }
    }

    /// Whether it is one of this method and path, where `*` stands for one part of it.
    pub(super) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && matches(path, &self.path)
    }
}

fn mutates(method: &str, path: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS")
        && !HARMLESS.iter().any(|(of, pattern)| *of == method && matches(pattern, path))
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == "*" || wanted == found => {}
            _ => return false,
        }
    }
}

/// Takes the version off the front and the query off the end.
fn path_of(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let Some(rest) = path.strip_prefix("/v") else { return path.to_owned() };
    match rest.split_once('/') {
        Some((version, rest)) if version.starts_with(|first: char| first.is_ascii_digit()) => format!("/{rest}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_path_without_version_and_query() {
        let call = Call::new("POST", "/v1.41/containers/create?name=web");
        assert_eq!((call.path.as_str(), call.mutates), ("/containers/create", true));
        assert_eq!(Call::new("GET", "/volumes").path, "/volumes");
        assert_eq!(Call::new("GET", "/_ping?x=/v1/y").path, "/_ping");
    }

    #[test]
    fn what_only_waits_or_streams_changes_nothing() {
        for path in ["/containers/ab12/wait", "/containers/ab12/attach", "/exec/ab12/resize", "/auth"] {
            assert!(!mutates("POST", path), "{path}");
        }
        for path in ["/containers/ab12/start", "/containers/create", "/exec/ab12/start", "/containers/wait", "/auth/x"]
        {
            assert!(mutates("POST", path), "{path}");
        }
        assert!(mutates("DELETE", "/containers/ab12/wait"));
        assert!(!mutates("HEAD", "/containers/ab12/archive"));
    }
}
