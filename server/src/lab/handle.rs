//! The server's side of a lab: starts its process, asks it for things, notices its end and removes what remains.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use shared::protocol::Limits;

use super::LabId;
use super::cgroup::{self, Cgroup};
use super::handover::{self, Look, Reply, Request, Status};
use super::process::{Config, READY};
use super::sandbox::Overlay;
use crate::checks::{Check, Progress};
use crate::defence::Defences;
use crate::sys;

/// What every lab of a server gets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where labs have their directories: `/run/newroot/labs`.
    pub directory: PathBuf,
    /// The lab image's root file system.
    pub rootfs: PathBuf,
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

/// A lab that runs, or has just ended.
#[derive(Debug)]
pub struct Handle {
    /// Which lab.
    pub id: LabId,
    directory: PathBuf,
    cgroup: Cgroup,
    process: AsyncFd<OwnedFd>,
    removed: watch::Sender<bool>,
}

/// A lab could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory could not be made.
    #[error("cannot make the lab's directory {path}: {cause}")]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Its cgroup could not be made.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// Its process could not be started or spoken to.
    #[error("cannot start the lab process: {cause}")]
    Process {
        /// Why.
        cause: io::Error,
    },
    /// Its process gave up, and said why.
    #[error("the lab could not be built: {0}")]
    Lab(String),
}

impl From<io::Error> for StartError {
    fn from(cause: io::Error) -> StartError {
        StartError::Process { cause }
    }
}

/// The file in a lab's directory that says which cgroup is its own.
const CGROUP: &str = "cgroup";
/// How long a lab may take to be built, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a lab may take to answer: it runs on its learner's processor time, which may all be used.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a lab may take to end by itself once it was asked to.
const END: Duration = Duration::from_secs(5);
/// How long the kernel may take to reap what was killed.
const REMOVAL: Duration = Duration::from_secs(10);

impl Handle {
    /// Starts a lab for a learner who has come that far with these checks, and waits until it is ready. A lab that fails
    /// leaves nothing.
    pub async fn start(
        settings: &Settings,
        id: LabId,
        checks: &[Check],
        progress: Progress,
    ) -> Result<Handle, StartError> {
        let directory = settings.directory.join(id.to_string());
        let failed = |cause| StartError::Directory { path: directory.clone(), cause };
        fs::create_dir_all(&settings.directory).map_err(failed)?;
        make_private(&directory).map_err(failed)?;
        let result = match Cgroup::create(&id.to_string(), &settings.cgroup) {
            Ok(cgroup) => match cgroup.record(&directory.join(CGROUP)) {
                Ok(()) => {
                    let config = Config {
                        directory: directory.clone(),
                        rootfs: settings.rootfs.clone(),
                        hostname: "lab".into(),
                        limits: settings.limits(),
                        unused: settings.unused,
                        overlay: settings.overlay,
                        netfilter: settings.netfilter,
                        defences: settings.defences.clone(),
                        cgroup: cgroup.clone(),
                        checks: checks.to_vec(),
                        progress,
                    };
                    start_process(config, id).await
                }
                Err(cause) => Err(failed(cause)),
            },
            Err(error) => Err(error.into()),
        };
        if result.is_err() {
            remove(&directory, &cgroup_of(&directory, id)).await;
        }
        result
    }

    /// The labs that a former server has left running; what is left of others is removed.
    pub async fn find_all(directory: &Path) -> Vec<Handle> {
        let mut found = Vec::new();
        for id in Handle::ids(directory) {
            match Handle::find(directory, id).await {
                Ok(handle) => found.push(handle),
                Err(_nobody_answers) => Handle::remove_remains(directory, id).await,
            }
        }
        found
    }

