//! One HTTP call: resolved once, sent to the address that was judged, redirected by hand.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::EgressPolicy;

/// The most a response may hold.
const MOST: u64 = 1024 * 1024;
/// The most redirects that are followed.
const REDIRECTS: usize = 3;
/// How long resolving and connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A header, and whether it must not follow to another host.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub name: HeaderName,
    pub value: HeaderValue,
    pub secret: bool,
}

/// What is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub method: Method,
    pub url: Uri,
    pub headers: Vec<Header>,
    pub body: Option<Vec<u8>>,
    pub timeout: Duration,
    /// Whose certificates are trusted, in place of the public authorities.
    pub authorities: Option<Vec<Certificate<'static>>>,
}

/// The certificates in a PEM text.
pub(super) fn certificates(pem: &str) -> Result<Vec<Certificate<'static>>, String> {
    let mut found = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("is no PEM: {error}")),
        }
    }
    if found.is_empty() {
        Err("holds no certificate: give PEM, -----BEGIN CERTIFICATE-----…".to_owned())
    } else {
        Ok(found)
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why nothing usable came back.
#[derive(Debug)]
pub(super) struct Failure {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
}

/// What is known of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may not be made.
    Refused,
    /// It did not reach the server.
    NotSent,
    /// It may have.
    Lost,
}

fn failure(kind: Kind, message: impl std::fmt::Display) -> Failure {
    Failure { kind, message: message.to_string(), hint: None }
}

/// The time the author gave it is over.
fn out_of_time(kind: Kind, timeout: Duration) -> Failure {
    let hint = "give it longer with 'timeout' in 'with', such as timeout: 2m; 5m at most".to_owned();
    Failure { hint: Some(hint), ..failure(kind, format_args!("no answer within {timeout:?}, its timeout")) }
}

/// Leads to the one address that was judged.
#[derive(Debug)]
struct Pinned(SocketAddr);

impl Resolver for Pinned {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &ureq::config::Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        found.push(self.0);
        Ok(found)
    }
}

/// Makes the call, and follows up to three redirects of a safe method.
pub(super) async fn send(policy: &EgressPolicy, mut call: Call) -> Result<Reply, Failure> {
    let until = Instant::now() + call.timeout;
    for _ in 0..=REDIRECTS {
        let address = resolve(policy, &call.url).await?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(out_of_time(Kind::NotSent, call.timeout));
        }
        let this = call.clone();
        let reply = tokio::task::spawn_blocking(move || exchange(this, address, left)).await;
        let reply = reply.map_err(|error| failure(Kind::Lost, error))??;
        match redirect(&call, &reply)? {
            Some(next) => call = next,
            None => return Ok(reply),
        }
    }
    Err(failure(Kind::Refused, format_args!("more than {REDIRECTS} redirects")))
}

/// Refuses a url with a name or a password in it: urls are shown. The sentence does not say which they are.
pub(super) fn no_credentials(url: &Uri) -> Result<(), String> {
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("the url holds credentials: use a header with a secret reference".to_owned());
    }
    Ok(())
}

/// The address to connect to; every address of the name must be open, so that its order does not matter.
async fn resolve(policy: &EgressPolicy, url: &Uri) -> Result<SocketAddr, Failure> {
    let refused = |why: String| failure(Kind::Refused, why);
    let encrypted = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(refused("the url is neither http nor https".to_owned())),
    };
    let authority = url.authority().ok_or_else(|| refused("the url names no host".to_owned()))?;
    no_credentials(url).map_err(refused)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let found = tokio::time::timeout(CONNECT, tokio::net::lookup_host((host.as_str(), port))).await;
    let found =
        found.map_err(|_| failure(Kind::NotSent, format_args!("{host} was not resolved within {CONNECT:?}")))?;
    let found: Vec<SocketAddr> =
        found.map_err(|error| failure(Kind::NotSent, format_args!("{host} cannot be resolved: {error}")))?.collect();
    for address in &found {
        policy.judge(&host, *address, encrypted).map_err(refused)?;
    }
    // A server on the local machine mostly listens on IPv4 only.
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| failure(Kind::NotSent, format_args!("{host} has no address")))
}

/// Sends one request to one address, and reads what comes back.
fn exchange(call: Call, address: SocketAddr, left: Duration) -> Result<Reply, Failure> {
    let roots = call.authorities.as_deref().map_or(RootCerts::WebPki, RootCerts::new_with_certs);
    let config = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_connections(0)
        .allow_non_standard_methods(true)
        .timeout_connect(Some(CONNECT.min(left)))
        .timeout_global(Some(left))
        .user_agent(concat!("windflow/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = Agent::with_parts(config, DefaultConnector::default(), Pinned(address));
    let mut request = Request::builder().method(call.method).uri(call.url);
    if let Some(headers) = request.headers_mut() {
        headers.extend(call.headers.into_iter().map(|header| (header.name, header.value)));
    }
    let refused = |error: ureq::http::Error| failure(Kind::Refused, error);
    let response = match call.body {
        Some(body) => agent.run(request.body(body).map_err(refused)?),
        None => agent.run(request.body(()).map_err(refused)?),
    };
    let lost = |error| lost(error, call.timeout, left);
    let (parts, mut body) = response.map_err(lost)?.into_parts();
    let body = body.with_config().limit(MOST).read_to_vec().map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => failure(Kind::Lost, "the response is larger than 1 MiB"),
        error => lost(error),
    })?;
    Ok(Reply { status: parts.status, headers: parts.headers, body })
}

