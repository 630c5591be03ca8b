//! Compiles the crate `web` to wasm, with whichever compiler for wasm this machine has or can get.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{output, run};

const TARGET: &str = "wasm32-unknown-unknown";

/// What was meant for the native build around this one, and must not reach the nested one.
const FOREIGN: &[&str] = &[
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// Compiles, and says where the wasm lies. Cargo decides whether anything has changed.
pub fn compile(root: &Path, build_id: &str) -> anyhow::Result<PathBuf> {
    let target_dir = root.join("target/web");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--profile", "page", "--target", TARGET, "-p", "web", "--target-dir"]);
    cargo.arg(&target_dir).env("NEWROOT_BUILD", build_id);
    for name in FOREIGN {
        cargo.env_remove(name);
    }
    let has_target = target_installed()? || (add_target() && target_installed()?);
    if !has_target {
        build_std_with_debian(&mut cargo)?;
    }
    run(&mut cargo)?;
    Ok(target_dir.join(TARGET).join("page/web.wasm"))
}

/// Whether the toolchain in use has the standard library for wasm.
fn target_installed() -> anyhow::Result<bool> {
    let folder = output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    Ok(Path::new(folder.trim()).is_dir())
}

/// Asks rustup for the wasm target; false where there is no rustup, or no way to its server.
fn add_target() -> bool {
    println!("page: rustup target add {TARGET}");
    Command::new("rustup").args(["target", "add", TARGET]).status().is_ok_and(|status| status.success())
}

/// Without rustup's target: Debian's compiler for the web builds the standard library from source, and the
/// linker comes from the toolchain in use, because Debian's packages bring none for wasm.
fn build_std_with_debian(cargo: &mut Command) -> anyhow::Result<()> {
    let rustc = Path::new("/usr/bin/rustc");
    let packages = ["rustc-web", "rust-web-src"];
    if !has_source(rustc) {
        println!("page: apt-get install {} (in place of rustup's wasm target)", packages.join(" "));
        run(Command::new("apt-get").args(["install", "-y", "--no-install-recommends"]).args(packages)).with_context(
            || format!("no compiler for wasm: run `rustup target add {TARGET}` where there is a network"),
        )?;
    }
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names no host")?;
    let linker = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(linker).chain(std::env::split_paths(&inherited)))?;
    cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env("PATH", path).arg("-Zbuild-std=std,panic_abort");
    Ok(())
}

/// Whether this compiler is there with the source of its standard library.
fn has_source(rustc: &Path) -> bool {
    output(Command::new(rustc).args(["--print", "sysroot"]))
        .is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library").is_dir())
}
