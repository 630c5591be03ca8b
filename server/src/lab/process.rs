//! The lab process, `newroot lab`: builds its sandbox as root, drops every privilege, then serves its pages on one
//! thread. What it does from then on is in `state`.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use shared::protocol::Limits;

use super::cgroup::{Cgroup, Delegated, Meter};
use super::handover::{self, Look, Reply, Request, Status};
use super::sandbox::{self, Overlay, Prepared, Step, StepError};
use super::state::Lab;
use super::stream::PageStream;
use super::uid_range::UidRange;
use super::{alarm, beginning, privileges, session};
use crate::defence::Defences;
use crate::sys;

/// The line on standard output that says that the lab is ready to be asked.
pub const READY: &str = "ready";

/// A pause after accept(2) failed: for want of descriptors, mostly, which others give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// How long a request of the server may take to arrive.
const REQUEST: Duration = Duration::from_secs(5);
/// How long pages have to take their leave when the lab ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the keeper tells a lab process, as JSON on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct Config {
    /// The lab's directory, where its socket will be.
    pub directory: PathBuf,
    /// The lab image's root file system.
    pub rootfs: PathBuf,
    /// The machine's host name.
    pub hostname: String,
    /// What it may use, and how long.
    pub limits: Limits,
    /// How long it lives that nobody has ever used.
    pub unused: Duration,
    /// Where its overlay is mounted; `None` for what this kernel can.
    pub overlay: Option<Overlay>,
    /// Whether programs may program netfilter in their own network namespace.
    pub netfilter: bool,
    /// Which defences stand.
    pub defences: Defences,
    /// The cgroup that everything of the learner's is paid from.
    pub cgroup: Cgroup,
    /// The user of the machine that may ask it for things, besides root.
    pub server: u32,
}

/// `newroot lab`. Returns when the lab has ended.
pub fn main() -> Result<(), StepError> {
    // Before anything else is opened or started, while this process is as the server made it.
    sys::close_all_but(&mut [0, 1, 2]).step("close what the server was started with")?;
    let config: Config = serde_json::from_reader(io::stdin().lock()).step("read the lab's configuration")?;
    beginning::begin(&config.defences)?;
    let Built { listener, prepared, meter, cgroup, user } = build(&config)?;
    privileges::drop_all(user, &config.defences)?;

    let runtime = alarm::event_loop(&config.defences).step("start the lab's event loop")?;
    let tasks = LocalSet::new();
    tasks
        .block_on(&runtime, async {
            // Only now there is a sandbox: nothing of the learner runs while this process has a privilege.
            let lab = Lab::start(&config, meter, cgroup, prepared).await?;
            let listener = UnixListener::from_std(listener)?;
            writeln!(io::stdout(), "{READY}")?;
            serve(&lab, listener).await;
            // The zygote goes with its channel, when this process ends.
            lab.kill_machine();
            Ok::<(), io::Error>(())
        })
        .step("start the machine")
}

/// What root has prepared.
struct Built {
    listener: StdUnixListener,
    prepared: Prepared,
    meter: Meter,
    cgroup: Delegated,
    user: Uid,
}

fn build(config: &Config) -> Result<Built, StepError> {
    config.cgroup.enter().step("enter the lab's cgroup")?;
    let ids = UidRange::take().step("take a range of user ids")?;
    let socket = config.directory.join("socket");
    let listener = StdUnixListener::bind(&socket).step("listen in the lab's directory")?;
    // To connect one must be allowed to write, so until here nobody but root was.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).step("close the lab's socket to others")?;
    chown(&socket, Some(config.server), None).step("open the lab's socket to the server")?;
    listener.set_nonblocking(true).step("listen in the lab's directory")?;
    // While the cgroup hierarchy is still in reach.
    let meter = config.cgroup.meter().step("open the cgroup's files")?;
    let cgroup = config.cgroup.delegate(ids.first).step("give the learner a cgroup")?;
    let settings = sandbox::Settings {
        rootfs: config.rootfs.clone(),
        hostname: config.hostname.clone(),
        disk: config.limits.disk,
        terminals: config.limits.terminals,
        overlay: config.overlay,
        netfilter: config.netfilter,
        defences: config.defences.clone(),
    };
    let prepared = sandbox::prepare(&settings, &ids, &cgroup, &config.directory)?;
    let user = Uid::from_raw(ids.lab);
    // Held by the zygote from now on, and by this process until both are gone.
    std::mem::forget(ids);
    Ok(Built { listener, prepared, meter, cgroup, user })
}

