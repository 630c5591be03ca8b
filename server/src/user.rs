//! The user that a server is: nobody else's, and without any privilege. While the process is still root, what the server
//! will write is made that user's, and what it needs is brought into that user's reach.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid, setgroups, setresgid, setresuid};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fchown, fstat, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::sys;

/// A user of the machine, and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerUser {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// What could not be done, to what, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {cause}", path.display())]
pub struct Error {
    step: &'static str,
    path: PathBuf,
    cause: io::Error,
}

/// A name or number is no user that a server can be.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum NoUser {
    #[error("there is no user {0} on this machine; a number needs none")]
    Unknown(String),
    #[error("the server is to have no privilege, so its user cannot be root")]
    Root,
    #[error("the ids from {first} to {last} belong to labs")]
    Labs { first: u32, last: u32 },
}

impl ServerUser {
    /// That of this very process, for what never serves anybody else.
    pub fn ourselves() -> ServerUser {
        ServerUser { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
    }

    /// The user whom the images below a state directory belong to: that of the server which uses it.
    pub fn of_state(directories: &[PathBuf]) -> ServerUser {
        let owner = |path: &PathBuf| fs::symlink_metadata(path).ok().filter(|found| found.uid() != 0);
        let found = directories.iter().find_map(owner);
        found.map_or_else(ServerUser::default, |found| ServerUser { uid: found.uid(), gid: found.gid() })
    }

    /// Makes a directory, and all that is in it, this user's. What is there more than once, by hard links, stays whose it
    /// is: it may be a file of the machine that a former server was made to link to.
    pub fn own(self, directory: &Path) -> Result<(), Error> {
        let failed = |step, cause| Error { step, path: directory.to_owned(), cause };
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(|cause| failed("make the way to", cause))?;
        }
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(failed("make", cause)),
            _ => {}
        }
        // A link in the place of the directory itself is root's, who has the one above it; no other is followed.
        let real = directory.canonicalize().map_err(|cause| failed("find", cause))?;
        self.own_below(CWD, &real, 0).map_err(|errno| failed("change the owners in", errno.into()))
    }

    /// By descriptors, so that what is looked at is what changes hands, and no link leads elsewhere.
    fn own_below(self, parent: BorrowedFd<'_>, name: impl rustix::path::Arg, depth: usize) -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(parent, name, flags, Mode::empty()) {
            // A link, a socket, or gone.
            Err(Errno::LOOP | Errno::NXIO | Errno::NOENT) => return Ok(()),
            file => file?,
        };
        let found = fstat(&file)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind != FileType::Directory && (kind != FileType::RegularFile || found.st_nlink > 1) || depth > DEEPEST {
            return Ok(());
        }
        if (found.st_uid, found.st_gid) != (self.uid, self.gid) {
            fchown(&file, Some(rustix::fs::Uid::from_raw(self.uid)), Some(rustix::fs::Gid::from_raw(self.gid)))?;
        }
        if kind == FileType::Directory {
            for entry in Dir::read_from(&file)? {
                let entry = entry?;
                if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    self.own_below(file.as_fd(), entry.file_name(), depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// Makes this thread, and those that it starts, write files as this user. They can read as root can.
    pub fn write_files(self) -> io::Result<()> {
        setfsgid(Gid::from_raw(self.gid));
        setfsuid(Uid::from_raw(self.uid));
        // Some of the way may be closed to others: /var/lib/newroot is with systemd.
        sys::raise_reading()
    }

    /// Makes this thread use files as root again.
    pub fn write_files_as_root() {
        setfsuid(Uid::from_raw(0));
        setfsgid(Gid::from_raw(0));
    }

    /// Becomes this user for good: no uid 0, no capability, none to be gained by exec. The process, which must have one
    /// thread, gets a mount namespace of its own, in which the user reaches these directories.
    pub fn become_it(self, needed: &[PathBuf]) -> Result<(), Error> {
        let nowhere = |step| move |cause: io::Error| Error { step, path: PathBuf::from("/"), cause };
        let threads = fs::read_dir("/proc/self/task").map_err(nowhere("count threads below"))?.count();
        if threads != 1 {
            // Those would keep their capabilities.
            return Err(nowhere("drop the privileges of more than one thread")(io::Error::other(threads.to_string())));
        }
        self.reach(needed)?;
        let become_it = || {
            sys::drop_bounding_set()?;
            setgroups(&[])?;
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)?;
            sys::drop_capabilities()?;
            nix::sys::prctl::set_no_new_privs()?;
            Ok(())
        };
        become_it().map_err(|cause| Error { step: "become user", path: self.uid.to_string().into(), cause })
    }

    /// Brings directories into reach by their own names, whoever the directories above belong to: the topmost of those that
    /// this user may not search is covered by an empty one, in which there is nothing but the ways.
    fn reach(self, needed: &[PathBuf]) -> Result<(), Error> {
        let root = Path::new("/");
        let failed = |step, path: &Path| {
            let path = path.to_owned();
            move |cause: io::Error| Error { step, path, cause }
        };
        unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| failed("make a mount namespace for", root)(errno.into()))?;
        // What is mounted on the machine later is seen here, and nothing of ours there.
        mount(None::<&str>, root, None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
            .map_err(|errno| failed("cut off", root)(errno.into()))?;
        let mut ways = Vec::new();
        for path in needed {
            let copy = sys::clone_mount(path).map_err(failed("take a copy of the mount of", path))?;
            if let Some(closed) = self.first_closed_above(path).map_err(failed("look at the way to", path))? {
                ways.push((path, closed, copy));
            }
        }
        let covered: BTreeSet<&Path> = ways.iter().map(|(_, closed, _)| *closed).collect();
        for closed in covered {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("newroot"), closed, Some("tmpfs"), flags, Some("size=64k,mode=755"))
                .map_err(|errno| failed("cover", closed)(errno.into()))?;
        }
        for (path, _, copy) in &ways {
            fs::create_dir_all(path).map_err(failed("make the way to", path))?;
            sys::attach_mount(copy, path).map_err(failed("attach", path))?;
        }
        Ok(())
    }

    /// The topmost of the directories above a path that this user may not search.
    fn first_closed_above(self, path: &Path) -> io::Result<Option<&Path>> {
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for directory in above.into_iter().rev() {
            if !self.may_search(&fs::metadata(directory)?) {
                return Ok(Some(directory));
            }
        }
        Ok(None)
    }

    fn may_search(self, directory: &Metadata) -> bool {
        let shift = match (directory.uid() == self.uid, directory.gid() == self.gid) {
            (true, _) => 6,
            (_, true) => 3,
            _ => 0,
        };
        directory.mode() >> shift & 1 == 1
    }
}

