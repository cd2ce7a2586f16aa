//! Where an engine is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an engine listens.
///
/// ```
/// use windflow_targets::docker::Endpoint;
/// let socket: Endpoint = "unix:///var/run/docker.sock".parse()?;
/// assert_eq!(socket.to_string(), "unix:///var/run/docker.sock");
/// assert!("ftp://engine".parse::<Endpoint>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A port without encryption: whoever reaches it is root there.
    Tcp(String),
    /// A port where both sides show certificates.
    Tls {
        /// `host:port`.
        address: String,
        /// What is shown, and what must be.
        files: TlsFiles,
    },
    /// The socket of another machine, through `ssh` as its user has set it up: `user@host` or `user@host:port`.
    Ssh {
        /// Whom to call.
        destination: String,
        /// The key to show; those of the user when absent.
        key: Option<PathBuf>,
    },
}

/// Certificates of an encrypted connection, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who may have signed the engine's certificate.
    pub ca: PathBuf,
    /// Our certificate.
    pub cert: PathBuf,
    /// The key to it.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The three files by the names Docker gives them: `ca.pem`, `cert.pem`, `key.pem`.
    #[must_use]
    pub fn within(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self { ca: folder.join("ca.pem"), cert: folder.join("cert.pem"), key: folder.join("key.pem") }
    }
}

impl Endpoint {
    /// The same place, encrypted with these certificates.
    #[must_use]
    pub fn with_tls(self, files: TlsFiles) -> Self {
        match self {
            Self::Tcp(address) | Self::Tls { address, .. } => Self::Tls { address, files },
            other => other,
        }
    }
}

impl Default for Endpoint {
    /// Where Docker listens unless somebody says otherwise.
    fn default() -> Self {
        Self::Unix(PathBuf::from("/var/run/docker.sock"))
    }
}

impl FromStr for Endpoint {
    type Err = String;

    /// Reads what `DOCKER_HOST` may say: `unix://`, `tcp://` (`http://`) and `ssh://`.
    fn from_str(text: &str) -> Result<Self, String> {
        let need = |rest: &str, what: &str| match rest.trim_end_matches('/') {
            "" => Err(format!("'{text}' names no {what}")),
            rest => Ok(rest.to_owned()),
        };
        match text.split_once("://") {
            Some(("unix", path)) => need(path, "socket").map(|path| Self::Unix(path.into())),
            Some(("tcp" | "http", address)) => {
                let address = need(address, "address")?;
                match address.rsplit_once(':') {
                    Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(Self::Tcp(address)),
                    // An address of IPv6 in its brackets has colons, and no port.
                    Some((_, port)) if !address.ends_with(']') => {
                        Err(format!("'{port}' in '{text}' is no port: a number from 1 to 65535"))
                    }
                    _ => Ok(Self::Tcp(format!("{address}:2375"))),
                }
            }
            Some(("ssh", destination)) => Ok(Self::Ssh { destination: need(destination, "machine")?, key: None }),
            _ => Err(format!("'{text}' is no endpoint: write unix:///path, tcp://host:port or ssh://user@host")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) | Self::Tls { address, .. } => write!(f, "tcp://{address}"),
            Self::Ssh { destination, .. } => write!(f, "ssh://{destination}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_as_docker_reads_it() {
        let read = |text: &str| text.parse::<Endpoint>();
        assert_eq!(read("tcp://engine"), Ok(Endpoint::Tcp("engine:2375".to_owned())));
        assert_eq!(read("tcp://[::1]:2376/"), Ok(Endpoint::Tcp("[::1]:2376".to_owned())));
        assert_eq!(read("tcp://[::1]"), Ok(Endpoint::Tcp("[::1]:2375".to_owned())));
        assert_eq!(read("tcp://h:0").unwrap_err(), "'0' in 'tcp://h:0' is no port: a number from 1 to 65535");
        assert_eq!(read("ssh://me@engine").unwrap().to_string(), "ssh://me@engine");
        assert_eq!(read("unix://").unwrap_err(), "'unix://' names no socket");
        assert!(read("engine").unwrap_err().contains("is no endpoint"));
        let tls = read("tcp://engine:2376").unwrap().with_tls(TlsFiles::within("/certs"));
        assert!(matches!(tls, Endpoint::Tls { files, .. } if files.key == std::path::Path::new("/certs/key.pem")));
    }
}
