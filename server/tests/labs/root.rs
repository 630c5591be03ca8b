//! What a lab's machine is made of: any image, on kernels new and old, with the chapter's names and nothing of the host.
//! It makes a Debian once, by mmdebstrap.

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;
use shared::protocol::{CLOSE_LAB_ENDED, ToLab};
use tar::EntryType;

use crate::common;
use crate::common::page::has_row;
use crate::common::playground::{CONTAINER, HOST, NO_UPSTREAM, Page, Playground};
use crate::common::{Layer, Registry, busybox, debian};

/// What a command prints, as lines: without the echo of the command itself and without what a shell tells its terminal.
async fn lines(page: &mut Page, command: &str) -> Vec<String> {
    let said = page.output_of(HOST, &format!("echo =it\"\"says=; {command}")).await;
    let said = said.rsplit_once("=itsays=").unwrap_or_else(|| panic!("{said}")).1.replace("\u{1b}[?2004l", "");
    said.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_lab_can_be_a_debian_with_all_that_a_lab_has() {
    let registry = Registry::start();
    registry.push("library/debian:stable", &[debian()]);
    let mut playground = Playground::start_with(&["--upstream", &registry.url(), "--lab-image", "debian:stable"]);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    assert!(page.output_of(HOST, "cat /etc/os-release").await.contains("Debian"));
    let told = lines(&mut page, "echo $BASH_VERSION | grep -c '^5'; hostname; cat /etc/hostname").await;
    assert_eq!(told, ["1", "lab", "lab"]);
    // Its root is mapped: what root owned in the image, root owns here, and so may dpkg change it.
    let told = lines(&mut page, "stat -c %u:%g /var/local /usr/bin/env").await;
    assert_eq!(told, ["0:50", "0:0"]);
    assert_eq!(lines(&mut page, "chown daemon /usr/bin/env && stat -c %U /usr/bin/env").await, ["daemon"]);
    let pulled = page.output_of(HOST, "sudo -E ./bin/devoxx-docker pull busybox").await;
    assert!(pulled.contains("Pulling done"), "{pulled}");
    assert_eq!(lines(&mut page, "newroot run busybox echo it runs 2>/dev/null").await, ["it runs"]);
    page.run(CONTAINER, "newroot run --root pivot --mount proc busybox /bin/sh").await;
    page.until("a container's view", |page| {
        page.views.values().any(|(view, rows)| view.ordinal > 0 && view.root == "/" && has_row(rows, "/proc", "proc"))
    })
    .await;
    page.tell(&ToLab::Reset).await;
    page.until("a new machine", |page| {
        page.text_since(HOST, 0).rsplit_once("was reset").is_some_and(|(_, t)| t.contains("# "))
    })
    .await;
    assert_eq!(lines(&mut page, "ls /fs").await, [""; 0]);

    // Without the registry, what is there will do.
    drop(registry);
    playground.end_lab(&cookie);
    playground.restart_after(Signal::SIGTERM);
    let mut page = playground.open(&cookie).await;
    assert!(page.output_of(HOST, "cat /etc/os-release").await.contains("Debian"));
}

#[tokio::test]
async fn an_image_without_a_shell_or_from_elsewhere_is_refused_with_a_word() {
    let registry = Registry::start();
    registry.push("library/empty:latest", &[Layer::new().directory("etc").gzip()]);
    let directory = tempfile::tempdir().unwrap();
    let serve = |image: &str| {
        let output = common::newroot()
            .args(["serve", "--listen", "127.0.0.1:0", "--upstream", &registry.url(), "--lab-image", image, "--state"])
            .arg(directory.path().join("state"))
            .arg("--run")
            .arg(directory.path().join("run"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        common::text_of(&output)
    };
    assert!(
        serve("empty").contains("the image empty has neither of /bin/bash and /bin/sh, and a lab's terminals need")
    );
    assert!(serve("nosuch").contains("cannot get the lab image nosuch"), "{}", serve("nosuch"));
    assert!(serve("registry.example/team/app:1").contains("leave the host out"));
}

#[tokio::test]
async fn where_tmpfs_has_no_user_attributes_the_machines_root_mounts_the_overlay_and_devices_stay_shut() {
    let registry = Registry::start();
    // The host's /dev/null as a trap: an image can have device nodes, which the machine's root unpacks.
    let trap = Layer::new().entry(EntryType::Char, "trap", 0o666, "", b"");
    registry.push("library/trap:latest", &[busybox().gzip(), trap.gzip()]);
    for overlay in ["inside", "outside"] {
        let arguments =
            ["--upstream", &registry.url(), "--lab-image", "trap", "--overlay", overlay, "--lab-disk", "20"];
        let playground = Playground::start_with(&arguments);
        let cookie = playground.new_cookie();
        let mut page = playground.open(&cookie).await;
        assert!(page.output_of(HOST, "ls -l /trap").await.contains("1,   3"), "the device node is there");
        assert!(page.output_of(HOST, "cat /trap").await.contains("Permission denied"), "{overlay}: it opens");
        page.run(HOST, "mount -o remount,bind,dev / || echo =refused=").await;
        page.until("an answer", |page| page.text_since(HOST, 0).ends_with("# ") || page.has_prompt(HOST)).await;
        assert!(page.output_of(HOST, "cat /trap").await.contains("Permission denied"), "{overlay}: it opens after all");
        // All that the root of a machine may do with its files.
        let work = "cd /root; echo a > f && chown 1:1 f && chmod 4755 f && ln f g && mv g h && rm /etc/passwd && mkdir d && rmdir d && \
                    ls -ln h | cut -c1-10; ls /etc/passwd";
        let said = page.output_of(HOST, work).await;
        assert!(said.contains("-rwsr-xr-x") && said.contains("No such file"), "{overlay}: {said}");
        let full = page.output_of(HOST, "dd if=/dev/zero of=/root/big bs=1M count=30").await;
        assert!(full.contains("No space left"), "{overlay}: {full}");
        page.run(HOST, "rm /root/big").await;
        assert!(page.output_of(CONTAINER, "newroot pull busybox").await.contains("Pulling done"));
        assert!(page.output_of(CONTAINER, "newroot run busybox echo it runs 2>/dev/null").await.contains("it runs"));
        page.tell(&ToLab::Reset).await;
        if overlay == "outside" {
            page.until_closed().await;
            assert_eq!(page.closed, Some(CLOSE_LAB_ENDED));
            assert!(page.reason.contains("older than Linux 6.6"), "{}", page.reason);
            playground.end_lab(&cookie);
            page = playground.open(&cookie).await;
        } else {
            page.until("a new machine", |page| {
                page.text_since(HOST, 0).rsplit_once("was reset").is_some_and(|(_, t)| t.contains("# "))
            })
            .await;
        }
        assert!(page.output_of(HOST, "ls /root /fs; ls /etc/passwd").await.contains("/etc/passwd"));
    }
}

#[tokio::test]
async fn sudo_and_the_chapters_names_work_as_printed() {
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM]);
    let mut page = playground.open(&playground.new_cookie()).await;
    assert_eq!(lines(&mut page, "pwd; sudo -E -n id -u; sudo whoami").await, ["/root", "0", "root"]);
    assert!(page.output_of(HOST, "sudo ./bin/devoxx-docker pull busybox").await.contains("Pulling done"));
    assert_eq!(lines(&mut page, "sudo ./bin/devoxx-docker run busybox echo yes 2>/dev/null").await, ["yes"]);
    assert_eq!(lines(&mut page, "sudo bin/devoxx-container run busybox echo yes 2>/dev/null").await, ["yes"]);
    // Arguments and exit statuses go through as they are, and sudo alone is a shell.
    assert_eq!(lines(&mut page, "sudo sh -c 'echo \"$1|$2\"; exit 7' sh 'a  b' ''; echo $?").await, ["a  b|", "7"]);
    assert_eq!(lines(&mut page, "echo 'echo one more shell' | sudo").await, ["one more shell"]);
}

#[tokio::test]
async fn the_learners_mounts_tell_nothing_of_the_machines_directories() {
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM]);
    let mut page = playground.open(&playground.new_cookie()).await;
    let mounts = page.output_of(HOST, "cat /proc/self/mountinfo").await;
    let row = mounts.lines().find(|row| row.contains(" /usr/local/bin/newroot ")).unwrap_or_else(|| panic!("{mounts}"));
    assert!(row.contains(" /newroot /usr/local/bin/newroot ro,nosuid,nodev,"), "{row}");
    for directory in [Path::new(env!("CARGO_BIN_EXE_newroot")).parent().unwrap(), &playground.run()] {
        assert!(!mounts.contains(directory.to_str().unwrap()), "{directory:?} is in {mounts}");
    }
    // Read-only for good, although the learner is root.
    let said = page.output_of(HOST, "mount -o remount,bind,rw /usr/local/bin/newroot; > /usr/local/bin/newroot").await;
    assert!(said.contains("ermission denied") || said.contains("Read-only"), "{said}");
    assert!(page.output_of(HOST, "newroot --version").await.contains("newroot "));
}