/// The ids right behind those of the labs: a container that has those has this one.
impl Default for ServerUser {
    fn default() -> ServerUser {
        ServerUser { uid: LABS.1 + 1, gid: LABS.1 + 1 }
    }
}

/// A repository's name, which is a path in the cache, has no more parts than this.
const DEEPEST: usize = 200;
/// The first and the last of the ids that labs are given.
pub const LABS: (u32, u32) = (0x7000_0000, 0x7ffe_ffff);

impl fmt::Display for ServerUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uid)
    }
}

impl FromStr for ServerUser {
    type Err = NoUser;

    /// A name of /etc/passwd, or a number, which then is that of the group too unless /etc/passwd says otherwise.
    fn from_str(text: &str) -> Result<ServerUser, NoUser> {
        let number = text.parse::<u32>().ok();
        let known = match number {
            Some(number) => nix::unistd::User::from_uid(Uid::from_raw(number)),
            None => nix::unistd::User::from_name(text),
        };
        let user = match (known, number) {
            (Ok(Some(user)), _) => ServerUser { uid: user.uid.as_raw(), gid: user.gid.as_raw() },
            (_, Some(number)) => ServerUser { uid: number, gid: number },
            _ => return Err(NoUser::Unknown(text.to_owned())),
        };
        if user.uid == 0 || user.gid == 0 {
            return Err(NoUser::Root);
        }
        let (first, last) = LABS;
        if (first..=last).contains(&user.uid) || (first..=last).contains(&user.gid) {
            return Err(NoUser::Labs { first, last });
        }
        Ok(user)
    }
}
