//! Labs from end to end, without a browser: a real server, real sandboxes, real registries. Runs as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod beginning;
mod cgroups;
mod checks;
#[path = "../common/mod.rs"]
mod common;
mod end_to_end;
mod hardening;
mod helper;
#[cfg(target_arch = "x86_64")]
mod hostile_calls;
#[cfg(target_arch = "x86_64")]
mod hostile_puppets;
mod lessons_check;
mod life;
mod pull_in_a_lab;
#[cfg(target_arch = "x86_64")]
mod refused_calls;
mod root;
mod server_user;
mod terminal_bytes;
mod terminals;
mod trace;
mod views;
