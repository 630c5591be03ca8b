//! What has to be on the machine before anything can be built, run or tested, and its installation by the
//! distribution's own package manager. Presence is judged by the files themselves; a package's name is only its mend.
//! The compiler's own parts are in `toolchain`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::toolchain::{self, StaticTarget};

/// Something a distribution offers.
struct Need {
    /// What it is called wherever it comes from.
    name: &'static str,
    /// Completes the sentence "it …".
    purpose: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    present: fn() -> bool,
}

const PAGE: &[Need] = &[
    Need {
        name: "node",
        purpose: "runs npm and the browser tests",
        package: "nodejs",
        present: || command::find_program("node").is_some(),
    },
    Need {
        name: "npm",
        purpose: "fetches xterm.js, the page's terminal",
        package: "npm",
        present: || command::find_program("npm").is_some(),
    },
];

const BUSYBOX: Need = Need {
    name: "busybox, statically linked",
    purpose: "is all the programs of a learner's machine",
    package: "busybox-static",
    present: || crate::image::find_busybox().is_ok(),
};

const MUSL_GCC: Need = Need {
    name: "musl-gcc",
    purpose: "compiles the little C in the binary (ring) without glibc",
    package: "musl-tools",
    present: || command::find_program("musl-gcc").is_some(),
};

/// The compiler of the fallback for the page, for machines where rustup cannot add the wasm target.
const WASM_COMPILER: &[Need] = &[
    Need {
        name: "a rustc for wasm",
        purpose: "compiles the page, because rustup could not add the target wasm32-unknown-unknown",
        package: "rustc-web",
        present: || Path::new("/usr/bin/rustc").exists(),
    },
    Need {
        name: "the source of its standard library",
        purpose: "is compiled with the page",
        package: "rust-web-src",
        present: || Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml").exists(),
    },
];

/// 81 MB to fetch, as much as the browser of the tests. gofmt alone would be less, but finds no wrong type or name, and
/// gccgo comes without vet.
const GO: Need = Need {
    name: "go",
    purpose: "compiles the Go twins of the taught code, which nothing else does",
    package: "golang-go",
    present: || command::find_program("go").is_some(),
};

const TESTS: &[Need] = &[
    Need {
        name: "chromium",
        purpose: "is the browser of the browser tests",
        package: "chromium",
        present: || command::find_program("chromium").is_some(),
    },
    Need {
        name: "docker-registry",
        purpose: "is the registry that tests pull from",
        package: "docker-registry",
        present: || command::find_program("docker-registry").is_some(),
    },
    Need {
        name: "skopeo",
        purpose: "puts images into that registry",
        package: "skopeo",
        present: || command::find_program("skopeo").is_some(),
    },
    Need {
        name: "umoci",
        purpose: "unpacks images as a second opinion on ours",
        package: "umoci",
        present: || command::find_program("umoci").is_some(),
    },
    Need {
        name: "dockerd",
        purpose: "is the engine in which the container image is tried",
        package: "docker.io",
        present: || command::find_program("dockerd").is_some() && command::find_program("docker").is_some(),
    },
    Need {
        name: "docker-compose",
        purpose: "starts that container as deploy/compose.yaml says",
        package: "docker-compose",
        present: || command::find_program("docker-compose").is_some(),
    },
    Need {
        name: "mmdebstrap",
        purpose: "makes the Debian that tests pull",
        package: "mmdebstrap",
        present: || command::find_program("mmdebstrap").is_some(),
    },
];

/// Makes sure that the page can be built.
pub fn for_page(root: &Path) -> Result<()> {
    install(&page(root)?)
}

/// Makes sure that everything people run can be built and run.
pub fn for_running(root: &Path) -> Result<StaticTarget> {
    let target = toolchain::static_target(root)?;
    install(&running(root, &target)?)?;
    Ok(target)
}

/// Makes sure that everything can be checked without being run.
pub fn for_lint(root: &Path) -> Result<StaticTarget> {
    let target = toolchain::static_target(root)?;
    toolchain::add_lint_components(root)?;
    let mut needs = compiler(&target);
    needs.extend([&BUSYBOX, &GO]);
    install(&needs)?;
    Ok(target)
}

/// Makes sure that everything can be built, run and tested.
pub fn for_tests(root: &Path) -> Result<StaticTarget> {
    let target = toolchain::static_target(root)?;
    toolchain::add_lint_components(root)?;
    let mut needs = running(root, &target)?;
    needs.push(&GO);
    needs.extend(TESTS);
    install(&needs)?;
    Ok(target)
}

fn page(root: &Path) -> Result<Vec<&'static Need>> {
    let mut needs: Vec<_> = PAGE.iter().collect();
    if !toolchain::add_target(root, toolchain::WASM)? {
        needs.extend(WASM_COMPILER);
    }
    Ok(needs)
}

fn running(root: &Path, target: &StaticTarget) -> Result<Vec<&'static Need>> {
    let mut needs = page(root)?;
    needs.push(&BUSYBOX);
    needs.extend(compiler(target));
    Ok(needs)
}

/// What compiles the binary beside the Rust toolchain, which has brought its linker already.
fn compiler(target: &StaticTarget) -> Vec<&'static Need> {
    Vec::from_iter(target.is_musl().then_some(&MUSL_GCC))
}

fn install(needs: &[&Need]) -> Result<()> {
    let missing: Vec<&&Need> = needs.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        println!("setup: missing: {} (it {})", need.name, need.purpose);
    }
    if command::find_program("apt-get").is_none() {
        bail!("this is no Debian (there is no apt-get): install what is listed above by this system's own means");
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    println!("setup: installing Debian's {} with apt-get", packages.join(", "));
    // A machine that has just started may be installing its own updates: wait for it rather than fail.
    let options = ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", "-qq"];
    // The exit status is not looked at: one broken source among many need not keep the packages from being installed.
    apt_get(&packages)?.args(options).arg("update").status().context("start apt-get update")?;
    command::run(apt_get(&packages)?.args(options).args(["install", "-y", "--no-install-recommends"]).args(&packages))?;
    for need in missing {
        if !(need.present)() {
            bail!("Debian's {} is installed, but {} is still not found", need.package, need.name);
        }
    }
    Ok(())
}

/// `apt-get` as root, which asks no questions.
fn apt_get(packages: &[&str]) -> Result<Command> {
    let mut env = if command::is_root()? {
        Command::new("env")
    } else {
        let mut sudo = command::sudo(&format!("run `apt-get install {}`", packages.join(" ")))?;
        sudo.arg("env");
        sudo
    };
    env.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    Ok(env)
}
