//! The connection to an engine.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::OnceCell;
use windflow_core::TargetName;
use windflow_core::target::{TargetError, TargetErrorKind};

use super::MINIMUM_API;
use super::endpoint::Endpoint;
use super::failure::Failure;

/// A way to one engine; clones share what was agreed with it.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    target: TargetName,
    endpoint: Endpoint,
    patience: Duration,
    agreed: Arc<OnceCell<Docker>>,
}

impl Engine {
    pub fn new(target: TargetName, endpoint: Endpoint, patience: Duration) -> Self {
        Self { target, endpoint, patience, agreed: Arc::default() }
    }

    pub fn target(&self) -> &TargetName {
        &self.target
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The client, after both sides have agreed on a version. That is asked once; a failure is asked again.
    pub async fn docker(&self) -> Result<&Docker, TargetError> {
        self.agreed.get_or_try_init(|| self.agree()).await
    }

    /// The client for calls that may take as long as this.
    pub async fn patient(&self, patience: Duration) -> Result<Docker, TargetError> {
        Ok(self.docker().await?.clone().with_timeout(self.patience.max(patience)))
    }

    async fn agree(&self) -> Result<Docker, TargetError> {
        let failed = |error: Error| {
            let what = format!("reaching {}", self.endpoint);
            Failure { target: &self.target, what: &what, mutates: false }.of(&error)
        };
        let seconds = self.patience.as_secs().max(1);
        let client = match &self.endpoint {
            Endpoint::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION),
            Endpoint::Tcp(address) => Docker::connect_with_http(address, seconds, API_DEFAULT_VERSION),
            #[cfg(feature = "docker-tls")]
            Endpoint::Tls { address, files } => {
                Docker::connect_with_ssl(address, &files.key, &files.cert, &files.ca, seconds, API_DEFAULT_VERSION)
            }
            #[cfg(feature = "docker-ssh")]
            Endpoint::Ssh { destination, key } => super::ssh::client(destination, key.clone(), seconds),
            #[cfg(not(all(feature = "docker-tls", feature = "docker-ssh")))]
            other => {
                let what = format!("{other} cannot be reached: this program was built without that way");
                return Err(TargetError::new(&self.target, TargetErrorKind::Unsupported, what)
                    .with_hint("build windflow-targets with the features 'docker-tls' and 'docker-ssh'"));
            }
        };
        let docker = client.map_err(failed)?.with_timeout(self.patience).negotiate_version().await.map_err(failed)?;
        let version = docker.client_version();
        let spoken = (version.major_version, version.minor_version);
        if spoken < MINIMUM_API {
            let what = format!(
                "the engine at {} speaks version {}.{} of its interface, and at least {}.{} is needed",
                self.endpoint, spoken.0, spoken.1, MINIMUM_API.0, MINIMUM_API.1
            );
            return Err(TargetError::new(&self.target, TargetErrorKind::Unsupported, what)
                .with_hint("Docker 20.10 or later, or Podman 4.3"));
        }
        Ok(docker)
    }

    /// Whether the engine speaks at least this version of its interface.
    pub async fn speaks(&self, version: (usize, usize)) -> Result<bool, TargetError> {
        let spoken = self.docker().await?.client_version();
        Ok((spoken.major_version, spoken.minor_version) >= version)
    }

    /// The client waits as long for the beginning of an answer; that must come to its end, too.
    fn within<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        let whole = patience.saturating_mul(2);
        // A call of the client is large, and is held by every future above it.
        let call = Box::pin(call);
        async move { tokio::time::timeout(whole, call).await.unwrap_or(Err(Error::RequestTimeoutError)) }
    }

    /// A call whose failure the caller looks at first.
    pub async fn call<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.within(self.patience, call).await
    }

    /// A question: it changes nothing.
    pub async fn ask<T>(&self, what: &str, call: impl Future<Output = Result<T, Error>>) -> Result<T, TargetError> {
        let done = self.call(call).await;
        done.map_err(|error| Failure { target: &self.target, what, mutates: false }.of(&error))
    }

    /// A question about something that may not be there.
    pub async fn find<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, TargetError> {
        match self.call(call).await {
            Err(error) if super::is_missing(&error) => Ok(None),
            done => self.ask(what, std::future::ready(done)).await.map(Some),
        }
    }

    /// A change.
    pub async fn tell<T>(&self, what: &str, call: impl Future<Output = Result<T, Error>>) -> Result<T, TargetError> {
        self.call(call).await.map_err(|error| self.failed(what, &error))
    }

    /// What a change that failed with this comes to.
    pub fn failed(&self, what: &str, error: &Error) -> TargetError {
        Failure { target: &self.target, what, mutates: true }.of(error)
    }

    /// A removal: what is not there any more is removed.
    pub async fn remove(&self, what: &str, call: impl Future<Output = Result<(), Error>>) -> Result<(), TargetError> {
        self.remove_within(self.patience, what, call).await
    }

    /// A removal that may take as long as this.
    pub async fn remove_within(
        &self,
        patience: Duration,
        what: &str,
        call: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), TargetError> {
        match self.within(self.patience.max(patience), call).await {
            Err(error) if super::is_missing(&error) => Ok(()),
            // Somebody is at it already: they will be done.
            Err(Error::DockerResponseServerError { status_code: 409, message })
                if message.contains("already in progress") =>
            {
                Ok(())
            }
            done => self.tell(what, std::future::ready(done)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    /// An engine that begins every answer and comes to the end of none but the first.
    #[tokio::test]
    async fn an_answer_that_comes_to_no_end_is_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let mut open = Vec::new();
            let version = r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
            for (n, stream) in listener.incoming().take(2).enumerate() {
                let mut stream = stream.unwrap();
                assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
                let (body, close) =
                    if n == 0 { (version, "Connection: close") } else { ("[", "Connection: keep-alive") };
                let length = if n == 0 { version.len() } else { 1000 };
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
                write!(stream, "{head}\r\n{close}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
                if n > 0 {
                    open.push(stream);
                }
            }
            open
        });
        let endpoint = format!("tcp://{address}").parse().unwrap();
        let engine = Engine::new(TargetName::new("engine").unwrap(), endpoint, Duration::from_secs(1));
        let docker = engine.docker().await.unwrap();
        let told = engine.ask("listing networks", docker.list_networks(None)).await.unwrap_err();
        assert!(told.is_connection(), "{told}");
        assert!(told.to_string().contains("listing networks: the engine does not answer"), "{told}");
        drop(serving.join().unwrap());
    }

    #[tokio::test]
    async fn an_engine_that_is_too_old_is_told_which_one_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            let version = r#"{"ApiVersion":"1.40","MinAPIVersion":"1.12"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{version}", version.len()).unwrap();
        });
        let endpoint = format!("tcp://{address}").parse().unwrap();
        let engine = Engine::new(TargetName::new("engine").unwrap(), endpoint, Duration::from_secs(1));
        let told = engine.docker().await.map(drop).unwrap_err();
        assert_eq!(told.kind, TargetErrorKind::Unsupported);
        assert!(told.message.contains("speaks version 1.40 of its interface, and at least 1.41 is needed"), "{told}");
        assert!(told.hint.unwrap().contains("Docker 20.10"));
        serving.join().unwrap();
    }
}
