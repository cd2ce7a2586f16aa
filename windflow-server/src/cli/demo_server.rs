//! `windflow demo-server`: what the example of `windflow init` deploys, so that it needs nothing installed.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::args::DemoServerArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::output::Output;

/// Answers every HTTP request on the loopback address with the same text, until it is told to stop.
pub async fn demo_server(args: &DemoServerArgs, output: &Output) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen()?;
    let listener = TcpListener::bind(("127.0.0.1", args.port))
        .await
        .map_err(|error| Failure::failed(format_args!("port {}: {error}", args.port)).hint("choose another --port"))?;
    output.text(format!("listening on http://127.0.0.1:{}", args.port));
    loop {
        let (mut stream, _) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // A caller that went away before it was served.
                Err(_) => continue,
            },
            _ = interrupt.wish() => return Ok(Exit::Success),
        };
        let body = format!("{}\n", args.message);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        tokio::spawn(async move {
            let mut request = [0; 4096];
            // Whatever was asked, the answer is the same; a caller that is gone needs none.
            if stream.read(&mut request).await.is_ok() {
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
    }
}
