//! The socket over which a supervisor takes orders: one line of JSON in, lines of JSON out.

use std::fs;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::super::layout::StackDir;
use super::super::state::{Answer, Order, Refusal, StackState};
use super::super::transport::socket_in;

/// An order, and where it is answered with its number when it is in force.
pub(super) type Asked = (Order, oneshot::Sender<Result<u64, Refusal>>);

/// An order larger than this is not one of ours.
const LONGEST_ORDER: u64 = 16 << 20;

/// Opens the socket. Only this user can reach it: the folder is closed to others.
pub(super) fn listen(dir: &StackDir) -> io::Result<UnixListener> {
    let (_handle, path) = socket_in(dir.path())?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Whoever has connected and says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves the socket until it is dropped.
///
/// Orders come into force in the order of their connections: one whose sender was cut must not overtake the next.
pub(super) async fn serve(listener: UnixListener, orders: mpsc::Sender<Asked>, told: watch::Receiver<StackState>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (input, output) = stream.into_split();
                let Ok(Some(order)) = timeout(PATIENCE, read(input)).await else { continue };
                let (done, wait) = oneshot::channel();
                let stops = matches!(order, Ok(Order::Stop));
                let sent = match order {
                    Ok(order) => orders.send((order, done)).await.is_ok(),
                    Err(error) => done.send(Err(error)).is_ok(),
                };
                if sent {
                    tokio::spawn(answer(output, wait, stops, told.clone()));
                }
            }
            // Out of file handles, most likely: others may be closed soon.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn read(input: impl AsyncRead + Unpin) -> Option<Result<Order, Refusal>> {
    let mut line = String::new();
    BufReader::new(input.take(LONGEST_ORDER)).read_line(&mut line).await.ok()?;
    let order = serde_json::from_str(&line);
    Some(order.map_err(|error| Refusal::new(format!("the supervisor does not understand the order: {error}"))))
}

async fn answer(
    mut output: OwnedWriteHalf,
    wait: oneshot::Receiver<Result<u64, Refusal>>,
    stops: bool,
    mut told: watch::Receiver<StackState>,
) -> Option<()> {
    let serial = match wait.await.ok()? {
        Ok(serial) => serial,
        Err(why) => return send(&mut output, &Answer::Failed(why)).await,
    };
    if stops {
        return send(&mut output, &Answer::Stopped).await;
    }
    // What was told before the order came into force is no answer to it.
    told.wait_for(|state| !state.boot.is_empty() && state.serial >= serial).await.ok()?;
    loop {
        let state = told.borrow_and_update().clone();
        send(&mut output, &Answer::State(Box::new(state))).await?;
        told.changed().await.ok()?;
    }
}

async fn send(output: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) -> Option<()> {
    let mut line = serde_json::to_vec(answer).ok()?;
    line.push(b'\n');
    output.write_all(&line).await.ok()
}
