//! Messages with descriptors between the lab process, its zygote and its sandbox's PID 1: one JSON message is one
//! packet of a Unix socket (unix(7), SOCK_SEQPACKET). What comes from PID 1 is hostile: it is bounded and checked here.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;

use crate::sys;

/// No message is longer; a longer one does not parse.
const LONGEST: usize = 16 * 1024;

/// One end of a connection.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Two connected ends, both closed on exec. They belong to the network namespace that they are made in: whoever holds one
    /// can bind it to an abstract name there.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (one, other) =
            nix::sys::socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Channel(one), Channel(other)))
    }

    /// Sends a message; the receiver gets copies of the descriptors.
    pub fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(&self.0, message, descriptors)
    }

    /// Waits for a message. Errors with UnexpectedEof when the other end is gone, InvalidData when it talks nonsense.
    pub fn receive<M: DeserializeOwned>(&self) -> io::Result<(M, Vec<OwnedFd>)> {
        receive(&self.0)
    }
}

impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Channel {
        Channel(fd)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A [`Channel`] for the lab's event loop.
pub struct AsyncChannel(AsyncFd<OwnedFd>);

impl AsyncChannel {
    /// Registers the channel with the running tokio runtime.
    pub fn new(channel: Channel) -> io::Result<AsyncChannel> {
        let nonblocking = nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&channel, nix::fcntl::FcntlArg::F_SETFL(nonblocking))?;
        Ok(AsyncChannel(sys::watch(channel.0)?))
    }

    /// Sends a message, or fails with WouldBlock where the receiver does not keep up: nobody waits for a sandbox.
    pub fn send(&self, message: &impl Serialize) -> io::Result<()> {
        self.send_with(message, &[])
    }

    /// The same, with copies of descriptors.
    pub fn send_with(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(self.0.get_ref(), message, descriptors)
    }

    /// Waits for a message; errors as [`Channel::receive`].
    pub async fn receive<M: DeserializeOwned>(&self) -> io::Result<(M, Vec<OwnedFd>)> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|socket| receive(socket.get_ref())) {
                Ok(received) => return received,
                Err(_would_block) => {}
            }
        }
    }
}

fn send(socket: &OwnedFd, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let numbers: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    // A packet is sent whole or not at all.
    send_bytes(socket, &json, &numbers).map(drop)
}

/// Sends bytes, and copies of descriptors with the first of them, on a Unix socket; returns how many it took.
pub(super) fn send_bytes(socket: impl AsFd, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<usize> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    // Without MSG_NOSIGNAL a dead receiver would be a deadly SIGPIPE for the sender.
    let flags = MsgFlags::MSG_NOSIGNAL;
    let socket = socket.as_fd().as_raw_fd();
    Ok(nix::sys::socket::sendmsg::<()>(socket, &[IoSlice::new(bytes)], control, flags, None)?)
}

fn receive<M: DeserializeOwned>(socket: &OwnedFd) -> io::Result<(M, Vec<OwnedFd>)> {
    let mut buffer = [0; LONGEST];
    match sys::receive(socket, &mut buffer)? {
        (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
        (length, descriptors) => Ok((serde_json::from_slice(&buffer[..length])?, descriptors)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptor_and_the_end_is_seen() {
        let (one, other) = Channel::pair().expect("a pair");
        let file = tempfile::tempfile().expect("a file");
        one.send(&("open", 3), &[file.as_fd()]).expect("sent");
        let ((verb, number), descriptors): ((String, u32), _) = other.receive().expect("received");
        assert_eq!((verb.as_str(), number, descriptors.len()), ("open", 3, 1));
        one.send(&"nonsense", &[]).expect("sent");
        let error = other.receive::<(String, u32)>().expect_err("is no such message");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        one.send(&"five", &[write.as_fd(); 5]).expect("sent");
        drop(write);
        let error = other.receive::<String>().expect_err("too many descriptors");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(nix::unistd::read(read, &mut [0]), Ok(0), "one of them is open still");
        drop(one);
        let error = other.receive::<u32>().expect_err("nobody is there");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
