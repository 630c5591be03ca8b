//! How many of something there may be: of connections, and of bytes that wait for a connection to take them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::classroom::Address;

/// A share of something: a part that is its own, which nobody else can take away, and more out of a pool that all share.
/// So the whole is bounded, and no number of greedy others leaves one with nothing.
#[derive(Clone)]
pub struct Share {
    own: Part,
    more: Part,
    pool: Part,
}

/// What was taken, which goes back when it is dropped.
pub struct Taken {
    _own: Option<OwnedSemaphorePermit>,
    _of_pool: [Option<OwnedSemaphorePermit>; 2],
}

/// So many of something.
#[derive(Clone)]
struct Part {
    left: Arc<Semaphore>,
    whole: u32,
}

impl Part {
    fn new(whole: u32) -> Part {
        Part { left: Arc::new(Semaphore::new(whole as usize)), whole }
    }

    /// Waits for so many, or for the whole where that is less. Who asks first is served first.
    async fn take(&self, count: u32) -> Option<OwnedSemaphorePermit> {
        // Fails only when it is closed, which it never is.
        self.left.clone().acquire_many_owned(count.min(self.whole)).await.ok()
    }
}

impl Share {
    /// All of it, with nobody to share it with.
    pub fn alone(whole: u32) -> Share {
        Share { own: Part::new(whole), more: Part::new(0), pool: Part::new(0) }
    }

    /// Several shares of `own` each, and `most` with what they have of a pool of `pool`.
    pub fn of_pool(own: u32, most: u32, pool: u32) -> impl Fn() -> Share {
        let pool = Part::new(pool);
        move || Share { own: Part::new(own), more: Part::new(most.saturating_sub(own)), pool: pool.clone() }
    }

    /// Waits for so many. What is more than there can be counts as all there is.
    pub async fn take(&self, count: u32) -> Taken {
        let of_pool = async { [self.more.take(count).await, self.pool.take(count).await] };
        if self.more.whole == 0 {
            return Taken { _own: self.own.take(count).await, _of_pool: [None, None] };
        }
        if count > self.own.whole {
            return Taken { _own: None, _of_pool: of_pool.await };
        }
        tokio::select! {
            biased;
            own = self.own.take(count) => Taken { _own: own, _of_pool: [None, None] },
            of_pool = of_pool => Taken { _own: None, _of_pool: of_pool },
        }
    }
}

/// Where connections find a place.
#[derive(Clone)]
pub struct Places {
    share: Share,
    per_address: Option<PerAddress>,
}

/// A connection's place, free again when it is dropped.
pub struct Place {
    _place: Taken,
    _of_address: Option<OfAddress>,
}

impl Places {
    /// The places of a share.
    pub fn new(share: Share) -> Places {
        Places { share, per_address: None }
    }

    /// The same, of which no address gets all.
    pub fn with_limit(self, per_address: PerAddress) -> Places {
        Places { per_address: Some(per_address), ..self }
    }

    /// Waits for a place.
    pub async fn free(&self) -> Taken {
        self.share.take(1).await
    }

    /// The place, for a connection that has come from there; `None` if that address has as many as it may.
    pub fn admit(&self, place: Taken, address: Option<IpAddr>) -> Option<Place> {
        let of_address = match (&self.per_address, address) {
            (Some(limit), Some(address)) if !(limit.exempt)(address) => Some(limit.take(Address::from(address))?),
            _ => None,
        };
        Some(Place { _place: place, _of_address: of_address })
    }
}

/// How many connections one address may have.
#[derive(Clone)]
pub struct PerAddress {
    most: usize,
    exempt: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    counts: Arc<Mutex<HashMap<Address, usize>>>,
}

impl PerAddress {
    /// At most so many for each address, but for those that stand for many others.
    pub fn new(most: usize, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> PerAddress {
        PerAddress { most, exempt: Arc::new(exempt), counts: Arc::default() }
    }

    fn take(&self, address: Address) -> Option<OfAddress> {
        // It is whole after each statement, so a panic elsewhere has not spoilt it.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(OfAddress { address, counts: self.counts.clone() })
    }
}

/// One of an address's connections.
struct OfAddress {
    address: Address,
    counts: Arc<Mutex<HashMap<Address, usize>>>,
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn greedy_shares_empty_the_pool_and_leave_each_its_own() {
        let share = Share::of_pool(2, 8, 10);
        let (one, two, three) = (share(), share(), share());
        let mut taken = Vec::new();
        for (greedy, gets) in [(&one, 8), (&two, 6), (&three, 2)] {
            for _ in 0..gets {
                taken.push(greedy.take(1).now_or_never().expect("there is one"));
            }
            assert!(greedy.take(1).now_or_never().is_none(), "{gets} are all");
        }
        taken.truncate(7);
        assert!(three.take(2).now_or_never().is_some(), "what goes back is there for others");
        assert!(one.take(100).now_or_never().is_none());
        drop(taken);
        assert!(one.take(100).now_or_never().is_some(), "more than there is counts as all");
    }

    #[tokio::test]
    async fn one_address_has_as_many_as_it_may_and_others_do_not_feel_it() {
        let proxy: IpAddr = [10, 0, 0, 1].into();
        let places = Places::new(Share::alone(100)).with_limit(PerAddress::new(2, move |address| address == proxy));
        let come = |address: &str| {
            let place = places.free().now_or_never().expect("there are a hundred");
            places.admit(place, Some(address.parse().expect("an address")))
        };
        let held: Vec<_> = [come("192.0.2.1"), come("::ffff:192.0.2.1")].into_iter().map(Option::unwrap).collect();
        assert!(come("192.0.2.1").is_none());
        let _same_network = (come("2001:db8::1").unwrap(), come("2001:db8::2").unwrap());
        assert!(come("2001:db8::3").is_none());
        assert!(come("192.0.2.2").is_some() && come("2001:db8:0:1::3").is_some());
        let _all: Vec<_> = (0..50).map(|_| come("10.0.0.1").unwrap()).collect();
        drop(held);
        assert!(come("192.0.2.1").is_some());
    }
}
