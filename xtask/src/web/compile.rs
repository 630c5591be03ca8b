//! Compiles the crate `web` to wasm, with whichever compiler for wasm this machine has or can get.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;
use crate::toolchain::{self, WASM};

/// Compiles, and says where the wasm lies. Cargo decides whether anything has changed.
pub fn compile(root: &Path, build_id: &str) -> Result<PathBuf> {
    // A folder of its own, so that neither this build nor the one around it waits for the other's lock.
    let target_dir = root.join("target/web");
    let mut cargo = command::cargo(root);
    cargo.args(["build", "--profile", "page", "--target", WASM, "--package", "web", "--target-dir"]);
    cargo.arg(&target_dir).env("NEWROOT_BUILD", build_id);
    if !toolchain::add_target(root, WASM)? {
        build_std_with_debian(&mut cargo)?;
    }
    command::run(&mut cargo)?;
    Ok(target_dir.join(WASM).join("page/web.wasm"))
}

/// Without rustup's target: Debian's compiler for the web, which the set-up has installed, builds the standard library
/// from source. The linker comes from the toolchain in use, because Debian's packages bring none for wasm.
fn build_std_with_debian(cargo: &mut Command) -> Result<()> {
    let rustc = Path::new("/usr/bin/rustc");
    ensure!(
        rustc.exists(),
        "there is no compiler for wasm: run `rustup target add {WASM}` where there is a network, or install rustc-web"
    );
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let version = command::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names no host")?;
    let linker = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(linker).chain(std::env::split_paths(&inherited)))?;
    cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env("PATH", path).arg("-Zbuild-std=std,panic_abort");
    Ok(())
}
