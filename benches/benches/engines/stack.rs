//! The stack that everybody deploys: so many services with a health check, and one that changes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What the stack is called, everywhere: told by `COMPOSE_PROJECT_NAME`, because `docker stack` refuses a name in the file.
pub const NAME: &str = "bench";

/// The label that tells which version of the one that changes is there; `${VERSION}` in the file.
pub const VERSION: &str = "bench.version";

/// Writes a stack of so many services, one file for all who deploy it.
///
/// What a user of all three tools would write: no tool is told anything that the others are not. `dnsrr`, because a
/// kernel without IPVS has no virtual addresses; Docker and the Compose tool do not mind it. The health checks are as quick
/// as two cores bear with twenty containers.
pub fn write(folder: &Path, services: usize) -> PathBuf {
    let mut text = "services:\n".to_owned();
    for number in 1..=services {
        let version = if number == services { "${VERSION}" } else { "1" };
        let _ = write!(
            text,
            "  s{number:02}:
    image: wf-web:1
    init: false
    environment: {{ NUMBER: '{number}', VERSION: '{version}' }}
    labels: {{ {VERSION}: '{version}' }}
    stop_grace_period: 5s
    healthcheck:
      test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1/health']
      interval: 1s
      timeout: 5s
      retries: 5
    deploy:
      endpoint_mode: dnsrr
"
        );
    }
    let path = folder.join(format!("stack-{services}.yaml"));
    std::fs::write(&path, text).unwrap();
    path
}
