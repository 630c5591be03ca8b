//! What browsers and labs may take of the server: how many connections, how many bytes that wait for them, and how long.

use std::time::Duration;

use axum::{Extension, Router};

use super::Proxies;
use super::connections::{PerAddress, Places, Rules, Share};
use super::mirror::InFlight;
use crate::defence::{Defence, Defences};

/// What can be set.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many descriptors this process may have open. What is served has half of them at most.
    pub descriptors: u32,
    /// How many connections of the page one address may have. A room may well have one for all: sixty browsers open six
    /// each.
    pub connections_per_address: usize,
    /// How long a browser may take to ask for something, and to take a piece of what it has asked for.
    pub timeout: Duration,
    /// Which defences stand.
    pub defences: Defences,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            descriptors: 1024,
            connections_per_address: 512,
            timeout: Duration::from_secs(30),
            defences: Defences::default(),
        }
    }
}

/// The connections of all pages.
const PAGE_CONNECTIONS: u32 = 1024;
/// The connections of one lab to its mirror: so many in any case, and so many at most. More wait.
const MIRROR_CONNECTIONS: (u32, u32) = (4, 32);
/// What the labs' mirrors have in common, beyond what each has in any case.
const MIRROR_POOL: u32 = 512;
/// A program in a lab may be stopped for a while, by Ctrl-Z say, and goes on. It holds up nobody else.
const MIRROR_PATIENCE: u32 = 4;
/// The kernel's buffers of a connection, in each direction; it takes twice as much, for what it needs besides.
const PAGE_BUFFER: usize = 128 << 10;
const MIRROR_BUFFER: usize = 64 << 10;

impl Limits {
    /// Those of the page's connections. A proxy has as many as it likes: they are those of its clients.
    pub(super) fn of_page(&self, proxies: Proxies) -> Rules {
        let places = Places::new(Share::alone(PAGE_CONNECTIONS.min(self.descriptors / 4)));
        let places = match self.defences.stand(Defence::PerAddress) {
            true => places.with_limit(PerAddress::new(self.connections_per_address, move |peer| proxies.have(peer))),
            false => places,
        };
        Rules { places, head: self.timeout, stall: self.timeout, buffer: PAGE_BUFFER, defences: self.defences.clone() }
    }

    /// Makes the limits of one lab's mirror after the other.
    pub(super) fn of_mirrors(self) -> impl Fn(Router) -> (Rules, Router) {
        let (own, most) = MIRROR_CONNECTIONS;
        let connections = Share::of_pool(own, most, MIRROR_POOL.min(self.descriptors / 4));
        let bytes = InFlight::of_pool(self.defences.clone());
        move |mirror| {
            let rules = Rules {
                places: Places::new(connections()),
                head: self.timeout * MIRROR_PATIENCE,
                stall: self.timeout * MIRROR_PATIENCE,
                buffer: MIRROR_BUFFER,
                defences: self.defences.clone(),
            };
            (rules, mirror.layer(Extension(bytes())))
        }
    }
}
