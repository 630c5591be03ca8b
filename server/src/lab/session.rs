//! One page's connection: hears what the page says, and sends it what it lacks, as fast as the page takes it and no
//! faster. Nothing is queued: what a page lacks is the difference between what was sent to it ([`page`]) and what is.

mod page;

use std::rc::Rc;
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use shared::protocol::{CLOSE_LAB_ENDED, Frame, FrameKind, ToLab};

use super::Lab;
use crate::defence::{Defence, Defences};
pub use page::Page;

/// A page that says nothing for this long, not even the answer to a ping, is gone.
const SILENCE: Duration = Duration::from_secs(75);
/// How often the page is asked whether it is there.
const PING_EACH: Duration = Duration::from_secs(25);
/// How long a page that is turned away may take to hear of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Bounds for what a page may send at once. Ours sends pieces of 16 KiB.
pub fn websocket_config(defences: &Defences) -> WebSocketConfig {
    if !defences.stand(Defence::Frames) {
        return WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    }
    WebSocketConfig::default().max_message_size(Some(128 << 10)).max_frame_size(Some(128 << 10))
}

/// Serves one page until it goes, or the lab ends.
pub async fn serve<S>(socket: WebSocketStream<S>, lab: Rc<Lab>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let page = Rc::new(Page::default());
    let changes = lab.attach(page.clone());
    let (mut sink, stream) = socket.split();
    // Both directions run side by side: a page that reads slowly must still be heard, or Ctrl-C would wait for a flood.
    let result = tokio::select! {
        result = send(&mut sink, &page, &lab, changes) => result,
        result = receive(stream, &page, &lab) => result,
    };
    lab.detach(&page);
    if let Err(error) = result {
        tracing::debug!("a page's connection broke: {error}");
        if let Some(close) = refusal(&error) {
            // A page that does not take this either is cut off without a word.
            let _ = timeout(FAREWELL, sink.send(Message::Close(Some(close)))).await;
        }
    }
}

/// The word with which a page is turned away that breaks the protocol; `None` where the connection itself is broken.
fn refusal(error: &Error) -> Option<CloseFrame> {
    let (code, reason) = match error {
        Error::Capacity(_) => (CloseCode::Size, "too long"),
        Error::Protocol(_) | Error::Utf8(_) => (CloseCode::Protocol, "not the protocol"),
        _ => return None,
    };
    Some(CloseFrame { code, reason: reason.into() })
}

async fn receive(
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    page: &Page,
    lab: &Rc<Lab>,
) -> Result<(), Error> {
    while let Ok(Some(message)) = timeout(SILENCE, stream.next()).await {
        match message? {
            Message::Binary(wire) => match Frame::decode(&wire) {
                Some(Frame { kind: FrameKind::Input, terminal, bytes, .. }) if page.has_greeted() => {
                    lab.type_into(page, terminal, bytes);
                }
                _ => tracing::debug!("a page sent {} bytes that are no input", wire.len()),
            },
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(message) => take(message, page, lab),
                // A newer page may say what this lab, of an older build, does not know.
                Err(error) => tracing::debug!("a page said what is not understood: {error}"),
            },
            // Reading on sends the answers that these want.
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

fn take(message: ToLab, page: &Page, lab: &Rc<Lab>) {
    match message {
        ToLab::Hello { machine, terminals } if !page.has_greeted() => {
            // Of another machine's output nothing is of use.
            let known = terminals.into_iter().filter(|_| machine.as_ref() == Some(lab.machine())).collect();
            page.greet(&known, lab);
            lab.take_over(page);
        }
        // Nothing is believed of a page that has not greeted, nor a second greeting.
        _ if !page.has_greeted() => {}
        ToLab::Hello { .. } => {}
        ToLab::Resize { terminal, size } => lab.resize(page, terminal, size),
        ToLab::Acknowledge { terminal, offset } => {
            page.acknowledge(terminal, offset);
            lab.room_changed(terminal);
        }
        ToLab::Restart { terminal } => lab.open_terminal(terminal),
        ToLab::Open { name } => lab.add_terminal(name.as_deref()),
        ToLab::Rename { terminal, name } => lab.rename_terminal(terminal, &name),
        ToLab::Close { terminal } => lab.close_terminal(terminal),
        ToLab::Reset => lab.reset(),
        ToLab::Answer { quiz, answer } => lab.answer(&quiz, answer),
        ToLab::StepThrough { on } => lab.step_through(on),
        ToLab::Next { call } => lab.next_call(call),
        ToLab::RunOn { call } => lab.run_on(call),
    }
}

async fn send(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    page: &Page,
    lab: &Lab,
    mut changes: watch::Receiver<u64>,
) -> Result<(), Error> {
    loop {
        // Marks the present state as seen, before looking at it: a change that comes while we send is not missed.
        changes.borrow_and_update();
        let messages = page.catch_up(lab);
        if lab.has_ended() {
            let reason = CloseFrame { code: CloseCode::from(CLOSE_LAB_ENDED), reason: lab.last_words().into() };
            sink.send(Message::Close(Some(reason))).await?;
            // The page's answer ends the other direction, and with it the session. A socket that is dropped with
            // something unread in it is reset, and a reset overtakes the close: the page would think of a lost network.
            return std::future::pending().await;
        }
        if messages.is_empty() {
            match timeout(PING_EACH, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_lab_is_gone)) => return Ok(()),
                Err(_quiet) => sink.send(Message::Ping(Vec::new().into())).await?,
            }
            continue;
        }
        for message in messages {
            sink.feed(message).await?;
        }
        sink.flush().await?;
    }
}
