//! `newroot keeper`: the one process of a server that stays root. It knows three verbs (`Verb`), each of them about a lab's
//! id and nothing else; limits, directories, the image and the number of labs were settled by root when it was started, and
//! no request can change them. So a server that is taken over can start labs as all labs are, and end labs, and no more.
//! It ends with the connection; labs do not.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{MsgFlags, recv};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, setsid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::task::{LocalSet, spawn_local};

use super::{CAPABILITIES, Reply, Request, Settings, Verb, work};
use crate::defence::Defence;
use crate::lab::cgroup;
use crate::lab::channel::send_bytes;
use crate::lab::sandbox::{Step, StepError};
use crate::{runtime, sys};

/// No request is longer, in bytes.
const LONGEST: usize = 256;
/// The settings may be: there are paths in them.
const LONGEST_SETTINGS: usize = 64 << 10;
/// So many requests are worked on at once; more wait.
const AT_ONCE: usize = 256;
/// Threads that wait for the kernel to remove cgroups.
const THREADS: usize = 8;

/// The life of the helper: standard input is its connection to the server.
pub fn main() -> Result<(), StepError> {
    runtime::default_signals();
    let socket = take_connection().step("take over the connection to the server")?;
    let settings = receive_settings(&socket).step("be told what labs are")?;
    // No terminal, no Ctrl-C, no directory that somebody wants to unmount.
    if settings.defences.stand(Defence::Session) {
        setsid().step("make a session")?;
    }
    chdir("/").step("change directory to /")?;
    sys::keep_capabilities(&CAPABILITIES.map(|(_, number)| number))
        .step("drop the capabilities that labs do not take")?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()
        .step("start the helper's event loop")?;
    let served = LocalSet::new().block_on(&runtime, serve(socket, settings));
    // Nobody waits here for a cgroup that cannot be removed: the next server will.
    runtime.shutdown_background();
    cgroup::remove_parent();
    served.step("hear from the server")
}

/// Standard input as a descriptor of another number, with /dev/null in its place. Everything else is closed.
fn take_connection() -> io::Result<OwnedFd> {
    sys::close_all_but(&mut [0, 1, 2])?;
    let standard = sys::inherited(0)?;
    let socket = standard.try_clone()?;
    // Replaced just below, and closed by that.
    let _ = standard.into_raw_fd();
    sys::place(OpenOptions::new().read(true).open("/dev/null")?.into(), 0)?;
    Ok(socket)
}

fn receive_settings(socket: &OwnedFd) -> io::Result<Settings> {
    let mut packet = vec![0; LONGEST_SETTINGS];
    let length = recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty())?;
    Ok(serde_json::from_slice(&packet[..length])?)
}

/// Does what the server asks for, until it closes the connection.
async fn serve(socket: OwnedFd, settings: Settings) -> io::Result<()> {
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let socket = Rc::new(sys::watch(socket)?);
    let (settings, places) = (Rc::new(settings), Arc::new(Semaphore::new(AT_ONCE)));
    reply(&socket, &Reply { number: 0, outcome: Ok(()) }, None).await?;
    loop {
        // Closed by nobody.
        let place = places.clone().acquire_owned().await.ok();
        let request = match receive(&socket).await? {
            Received::Request(request) => request,
            Received::Nonsense(why) => {
                tracing::warn!("the server asked for something that it cannot be given: {why}");
                reply(&socket, &Reply { number: 0, outcome: Err(why) }, None).await?;
                continue;
            }
            Received::End => return Ok(()),
        };
        let (socket, settings) = (socket.clone(), settings.clone());
        spawn_local(async move {
            let (outcome, descriptor) = fulfil(&settings, &request).await;
            // To a server that has gone there is nothing to be said.
            let _ = reply(&socket, &Reply { number: request.number, outcome }, descriptor).await;
            drop(place);
        });
    }
}

async fn fulfil(settings: &Settings, request: &Request) -> (Result<(), String>, Option<OwnedFd>) {
    match request.verb {
        Verb::Start => match work::start(settings, request.lab).await {
            Ok(process) => (Ok(()), Some(process)),
            Err(error) => (Err(error.to_string()), None),
        },
        Verb::Kill => {
            work::kill(&settings.directory, request.lab).await;
            (Ok(()), None)
        }
        Verb::Remove => (work::remove(&settings.directory, request.lab).await, None),
    }
}

enum Received {
    Request(Request),
    /// Not one of ours, and why.
    Nonsense(String),
    End,
}

async fn receive(socket: &AsyncFd<OwnedFd>) -> io::Result<Received> {
    let mut packet = [0; LONGEST];
    // recv(2) takes no descriptors: those that come along are the kernel's to close. With MSG_TRUNC it tells the true
    // length of a packet.
    let received = socket
        .async_io(Interest::READABLE, |socket| Ok(recv(socket.as_raw_fd(), &mut packet, MsgFlags::MSG_TRUNC)?))
        .await;
    let length = match received {
        // So it is told where replies were still waiting for the server.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
        received => received?,
    };
    Ok(match packet.get(..length) {
        Some([]) => Received::End,
        Some(packet) => match serde_json::from_slice(packet) {
            Ok(request) => Received::Request(request),
            Err(error) => Received::Nonsense(format!("this is no request: {error}")),
        },
        None => Received::Nonsense(format!("a request of {length} bytes, and none has more than {LONGEST}")),
    })
}

async fn reply(socket: &AsyncFd<OwnedFd>, reply: &Reply, descriptor: Option<OwnedFd>) -> io::Result<()> {
    let mut reply = serde_json::to_vec(reply)?;
    if reply.len() > super::LONGEST_REPLY {
        reply = br#"{"number":0,"outcome":{"Err":"a reply that is too long"}}"#.to_vec();
    }
    let numbers: Vec<_> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
    socket.async_io(Interest::WRITABLE, |socket| send_bytes(socket, &reply, &numbers)).await?;
    Ok(())
}
