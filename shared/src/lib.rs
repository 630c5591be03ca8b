//! What both sides of Newroot agree on: the messages of the lab's WebSocket, the mount model with its difference, calls
//! as they were seen, tasks and how far a learner is with them, and the lesson as the page receives it. Nothing here does
//! input or output.

#![forbid(unsafe_code)]

pub mod lesson;
pub mod mount;
pub mod plain;
pub mod progress;
pub mod protocol;
pub mod reach;
pub mod tables;
pub mod task;
pub mod timeline;
pub mod trace;

/// Names this build of Newroot. The page and the lab each carry the one they were compiled with; when they
/// differ, the page is stale and reloads itself (once).
pub const BUILD: &str = match option_env!("NEWROOT_BUILD") {
    Some(build) => build,
    None => "dev",
};
