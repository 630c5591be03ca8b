//! The server's side of a lab: has it started, asks it for things, notices its end and has removed what remains. Needs no
//! privilege: what takes root is the keeper's.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::LabId;
use super::handover::{self, Look, Reply, Request, Status};
use super::keeper::{Keeper, StartError};
use crate::checks::{Check, Progress};
use crate::sys;

/// A lab that runs, or has just ended.
#[derive(Debug)]
pub struct Handle {
    /// Which lab.
    pub id: LabId,
    directory: PathBuf,
    keeper: Keeper,
    process: AsyncFd<OwnedFd>,
    removed: watch::Sender<bool>,
}

/// How long a lab may take to answer: it runs on its learner's processor time, which may all be used.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a lab may take to end by itself once it was asked to.
const END: Duration = Duration::from_secs(5);
/// How long the kernel may take to end what was killed.
const REMOVAL: Duration = Duration::from_secs(10);

impl Handle {
    /// Has a lab started for a learner who has come that far with these checks, and waits until it is ready. A lab that
    /// fails leaves nothing.
    pub async fn start(keeper: &Keeper, id: LabId, checks: &[Check], progress: Progress) -> Result<Handle, StartError> {
        let process = sys::watch(keeper.start(id).await?)?;
        let directory = keeper.directory().join(id.to_string());
        let handle = Handle { id, directory, keeper: keeper.clone(), process, removed: watch::Sender::default() };
        // Not the keeper's to pass on: the less it is told, the less it can be told.
        match handle.tell_checks(checks, Some(progress)).await {
            Ok(()) => Ok(handle),
            Err(cause) => {
                keeper.remove(id).await;
                Err(cause.into())
            }
        }
    }

    /// The labs that a former server has left running; what is left of others is removed.
    pub async fn find_all(keeper: &Keeper) -> Vec<Handle> {
        let mut found = Vec::new();
        for id in Handle::ids(keeper.directory()) {
            match Handle::find(keeper, id).await {
                Ok(handle) => found.push(handle),
                Err(_nobody_answers) => keeper.remove(id).await,
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

    /// A lab that runs. Errors where there is none, or where it is still being built.
    pub async fn find(keeper: &Keeper, id: LabId) -> io::Result<Handle> {
        let directory = keeper.directory().join(id.to_string());
        let stream = UnixStream::connect(directory.join("socket")).await?;
        let pid = stream.peer_cred()?.pid().ok_or(io::ErrorKind::NotFound)?;
        let process = sys::watch(sys::pidfd(Pid::from_raw(pid))?)?;
        Ok(Handle { id, directory, keeper: keeper.clone(), process, removed: watch::Sender::default() })
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
        self.tell_checks(checks, None).await
    }

    async fn tell_checks(&self, checks: &[Check], progress: Option<Progress>) -> io::Result<()> {
        match self.ask(&Request::Checks { checks: checks.to_vec(), progress }, None).await? {
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
            self.kill().await;
        }
    }

    /// Kills every process of the lab, without asking it; returns when its own has ended.
    pub async fn kill(&self) {
        self.keeper.kill(self.id).await;
        // Whatever holds it up in the kernel, nobody waits for it for ever.
        let _ = timeout(REMOVAL, self.ended()).await;
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
        self.keeper.remove(self.id).await;
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
