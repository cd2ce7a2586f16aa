//! Carries one connection: each request to the engine, each answer back, and whatever follows an upgrade.

use std::io;
use std::pin::pin;

use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional, join, sink};

use super::control::{Mode, Shared, Step};
use super::framing::{Body, Broken, Head, hand_on};
use super::stream::{Halves, Reader, Writer};

/// Serves a client until either side is done, or everything is broken off.
pub(super) async fn serve(shared: &Shared, client: Halves) {
    let (mode, broken) = shared.mode();
    let work = async {
        // A connection that breaks is what tests ask for, and what clients do when they have seen enough.
        let _ = match mode {
            Mode::Forward => forward(shared, client).await,
            Mode::Answer(status) => answer(shared, client, status).await,
            Mode::Nonsense(bytes) => nonsense(shared, client, bytes).await,
            Mode::BlackHole => {
                let _held = client;
                std::future::pending().await
            }
            Mode::Refuse => Ok(()),
        };
    };
    tokio::select! {
        () = broken.cancelled() => {}
        () = work => {}
    }
}

async fn forward(shared: &Shared, (mut from_client, mut to_client): Halves) -> io::Result<()> {
    let (mut from_engine, mut to_engine) = shared.upstream.connect().await?;
    loop {
        let head = tokio::select! {
            head = Head::read(&mut from_client) => head?,
            // An engine says nothing unasked: it has closed a connection that was idle.
            _ = from_engine.fill_buf() => return Ok(()),
        };
        let Some(head) = head else { return Ok(()) };
        let (method, target) = head.request()?;
        let (id, step) = shared.arrived(method, target);
        if step == Step::CutBefore {
            shared.cut();
            return Ok(());
        }
        to_engine.write_all(&head.bytes).await?;
        to_engine.flush().await?;
        let mut nobody: Writer = Box::new(sink());
        let answers = Answers {
            from: &mut from_engine,
            interim: &mut to_client,
            last: (step == Step::CutAfter).then_some(&mut nobody),
        };
        let done = exchange(shared, id, &head, (&mut from_client, &mut to_engine), answers).await;
        if step == Step::CutAfter {
            shared.cut();
            return Ok(());
        }
        match done? {
            Next::Request => {}
            Next::Close => return Ok(()),
            Next::Raw => {
                let (mut client, mut engine) = (join(from_client, to_client), join(from_engine, to_engine));
                copy_bidirectional(&mut client, &mut engine).await?;
                return Ok(());
            }
        }
    }
}

/// What a connection is good for after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Request,
    Raw,
    Close,
}

/// Where an answer goes: to the client, unless it is to be lost.
struct Answers<'a> {
    from: &'a mut Reader,
    interim: &'a mut Writer,
    last: Option<&'a mut Writer>,
}

/// One body there, one answer back, at the same time: an engine may ask for the body first (`100 Continue`), and may answer
/// before it has all of it.
async fn exchange(
    shared: &Shared,
    id: u64,
    head: &Head,
    (from_client, to_engine): (&mut Reader, &mut Writer),
    answers: Answers<'_>,
) -> io::Result<Next> {
    let (method, _) = head.request()?;
    let body = head.body_of_request()?;
    let mut answered = pin!(hand_back(shared, id, method, answers));
    let early = {
        let mut sent = pin!(hand_on(body, from_client, to_engine, |size| shared.sent(id, size)));
        tokio::select! {
            sent = &mut sent => match sent {
                // An engine that takes no more may still say why.
                Ok(()) | Err(Broken::To(_)) => None,
                Err(Broken::From(error)) => return Err(error),
            },
            next = &mut answered => Some(next?),
        }
    };
    match early {
        // What is left of the body stands in the way of another request.
        Some(Next::Request) if body != Body::Sized(0) => Ok(Next::Close),
        Some(next) => Ok(next),
        None => tokio::select! {
            next = &mut answered => next,
            // A client that has gone away waits for nothing; one that has sent its next request already must wait.
            () = gone(from_client) => Ok(Next::Close),
        },
    }
}

async fn gone(client: &mut Reader) {
    match client.fill_buf().await {
        Ok(seen) if !seen.is_empty() => std::future::pending().await,
        _ => {}
    }
}

async fn hand_back(shared: &Shared, id: u64, method: &str, answers: Answers<'_>) -> io::Result<Next> {
    let Answers { from, interim, last } = answers;
    loop {
        let head = Head::read(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.status()?;
        if (100..200).contains(&status) && status != 101 {
            pass(&head, interim).await?;
            continue;
        }
        shared.answered(id, status);
        let to = last.unwrap_or(interim);
        pass(&head, to).await?;
        return Ok(match head.body_of_answer(method)? {
            Body::Raw => Next::Raw,
            body => {
                hand_on(body, from, to, |_| ()).await?;
                Next::Request
            }
        });
    }
}

async fn pass<W: AsyncWrite + Unpin>(head: &Head, to: &mut W) -> io::Result<()> {
    to.write_all(&head.bytes).await?;
    to.flush().await
}

/// Answers one request with whatever these bytes are.
async fn nonsense(shared: &Shared, (mut from, mut to): Halves, bytes: &[u8]) -> io::Result<()> {
    let Some(head) = Head::read(&mut from).await? else { return Ok(()) };
    let (method, target) = head.request()?;
    let (id, _) = shared.arrived(method, target);
    hand_on(head.body_of_request()?, &mut from, &mut sink(), |size| shared.sent(id, size)).await?;
    to.write_all(bytes).await?;
    to.shutdown().await
}

/// Answers each request by itself, as an engine does that is not well, or something in front of it.
async fn answer(shared: &Shared, (mut from, mut to): Halves, status: u16) -> io::Result<()> {
    while let Some(head) = Head::read(&mut from).await? {
        let (method, target) = head.request()?;
        let (id, _) = shared.arrived(method, target);
        hand_on(head.body_of_request()?, &mut from, &mut sink(), |size| shared.sent(id, size)).await?;
        shared.answered(id, status);
        let body = format!("{{\"message\":\"the test bed answers {status}\"}}");
        let size = body.len();
        let body = if method == "HEAD" { "" } else { &body };
        let text = format!(
            "HTTP/1.1 {status} Test Bed\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n{body}"
        );
        to.write_all(text.as_bytes()).await?;
        to.flush().await?;
        if head.closes() {
            break;
        }
    }
    Ok(())
}
