//! What can be judged without running anything of ours, cheapest first.

use std::path::Path;

use anyhow::Result;

use crate::command;
use crate::dependencies;
use crate::toolchain::{self, StaticTarget};
use crate::twins;

/// Formatting, dependencies, the twins of the taught code, and clippy with warnings as errors on everything.
pub fn run(root: &Path, target: &StaticTarget) -> Result<()> {
    println!("lint: formatting");
    command::run(command::cargo(root).args(["fmt", "--all", "--check"]))?;

    println!("lint: licences, origins and duplicates of the dependencies; lock files");
    dependencies::check(root, &target.triple)?;

    println!("lint: the twins of the taught code, in Go and shell");
    twins::check(root)?;

    println!("lint: clippy");
    // With the profile and the target of the real build, whose build scripts and macros are then compiled only once.
    let server = ["--release", "--package", "newroot", "--package", "shared", "--all-targets"];
    command::run(target.cargo(root, "clippy").args(server).args(DENY_WARNINGS))?;
    command::run(command::cargo(root).args(["clippy", "--package", "xtask", "--all-targets"]).args(DENY_WARNINGS))?;

    let mut page = command::cargo(root);
    page.env("CARGO_TARGET_DIR", root.join("target/web"));
    page.args(["clippy", "--profile", "page", "--package", "web", "--package", "xterm-js-sys"]);
    if toolchain::add_target(root, toolchain::WASM)? {
        page.args(["--target", toolchain::WASM]);
    } else {
        println!("lint: this toolchain cannot compile for {}: the page is checked as if for Linux", toolchain::WASM);
    }
    command::run(page.args(DENY_WARNINGS))
}

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];
