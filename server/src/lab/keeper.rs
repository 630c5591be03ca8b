//! What takes root to be done for labs, and who does it: a helper of few words, for a server that is not root, or this
//! process itself. What is done is in [`work`], the helper in [`helper`]; here is the server's way to either.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use shared::protocol::Limits;

use super::channel::send_bytes;
use super::sandbox::Overlay;
use super::{LabId, cgroup};
use crate::defence::Defences;
use crate::sys;
use crate::user::ServerUser;

pub mod helper;
mod work;

pub use work::StartError;

/// The capabilities that labs are made with, by their numbers (capabilities(7)). `deploy/compose.yaml` says what for.
pub const CAPABILITIES: [(&str, u32); 10] = [
    ("CHOWN", 0),
    ("DAC_OVERRIDE", 1),
    ("FOWNER", 3),
    ("KILL", 5),
    ("SETGID", 6),
    ("SETUID", 7),
    ("SETPCAP", 8),
    ("SYS_PTRACE", 19),
    ("SYS_ADMIN", 21),
    ("MKNOD", 27),
];

/// What every lab of a server gets. A helper is told at its start, by root, and by nobody later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Where labs have their directories: `/run/newroot/labs`.
    pub directory: PathBuf,
    /// The lab image's root file system.
    pub rootfs: PathBuf,
    /// How many labs there may be at once.
    pub most: usize,
    /// Who may ask labs for things.
    pub server: ServerUser,
    /// What its cgroup allows.
    pub cgroup: cgroup::Limits,
    /// Bytes that a lab's files may take up.
    pub disk: u64,
    /// How many terminals it may have open at once.
    pub terminals: u32,
    /// How long a lab lives that nobody uses.
    pub idle: Duration,
    /// How long a lab lives that nobody has ever used, and nobody looks at.
    pub unused: Duration,
    /// How long a lab lives in any case.
    pub life: Option<Duration>,
    /// Where its overlay is mounted; `None` for what this kernel can.
    pub overlay: Option<Overlay>,
    /// Whether programs may program netfilter in their own network namespace.
    pub netfilter: bool,
    /// Which defences stand.
    pub defences: Defences,
}

impl Settings {
    /// What a lab may use, as it is told to its learner.
    fn limits(&self) -> Limits {
        Limits {
            memory: self.cgroup.memory,
            processes: self.cgroup.pids,
            cpu_percent: self.cgroup.cpu_percent,
            disk: self.disk,
            terminals: self.terminals,
            idle_seconds: self.idle.as_secs(),
            life_seconds: self.life.map(|life| life.as_secs()),
        }
    }
}

/// From the server to its helper, as JSON in one packet.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Names the request in the reply to it.
    number: u64,
    verb: Verb,
    lab: LabId,
}

/// All that a helper can be asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Verb {
    /// Start a lab as all are started. With the reply comes a descriptor that stands for its process (pidfd_open(2)).
    Start,
    /// Kill every process of a lab.
    Kill,
    /// Kill what still runs of a lab, and remove its cgroup and its directory.
    Remove,
}

/// From the helper to the server, as JSON in one packet.
#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    /// That of the request; 0 where it could not be read.
    number: u64,
    /// Whether it is done, or why it is not.
    outcome: Result<(), String>,
}

/// Who does what takes root.
#[derive(Clone, Debug)]
pub struct Keeper {
    directory: PathBuf,
    who: Who,
}

#[derive(Clone, Debug)]
enum Who {
    Helper(Arc<Helper>),
    Ourselves(Option<Arc<Settings>>),
}

impl Keeper {
    /// This process, which is root.
    pub fn ourselves(settings: Settings) -> Keeper {
        Keeper { directory: settings.directory.clone(), who: Who::Ourselves(Some(Arc::new(settings))) }
    }

    /// This process, for labs below a directory that it ends but never starts.
    pub fn to_end(directory: PathBuf) -> Keeper {
        Keeper { directory, who: Who::Ourselves(None) }
    }

    /// Where labs have their directories.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Asks for nothing more: a helper ends then, and labs go on.
    pub fn dismiss(&self) {
        if let Who::Helper(helper) = &self.who {
            // Where it has ended already there is nothing to be said.
            let _ = shutdown(helper.socket.get_ref().as_raw_fd(), Shutdown::Write);
        }
    }

    /// Starts a lab; returns a descriptor that stands for its process. A lab that fails leaves nothing.
    pub async fn start(&self, lab: LabId) -> Result<OwnedFd, StartError> {
        match &self.who {
            Who::Helper(helper) => {
                let process = helper.ask(Verb::Start, lab).await.map_err(StartError::Helper)?;
                process.ok_or_else(|| StartError::Helper("the helper sent no descriptor".to_owned()))
            }
            Who::Ourselves(Some(settings)) => work::start(settings, lab).await,
            Who::Ourselves(None) => Err(StartError::Helper("this process only ends labs".to_owned())),
        }
    }