/// Answers the server until the lab ends, then gives pages a moment to close.
async fn serve(lab: &Rc<Lab>, listener: UnixListener) {
    let mut changes = lab.changes();
    while !lab.has_ended() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(spawn_local(answer(lab.clone(), stream))),
                Err(error) => {
                    tracing::warn!("cannot accept the server's connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = changes.changed() => {}
        }
    }
    let all_gone = async { while lab.pages() > 0 && changes.changed().await.is_ok() {} };
    let _ = timeout(FAREWELL, all_gone).await;
}

async fn answer(lab: Rc<Lab>, stream: UnixStream) {
    if let Err(error) = try_answer(lab, stream).await {
        tracing::warn!("a request of the server failed: {error}");
    }
}

async fn try_answer(lab: Rc<Lab>, stream: UnixStream) -> io::Result<()> {
    let (request, descriptor) = match timeout(REQUEST, handover::receive(&stream)).await {
        Ok(Ok(received)) => received,
        // Somebody has looked whether the lab is there.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Ok(Err(error)) => return Err(error),
        Err(_elapsed) => return Err(io::ErrorKind::TimedOut.into()),
    };
    match request {
        Request::Page { ahead } => {
            let socket = descriptor.ok_or(io::ErrorKind::InvalidData)?;
            open_page(lab, socket, ahead).await?;
            handover::send(&stream, &Reply::Page, None).await
        }
        Request::Mirror => offer_mirrors(&lab, &stream).await,
        Request::Progress => tell_progress(&lab, &stream).await,
        Request::Checks { checks, progress } => {
            lab.set_checks(checks, progress);
            handover::send(&stream, &Reply::Checks, None).await
        }
        Request::Look => {
            let (facts, tasks) = lab.look_afresh().await;
            let facts = facts.and_then(|facts| serde_json::to_string(&facts).ok());
            handover::send(&stream, &Reply::Look(Look { facts, tasks }), None).await
        }
        Request::Status => handover::send(&stream, &Reply::Status(status(&lab)), None).await,
        Request::End { why } => {
            lab.end(&why);
            // The end of this process closes the connection: that is the answer.
            std::future::pending().await
        }
    }
}

/// Hands out the registry mirror's listening socket, and again after each reset: the old one would keep the old
/// network namespace alive.
async fn offer_mirrors(lab: &Lab, stream: &UnixStream) -> io::Result<()> {
    let mut mirrors = lab.mirrors();
    loop {
        let mirror = mirrors.borrow_and_update().clone();
        if let Some(mirror) = mirror {
            handover::send(stream, &Reply::Mirror, Some(mirror.as_fd())).await?;
        }
        tokio::select! {
            changed = mirrors.changed() => if changed.is_err() { return Ok(()) },
            // The server has no more to say here: it has gone, and another one will ask.
            _gone = handover::receive::<Request>(stream) => return Ok(()),
        }
    }
}

/// Says how far the learner is, and again after each change.
async fn tell_progress(lab: &Lab, stream: &UnixStream) -> io::Result<()> {
    let mut progress = lab.progress();
    loop {
        let now = progress.borrow_and_update().clone();
        handover::send(stream, &Reply::Progress(now), None).await?;
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return Ok(()) },
            // As in offer_mirrors.
            _gone = handover::receive::<Request>(stream) => return Ok(()),
        }
    }
}

fn status(lab: &Lab) -> Status {
    let (age, idle) = lab.age_and_idleness();
    Status {
        age_seconds: age.as_secs(),
        idle_seconds: idle.as_secs(),
        pages: lab.pages(),
        terminals: lab.terminals().iter().filter(|terminal| terminal.is_running()).count(),
        used: lab.use_now(),
    }
}

async fn open_page(lab: Rc<Lab>, socket: OwnedFd, ahead: Vec<u8>) -> io::Result<()> {
    let socket = PageStream::new(socket)?;
    let config = Some(session::websocket_config(lab.defences()));
    let websocket = WebSocketStream::from_partially_read(socket, ahead, Role::Server, config).await;
    spawn_local(session::serve(websocket, lab));
    Ok(())
}