    /// The labs that have a directory, whether they run or not.
    pub fn ids(directory: &Path) -> Vec<LabId> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut ids: Vec<LabId> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        ids.sort();
        ids
    }

    /// Removes what is left of a lab that nobody answers for, and kills what still runs in its cgroup.
    pub async fn remove_remains(directory: &Path, id: LabId) {
        let directory = directory.join(id.to_string());
        remove(&directory, &cgroup_of(&directory, id)).await;
    }

    /// A lab that runs. Errors where there is none, or where it is still being built.
    pub async fn find(directory: &Path, id: LabId) -> io::Result<Handle> {
        let directory = directory.join(id.to_string());
        let stream = UnixStream::connect(directory.join("socket")).await?;
        let pid = stream.peer_cred()?.pid().ok_or(io::ErrorKind::NotFound)?;
        let process = sys::watch(sys::pidfd(Pid::from_raw(pid))?)?;
        let cgroup = cgroup_of(&directory, id);
        Ok(Handle { id, directory, cgroup, process, removed: watch::Sender::default() })
    }

    /// Hands a page's connection, a stream socket that is already upgraded to a WebSocket, to the lab process; `ahead`
    /// is what was read beyond the upgrade. Errors with TimedOut where the lab does not
    /// answer; then it may still have a copy, so the connection should be shut down.
    pub async fn hand_over(&self, page: impl AsFd, ahead: Vec<u8>) -> io::Result<()> {
        match self.ask(&Request::Page { ahead }, Some(page.as_fd())).await? {
            Reply::Page => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The sockets on which the lab's programs expect the registry mirror.
    pub async fn mirrors(&self) -> io::Result<Mirrors> {
        let stream = self.connect().await?;
        handover::send(&stream, &Request::Mirror, None).await?;
        Ok(Mirrors(stream))
    }

    /// How far the learner is.
    pub async fn progress(&self) -> io::Result<ProgressFeed> {
        let stream = self.connect().await?;
        handover::send(&stream, &Request::Progress, None).await?;
        Ok(ProgressFeed(stream))
    }

    /// Tells the lab what the lessons ask from now on.
    pub async fn set_checks(&self, checks: &[Check]) -> io::Result<()> {
        match self.ask(&Request::Checks { checks: checks.to_vec() }, None).await? {
            Reply::Checks => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Has the lab look at its machine, and judge what is open.
    pub async fn look(&self) -> io::Result<Look> {
        match self.ask(&Request::Look, None).await? {
            Reply::Look(look) => Ok(look),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// How the lab is.
    pub async fn status(&self) -> io::Result<Status> {
        match self.ask(&Request::Status, None).await? {
            Reply::Status(status) => Ok(status),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn ask(&self, request: &Request, descriptor: Option<BorrowedFd<'_>>) -> io::Result<Reply> {
        let asked = async {
            let stream = self.connect().await?;
            handover::send(&stream, request, descriptor).await?;
            handover::receive(&stream).await
        };
        timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(|(reply, _)| reply)
    }

    /// Asks the lab to end, and tells its pages why; returns when its process has ended. One that does not listen is
    /// killed. What it leaves is for [`Handle::clean_up`].
    pub async fn end(&self, why: &str) {
        let asked = async {
            let stream = self.connect().await?;
            handover::send(&stream, &Request::End { why: why.to_owned() }, None).await?;
            self.ended().await;
            io::Result::Ok(())
        };
        if !matches!(timeout(END, asked).await, Ok(Ok(()))) {
            self.cgroup.kill();
            // Whatever holds it up in the kernel, nobody waits for it for ever.
            let _ = timeout(REMOVAL, self.ended()).await;
        }
    }

    /// Waits for the end of the lab process.
    pub async fn ended(&self) {
        // A pidfd is readable from the process's end on, for ever.
        let _ = self.process.readable().await;
    }

    /// Whether its process has ended, and with it every process of the sandbox.
    pub fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(self.process.get_ref().as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Removes what a lab that has ended leaves: processes that outlived it, its cgroup, its directory. Then `forget`
    /// is called, and [`Handle::removed`] returns. To be called once.
    pub async fn clean_up(&self, forget: impl FnOnce()) {
        // The first lines say what went wrong; a learner may have caused thousands more.
        for line in fs::read_to_string(self.directory.join("log")).unwrap_or_default().lines().take(20) {
            tracing::warn!("lab {:?} said: {line}", self.id);
        }
        remove(&self.directory, &self.cgroup).await;
        forget();
        self.removed.send_replace(true);
    }

    /// Waits until nothing of the lab is left.
    pub async fn removed(&self) {
        // The sender lives as long as we do.
        let _ = self.removed.subscribe().wait_for(|removed| *removed).await;
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.directory.join("socket")).await
    }
}

/// What a lab tells of its learner's progress.
#[derive(Debug)]
pub struct ProgressFeed(UnixStream);

impl ProgressFeed {
    /// All of it: at once, and then after each change. Errors with UnexpectedEof when the lab ends.
    pub async fn next(&mut self) -> io::Result<Progress> {
        match handover::receive(&self.0).await? {
            // A lab may be broken into.
            (Reply::Progress(progress), _) => Ok(progress.bounded()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The registry mirror's listening sockets in a lab: one at once, and another after each reset.
#[derive(Debug)]
pub struct Mirrors(UnixStream);

impl Mirrors {
    /// Waits for the next; the one before is of no use then. Errors with UnexpectedEof when the lab ends.
    pub async fn next(&mut self) -> io::Result<TcpListener> {
        let (Reply::Mirror, Some(descriptor)) = handover::receive(&self.0).await? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let listener = std::net::TcpListener::from(descriptor);
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }
}

async fn start_process(config: Config, id: LabId) -> Result<Handle, StartError> {
    let log = config.directory.join("log");
    let mut child = Command::new("/proc/self/exe")
        .arg0("newroot")
        .arg("lab")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log)?)
        .spawn()?;
    let mut said = String::new();
    let greeting = async {
        if let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) {
            stdin.write_all(&serde_json::to_vec(&config)?).await?;
            drop(stdin);
            BufReader::new(stdout).take(1024).read_line(&mut said).await?;
        }
        io::Result::Ok(())
    };
    // A process that has given up takes nothing more, says nothing more, and has said why in its log.
    let _ = timeout(PATIENCE, greeting).await;
    if said.trim_end() != READY {
        let _already_gone = child.kill().await;
        let why = fs::read_to_string(&log).unwrap_or_default();
        return Err(StartError::Lab(why.lines().last().unwrap_or("it says nothing").to_owned()));
    }
    let pid = child.id().ok_or(io::Error::from(io::ErrorKind::NotFound))?;
    let process = sys::watch(sys::pidfd(Pid::from_raw(pid as i32))?)?;
    // The child is dropped here, not killed: the runtime reaps it when it ends.
    let Config { directory, cgroup, .. } = config;
    Ok(Handle { id, directory, cgroup, process, removed: watch::Sender::default() })
}

/// A lab's cgroup, as it was written down; where a server was killed before it could, by its name.
fn cgroup_of(directory: &Path, id: LabId) -> Cgroup {
    Cgroup::recorded(&directory.join(CGROUP)).unwrap_or_else(|_none| Cgroup::find(&id.to_string()))
}

fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(directory)
}

async fn remove(directory: &Path, cgroup: &Cgroup) {
    let emptied = async {
        // A process stays in its cgroup until it is reaped; on v1 nothing tells of that.
        loop {
            // Off this thread: a learner may have left thousands of cgroups.
            let cgroup = cgroup.clone();
            let removed = spawn_blocking(move || {
                cgroup.kill();
                cgroup.remove()
            });
            match removed.await {
                Ok(Ok(())) => return,
                _busy => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    if timeout(REMOVAL, emptied).await.is_err() {
        tracing::warn!("a lab's cgroup could not be removed: a process in it does not end");
    }
    if let Err(error) = fs::remove_dir_all(directory)
        // Both a server and `newroot labs end` clean up.
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {error}", directory.display());
    }
}
