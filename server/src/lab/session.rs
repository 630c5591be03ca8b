//! One page's connection: brings the page up to date with the lab, as fast as the page takes it and no faster. Nothing
//! is queued: what a page has not got yet is the difference between what was sent to it and what is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use shared::protocol::{
    CLOSE_LAB_ENDED, Frame, FrameKind, Offset, Terminal as Described, TerminalId, ToLab, ToPage, WINDOW,
};

use super::Lab;
use super::terminal::{PIECE, Terminal};
use super::told::Told;

/// A page that says nothing for this long, not even the answer to a ping, is gone.
const SILENCE: Duration = Duration::from_secs(75);
/// How often the page is asked whether it is there.
const PING_EACH: Duration = Duration::from_secs(25);

/// Bounds for what a page may send at once; a larger paste comes in several frames.
pub fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(1 << 20)).max_frame_size(Some(1 << 20))
}

/// What one page has, as far as the lab knows.
#[derive(Default)]
pub struct Page {
    has: RefCell<Has>,
}

#[derive(Default)]
struct Has {
    greeted: bool,
    terminals: HashMap<TerminalId, (Described, Output)>,
    views: Told,
}

/// How much of a terminal's output is on the page.
#[derive(Clone, Copy, Debug, Default)]
struct Output {
    sent: Offset,
    acknowledged: Offset,
}

impl Page {
    /// Whether the terminal may produce output beyond `end` as far as this page is concerned.
    pub fn has_room(&self, terminal: TerminalId, end: Offset) -> bool {
        let has = self.has.borrow();
        // Before the greeting it is not known where the page stands: wait for that.
        has.terminals.get(&terminal).is_some_and(|(_, output)| end.0.saturating_sub(output.acknowledged.0) < WINDOW)
    }
}

/// Serves one page until it goes, or the lab ends.
pub async fn serve<S>(socket: WebSocketStream<S>, lab: Rc<Lab>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let page = Rc::new(Page::default());
    let changes = lab.attach(page.clone());
    let (sink, stream) = socket.split();
    // Both directions run side by side: a page that reads slowly must still be heard, or Ctrl-C would wait for a flood.
    let result = tokio::select! {
        result = send(sink, &page, &lab, changes) => result,
        result = receive(stream, &page, &lab) => result,
    };
    lab.detach(&page);
    if let Err(error) = result {
        tracing::debug!("a page's connection broke: {error}");
    }
}

async fn receive(
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    page: &Page,
    lab: &Lab,
) -> Result<(), Error> {
    while let Ok(Some(message)) = timeout(SILENCE, stream.next()).await {
        match message? {
            Message::Binary(wire) => match Frame::decode(&wire) {
                Some(Frame { kind: FrameKind::Input, terminal, bytes, .. }) => lab.type_into(terminal, bytes),
                _ => return Ok(()),
            },
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(message) => page.take(message, lab),
                // Not our page, or not our build: it will connect again, and be told to reload.
                Err(_) => return Ok(()),
            },
            // Reading on sends the answers that these want.
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

async fn send(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    page: &Page,
    lab: &Lab,
    mut changes: watch::Receiver<u64>,
) -> Result<(), Error> {
    loop {
        // Marks the present state as seen, before looking at it: a change that comes while we send is not missed.
        changes.borrow_and_update();
        let messages = page.catch_up(lab);
        if lab.has_ended() {
            let reason = CloseFrame { code: CloseCode::from(CLOSE_LAB_ENDED), reason: "this machine has ended".into() };
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

impl Page {
    /// Takes note of what the page says. Its numbers are clamped to what can be true.
    fn take(&self, message: ToLab, lab: &Lab) {
        match message {
            ToLab::Hello { machine, terminals } => {
                // Of another machine's output nothing is of use.
                let known: HashMap<TerminalId, Offset> =
                    terminals.into_iter().filter(|_| machine.as_ref() == Some(lab.machine())).collect();
                let mut has = self.has.borrow_mut();
                for terminal in lab.terminals() {
                    let (start, end) = terminal.output_range();
                    let offset = known.get(&terminal.id).copied().unwrap_or(start).min(end);
                    let output = Output { sent: offset, acknowledged: offset };
                    has.terminals.insert(terminal.id, (lab.describe(terminal), output));
                }
                drop(has);
                // Terminals waited for this page to say where it stands.
                lab.terminals().iter().for_each(Terminal::room_changed);
                lab.changed();
            }
            ToLab::Resize { terminal, size } => lab.resize(terminal, size),
            ToLab::Acknowledge { terminal, offset } => {
                if let Some((_, output)) = self.has.borrow_mut().terminals.get_mut(&terminal) {
                    output.acknowledged = offset.clamp(output.acknowledged, output.sent);
                }
                lab.room_changed(terminal);
                lab.changed();
            }
            ToLab::Restart { terminal } => lab.open_terminal(terminal),
        }
    }

    /// What the page lacks, as messages; from then on it is held to have it.
    fn catch_up(&self, lab: &Lab) -> Vec<Message> {
        let mut has = self.has.borrow_mut();
        let mut messages = Vec::new();
        if has.terminals.is_empty() {
            // It has not said Hello yet.
            return messages;
        }
        if !has.greeted {
            has.greeted = true;
            let terminals = lab.terminals().iter().map(|terminal| lab.describe(terminal)).collect();
            let (build, machine, hostname) = (shared::BUILD.into(), lab.machine().clone(), lab.hostname().into());
            let hello = ToPage::Hello { build, machine, hostname, terminals };
            messages.extend(text(&hello));
        }
        messages.extend(has.views.catch_up(&lab.views()).iter().filter_map(text));
        has.catch_up_terminals(lab, &mut messages);
        messages
    }
}

impl Has {
    fn catch_up_terminals(&mut self, lab: &Lab, messages: &mut Vec<Message>) {
        for terminal in lab.terminals() {
            let Some((described, output)) = self.terminals.get_mut(&terminal.id) else { continue };
            let ring = terminal.output.borrow();
            if output.sent < ring.start() {
                // This page lagged (it is not the owner, for whom the terminal waits): it goes on from the oldest byte kept.
                *output = Output { sent: ring.start(), acknowledged: ring.start() };
                messages.extend(text(&ToPage::Skip { terminal: terminal.id, offset: output.sent }));
            }
            while output.sent < ring.end() && output.sent.0 - output.acknowledged.0 < WINDOW {
                let bytes = ring.read(output.sent, PIECE);
                let frame =
                    Frame { kind: FrameKind::Output, terminal: terminal.id, offset: output.sent, bytes: &bytes };
                messages.push(Message::Binary(frame.encode().into()));
                output.sent.0 += bytes.len() as u64;
            }
            let now = lab.describe(terminal);
            if now != *described {
                messages.extend(text(&ToPage::Terminal { terminal: now.clone() }));
                *described = now;
            }
        }
    }
}

/// `None` cannot happen: the protocol's types have no map with keys that JSON lacks.
fn text(message: &ToPage) -> Option<Message> {
    serde_json::to_string(message).ok().map(|json| Message::Text(json.into()))
}
