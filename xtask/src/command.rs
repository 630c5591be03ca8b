//! Running other programs, and finding them. What is run, and when, is the caller's.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A cargo of the same toolchain for the workspace, which builds into `target`, without what `cargo run` and the caller's shell add to the
/// environment: build scripts look at some of it, and crates would be compiled anew each time it differs.
pub fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).env("CARGO_TARGET_DIR", root.join("target"));
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let set_by_cargo_run = name.starts_with("CARGO_PKG_")
            || ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_BIN_NAME", "CARGO_CRATE_NAME", "OUT_DIR"]
                .contains(&name);
        let changes_every_crate = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"].contains(&name);
        if set_by_cargo_run || changes_every_crate || name == "LD_LIBRARY_PATH" {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs it on this terminal; an exit status other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs it and returns what it wrote to its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {}", line(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", line(command), output.status, complaint.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("read what {} wrote", line(command)))
}

/// The program of that name on PATH, or in the folders that only root's PATH has.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0))
}

/// Whether this process is root: the kernel makes /proc/self belong to the effective user (proc(5)).
pub fn is_root() -> Result<bool> {
    let owner = std::fs::metadata("/proc/self").context("look at /proc/self; is /proc mounted?")?.uid();
    Ok(owner == 0)
}

/// `sudo`, for what only root may do; where there is none, an error that says what to do as root.
pub fn sudo(purpose: &str) -> Result<Command> {
    match find_program("sudo") {
        Some(sudo) => Ok(Command::new(sudo)),
        None => bail!("this user is not root and there is no sudo; become root and {purpose}"),
    }
}

/// The command as one would type it.
pub fn line(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    format!("`{}`", words.join(" ".as_ref()).to_string_lossy())
}
