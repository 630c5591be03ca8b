//! The lab process, `newroot lab`: builds its sandbox as root, drops every privilege, then serves its pages on one
//! thread. What it does from then on is in `state`.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::cgroup::Cgroup;
use super::handover::{self, Reply, Request};
use super::sandbox::{self, Sandbox, Step, StepError, Zygote};
use super::state::Lab;
use super::stream::PageStream;
use super::uid_range::UidRange;
use super::{privileges, session};
use crate::{runtime, sys};

/// The line on standard output that says that the lab is ready to be asked.
pub const READY: &str = "ready";

/// A pause after accept(2) failed: for want of descriptors, mostly, which others give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// How long a request of the server may take to arrive.
const REQUEST: Duration = Duration::from_secs(5);
/// How long pages have to take their leave when the lab ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the server tells a lab process, as JSON on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct Config {
    /// The lab's directory, where its socket will be.
    pub directory: PathBuf,
    /// The lab image's root file system.
    pub rootfs: PathBuf,
    /// The machine's host name.
    pub hostname: String,
    /// Bytes that the root may take up.
    pub disk: u64,
    /// The lab ends when no page was there for this long.
    pub idle: Duration,
    /// The cgroup that everything of the learner's is paid from.
    pub cgroup: Cgroup,
}

/// `newroot lab`. Returns when the lab has ended.
pub fn main() -> Result<(), StepError> {
    // Before anything else is opened or started, while this process is as the server made it.
    runtime::default_signals();
    sys::close_all_but(&mut [0, 1, 2]).step("close what the server was started with")?;
    let config: Config = serde_json::from_reader(io::stdin().lock()).step("read the lab's configuration")?;
    let (listener, zygote, sandbox, user) = build(&config)?;
    privileges::drop_all(user)?;

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().step("start the lab's event loop")?;
    let tasks = LocalSet::new();
    tasks
        .block_on(&runtime, async {
            let lab = Lab::start(&config.hostname, config.idle, sandbox.pid, sandbox.init, sandbox.notifications)?;
            let listener = UnixListener::from_std(listener)?;
            writeln!(io::stdout(), "{READY}")?;
            serve(&lab, listener, &sandbox.mirror).await;
            Ok::<(), io::Error>(())
        })
        .step("serve the lab")?;
    // The zygote goes with its channel; PID 1 is killed, for the learner may have taught it not to go.
    drop(zygote);
    let _already_gone = kill(sandbox.pid, Signal::SIGKILL);
    Ok(())
}

fn build(config: &Config) -> Result<(StdUnixListener, Zygote, Sandbox, Uid), StepError> {
    config.cgroup.enter().step("enter the lab's cgroup")?;
    let ids = UidRange::take().step("take a range of user ids")?;
    let listener = StdUnixListener::bind(config.directory.join("socket")).step("listen in the lab's directory")?;
    listener.set_nonblocking(true).step("listen in the lab's directory")?;
    let settings =
        sandbox::Settings { rootfs: config.rootfs.clone(), hostname: config.hostname.clone(), disk: config.disk };
    let zygote = sandbox::prepare(&settings, &ids, &config.directory)?;
    let sandbox = zygote.start().step("start the sandbox")?;
    let user = Uid::from_raw(ids.lab);
    // Held by the zygote from now on, and by this process until both are gone.
    std::mem::forget(ids);
    Ok((listener, zygote, sandbox, user))
}

/// Answers the server until the lab ends, then gives pages a moment to close.
async fn serve(lab: &Rc<Lab>, listener: UnixListener, mirror: &OwnedFd) {
    let mut changes = lab.changes();
    // A connection that asked for the end is closed by the end: that is the answer.
    let mut asked_to_end = Vec::new();
    while !lab.has_ended() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match answer(lab, &stream, mirror).await {
                    Ok(Request::End) => asked_to_end.push(stream),
                    Ok(_) => {}
                    Err(error) => tracing::warn!("a request of the server failed: {error}"),
                },
                Err(error) => {
                    tracing::warn!("cannot accept the server's connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = changes.changed() => {}
        }
    }
    let all_gone = async { while lab.has_pages() && changes.changed().await.is_ok() {} };
    let _ = timeout(FAREWELL, all_gone).await;
}

async fn answer(lab: &Rc<Lab>, stream: &UnixStream, mirror: &OwnedFd) -> io::Result<Request> {
    let received = timeout(REQUEST, handover::receive(stream)).await;
    let (request, descriptor) = received.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match &request {
        Request::Page { ahead } => {
            let socket = descriptor.ok_or(io::ErrorKind::InvalidData)?;
            open_page(lab.clone(), socket, ahead.clone()).await?;
        }
        Request::Mirror => handover::send(stream, &Reply::Mirror, Some(mirror.as_fd())).await?,
        Request::End => lab.end(),
    }
    Ok(request)
}

async fn open_page(lab: Rc<Lab>, socket: OwnedFd, ahead: Vec<u8>) -> io::Result<()> {
    let socket = PageStream::new(socket)?;
    let config = Some(session::websocket_config());
    let websocket = WebSocketStream::from_partially_read(socket, ahead, Role::Server, config).await;
    spawn_local(session::serve(websocket, lab));
    Ok(())
}
