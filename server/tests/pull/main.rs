//! What an image becomes on a disk: registries, layers and their archives, what goes wrong, what it costs. Against real
//! registries, as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod archives;
mod closed;
#[path = "../common/mod.rs"]
mod common;
mod end_to_end;
mod failures;
mod many_files;
mod model;
mod properties;
mod reference;
mod registries;
mod strangers_words;
mod unpack;
