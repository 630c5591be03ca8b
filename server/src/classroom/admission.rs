//! How many labs there may be, for all and for each client address, and how fast there may be new ones.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Where a client is: an address, or for IPv6 the network of 64 bits that whoever has one address has all of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Address {
        match address.to_canonical() {
            IpAddr::V6(address) => Address(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            address => Address(address),
        }
    }
}

/// What a server has room for.
#[derive(Clone, Debug)]
pub struct Room {
    /// Labs at once.
    pub labs: usize,
    /// Labs at once that were started from one address.
    pub labs_per_address: usize,
    /// How many new labs one address may have each minute, when it has used up what it may have at once: twice the room,
    /// for a class that begins, and begins again.
    pub new_labs_per_minute: u32,
}

impl From<usize> for Room {
    /// So many labs, whoever starts them.
    fn from(labs: usize) -> Room {
        Room { labs, labs_per_address: labs, new_labs_per_minute: u32::MAX }
    }
}

/// There is no new lab for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many run as the server may have.
    #[error("the room is full: {0} machines are running; try again when somebody has left")]
    Full(usize),
    /// As many run as one address may have.
    #[error(
        "{0} machines are running for your network address, which is all it may have; try again when one has ended"
    )]
    TooMany(usize),
    /// They come too fast.
    #[error("too many new machines for your network address; try again in {0} seconds")]
    TooFast(u64),
}

/// Counts new labs by their address.
#[derive(Default)]
pub struct Admission {
    /// When each address will have used up nothing any more. Who is not here has not.
    even: HashMap<Address, Instant>,
}

impl Admission {
    /// Takes note of a new lab, or says why there is none. `running` are the addresses of those that run.
    pub fn admit(
        &mut self,
        room: &Room,
        address: Option<Address>,
        running: impl Iterator<Item = Option<Address>> + Clone,
        now: Instant,
    ) -> Result<(), Refused> {
        let all = running.clone().count();
        if all >= room.labs {
            return Err(Refused::Full(all));
        }
        let Some(address) = address else { return Ok(()) };
        let same = running.filter(|other| *other == Some(address)).count();
        if same >= room.labs_per_address {
            return Err(Refused::TooMany(same));
        }
        self.even.retain(|_, even| *even > now);
        let each = Duration::from_secs(60) / room.new_labs_per_minute.max(1);
        let at_once = u32::try_from(room.labs).unwrap_or(u32::MAX).saturating_mul(2).max(room.new_labs_per_minute);
        let even = self.even.get(&address).copied().unwrap_or(now);
        let wait = (even + each).duration_since(now).saturating_sub(each.saturating_mul(at_once));
        if !wait.is_zero() {
            return Err(Refused::TooFast(wait.as_secs() + 1));
        }
        self.even.insert(address, even + each);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Option<Address> {
        Some(Address::from(address.parse::<IpAddr>().expect("an address")))
    }

    const ROOM: Room = Room { labs: 10, labs_per_address: 8, new_labs_per_minute: 6 };

    #[test]
    fn no_address_fills_the_room() {
        let mut admission = Admission::default();
        let now = Instant::now();
        let mut running = Vec::new();
        for _ in 0..8 {
            admission.admit(&ROOM, at("192.0.2.1"), running.iter().copied(), now).expect("room");
            running.push(at("::ffff:192.0.2.1"));
        }
        let mut come =
            |running: &[Option<Address>], address| admission.admit(&ROOM, address, running.iter().copied(), now);
        assert_eq!(come(&running, at("192.0.2.1")), Err(Refused::TooMany(8)));
        assert_eq!(come(&running, at("192.0.2.2")), Ok(()));
        running.extend([at("192.0.2.2"), None]);
        assert_eq!(come(&running, at("192.0.2.3")), Err(Refused::Full(10)));
        running.remove(0);
        assert_eq!(come(&running, at("192.0.2.1")), Ok(()));
    }

    #[test]
    fn new_labs_come_at_once_at_first_and_then_one_by_one() {
        let mut admission = Admission::default();
        let now = Instant::now();
        let mut come = |address, seconds| {
            admission.admit(&ROOM, at(address), std::iter::empty(), now + Duration::from_secs(seconds))
        };
        for _ in 0..20 {
            assert_eq!(come("2001:db8::1", 0), Ok(()));
        }
        assert_eq!(come("2001:db8::2", 0), Err(Refused::TooFast(11)), "the same network");
        assert_eq!(come("2001:db8:0:1::1", 0), Ok(()));
        assert_eq!(come("2001:db8::2", 9), Err(Refused::TooFast(2)));
        assert_eq!(come("2001:db8::2", 10), Ok(()));
        assert_eq!(come("2001:db8::2", 10), Err(Refused::TooFast(11)));
        for _ in 0..20 {
            assert_eq!(come("2001:db8::2", 1000), Ok(()));
        }
        assert_eq!(admission.even.len(), 1, "who has used up nothing is forgotten");
    }
}
