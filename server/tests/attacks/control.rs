//! The attacker and what it needs: the lab image that it is in, what it is told, and the machine itself as a place where its
//! attacks may succeed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command, Stdio};

use tar::EntryType;
use tempfile::TempDir;

use crate::common::page::{HOST, Page};
use crate::common::playground::Playground;
use crate::common::{Registry, busybox, text_of};
use crate::table::Outcome;

/// The attacker.
pub const ATTACKER: &str = env!("CARGO_BIN_EXE_newroot-attacker");

/// A registry with the lab image `attacker`: busybox, the attacker as `/attacker`, and a device node as `/trap`.
pub fn registry() -> Registry {
    let registry = Registry::start();
    let layer = busybox().entry(EntryType::Regular, "attacker", 0o755, "", &fs::read(ATTACKER).unwrap()).entry(
        EntryType::Char,
        "trap",
        0o666,
        "",
        b"",
    );
    registry.push("library/attacker:latest", &[layer.gzip()]);
    registry
}

/// A server whose labs have that image.
pub fn playground(registry: &Registry, flags: &[&str]) -> Playground {
    let url = registry.url();
    let mut all = vec!["--upstream", &url, "--lab-image", "attacker"];
    all.extend(flags);
    Playground::start_with(&all)
}

/// What is on the machine for attacks to find, and how they are told of it.
pub struct Bait {
    directory: TempDir,
    _listener: UnixListener,
    semaphore: Child,
    environment: BTreeMap<&'static str, String>,
}

impl Bait {
    /// Puts it there. `server` is what attacks are after.
    pub fn new(server: &Playground) -> Bait {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        fs::write(&outside, "").unwrap();
        let name = format!("newroot-attacks-{}-{}", std::process::id(), server.pid());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        // The number of the server's process is nobody else's, here and in other tests.
        let key = 0x6e65_0000 + server.pid().as_raw();
        let mut semaphore = Command::new(ATTACKER)
            .arg("bait")
            .env("SEMAPHORE", key.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut made = String::new();
        BufReader::new(semaphore.stdout.take().unwrap()).read_line(&mut made).unwrap();
        assert_eq!(made, "made\n");
        let null = fs::metadata("/dev/null").unwrap();
        let environment = BTreeMap::from([
            ("NULL", format!("{}:{}", null.dev(), null.ino())),
            ("SERVER", server.pid().to_string()),
            ("PORT", server.address().port().to_string()),
            ("OUTSIDE", outside.to_str().unwrap().to_owned()),
            ("ABSTRACT", name),
            ("SEMAPHORE", key.to_string()),
        ]);
        Bait { directory, _listener: listener, semaphore, environment }
    }

    /// Tells a lab's shell of it.
    pub async fn tell(&self, page: &mut Page) {
        let pairs: Vec<String> = self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        page.output_of(HOST, &format!("cd /tmp; export {}", pairs.join(" "))).await;
    }

    /// Makes attacks on the machine itself, where they may succeed; what they mount is seen by nobody else.
    pub fn on_the_machine(&self, names: &[&str], more: &[(&str, &str)]) -> BTreeMap<String, Outcome> {
        let output = Command::new("unshare")
            .args(["--mount", "--", ATTACKER])
            .args(names)
            .current_dir(self.directory.path())
            .envs(&self.environment)
            .env("ATTACKER_IS_CONTROL", "1")
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = text_of(&output);
        names.iter().map(|name| ((*name).to_owned(), outcome(name, &said))).collect()
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        // The end of its input removes it.
        drop(self.semaphore.stdin.take());
        let _ = self.semaphore.wait();
    }
}

/// Makes attacks from a shell of a lab.
pub async fn in_a_lab(page: &mut Page, names: &[&str]) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    // A line has no room for all of them.
    for names in names.chunks(12) {
        let said = page.output_of(HOST, &format!("/attacker {}", names.join(" "))).await;
        outcomes.extend(names.iter().map(|name| ((*name).to_owned(), outcome(name, &said))));
    }
    outcomes
}

fn outcome(name: &str, said: &str) -> Outcome {
    Outcome::of(name, said).unwrap_or_else(|| panic!("the attacker says nothing of {name}:\n{said}"))
}
