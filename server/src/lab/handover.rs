//! What the server asks of a lab process, over the Unix socket in the lab's directory: one request per connection, a
//! length, JSON, and the bytes that were read ahead; a descriptor comes with the first byte (unix(7), SCM_RIGHTS).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};
use shared::protocol::Used;
use shared::task::TaskState;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::channel::send_bytes;
use crate::checks::{Check, Progress};
use crate::sys;

/// No message is longer, as JSON: the checks of all lessons, or the facts of a machine that is full of everything.
const LONGEST: usize = 4 << 20;

/// From the server to a lab process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Serve a page: the descriptor is its connection, already upgraded to a WebSocket, or one end of a bridge to it.
    /// Answered with [`Reply::Page`].
    Page {
        /// What the server has read from it beyond the upgrade.
        ahead: Vec<u8>,
    },
    /// Give me the registry mirror's listening socket: answered with [`Reply::Mirror`], at once and after each reset, as
    /// long as the connection lives.
    Mirror,
    /// How far is the learner: answered with [`Reply::Progress`], at once and after each change, as long as the connection
    /// lives.
    Progress,
    /// The lessons ask this from now on: answered with [`Reply::Checks`].
    Checks {
        /// All checks of all lessons.
        checks: Vec<Check>,
        /// How far the learner had come before there was this lab.
        progress: Option<Progress>,
    },
    /// Look at the machine now, and judge what is open: answered with [`Reply::Look`].
    Look,
    /// How are you: answered with [`Reply::Status`].
    Status,
    /// End the lab; the connection closes when it has ended.
    End {
        /// The reason, for its pages.
        why: String,
    },
}

/// From a lab process to the server.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The page is served.
    Page,
    /// A copy of the mirror's socket comes along.
    Mirror,
    /// How the lab is.
    Status(Status),
    /// How far the learner is.
    Progress(Progress),
    /// They are asked.
    Checks,
    /// What was seen.
    Look(Look),
}

/// A machine at one moment, as its checks saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The facts, as JSON; `None` where there is too much to look at.
    pub facts: Option<String>,
    /// How far the learner is after it.
    pub tasks: Vec<TaskState>,
}

/// How a lab is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How long it has been there.
    pub age_seconds: u64,
    /// How long nobody has used it.
    pub idle_seconds: u64,
    /// Open pages.
    pub pages: usize,
    /// Terminals with a shell.
    pub terminals: usize,
    /// What it uses.
    pub used: Used,
}

/// Sends one message, with a descriptor or without.
pub async fn send(stream: &UnixStream, message: &impl Serialize, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let mut wire = (json.len() as u32).to_be_bytes().to_vec();
    wire.extend(json);
    let mut numbers: Vec<_> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
    let mut rest = &wire[..];
    while !rest.is_empty() {
        let sent = stream.async_io(Interest::WRITABLE, || send_bytes(stream, rest, &numbers)).await?;
        rest = &rest[sent..];
        numbers.clear();
    }
    Ok(())
}

/// Receives one message. Errors with UnexpectedEof when the other side closes first, InvalidData when it talks nonsense.
pub async fn receive<M: for<'a> Deserialize<'a>>(stream: &UnixStream) -> io::Result<(M, Option<OwnedFd>)> {
    let mut wire = Vec::new();
    let mut descriptor = None;
    loop {
        if let Some((length, json)) = wire.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > LONGEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if let Some(json) = json.get(..length) {
                return Ok((serde_json::from_slice(json)?, descriptor));
            }
        }
        let mut buffer = [0; 4096];
        let (count, mut descriptors) =
            stream.async_io(Interest::READABLE, || sys::receive(stream, &mut buffer)).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        wire.extend(&buffer[..count]);
        descriptor = descriptor.or(descriptors.pop());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[tokio::test]
    async fn a_socket_is_handed_over_with_what_was_read_ahead() {
        let (server, lab) = UnixStream::pair().expect("a pair");
        let (mut page, handed) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let ahead: Vec<u8> = (0..10_000).map(|n| n as u8).collect();
        let request = Request::Page { ahead };
        let (sent, received) = tokio::join!(send(&server, &request, Some(handed.as_fd())), receive::<Request>(&lab));
        sent.expect("sent");
        let (received, descriptor) = received.expect("received");
        assert_eq!(received, request);
        drop(handed);
        let mut handed = std::fs::File::from(descriptor.expect("the descriptor came along"));
        handed.write_all(b"hello").expect("written");
        drop(handed);
        let mut text = String::new();
        page.read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
    }

    #[tokio::test]
    async fn an_endless_request_is_refused() {
        let (server, lab) = UnixStream::pair().expect("a pair");
        server.try_write(&[0xff; 5]).expect("written");
        assert_eq!(receive::<Request>(&lab).await.expect_err("too long").kind(), io::ErrorKind::InvalidData);
        drop(server);
    }
}
