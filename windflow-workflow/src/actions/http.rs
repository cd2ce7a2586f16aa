//! `http`: asks a server.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::{HeaderName, HeaderValue, Method, Uri};
use windflow_core::{
    Action, ErrorClass, Guarantee, Outcome, Reversal, SecretRef, Seen, StepContext, StepError, Undone,
};

use super::EgressPolicy;
use super::http_call::{Call, Header, Kind, Reply, certificates, no_credentials, send};
use super::input::{Problems, field, map, read, reveal, text};
use super::moment;

/// How long a whole call may take unless the author says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take at most.
const LONGEST: Duration = Duration::from_secs(300);
const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"];

/// Sends an HTTP request and looks at the answer.
///
/// ```yaml
/// nodes:
///   announce:
///     uses: http
///     with:
///       method: POST                             # GET unless there is a body
///       url: https://hooks.example.com/releases
///       headers: { Authorization: "Bearer secret://env/HOOK_TOKEN" }
///       json: { version: "${{ inputs.version }}" }   # or body: "text"
///       idempotency_header: Idempotency-Key      # sends the step's key, the same at every attempt
///       timeout: 20s
///       ca: secret://file/certs/ours.pem         # or the PEM itself: who may sign, in place of the public authorities
///       expect: { status: [200, 202], body: "accepted", json: { ok: true }, header: { content-type: json } }
/// ```
///
/// Output: `status`, `headers`, and `body` (text) or `json`. Without `expect`, any 2xx status will do. A method that
/// converges (`GET`, `HEAD`, `PUT`, `DELETE`, `OPTIONS`) is sent again after a failure; `POST` and `PATCH` are only
/// with `idempotency_header`, otherwise a lost answer follows the node's `on_unknown`. Up to three redirects are
/// followed, each judged anew; credentials never follow to another host. At most 1 MiB is read; proxies of the
/// environment are not used.
#[derive(Debug, Clone)]
pub struct HttpAction(EgressPolicy);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    #[serde(rename = "method")]
    _method: Option<String>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    json: Option<Value>,
    idempotency_header: Option<String>,
    timeout: Option<String>,
    ca: Option<String>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    status: Option<Statuses>,
    body: Option<String>,
    json: Option<Value>,
    header: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Statuses {
    One(u16),
    Any(Vec<u16>),
}

impl HttpAction {
    /// Goes where this policy allows.
    #[must_use]
    pub fn new(egress: EgressPolicy) -> Self {
        Self(egress)
    }
}

fn method_of(input: &Value) -> String {
    let body = input.get("body").is_some() || input.get("json").is_some();
    let named = input.get("method").and_then(Value::as_str);
    named.unwrap_or(if body { "POST" } else { "GET" }).to_ascii_uppercase()
}

fn wrong(what: impl std::fmt::Display) -> StepError {
    StepError::terminal("input", what)
}

fn header(name: &str, value: &str, secret: bool) -> Result<Header, StepError> {
    let name: HeaderName = name.parse().map_err(|_| wrong(format_args!("'{name}' is no header name")))?;
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        wrong(format_args!("the value of header '{name}' holds a line break or other control character"))
    })?;
    value.set_sensitive(secret);
    Ok(Header { name, value, secret })
}

/// Whether all of `wanted` is in `found`: maps may hold more, everything else must be equal.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| holds(found, wanted)))
        }
        _ => found == wanted,
    }
}

impl Expect {
    /// Why an answer is not what was expected.
    fn differs(&self, reply: &Reply, parsed: Option<&Value>) -> Option<String> {
        let status = reply.status.as_u16();
        let good = match &self.status {
            None => reply.status.is_success(),
            Some(Statuses::One(one)) => status == *one,
            Some(Statuses::Any(any)) => any.contains(&status),
        };
        if !good {
            let start: String = String::from_utf8_lossy(&reply.body).chars().take(200).collect();
            return Some(format!("the server answered {status}: {}", start.trim()));
        }
        if let Some(wanted) = &self.body
            && !String::from_utf8_lossy(&reply.body).contains(wanted)
        {
            return Some(format!("the answer does not contain '{wanted}'"));
        }
        if let Some(wanted) = &self.json
            && !parsed.is_some_and(|found| holds(found, wanted))
        {
            return Some(format!("the answer does not hold {wanted}"));
        }
        let missing = self.header.iter().find(|(name, wanted)| {
            let found = reply.headers.get(name.as_str()).and_then(|value| value.to_str().ok());
            !found.is_some_and(|found| found.contains(wanted.as_str()))
        });
        missing.map(|(name, wanted)| format!("the header '{name}' does not contain '{wanted}'"))
    }
}

#[async_trait]
impl Action for HttpAction {
    fn guarantee(&self, input: &Value) -> Guarantee {
        match method_of(input).as_str() {
            "POST" | "PATCH" if input.get("idempotency_header").is_some() => Guarantee::Keyed,
            "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" => Guarantee::Convergent,
            _ => Guarantee::AtLeastOnce,
        }
    }

    fn reversal(&self) -> Reversal {
        Reversal::None
    }

