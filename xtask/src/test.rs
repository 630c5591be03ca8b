//! Every check and test there is, what fails soonest first. The runners' own words go to the terminal as they are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::lint;
use crate::server;
use crate::setup;

/// Runs all of it and ends with one line of summary; the first failure ends it.
pub fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    if !command::is_root()? {
        bail!(
            "the tests make namespaces, mounts and cgroups for real, as only root may: become root and run them again"
        );
    }
    let browser_tests = browser_tests(root)?;
    let target = setup::for_tests(root)?;
    lint::run(root, &target)?;

    println!("test: xtask");
    command::run(command::cargo(root).args(["test", "--package", "xtask"]))?;

    let newroot = crate::build_all(root, &target)?;
    println!("test: server, lab and shared");
    let mut cargo = target.cargo(root, "test");
    cargo.args(["--release", "--package", "newroot", "--package", "shared", "--no-fail-fast"]);
    // Some print figures, and on which version of cgroups they ran.
    cargo.args(["--", "--show-output"]);
    command::run(cargo.env("NEWROOT_BUILD", server::build_id(root)?))?;

    println!("test: the page, in {} files", browser_tests.len());
    let mut node = Command::new("node");
    // One after the other however many processors there are: one of them changes the machine's network.
    node.args(["--test", "--test-concurrency=1"])
        .args(&browser_tests)
        .current_dir(root.join("web"))
        .env("NEWROOT_BIN", &newroot);
    command::run(&mut node)?;

    println!("test: everything passed: lint, xtask, server, lab, shared, page ({} s)", start.elapsed().as_secs());
    Ok(())
}

/// The test files of the page. They are named one by one: what `node --test FOLDER` means differs between versions.
fn browser_tests(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join("web/tests");
    let entries = folder.read_dir().with_context(|| format!("there are no browser tests: {}", folder.display()))?;
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let mut tests: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.to_string_lossy().ends_with(".test.mjs")).collect();
    if tests.is_empty() {
        bail!("there are no browser tests: {} has no file named *.test.mjs", folder.display());
    }
    tests.sort();
    Ok(tests)
}
