//! (to come)

pub mod mirror;
