//! What an engine's refusals mean to a caller.

use std::fmt;

use bollard::errors::Error;
use windflow_core::TargetName;
use windflow_core::target::{TargetError, TargetErrorKind};

/// Whether what was asked for is simply not there.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// What to do with an engine that is no manager of a Swarm.
pub(crate) const NO_MANAGER: &str = "make it one with 'docker swarm init', or name a manager";

fn is_no_manager(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { message, .. } if message.contains("not a swarm manager"))
}

/// An engine forbids, as it says, what only somebody else's work at this moment stands in the way of.
fn is_in_the_way(error: &Error) -> bool {
    let Error::DockerResponseServerError { status_code: 403, message } = error else { return false };
    message.contains("already exists in network") || message.contains("has active endpoints")
}

/// A call that failed: what it was, and whether it may have changed something.
pub(crate) struct Failure<'a> {
    pub target: &'a TargetName,
    pub what: &'a str,
    pub mutates: bool,
}

impl Failure<'_> {
    pub fn of(&self, error: &Error) -> TargetError {
        let (kind, said) = self.meaning(error);
        let failed = TargetError::new(self.target, kind, format_args!("{}: {said}", self.what));
        if let Some(hint) = door(error).map(|(_, hint)| hint) {
            return failed.with_hint(hint);
        }
        if is_no_manager(error) {
            return failed.with_hint(NO_MANAGER);
        }
        if is_in_the_way(error) {
            return failed.with_hint("somebody else works on the same at this moment, and doing it again helps; or `docker network inspect` says who stays on it");
        }
        match kind {
            TargetErrorKind::Unreachable => failed.with_hint("is the engine running, and may this user reach it?"),
            TargetErrorKind::Denied => failed.with_hint("the engine refuses this user"),
            _ => failed,
        }
    }

    fn meaning(&self, error: &Error) -> (TargetErrorKind, String) {
        match error {
            // It answers 503, which elsewhere means that asking again may help.
            _ if is_no_manager(error) => (TargetErrorKind::Refused, "the engine is no manager of a Swarm".to_owned()),
            _ if door(error).is_some_and(|(is_refusal, _)| is_refusal) => (TargetErrorKind::Denied, deepest(error)),
            Error::DockerResponseServerError { message, .. } if is_in_the_way(error) => {
                (TargetErrorKind::Conflict, format!("the engine says: {}", first_line(message)))
            }
            Error::DockerResponseServerError { status_code, message } => {
                (self.status(*status_code), format!("the engine says: {}", first_line(message)))
            }
            Error::DockerStreamError { error } => {
                (TargetErrorKind::Refused, format!("the engine says: {}", first_line(error)))
            }
            Error::SocketNotFoundError(path) => match std::path::Path::new(path).try_exists() {
                Err(error) => (TargetErrorKind::Denied, format!("the socket {path} cannot be looked at: {error}")),
                Ok(_) => (TargetErrorKind::Unreachable, format!("there is no socket {path}")),
            },
            Error::RequestTimeoutError => (self.unanswered(), "the engine does not answer".to_owned()),
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::StrParseError { .. } => {
                (TargetErrorKind::Transient, format!("the engine's answer cannot be read: {error}"))
            }
            Error::HyperLegacyError { err } if err.is_connect() => {
                // It never heard of it, whatever was asked.
                (TargetErrorKind::Unreachable, deepest(err))
            }
            Error::HyperLegacyError { err } => (self.unanswered(), deepest(err)),
            Error::HyperResponseError { err } => (self.unanswered(), deepest(err)),
            Error::IOError { err } if err.kind() == std::io::ErrorKind::PermissionDenied => {
                (TargetErrorKind::Denied, deepest(err))
            }
            Error::IOError { err } => (self.unanswered(), deepest(err)),
            _ => (TargetErrorKind::Refused, error.to_string()),
        }
    }

    /// What a status means. A question that a gateway or a broken engine answers with 5xx has reached nobody.
    fn status(&self, status: u16) -> TargetErrorKind {
        match status {
            404 => TargetErrorKind::NotFound,
            409 => TargetErrorKind::Conflict,
            401 | 403 | 407 => TargetErrorKind::Denied,
            408 | 429 => TargetErrorKind::Transient,
            400..=499 => TargetErrorKind::Refused,
            _ if !self.mutates => TargetErrorKind::Unreachable,
            502..=504 => TargetErrorKind::Unknown,
            _ => TargetErrorKind::Transient,
        }
    }

    /// No answer: a question may be asked again, a change may have happened.
    fn unanswered(&self) -> TargetErrorKind {
        if self.mutates { TargetErrorKind::Unknown } else { TargetErrorKind::Unreachable }
    }
}

