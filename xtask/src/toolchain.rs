//! What the Rust toolchain needs beside itself: compilation targets and the lint components. rustup adds them; where it
//! cannot (no rustup, no way to its server), there is another way for each target, and it is said.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The page's target.
pub const WASM: &str = "wasm32-unknown-unknown";

/// The target of the one binary people run: Linux on this machine's architecture, with no shared library.
pub struct StaticTarget {
    /// As in `cargo build --target`.
    pub triple: String,
    arch: &'static str,
}

impl StaticTarget {
    /// Whether the C library in the binary is musl rather than glibc.
    pub fn is_musl(&self) -> bool {
        self.triple.ends_with("-musl")
    }

    /// cargo with this target, and with what makes a binary for it static.
    pub fn cargo(&self, root: &Path, verb: &str) -> Command {
        let mut cargo = command::cargo(root);
        cargo.args([verb, "--target", &self.triple]);
        if !self.is_musl() {
            // musl links statically by default, glibc only when asked.
            let variable = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUSTFLAGS", self.arch.to_uppercase());
            cargo.env(variable, "-Ctarget-feature=+crt-static");
        }
        cargo
    }
}

/// musl where the toolchain has it or rustup can add it, else glibc linked statically.
pub fn static_target(root: &Path) -> Result<StaticTarget> {
    let arch = std::env::consts::ARCH;
    let musl = format!("{arch}-unknown-linux-musl");
    let triple = if add_target(root, &musl)? { musl } else { format!("{arch}-unknown-linux-gnu") };
    Ok(StaticTarget { triple, arch })
}

/// Whether the toolchain has the standard library for that target, after an attempt to add it where it has not.
/// A failed attempt is remembered, so that a machine without a way to rustup's server tries, and waits, only once.
pub fn add_target(root: &Path, triple: &str) -> Result<bool> {
    if std::env::var_os("NEWROOT_NO_RUSTUP").is_some() {
        return Ok(false);
    }
    if has_target(root, triple)? {
        return Ok(true);
    }
    let failed_before = root.join("target/xtask").join(format!("no-{triple}"));
    if failed_before.exists() {
        return Ok(false);
    }
    println!("setup: the toolchain has no standard library for {triple}: asking rustup for it");
    if rustup(root, &["target", "add", triple]) && has_target(root, triple)? {
        return Ok(true);
    }
    println!("setup: rustup could not add it, so Newroot is built another way; to let it try again, remove");
    println!("setup: {}", failed_before.display());
    std::fs::create_dir_all(root.join("target/xtask")).context("make target/xtask")?;
    std::fs::write(&failed_before, "").with_context(|| format!("write {}", failed_before.display()))?;
    Ok(false)
}

/// Makes sure that `cargo fmt` and `cargo clippy` are there: rustup's smallest profile leaves them out.
pub fn add_lint_components(root: &Path) -> Result<()> {
    for (verb, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        // The program is asked, not looked for: rustup's stand-ins are there for components that are not.
        if command::output(command::cargo(root).args([verb, "--version"])).is_ok() {
            continue;
        }
        println!("setup: the toolchain has no {component}: asking rustup for it");
        if !rustup(root, &["component", "add", component]) {
            bail!("`cargo xtask lint` needs {component}, and rustup could not add it");
        }
    }
    Ok(())
}

fn has_target(root: &Path, triple: &str) -> Result<bool> {
    let libraries = sysroot(root)?.join("lib/rustlib").join(triple).join("lib");
    Ok(libraries.read_dir().is_ok_and(|mut files| files.next().is_some()))
}

fn sysroot(root: &Path) -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    let path = command::output(rustc.args(["--print", "sysroot"]).current_dir(root))?;
    Ok(PathBuf::from(path.trim()))
}

fn rustup(root: &Path, arguments: &[&str]) -> bool {
    command::run(Command::new("rustup").args(arguments).current_dir(root))
        .inspect_err(|e| println!("setup: {e:#}"))
        .is_ok()
}
