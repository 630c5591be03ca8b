//! Newroot: a playground where you watch the Linux kernel build a container. The binary's parts, outermost first;
//! each may use those below it, never those above.

pub mod http;

pub mod checks;
pub mod classroom;
pub mod doctor;
pub mod lab;
pub mod lessons;
pub mod registry;

pub mod runtime;

pub mod defence;
mod sys;
pub mod user;
