//! `windflow demo-server`: what the quickstart and the example of `windflow init` deploy, so that they need nothing
//! installed.

use super::args::DemoServerArgs;
use super::quickstart_server::Server;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::output::Output;

/// Answers every HTTP request on the loopback address with the same text, until it is told to stop.
pub async fn demo_server(args: &DemoServerArgs, output: &Output) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen()?;
    let failed = |error: std::io::Error| {
        Failure::failed(format_args!("port {}: {error}", args.port)).hint("choose another --port")
    };
    let server = Server::bind(args.port, &*args.message, args.upstream).map_err(failed)?;
    output.text(format!("listening on {}", server.url().map_err(failed)?));
    // It ends with the process, which does not wait for it.
    tokio::task::spawn_blocking(|| server.run());
    interrupt.wish().await;
    Ok(Exit::Success)
}
