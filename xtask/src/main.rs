//! `cargo xtask VERB`: the verbs and their order of work. Each step lives in the module of its name, and does nothing
//! where its result is there already.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

mod command;
mod dependencies;
mod image;
mod lint;
mod server;
mod setup;
mod test;
mod toolchain;
mod twins;
mod web;

const HELP: &str = "\
What a maintainer of Newroot does, by one name.

Usage: cargo xtask VERB

  run [-- ARGUMENTS]  build everything that is missing or stale, then start Newroot on http://127.0.0.1:8080;
                      the arguments go to `newroot serve`
  build               build everything that is missing or stale, and say where the binary is
  test                set up what the tests need, build, and run every check and test there is (as root)
  lint                formatting, clippy for the machine and for the page, licences and lock files, the twins in Go and shell
  web                 build the page only, into target/dist/page
  setup               install what building, running and testing need, and nothing else

Every verb first does the set-up it needs, says what it installs and why, and does nothing twice.

Environment:
  NEWROOT_NO_RUSTUP=1  do as if rustup could give no compilation targets: build with what the distribution has

Exit status: 0 done, 1 something failed (the last line says what), 2 the command line was not understood.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = project_root();
    let done = match words.as_slice() {
        ["--help" | "-h" | "help", ..] | [_, "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        ["setup"] => setup::for_tests(&root).map(|_| println!("setup: everything is there")),
        ["web"] => setup::for_page(&root).and_then(|()| web::build(&root, &server::build_id(&root)?)),
        ["lint"] => setup::for_lint(&root).and_then(|target| lint::run(&root, &target)),
        ["build"] => setup::for_running(&root).and_then(|target| build_all(&root, &target)).map(drop),
        ["test"] => test::run(&root),
        ["run"] => run(&root, &[]),
        ["run", "--", further @ ..] => run(&root, further),
        _ => {
            eprintln!("xtask: `{}` is none of the verbs.\n\n{HELP}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that goes into the binary, and then the binary: the page and the images are embedded in it.
fn build_all(root: &Path, target: &toolchain::StaticTarget) -> Result<PathBuf> {
    let build_id = server::build_id(root)?;
    web::build(root, &build_id).context("the page")?;
    image::build(root).context("the busybox image")?;
    server::build(root, target, &build_id).context("the binary")
}

/// Starts the server in place of this process, so that signals reach it as they are sent.
fn run(root: &Path, further: &[&str]) -> Result<()> {
    let target = setup::for_running(root)?;
    let newroot = build_all(root, &target)?;
    println!("Newroot makes a machine for each learner out of namespaces, mounts and cgroups. Only root may make the");
    println!("first of them, so the server is started as root; what a learner runs has no privilege on this machine.");
    let mut serve = if command::is_root()? {
        Command::new(&newroot)
    } else {
        let mut sudo = command::sudo(&format!("run `{} serve` as root", newroot.display()))?;
        sudo.arg("--").arg(&newroot);
        sudo
    };
    let error = serve.arg("serve").args(further).exec();
    Err(error).with_context(|| format!("start {}", newroot.display()))
}

/// The folder of the workspace.
fn project_root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}
