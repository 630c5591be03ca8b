//! The server's side of a lab: starts its process, asks it for things, notices its end and removes what remains.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
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
use tokio::time::{sleep, timeout};

use super::LabId;
use super::cgroup::{self, Cgroup, Limits};
use super::handover::{self, Reply, Request};
use super::process::{Config, READY};
use crate::sys;

/// What every lab of a server gets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where labs have their directories: `/run/newroot/labs`.
    pub directory: PathBuf,
    /// The lab image's root file system.
    pub rootfs: PathBuf,
    /// Bytes that a lab's files may take up.
    pub disk: u64,
    /// What its cgroup allows.
    pub limits: Limits,
    /// How long a lab without a page lives.
    pub idle: Duration,
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

/// How long a lab may take to be built, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the kernel may take to reap what was killed.
const REMOVAL: Duration = Duration::from_secs(10);

impl Handle {
    /// Starts a lab and waits until it is ready. A lab that fails leaves nothing.
    pub async fn start(settings: &Settings, id: LabId) -> Result<Handle, StartError> {
        let directory = settings.directory.join(id.to_string());
        let failed = |cause| StartError::Directory { path: directory.clone(), cause };
        fs::create_dir_all(&settings.directory).map_err(failed)?;
        make_private(&directory).map_err(failed)?;
        let result = match Cgroup::create(&id.to_string(), &settings.limits) {
            Ok(cgroup) => start_process(settings, id, &directory, cgroup).await,
            Err(error) => Err(error.into()),
        };
        if result.is_err() {
            remove(&directory, &Cgroup::find(&id.to_string())).await;
        }
        result
    }

    /// The labs that a former server has left running; what is left of others is removed.
    pub async fn find_all(directory: &Path) -> Vec<Handle> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<LabId>().ok()) else { continue };
            match Handle::find(id, entry.path()).await {
                Ok(handle) => found.push(handle),
                Err(_nobody_answers) => remove(&entry.path(), &Cgroup::find(&id.to_string())).await,
            }
        }
        found
    }

    async fn find(id: LabId, directory: PathBuf) -> io::Result<Handle> {
        let stream = UnixStream::connect(directory.join("socket")).await?;
        let pid = stream.peer_cred()?.pid().ok_or(io::ErrorKind::NotFound)?;
        let process = sys::watch(sys::pidfd(Pid::from_raw(pid))?)?;
        Ok(Handle { id, directory, cgroup: Cgroup::find(&id.to_string()), process, removed: watch::Sender::default() })
    }

    /// Hands a page's connection, a stream socket that is already upgraded to a WebSocket, to the lab process; `ahead`
    /// is what was read beyond the upgrade.
    pub async fn hand_over(&self, page: impl AsFd, ahead: Vec<u8>) -> io::Result<()> {
        let stream = self.connect().await?;
        handover::send(&stream, &Request::Page { ahead }, Some(page.as_fd())).await
    }

    /// The socket on which the lab's programs expect the registry mirror.
    pub async fn mirror(&self) -> io::Result<TcpListener> {
        let stream = self.connect().await?;
        handover::send(&stream, &Request::Mirror, None).await?;
        let (Reply::Mirror, descriptor) = timeout(PATIENCE, handover::receive(&stream)).await??;
        let listener = std::net::TcpListener::from(descriptor.ok_or(io::ErrorKind::InvalidData)?);
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    /// Asks the lab to end; [`Handle::ended`] tells when it has. One that does not listen is killed.
    pub async fn end(&self) {
        let asked = async {
            let stream = self.connect().await?;
            handover::send(&stream, &Request::End, None).await
        };
        if timeout(Duration::from_secs(2), asked).await.is_err() || timeout(REMOVAL, self.ended()).await.is_err() {
            self.cgroup.kill();
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
        for line in fs::read_to_string(self.directory.join("log")).unwrap_or_default().lines() {
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

async fn start_process(settings: &Settings, id: LabId, directory: &Path, cgroup: Cgroup) -> Result<Handle, StartError> {
    let config = Config {
        directory: directory.to_owned(),
        rootfs: settings.rootfs.clone(),
        hostname: "lab".into(),
        disk: settings.disk,
        idle: settings.idle,
        cgroup: cgroup.clone(),
    };
    let log = directory.join("log");
    let mut child = Command::new("/proc/self/exe")
        .arg0("newroot")
        .arg("lab")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log)?)
        // Not in the server's process group: Ctrl-C there is not meant for labs.
        .process_group(0)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(&config).map_err(io::Error::from)?).await?;
    }
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout).take(1024);
        // Nothing more comes when the process has given up.
        let _ = timeout(PATIENCE, stdout.read_line(&mut said)).await;
    }
    if said.trim_end() != READY {
        let _already_gone = child.kill().await;
        let why = fs::read_to_string(&log).unwrap_or_default();
        return Err(StartError::Lab(why.lines().last().unwrap_or("it says nothing").to_owned()));
    }
    let pid = child.id().ok_or(io::Error::from(io::ErrorKind::NotFound))?;
    let process = sys::watch(sys::pidfd(Pid::from_raw(pid as i32))?)?;
    // The child is dropped here, not killed: the runtime reaps it when it ends.
    Ok(Handle { id, directory: directory.to_owned(), cgroup, process, removed: watch::Sender::default() })
}

fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(directory)
}

async fn remove(directory: &Path, cgroup: &Cgroup) {
    let emptied = async {
        // A process stays in its cgroup until it is reaped; on v1 nothing tells of that.
        loop {
            cgroup.kill();
            match cgroup.remove() {
                Ok(()) => return,
                Err(_busy) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    if timeout(REMOVAL, emptied).await.is_err() {
        tracing::warn!("a lab's cgroup could not be removed: a process in it does not end");
    }
    if let Err(error) = fs::remove_dir_all(directory) {
        tracing::warn!("cannot remove {}: {error}", directory.display());
    }
}