fn lost(error: ureq::Error, timeout: Duration, left: Duration) -> Failure {
    use ureq::Timeout;
    let unsent = matches!(
        error,
        ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Tls(_)
            | ureq::Error::Rustls(_)
            | ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect)
    ) || matches!(&error, ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused
        // The certificate is looked at before anything is sent.
        || error.to_string().contains("invalid peer certificate"));
    let kind = if unsent { Kind::NotSent } else { Kind::Lost };
    match error {
        ureq::Error::Timeout(_) if unsent && CONNECT < left => {
            failure(kind, format_args!("no connection within {CONNECT:?}"))
        }
        ureq::Error::Timeout(_) => out_of_time(kind, timeout),
        // The second when an authority of the same name is trusted.
        error if ["UnknownIssuer", "BadSignature"].iter().any(|word| error.to_string().contains(word)) => {
            let hint = "if a certificate authority of your own has signed it, name that in 'ca'".to_owned();
            Failure { hint: Some(hint), ..failure(kind, "the server's certificate is signed by nobody who is trusted") }
        }
        error => failure(kind, error),
    }
}

/// The call a redirect asks for, if it asks for one that may be made: safe methods are followed, and `303` turns any
/// method into a `GET`. What would send a body again is left to the author.
fn redirect(call: &Call, reply: &Reply) -> Result<Option<Call>, Failure> {
    let safe = call.method == Method::GET || call.method == Method::HEAD;
    let follow = match reply.status.as_u16() {
        301 | 302 | 307 | 308 => safe,
        303 => true,
        _ => false,
    };
    let Some(location) = reply.headers.get(LOCATION).filter(|_| follow) else { return Ok(None) };
    let refused = |what: &str| failure(Kind::Refused, format_args!("the redirect {what}"));
    let location = location.to_str().map_err(|_| refused("is not text"))?;
    let url = join(&call.url, location).ok_or_else(|| refused("is no url"))?;
    if call.url.scheme_str() == Some("https") && url.scheme_str() != Some("https") {
        return Err(refused("leads from https to http"));
    }
    let mut next = Call { url, body: None, ..call.clone() };
    if !safe {
        next.method = Method::GET;
    }
    let same = (next.url.scheme(), next.url.authority()) == (call.url.scheme(), call.url.authority());
    if !same {
        let stays =
            |header: &Header| header.secret || [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(&header.name);
        next.headers.retain(|header| !stays(header));
    }
    Ok(Some(next))
}

/// A location as seen from a url.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next()?;
    if location.contains("://") {
        return location.parse().ok();
    }
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{scheme}://{rest}").parse().ok();
    }
    let path = match location.strip_prefix('/') {
        Some(path) => format!("/{path}"),
        None => format!("{}/{location}", base.path().rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    format!("{scheme}://{authority}{path}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_seen_from_where_it_was_given() {
        let base: Uri = "https://a.example:8443/x/y?q".parse().unwrap();
        for (location, wanted) in [
            ("/z", "https://a.example:8443/z"),
            ("z?w", "https://a.example:8443/x/z?w"),
            ("//b.example/z", "https://b.example/z"),
            ("http://b.example/#f", "http://b.example/"),
        ] {
            assert_eq!(join(&base, location).unwrap().to_string(), wanted, "{location}");
        }
    }

    #[test]
    fn credentials_do_not_follow_to_another_host_and_bodies_follow_nowhere() {
        let header = |name: &'static str, secret| Header {
            name: HeaderName::from_static(name),
            value: HeaderValue::from_static("v"),
            secret,
        };
        let mut call = Call {
            method: Method::GET,
            url: "https://a.example/".parse().unwrap(),
            headers: vec![header("authorization", false), header("x-token", true), header("accept", false)],
            body: None,
            timeout: CONNECT,
            authorities: None,
        };
        let reply = |status: u16, to: &'static str| Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: [(LOCATION, HeaderValue::from_static(to))].into_iter().collect(),
            body: Vec::new(),
        };
        assert_eq!(redirect(&call, &reply(302, "/b")).unwrap().unwrap().headers.len(), 3);
        for elsewhere in ["https://b.example/", "https://a.example:444/"] {
            let next = redirect(&call, &reply(302, elsewhere)).unwrap().unwrap();
            let names: Vec<&str> = next.headers.iter().map(|header| header.name.as_str()).collect();
            assert_eq!(names, ["accept"], "{elsewhere}");
        }
        assert!(redirect(&call, &reply(302, "http://a.example/")).is_err(), "a downgrade");
        (call.method, call.body) = (Method::POST, Some(vec![1]));
        assert!(redirect(&call, &reply(307, "/b")).unwrap().is_none());
        let next = redirect(&call, &reply(303, "/b")).unwrap().unwrap();
        assert_eq!((next.method, next.body), (Method::GET, None));
    }
}
