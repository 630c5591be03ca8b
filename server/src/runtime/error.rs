//! What can fail, a variant for each call, so that a message names the step that failed.

mod pull;
mod run;
mod unpack;

pub use pull::PullError;
pub use run::RunError;
pub use unpack::UnpackError;
