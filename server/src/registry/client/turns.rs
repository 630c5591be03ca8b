//! Whose turn it is at the upstream. Each client has one turn that nobody can take from it, and more of those that all
//! share as long as there are any; what waits, waits in its client's own queue.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::super::error::StoreError;
use super::{Client, Number};

/// How much may be under way.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Turns that a client has for itself.
    pub own: usize,
    /// Turns that are shared by all, beyond each one's own.
    pub shared: usize,
    /// Turns that a client may have at once.
    pub each: usize,
    /// Requests of a client that may wait for a turn.
    pub waiting: usize,
}

/// The turns of all clients.
#[derive(Clone)]
pub struct Turns(Arc<Shared>);

struct Shared {
    bounds: Bounds,
    queues: Mutex<HashMap<Number, Queue>>,
}

/// One client's. It is there as long as the client has a turn or waits for one.
#[derive(Default)]
struct Queue {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// A turn, which is the next one's when this is dropped.
pub struct Turn {
    turns: Turns,
    client: Number,
}

impl Turns {
    /// Nobody has a turn yet.
    pub fn new(bounds: Bounds) -> Turns {
        Turns(Arc::new(Shared { bounds, queues: Mutex::default() }))
    }

    /// Waits for a turn. Whoever no longer waits (drops this) has left the queue. Errors where too many wait already.
    pub async fn turn(&self, client: &Client) -> Result<Turn, StoreError> {
        let (give, given) = oneshot::channel();
        {
            let mut queues = self.queues();
            let queue = queues.entry(client.number()).or_default();
            queue.waiting.retain(|waiting| !waiting.is_closed());
            // Even one that could have a turn at once goes through the queue, which then has room for it.
            if queue.running > 0 && queue.waiting.len() >= self.0.bounds.waiting {
                return Err(StoreError::QueueFull { waiting: queue.waiting.len() });
            }
            queue.waiting.push_back(give);
        }
        self.hand_out();
        given.await.map_err(|_| StoreError::Interrupted)
    }

    /// Gives what turns there are to those who wait: first to whoever has fewest.
    fn hand_out(&self) {
        loop {
            let Some((client, to)) = self.next() else { return };
            // Who no longer waits drops the turn, which then comes back here.
            let _ = to.send(Turn { turns: self.clone(), client });
        }
    }

    /// Who gets a turn now; it counts as given.
    fn next(&self) -> Option<(Number, oneshot::Sender<Turn>)> {
        let Bounds { own, shared, each, .. } = self.0.bounds;
        let mut queues = self.queues();
        for queue in queues.values_mut() {
            queue.waiting.retain(|waiting| !waiting.is_closed());
        }
        queues.retain(|_, queue| queue.running > 0 || !queue.waiting.is_empty());
        let beyond: usize = queues.values().map(|queue| queue.running.saturating_sub(own)).sum();
        let (client, queue) = queues
            .iter_mut()
            .filter(|(_, queue)| !queue.waiting.is_empty() && queue.running < each)
            .filter(|(_, queue)| queue.running < own || beyond < shared)
            .min_by_key(|(_, queue)| queue.running)?;
        queue.running += 1;
        queue.waiting.pop_front().map(|to| (*client, to))
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Number, Queue>> {
        // The map is never left half changed, so a panic elsewhere while it was locked has done it no harm.
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(queue) = self.turns.queues().get_mut(&self.client) {
            queue.running -= 1;
        }
        self.turns.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const BOUNDS: Bounds = Bounds { own: 1, shared: 2, each: 3, waiting: 4 };

    type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Turn, StoreError>> + 'a>>;

    fn poll<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn begin<'a>(turns: &'a Turns, client: &'a Client) -> (Waiting<'a>, Option<Result<Turn, StoreError>>) {
        let mut waiting: Waiting<'a> = Box::pin(turns.turn(client));
        let now = poll(waiting.as_mut());
        (waiting, now)
    }

    #[test]
    fn whoever_takes_all_leaves_each_other_client_a_turn() {
        let turns = Turns::new(BOUNDS);
        let greedy: Vec<Client> = (0..3).map(|_| Client::new()).collect();
        let asked: Vec<_> = (0..5).flat_map(|_| &greedy).map(|client| begin(&turns, client)).collect();
        let running = asked.iter().filter(|(_, now)| now.is_some()).count();
        assert_eq!(running, 3 + BOUNDS.shared, "one for each, and what is shared");
        let other = Client::new();
        assert!(matches!(begin(&turns, &other).1, Some(Ok(_))));
    }

    #[test]
    fn a_queue_has_an_end_and_who_gives_up_leaves_it() {
        let turns = Turns::new(BOUNDS);
        let client = Client::new();
        let mut asked: Vec<_> = (0..BOUNDS.each + BOUNDS.waiting).map(|_| begin(&turns, &client)).collect();
        assert!(matches!(begin(&turns, &client).1, Some(Err(StoreError::QueueFull { waiting: 4 }))));
        asked.pop();
        let (mut last, now) = begin(&turns, &client);
        assert!(now.is_none());
        // All before it give up: those that wait, and those that have turns.
        drop(asked);
        assert!(matches!(poll(last.as_mut()), Some(Ok(_))));
    }

    #[test]
    fn a_turn_that_was_given_to_somebody_who_has_gone_is_the_next_ones() {
        let turns = Turns::new(Bounds { shared: 0, ..BOUNDS });
        let client = Client::new();
        let (_, first) = begin(&turns, &client);
        let (gone, _) = begin(&turns, &client);
        let mut next = pin!(turns.turn(&client));
        assert!(poll(next.as_mut()).is_none());
        // It is in the channel to the second when that one goes.
        drop(first);
        drop(gone);
        assert!(matches!(poll(next.as_mut()), Some(Ok(_))));
        assert!(turns.queues().values().all(|queue| queue.waiting.is_empty()));
    }

    #[test]
    fn nothing_stays_of_clients_that_are_done() {
        let turns = Turns::new(BOUNDS);
        for _ in 0..100 {
            assert!(matches!(begin(&turns, &Client::new()).1, Some(Ok(_))));
        }
        drop(begin(&turns, &Client::new()));
        assert!(turns.queues().len() <= 1);
    }
}
