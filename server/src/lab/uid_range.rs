//! User ids of a lab on the machine: a range that no other lab has, held by a lock that ends with its holder.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Ids that belong to one lab as long as this value (or a copy of its lock in another process) lives.
#[derive(Debug)]
pub struct UidRange {
    /// What uid 0 of the sandbox is on the machine; the next [`UidRange::MAPPED`] ids follow.
    pub first: u32,
    /// The lab process's own user, outside the mapped ids: nobody in the sandbox can be it.
    pub lab: u32,
    /// A lock on a file goes with the last descriptor of it, however its holder ended (flock(2)).
    pub(super) lock: File,
}

/// The locks of all labs of this machine, of whatever server. Root's alone: whoever could open one could take it.
const LOCKS: &str = "/run/newroot-uids";

impl UidRange {
    /// How many ids a sandbox has.
    pub const MAPPED: u32 = 65_536;
    /// Above the ranges of distributions (subuid(5)) and of systemd's containers, below 2³¹.
    const LOWEST: u32 = 0x7000_0000;
    const STEP: u32 = 2 * Self::MAPPED;
    const COUNT: u32 = (0x7fff_0000 - Self::LOWEST) / Self::STEP;

    /// Takes the lowest range that is free. Errors with AddrInUse when some two thousand labs have taken all, and with
    /// PermissionDenied where others than root reach the locks.
    pub fn take() -> io::Result<UidRange> {
        UidRange::take_by(Path::new(LOCKS))
    }

    fn take_by(locks: &Path) -> io::Result<UidRange> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", locks.display()));
        match DirBuilder::new().recursive(true).mode(0o700).create(locks) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(named(error)),
            _ => {}
        }
        let found = fs::symlink_metadata(locks).map_err(named)?;
        if !found.is_dir() || found.uid() != 0 || found.mode() & 0o022 != 0 {
            return Err(named(io::Error::new(io::ErrorKind::PermissionDenied, "not a directory of root's alone")));
        }
        for number in 0..Self::COUNT {
            let first = Self::LOWEST + number * Self::STEP;
            let path = locks.join(first.to_string());
            let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(path);
            let lock = lock.map_err(named)?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(UidRange { first, lab: first + Self::MAPPED, lock }),
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(named(errno.into())),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user;

    #[test]
    fn two_labs_never_share_an_id_and_a_range_comes_back() {
        let locks = tempfile::tempdir().expect("a directory");
        let take = || UidRange::take_by(&locks.path().join("locks")).expect("a range");
        let (one, other) = (take(), take());
        assert!(one.lab >= one.first + UidRange::MAPPED, "the lab's user is no user of the sandbox");
        assert!(other.first > one.lab || other.lab < one.first, "ranges overlap: {one:?} {other:?}");
        let first = one.first;
        drop(one);
        assert_eq!(take().first, first, "free again");
        let last = UidRange::LOWEST + UidRange::COUNT * UidRange::STEP - 1;
        assert!(user::LABS.0 == UidRange::LOWEST && last <= user::LABS.1, "the server's user is none of these");
    }

    #[test]
    fn nobody_but_root_can_take_a_range_away() {
        use std::os::unix::fs::PermissionsExt;
        let locks = tempfile::tempdir().expect("a directory");
        let place = locks.path().join("locks");
        drop(UidRange::take_by(&place).expect("a range"));
        assert_eq!(fs::metadata(&place).expect("is there").mode() & 0o777, 0o700);
        // Somebody else has made it first.
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).expect("opened");
        let refused = UidRange::take_by(&place).expect_err("is not root's alone");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
