//! What the server does beside labs: its mirror, its images, its lessons, its doctor. Against real registries, as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "../common/mod.rs"]
mod common;
mod doctor;
mod http_connections;
mod http_requests;
mod http_rooms;
mod images;
mod lab_images;
mod lessons;
mod mirror;
mod mirror_cache;
mod mirror_streaming;
mod mirror_turns;
