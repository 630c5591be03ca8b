//! User ids of a lab on the machine: a range that no other lab has, held by a lock that ends with its holder.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Ids that belong to one lab as long as this value (or a copy of its lock in another process) lives.
#[derive(Debug)]
pub struct UidRange {
    /// What uid 0 of the sandbox is on the machine; the next [`UidRange::MAPPED`] ids follow.
    pub first: u32,
    /// The lab process's own user, outside the mapped ids: nobody in the sandbox can be it.
    pub lab: u32,
    /// An abstract Unix address (unix(7)) can be bound once, and is free again when its last holder is gone, however
    /// it went; no file remains.
    pub(super) lock: UnixListener,
}

impl UidRange {
    /// How many ids a sandbox has.
    pub const MAPPED: u32 = 65_536;
    /// Above the ranges of distributions (subuid(5)) and of systemd's containers, below 2³¹.
    const LOWEST: u32 = 0x7000_0000;
    const STEP: u32 = 2 * Self::MAPPED;
    const COUNT: u32 = (0x7fff_0000 - Self::LOWEST) / Self::STEP;

    /// Takes the lowest range that is free. Errors with AddrInUse when some two thousand labs have taken all.
    pub fn take() -> io::Result<UidRange> {
        for number in 0..Self::COUNT {
            let first = Self::LOWEST + number * Self::STEP;
            let address = SocketAddr::from_abstract_name(format!("newroot-uid-{first}"))?;
            match UnixListener::bind_addr(&address) {
                Ok(lock) => return Ok(UidRange { first, lab: first + Self::MAPPED, lock }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_labs_never_share_an_id_and_a_range_comes_back() {
        let one = UidRange::take().expect("a range");
        let other = UidRange::take().expect("another");
        assert!(one.lab >= one.first + UidRange::MAPPED, "the lab's user is no user of the sandbox");
        assert!(other.first > one.lab || other.lab < one.first, "ranges overlap: {one:?} {other:?}");
        let first = one.first;
        drop(one);
        assert_eq!(UidRange::take().expect("free again").first, first);
    }
}
