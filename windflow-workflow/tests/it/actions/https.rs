//! `http` over TLS, against a server whose certificate an authority of the test's own has signed.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use windflow_core::action::Services;
use windflow_core::{
    Action, ErrorClass, MemorySecrets, NodeName, Outcome, RunId, SecretSources, StepContext, StepError,
};
use windflow_workflow::EgressPolicy;
use windflow_workflow::actions::HttpAction;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

/// A server for these names; its url, by address.
fn serve(authority: &Authority, names: &[&str]) -> String {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority.issuer).unwrap();
    let chain = vec![certificate.der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            let mut request = [0; 4096];
            // Who does not trust the server hangs up: that is what the test is about.
            if stream.read(&mut request).is_ok_and(|read| read > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nsafe");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    url
}

async fn ask(ca: Option<&str>, secret: &str, url: &str) -> Result<Value, StepError> {
    let secrets = SecretSources::new().with("file", Arc::new(MemorySecrets::new().with("ours.pem", secret)));
    let services = Services { secrets, ..Services::default() };
    let builder = StepContext::builder(RunId::new("run").unwrap(), NodeName::new("step").unwrap());
    let (cx, _cancel) = builder.services(services).build();
    let mut input = json!({"url": url});
    if let Some(ca) = ca {
        input["ca"] = json!(ca);
    }
    let action = HttpAction::new(EgressPolicy::operator());
    assert_eq!(action.check(&input), []);
    match action.perform(&cx, input).await? {
        Outcome::Done(output) => Ok(output),
        parked @ Outcome::Parked(_) => panic!("{parked:?}"),
    }
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_when_it_is_named_and_only_then() {
    let (ours, other) = (authority(), authority());
    let url = serve(&ours, &["127.0.0.1"]);
    let output = ask(Some(&ours.pem), "", &url).await.unwrap();
    assert_eq!((&output["status"], &output["body"]), (&json!(200), &json!("safe")));
    let output = ask(Some("secret://file/ours.pem"), &ours.pem, &url).await.unwrap();
    assert_eq!(output["body"], "safe");
    let both = format!("{}{}", other.pem, ours.pem);
    assert_eq!(ask(Some(&both), "", &url).await.unwrap()["body"], "safe");
    for ca in [None, Some(other.pem.as_str())] {
        let error = ask(ca, "", &url).await.unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Retryable, "http.connect"), "{error}");
        assert!(error.message.ends_with("signed by nobody who is trusted"), "{error}");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("'ca'")), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_enough() {
    let ours = authority();
    let url = serve(&ours, &["example.com"]);
    let error = ask(Some(&ours.pem), "", &url).await.unwrap_err();
    assert_eq!(error.code, "http.connect", "{error}");
    assert!(error.message.contains("certificate") && error.message.contains("name"), "{error}");
}

#[tokio::test]
async fn what_is_no_certificate_is_told() {
    let action = HttpAction::new(EgressPolicy::operator());
    for (ca, told) in [
        ("ours.pem", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "is no PEM"),
    ] {
        let (path, message) = action.check(&json!({"url": "https://x", "ca": ca})).remove(0);
        assert!(path == "/ca" && message.contains(told), "{path}: {message}");
    }
    let error = ask(Some("secret://file/ours.pem"), "nothing", "https://127.0.0.1:1/").await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Terminal, "input"), "{error}");
}