    fn check(&self, input: &Value) -> Problems {
        let mut problems = Problems::new();
        let known = ["method", "url", "headers", "body", "json", "idempotency_header", "timeout", "ca", "expect"];
        let Some(map) = map(input, &known, &["url"], &mut problems) else { return problems };
        field(map, "method", &mut problems, |value| match text(value)?.to_ascii_uppercase() {
            method if METHODS.contains(&method.as_str()) => Ok(()),
            method => Err(format!("'{method}' is none of {}", METHODS.join(", "))),
        });
        field(map, "url", &mut problems, |value| {
            let url: Uri = text(value)?.parse().map_err(|error| format!("is no url: {error}"))?;
            no_credentials(&url)?;
            match (url.scheme_str(), url.host()) {
                (Some("http" | "https"), Some(_)) => Ok(()),
                _ => Err("must begin with https:// or http:// and name a host".to_owned()),
            }
        });
        field(map, "headers", &mut problems, |value| {
            let texts = value.as_object().filter(|map| map.values().all(Value::is_string));
            let names = texts.ok_or_else(|| "must be a map of texts".to_owned())?;
            match names.keys().find(|name| name.parse::<HeaderName>().is_err()) {
                Some(name) => Err(format!("'{name}' is no header name")),
                None => Ok(()),
            }
        });
        field(map, "body", &mut problems, |value| text(value).map(drop));
        if map.contains_key("body") && map.contains_key("json") {
            problems.push(("/json".to_owned(), "give either `body` or `json`".to_owned()));
        }
        field(map, "idempotency_header", &mut problems, |value| match text(value)?.parse::<HeaderName>() {
            Ok(_) => Ok(()),
            Err(_) => Err("is no header name".to_owned()),
        });
        field(map, "timeout", &mut problems, |value| match moment::duration(text(value)?)? {
            time if time > LONGEST => Err("may be 5m at most".to_owned()),
            _ => Ok(()),
        });
        field(map, "ca", &mut problems, |value| match text(value)? {
            // Read just before it is used.
            reference if reference.starts_with(SecretRef::SCHEME) => Ok(()),
            pem => certificates(pem).map(drop),
        });
        field(map, "expect", &mut problems, |value| {
            let open = value.to_string().contains("${{");
            let read = serde_json::from_value::<Expect>(value.clone());
            read.map(drop).or_else(|error| if open { Ok(()) } else { Err(error.to_string()) })
        });
        problems
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let guarantee = self.guarantee(&input);
        let method: Method = method_of(&input).parse().map_err(wrong)?;
        let input: Input = read(input)?;
        let mut headers = Vec::new();
        for (name, value) in &input.headers {
            let (value, secret) = reveal(cx, value).await?;
            headers.push(header(name, &value, secret)?);
        }
        if let Some(name) = &input.idempotency_header {
            headers.push(header(name, &cx.idempotency_key(), false)?);
        }
        let body = match (input.body, input.json) {
            (Some(_), Some(_)) => return Err(wrong("give either `body` or `json`")),
            (Some(text), None) => Some(text.into_bytes()),
            (None, Some(value)) => {
                if !headers.iter().any(|header| header.name == ureq::http::header::CONTENT_TYPE) {
                    headers.push(header("content-type", "application/json", false)?);
                }
                Some(value.to_string().into_bytes())
            }
            (None, None) => None,
        };
        let timeout = input.timeout.as_deref().map_or(Ok(TIMEOUT), moment::duration).map_err(wrong)?.min(LONGEST);
        let url: Uri = input.url.parse().map_err(|error| wrong(format_args!("the url cannot be read: {error}")))?;
        no_credentials(&url).map_err(wrong)?;
        let host = url.authority().map(ToString::to_string).unwrap_or_default();
        let authorities = match &input.ca {
            Some(ca) => Some(certificates(&reveal(cx, ca).await?.0).map_err(|why| wrong(format_args!("ca {why}")))?),
            None => None,
        };
        let call = Call { method, url, headers, body, timeout, authorities };
        let again = guarantee != Guarantee::AtLeastOnce;
        let lost = if again { ErrorClass::Retryable } else { ErrorClass::Unknown };
        let reply = tokio::select! {
            biased;
            reply = send(&self.0, call) => reply,
            () = cx.cancelled() => {
                return Err(StepError::unknown("http.cancelled", "the step was asked to stop before the answer came"));
            }
        };
        let reply = reply.map_err(|failure| {
            let (class, code) = match failure.kind {
                Kind::Refused => (ErrorClass::Terminal, "http.refused"),
                Kind::NotSent => (ErrorClass::Retryable, "http.connect"),
                Kind::Lost => (lost, "http.lost"),
            };
            let error = StepError::new(class, code, format_args!("{host}: {}", failure.message));
            match failure.hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })?;
        let parsed: Option<Value> = serde_json::from_slice(&reply.body).ok();
        if let Some(why) = input.expect.differs(&reply, parsed.as_ref()) {
            let class = match reply.status.as_u16() {
                // Refused before anything was done, and worth another try.
                408 | 425 | 429 | 503 => ErrorClass::Retryable,
                500..=599 => lost,
                400..=499 => ErrorClass::Terminal,
                _ if again => ErrorClass::Retryable,
                _ => ErrorClass::Terminal,
            };
            return Err(StepError::new(class, "http.status", format_args!("{host}: {why}")));
        }
        let headers: serde_json::Map<String, Value> = reply
            .headers
            .iter()
            .filter(|(name, _)| name.as_str() != "set-cookie")
            .filter_map(|(name, value)| Some((name.to_string(), json!(value.to_str().ok()?))))
            .collect();
        let mut output = json!({ "status": reply.status.as_u16(), "headers": headers });
        match parsed {
            Some(value) => output["json"] = value,
            None => output["body"] = json!(String::from_utf8_lossy(&reply.body)),
        }
        Ok(Outcome::Done(output))
    }

    async fn observe(&self, _cx: &StepContext, _input: &Value) -> Result<Seen, StepError> {
        Ok(Seen::CannotTell)
    }

    async fn compensate(&self, _: &StepContext, input: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(match method_of(input).as_str() {
            "GET" | "HEAD" | "OPTIONS" => Undone::NothingToUndo,
            method => Undone::NotUndoable {
                why: format!("an HTTP {method} is not taken back; name a `compensate` for the node"),
            },
        })
    }
}
