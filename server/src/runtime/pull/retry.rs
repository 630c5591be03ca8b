//! Tries again what only time mends: a connection that was cut, a registry in trouble. What is tried is in `pull` and
//! `download`.

use std::time::Duration;

use super::super::error::PullError;

/// How long to wait before each further try. They grow, so that a registry in trouble gets no more of it from us.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Tries until it works, or fails in a way that will not pass, or the last try fails.
pub async fn retry<T>(mut attempt: impl AsyncFnMut() -> Result<T, PullError>) -> Result<T, PullError> {
    for pause in PAUSES {
        match attempt().await {
            Err(PullError::Cut { .. } | PullError::Download { .. } | PullError::Trouble { .. }) => {
                tokio::time::sleep(pause).await;
            }
            result => return result,
        }
    }
    attempt().await
}