/// Who was not let in, and never asked anything: whether that stays so until somebody has changed something, and what to do.
fn door(error: &Error) -> Option<(bool, &'static str)> {
    if !matches!(error, Error::HyperLegacyError { .. } | Error::IOError { .. } | Error::HyperResponseError { .. }) {
        return None;
    }
    let bottom = bottom(error);
    #[cfg(feature = "docker-ssh")]
    if let Some(ended) = not_let_in(bottom) {
        return Some((ended.is_refusal(), ended.hint()));
    }
    let said = bottom.to_string();
    if said.contains("invalid peer certificate") {
        return Some((true, "the engine's certificate must be signed by `ca.pem`, and say the name it is called by"));
    }
    let alerts = ["UnknownCA", "CertificateExpired", "CertificateRequired", "BadCertificate", "CertificateUnknown"];
    let refused = said.contains("fatal alert") && alerts.iter().any(|alert| said.contains(alert));
    refused.then_some((true, "the engine does not let this certificate in: look at `cert.pem` and `key.pem`"))
}

#[cfg(feature = "docker-ssh")]
fn not_let_in<'a>(bottom: &'a (dyn std::error::Error + 'static)) -> Option<&'a super::ssh::NotLetIn> {
    let within = bottom.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
    within.and_then(|within| within.downcast_ref()).or_else(|| bottom.downcast_ref())
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or("nothing")
}

fn bottom<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut deepest = error;
    while let Some(below) = deepest.source() {
        deepest = below;
    }
    deepest
}

/// The reason at the bottom of a chain: the outer ones only say that something failed.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let deepest = bottom(error);
    struct Lower<'a>(&'a dyn std::error::Error);
    impl fmt::Display for Lower<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let text = self.0.to_string();
            let mut chars = text.chars();
            match chars.next() {
                Some(first) if text.len() > 1 => write!(f, "{}{}", first.to_lowercase(), chars.as_str()),
                _ => f.write_str(&text),
            }
        }
    }
    Lower(deepest).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_means_what_the_caller_can_do() {
        let target = TargetName::new("engine").unwrap();
        let kind = |mutates: bool, status_code: u16| {
            let error = Error::DockerResponseServerError { status_code, message: "no\nmore".to_owned() };
            Failure { target: &target, what: "creating web", mutates }.of(&error)
        };
        assert_eq!(kind(true, 404).kind, TargetErrorKind::NotFound);
        assert_eq!(kind(true, 400).kind, TargetErrorKind::Refused);
        assert_eq!(kind(true, 500).kind, TargetErrorKind::Transient);
        assert_eq!(kind(true, 503).kind, TargetErrorKind::Unknown);
        assert_eq!(kind(false, 503).kind, TargetErrorKind::Unreachable);
        assert_eq!(kind(true, 409).to_string(), "engine: creating web: the engine says: no");
        let forbidden = |message: &str| {
            let error = Error::DockerResponseServerError { status_code: 403, message: message.to_owned() };
            Failure { target: &target, what: "joining", mutates: true }.of(&error).kind
        };
        assert_eq!(forbidden("authorization denied by plugin"), TargetErrorKind::Denied);
        let taken = "endpoint with name shop-web-1 already exists in network shop_default";
        assert_eq!(forbidden(taken), TargetErrorKind::Conflict);
        assert_eq!(forbidden("network shop_default has active endpoints"), TargetErrorKind::Conflict);
        let error = Error::DockerResponseServerError {
            status_code: 503,
            message: "This node is not a swarm manager. Use \"docker swarm init\"".to_owned(),
        };
        let left = Failure { target: &target, what: "listing services", mutates: false }.of(&error);
        assert_eq!((left.kind, left.hint.as_deref()), (TargetErrorKind::Refused, Some(NO_MANAGER)));
        let silent = Failure { target: &target, what: "listing", mutates: false }.of(&Error::RequestTimeoutError);
        assert!(silent.is_connection(), "{silent}");
        let reaching = |path: &str| {
            let error = Error::SocketNotFoundError(path.to_owned());
            Failure { target: &target, what: "reaching it", mutates: false }.of(&error)
        };
        assert_eq!(reaching("/nowhere/docker.sock").message, "reaching it: there is no socket /nowhere/docker.sock");
        // Closed folders are open to whoever runs tests as root; a name that is too long is not.
        let closed = reaching(&format!("/{}/docker.sock", "n".repeat(300)));
        assert_eq!(closed.kind, TargetErrorKind::Denied, "{closed}");
    }
}
