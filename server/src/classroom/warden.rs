//! Keeps the time of labs from outside. A lab ends by itself when its time is over (`lab/state/lifetime.rs`), but what its
//! learner does goes on beside it in one process; one that it has brought to a stand, or that is broken into, would
//! stay for ever. So the server counts as well, a little longer, and its word is SIGKILL to the whole cgroup.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::lab::Handle;

/// How much longer than it should a lab may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// How often a lab is asked how it is.
const ASK_EACH: Duration = Duration::from_secs(30);
/// How long a lab may leave that without an answer, on a machine with much else to do; less where it may not even be idle
/// for so long.
const SILENCE: Duration = Duration::from_secs(120);
/// When what was killed, and has not ended, is killed again.
const AGAIN: Duration = Duration::from_secs(30);

/// How long a lab may live.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// In any case.
    pub life: Option<Duration>,
    /// While nobody uses it.
    pub idle: Duration,
}

/// Ends a lab that does not end in time, or that answers nobody. It has lived so long. Returns when it has ended, of itself
/// or not.
pub async fn keep_time(lab: Arc<Handle>, time: Time, age: Duration) {
    let why = tokio::select! {
        () = lab.ended() => return,
        why = overstay(&lab, time, age) => why,
    };
    while !lab.has_ended() {
        tracing::warn!("lab {:?} is killed: {why}", lab.id);
        lab.end(why).await;
        tokio::select! {
            () = lab.ended() => {}
            () = sleep(AGAIN) => {}
        }
    }
}

/// Waits until a lab is to be ended; says why.
async fn overstay(lab: &Handle, time: Time, age: Duration) -> &'static str {
    let end = time.life.map(|life| Instant::now() + (life + GRACE).saturating_sub(age));
    let mut answered = Instant::now();
    loop {
        let next = Instant::now() + ASK_EACH.min(time.idle);
        sleep_until(end.map_or(next, |end| end.min(next))).await;
        if end.is_some_and(|end| end <= Instant::now()) {
            return "its time was over";
        }
        match lab.status().await {
            Ok(status) if status.idle_seconds > (time.idle + GRACE).as_secs() => {
                return "nobody has used it for a while";
            }
            Ok(_) => answered = Instant::now(),
            Err(_) if answered.elapsed() > SILENCE.min(time.idle) => return "it did not answer",
            Err(_) => {}
        }
    }
}