    /// Kills every process of a lab.
    pub async fn kill(&self, lab: LabId) {
        let killed = match &self.who {
            Who::Helper(helper) => helper.ask(Verb::Kill, lab).await.map(drop),
            Who::Ourselves(_) => {
                work::kill(&self.directory, lab).await;
                Ok(())
            }
        };
        if let Err(why) = killed {
            tracing::warn!("lab {lab:?} could not be killed: {why}");
        }
    }

    /// Kills what still runs of a lab, and removes its cgroup and its directory.
    pub async fn remove(&self, lab: LabId) {
        let removed = match &self.who {
            Who::Helper(helper) => helper.ask(Verb::Remove, lab).await.map(drop),
            Who::Ourselves(_) => work::remove(&self.directory, lab).await,
        };
        if let Err(why) = removed {
            tracing::warn!("lab {lab:?} could not be removed: {why}");
        }
    }
}

/// Makes the directory that labs have theirs in, where it is missing: root's, and open to the server alone.
pub fn make_directory(settings: &Settings) -> io::Result<()> {
    fs::create_dir_all(&settings.directory)?;
    work::open_to_server(&settings.directory, 0o750, settings)
}

/// A helper that was started, before the server has an event loop.
pub struct Started {
    directory: PathBuf,
    socket: OwnedFd,
    process: Child,
}

/// Starts a helper with these settings, and waits until it has taken them. To be called by root.
pub fn start_helper(settings: &Settings) -> io::Result<Started> {
    let (socket, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let mut helper = Command::new("/proc/self/exe");
    helper.env_clear().arg("keeper").stdin(Stdio::from(theirs)).stdout(Stdio::null());
    std::os::unix::process::CommandExt::arg0(&mut helper, "newroot");
    let process = helper.spawn()?;
    // It holds the other end, which is closed here: if the helper fails, receiving says so.
    drop(helper);
    send_bytes(&socket, &serde_json::to_vec(settings)?, &[])?;
    let mut packet = [0; LONGEST_REPLY];
    let (length, _) = sys::receive(&socket, &mut packet)?;
    let Reply { outcome, .. } = match length {
        0 => return Err(io::Error::other("it has ended, and its last words are above")),
        _ => serde_json::from_slice(&packet[..length])?,
    };
    outcome.map_err(io::Error::other)?;
    Ok(Started { directory: settings.directory.clone(), socket, process })
}

impl Started {
    /// Has the running event loop talk to the helper. The future is to be polled all the while; it ends when the helper
    /// has ended. The process is to be waited for when the event loop is gone.
    pub fn talk(self) -> io::Result<(Keeper, impl Future<Output = ()> + Send + 'static, Child)> {
        fcntl(&self.socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let helper = Arc::new(Helper {
            socket: sys::watch(self.socket)?,
            asked: Mutex::new(Some(HashMap::new())),
            last: AtomicU64::new(0),
        });
        let listening = helper.clone();
        let talk = async move { listening.listen().await };
        Ok((Keeper { directory: self.directory, who: Who::Helper(helper) }, talk, self.process))
    }
}

/// The connection to a helper.
#[derive(Debug)]
struct Helper {
    socket: AsyncFd<OwnedFd>,
    /// Who waits for which reply; `None` when there will be no more.
    asked: Mutex<Option<Waiting>>,
    last: AtomicU64,
}

type Waiting = HashMap<u64, oneshot::Sender<Answer>>;
type Answer = Result<Option<OwnedFd>, String>;

impl Helper {
    async fn ask(&self, verb: Verb, lab: LabId) -> Answer {
        let ended = || "the helper that does what takes root has ended".to_owned();
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        self.asked().as_mut().ok_or_else(ended)?.insert(number, answer);
        let packet = serde_json::to_vec(&Request { number, verb, lab }).map_err(|error| error.to_string())?;
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| send_bytes(socket, &packet, &[])).await;
        if let Err(error) = sent {
            self.asked().as_mut().map(|asked| asked.remove(&number));
            return Err(format!("{}: {error}", ended()));
        }
        answered.await.unwrap_or_else(|_no_more| Err(ended()))
    }

    /// Passes replies on until the helper has ended.
    async fn listen(&self) {
        loop {
            let mut packet = [0; LONGEST_REPLY];
            let received = self.socket.async_io(Interest::READABLE, |socket| sys::receive(socket, &mut packet)).await;
            let (length, mut descriptors) = match received {
                Ok((0, _)) | Err(_) => break,
                Ok(received) => received,
            };
            match serde_json::from_slice::<Reply>(&packet[..length]) {
                Ok(Reply { number, outcome }) => {
                    let waiting = self.asked().as_mut().and_then(|asked| asked.remove(&number));
                    // Whoever asked may have gone.
                    let _ = waiting.map(|waiting| waiting.send(outcome.map(|()| descriptors.pop())));
                }
                Err(error) => tracing::warn!("the helper said something that is no reply: {error}"),
            }
        }
        self.asked().take();
    }

    fn asked(&self) -> MutexGuard<'_, Option<Waiting>> {
        // The map is whole after each statement, so a panic elsewhere has not spoilt it.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a reply: an error may name paths.
const LONGEST_REPLY: usize = 16 << 10;
