//! What takes root to be done for a lab: its directory, its cgroup and its process made, its processes killed, all of it
//! removed. Each takes a lab's id, which cannot name anything else, and what root has settled for all labs.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::Settings;
use crate::lab::cgroup::{self, Cgroup};
use crate::lab::process::{Config, READY};
use crate::lab::{Handle, LabId};
use crate::sys;

/// A lab could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// As many labs are there as may be.
    #[error("the room is full: there are {0} machines; try again when somebody has left")]
    Full(usize),
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
    /// The helper has refused or failed, and said why.
    #[error("{0}")]
    Helper(String),
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
/// How long the kernel may take to reap what was killed.
const REMOVAL: Duration = Duration::from_secs(10);

/// Starts a lab, and waits until it is ready; returns a descriptor that stands for its process. One that fails leaves
/// nothing.
pub async fn start(settings: &Settings, id: LabId) -> Result<OwnedFd, StartError> {
    let directory = settings.directory.join(id.to_string());
    let failed = |cause| StartError::Directory { path: directory.clone(), cause };
    fs::create_dir_all(&settings.directory).map_err(failed)?;
    let present = Handle::ids(&settings.directory).len();
    if present >= settings.most {
        return Err(StartError::Full(present));
    }
    // Where there is one already, it is another lab's, and stays.
    fs::DirBuilder::new().mode(0o700).create(&directory).map_err(failed)?;
    let started = async {
        open_to_server(&directory, 0o710, settings).map_err(failed)?;
        let cgroup = Cgroup::create(&id.to_string(), &settings.cgroup)?;
        cgroup.record(&directory.join(CGROUP)).map_err(failed)?;
        start_process(settings, &directory, cgroup).await
    };
    let started = started.await;
    if started.is_err() {
        // Why it was not started is worth more than why it was not removed.
        let _ = remove(&settings.directory, id).await;
    }
    started
}

async fn start_process(settings: &Settings, directory: &Path, cgroup: Cgroup) -> Result<OwnedFd, StartError> {
    let log = directory.join("log");
    let log_file = fs::File::options().append(true).create_new(true).mode(0o600).open(&log)?;
    open_to_server(&log, 0o640, settings)?;
    let config = Config {
        directory: directory.to_owned(),
        rootfs: settings.rootfs.clone(),
        hostname: "lab".into(),
        limits: settings.limits(),
        unused: settings.unused,
        overlay: settings.overlay,
        netfilter: settings.netfilter,
        defences: settings.defences.clone(),
        cgroup,
        server: settings.server.uid,
    };
    let mut child = Command::new("/proc/self/exe")
        .arg0("newroot")
        .arg("lab")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log_file)
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
    // The child is dropped here, not killed: the runtime reaps it when it ends.
    Ok(sys::pidfd(Pid::from_raw(pid as i32))?)
}

/// Lets the server's group use what is, and stays, root's: the server must not change which cgroup is taken for the lab's,
/// nor put another file where root will write.
pub fn open_to_server(path: &Path, mode: u32, settings: &Settings) -> io::Result<()> {
    chown(path, None, Some(settings.server.gid))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Kills every process of a lab.
pub async fn kill(labs: &Path, id: LabId) {
    let directory = labs.join(id.to_string());
    // Off this thread, as in `remove`. It does not panic, and is not cancelled.
    let _ = spawn_blocking(move || cgroup_of(&directory, id).kill()).await;
}

/// Kills what still runs of a lab, and removes its cgroup and its directory. Errors with what is left, and why.
pub async fn remove(labs: &Path, id: LabId) -> Result<(), String> {
    let directory = labs.join(id.to_string());
    let cgroup = cgroup_of(&directory, id);
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
    let emptied = timeout(REMOVAL, emptied).await;
    match fs::remove_dir_all(&directory) {
        // Both a server and `newroot labs end` clean up.
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", directory.display()))
        }
        _ => emptied.map_err(|_elapsed| "its cgroup could not be removed: a process in it does not end".to_owned()),
    }
}

/// A lab's cgroup, as it was written down; where a server was killed before it could, by its name.
fn cgroup_of(directory: &Path, id: LabId) -> Cgroup {
    Cgroup::recorded(&directory.join(CGROUP)).unwrap_or_else(|_none| Cgroup::find(&id.to_string()))
}
