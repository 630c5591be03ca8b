//! Tries again what only time mends: a connection that was cut, a registry in trouble. What is tried is in `choice` and
//! `download`.

use std::time::Duration;

use super::super::error::PullError;

/// How long to wait before each further try. They grow, so that a registry in trouble gets no more of it from us.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// How often something has failed already.
#[derive(Default)]
pub struct Patience {
    failures: usize,
}

impl Patience {
    /// Waits until it is time for another try. Fails with that error if it will not pass, or has been tried often enough.
    pub async fn wait_after(&mut self, error: PullError) -> Result<(), PullError> {
        let passes = matches!(error, PullError::Cut { .. } | PullError::Download { .. } | PullError::Trouble { .. });
        let Some(pause) = PAUSES.get(self.failures).filter(|_| passes) else { return Err(error) };
        self.failures += 1;
        tokio::time::sleep(*pause).await;
        Ok(())
    }
}
