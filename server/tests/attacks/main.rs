//! The attack suite: what a hostile learner, page, image or web site tries, each by a name, each with its defence. It must
//! fail where the defence stands, and is also seen to succeed where a test has turned it off (`serve --without`), or, where
//! the defence is the kernel's own, on the machine itself: an attack that never succeeds would prove nothing. Each part
//! prints its rows of a table. Runs as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "../common/mod.rs"]
mod common;
mod control;
mod images;
mod inside;
mod machine;
mod mirror;
mod pages;
mod puppets;
mod raw;
mod resources;
mod rows;
mod table;
mod written_down;

/// How many attacks there are at least.
#[test]
fn there_are_ninety_attacks_and_no_two_have_a_name() {
    let mut names: Vec<&str> = rows::all().map(|row| row.name).collect();
    println!("{} attacks", names.len());
    assert!(names.len() >= 90);
    names.sort_unstable();
    let doubled: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
}
