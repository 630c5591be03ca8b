//! `newroot pull` against a real registry: what it says and shows, what it leaves on disk, and when it is stopped. How it
//! fails is in `failures`, and what registries hold in `registries`.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Condvar, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tar::EntryType;

use crate::common::scripted::{self, ScriptedRegistry};
use crate::common::{
    Layer, Registry, busybox, in_a_mount_namespace, names_in, newroot, pull, text_of, with_default_signals,
};

#[test]
fn pull_says_the_lines_of_the_chapter_and_a_second_pull_does_nothing() {
    let registry = Registry::start();
    let lower = Layer::new().directory("etc").file("etc/lower", "1").file("etc/hidden", "1");
    let layers = [lower.gzip(), Layer::new().file("etc/.wh.hidden", "").gzip()];
    let digests = registry.push("library/alpine", &layers);
    let fs_directory = tempfile::tempdir().unwrap();
    let rootfs = fs_directory.path().join("alpine/rootfs");

    let output = pull(&registry.url(), fs_directory.path(), "alpine");
    assert!(output.status.success(), "{}", text_of(&output));
    let expected = format!("Pulling alpine\nPulling done; the rootfs is in {}\n", rootfs.display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    let line = |number: usize| {
        let digest = &digests[number - 1].as_str()[..19];
        format!("layer {number}/2 {digest}… {:.1} kB done\n", layers[number - 1].len() as f64 / 1e3)
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), line(1) + &line(2));
    assert_eq!(names_in(&rootfs.join("etc")), ["lower"]);
    assert_eq!(
        names_in(&fs_directory.path().join("alpine")),
        [".config.json", ".manifest-digest", "rootfs"],
        "nothing else is left"
    );

    fs::write(rootfs.join("mine"), "a learner's own file").unwrap();
    let output = pull(&registry.url(), fs_directory.path(), "docker.io/library/alpine:latest");
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(text_of(&output).contains("Already there: sha256:"), "{}", text_of(&output));
    assert!(rootfs.join("mine").exists(), "the second pull touches nothing");

    registry.push("library/alpine", &[Layer::new().file("new", "2").gzip()]);
    let output = pull(&registry.url(), fs_directory.path(), "alpine");
    assert!(text_of(&output).contains("Pulling done"), "{}", text_of(&output));
    assert_eq!(names_in(&rootfs), ["new"], "what the tag stands for has changed");
}

#[test]
fn each_tag_has_a_directory_of_its_own() {
    let registry = Registry::start();
    registry.push("library/alpine:3.20", &[Layer::new().file("a", "").gzip()]);
    registry.push("team/app:1", &[Layer::new().file("b", "").gzip()]);
    let fs_directory = tempfile::tempdir().unwrap();
    let by_address = format!("{}/team/app:1", registry.address());
    for image in ["alpine:3.20", &by_address] {
        let output = pull("http://127.0.0.1:1", fs_directory.path(), image);
        assert_eq!(output.status.success(), image == by_address, "only a name with a host goes around --registry");
        let output = pull(&registry.url(), fs_directory.path(), image);
        assert!(output.status.success(), "{}", text_of(&output));
        assert!(fs_directory.path().join(image).join("rootfs").is_dir());
    }
}

#[test]
fn an_index_is_asked_for_this_machines_image() {
    let registry = Registry::start();
    registry.push("library/multi:single", &[Layer::new().file("right", "").gzip()]);
    let manifest = Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{}/library/multi:single", registry.address()))
        .output()
        .unwrap();
    assert!(manifest.status.success(), "{}", text_of(&manifest));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let entry = |digest: &str, architecture: &str| {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest,
            "size": manifest.stdout.len(), "platform": { "os": "linux", "architecture": architecture }
        })
    };
    let right = newroot::registry::Digest::of(&manifest.stdout);
    for (tag, architecture) in [("index", architecture), ("foreign", "s390x")] {
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry(right.as_str(), "riscv64"), entry(right.as_str(), architecture)]
        });
        put_manifest(&registry, tag, &index.to_string());
    }
    let fs_directory = tempfile::tempdir().unwrap();
    let output = pull(&registry.url(), fs_directory.path(), "multi:index");
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(names_in(&fs_directory.path().join("multi:index/rootfs")), ["right"]);
    let output = pull(&registry.url(), fs_directory.path(), "multi:foreign");
    let said = text_of(&output);
    assert!(said.contains(architecture) && said.contains("linux/riscv64, linux/s390x"), "{said}");
}

/// Puts a manifest into `library/multi`, by the distribution protocol as it is.
fn put_manifest(registry: &Registry, tag: &str, manifest: &str) {
    let mut stream = std::net::TcpStream::connect(registry.address()).unwrap();
    write!(
        stream,
        "PUT /v2/library/multi/manifests/{tag} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Content-Type: application/vnd.oci.image.index.v1+json\r\nContent-Length: {}\r\n\r\n{manifest}",
        registry.address(),
        manifest.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// A registry that sends of the layer only the first half; then says so, and waits for ever.
fn stalling_registry(layer: Vec<u8>) -> (ScriptedRegistry, Receiver<()>) {
    let (stalled, is_stalled) = channel();
    let stalled = Mutex::new(stalled);
    let registry = ScriptedRegistry::start(vec![layer], move |_, layer, stream| {
        scripted::head(layer.len(), stream);
        stream.write_all(&layer[..layer.len() / 2]).unwrap();
        stalled.lock().unwrap().send(()).unwrap();
        loop {
            thread::park();
        }
    });
    (registry, is_stalled)
}

#[test]
fn a_killed_pull_leaves_the_old_rootfs_and_the_next_one_cleans_up() {
    let registry = Registry::start();
    registry.push("library/alpine", &[Layer::new().file("old", "").gzip()]);
    let fs_directory = tempfile::tempdir().unwrap();
    assert!(pull(&registry.url(), fs_directory.path(), "alpine").status.success());
    let rootfs = fs_directory.path().join("alpine/rootfs");

    let (stalling, is_stalled) = stalling_registry(busybox().tar());
    let mut killed = newroot()
        .args(["pull", "--registry", stalling.url(), "--fs", fs_directory.path().to_str().unwrap(), "alpine"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    is_stalled.recv().unwrap();
    let output = pull(&registry.url(), fs_directory.path(), "alpine");
    assert!(text_of(&output).contains("being pulled by somebody else"), "{}", text_of(&output));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(names_in(&rootfs), ["old"]);

    registry.push("library/alpine", &[Layer::new().file("new", "").gzip()]);
    let output = pull(&registry.url(), fs_directory.path(), "alpine");
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(names_in(&rootfs), ["new"]);
    assert_eq!(names_in(&fs_directory.path().join("alpine")), [".config.json", ".manifest-digest", "rootfs"]);
}

#[test]
fn pull_works_without_certificates_and_as_root_of_a_user_namespace() {
    let registry = Registry::start();
    let layer = Layer::new()
        .entry(EntryType::Char, "null", 0o666, "", b"")
        .pax(&[("SCHILY.xattr.trusted.note", b"1"), ("SCHILY.xattr.user.note", b"1")])
        .file("file", "");
    registry.push("library/device", &[layer.gzip()]);
    let fs_directory = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", env!("CARGO_BIN_EXE_newroot"), "pull", "device"])
        .args([OsStr::new("--fs"), fs_directory.path().as_os_str()])
        .env("NEWROOT_REGISTRY", registry.url())
        // What a lab's root file system looks like to the HTTP client: no certificate authorities anywhere.
        .env("SSL_CERT_FILE", "/nonexistent")
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(text_of(&output).contains("Left out 1 device node"), "{}", text_of(&output));
    assert!(text_of(&output).contains("Left out 1 extended attribute"), "{}", text_of(&output));
    assert_eq!(names_in(&fs_directory.path().join("device/rootfs")), ["file"]);
}

#[test]
fn a_signal_ends_a_pull_and_it_takes_away_what_it_has_begun() {
    let fs_directory = tempfile::tempdir().unwrap();
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let (registry, is_stalled) = stalling_registry(busybox().tar());
        let mut command = newroot();
        command
            .args(["pull", "--registry", registry.url(), "team/app", "--fs"])
            .arg(fs_directory.path().join("made/for/it"));
        let process = with_default_signals(&command)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        is_stalled.recv().unwrap();
        kill(Pid::from_raw(process.id() as i32), signal).unwrap();
        let output = process.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(text_of(&output), format!("newroot: stopped by {signal}; nothing of the pull is left\n"));
        assert_eq!(names_in(fs_directory.path()), [""; 0], "not even the directories that were made for it");
    }
}

#[test]
fn a_signal_that_was_ignored_before_stays_so() {
    let fs_directory = tempfile::tempdir().unwrap();
    let (registry, is_stalled) = stalling_registry(busybox().tar());
    // As nohup(1) does it.
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "trap '' HUP; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_newroot"),
            "pull",
            "--registry",
            registry.url(),
        ])
        .args(["app", "--fs"])
        .arg(fs_directory.path());
    let process = with_default_signals(&command).stderr(Stdio::piped()).spawn().unwrap();
    is_stalled.recv().unwrap();
    for signal in [Signal::SIGHUP, Signal::SIGINT] {
        kill(Pid::from_raw(process.id() as i32), signal).unwrap();
    }
    let output = process.wait_with_output().unwrap();
    assert!(text_of(&output).contains("stopped by SIGINT"), "{}", text_of(&output));
}

#[test]
fn three_layers_are_fetched_at_once_and_applied_in_their_order() {
    let layers: Vec<Vec<u8>> = (0..7)
        .map(|number: u32| {
            let layer = Layer::new().file("last", &number.to_string()).file(&format!("of-{number}"), "");
            // Each removes what the one before it has made.
            let layer = if number > 0 { layer.file(&format!(".wh.of-{}", number - 1), "") } else { layer };
            layer.tar()
        })
        .collect();
    // How many layers were asked for so far, how many of those are not answered yet, and the most that these ever were.
    let state = std::sync::Arc::new(Mutex::new((0, 0, 0)));
    let (shared, changed) = (state.clone(), Condvar::new());
    let registry = ScriptedRegistry::start(layers, move |number, layer, stream| {
        let mut state = shared.lock().unwrap();
        state.0 += 1;
        state.1 += 1;
        state.2 = state.2.max(state.1);
        changed.notify_all();
        // The first three are answered when all of them are asked for: one after the other, this would never end. And
        // the first comes last of them, so that the others must wait for it.
        while number < 3 && (state.0 < 3 || number == 0 && state.1 > 1) {
            state = changed.wait(state).unwrap();
        }
        scripted::answer(layer, stream);
        state.1 -= 1;
        changed.notify_all();
    });
    let fs_directory = tempfile::tempdir().unwrap();
    let output = pull(registry.url(), fs_directory.path(), "many");
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(state.lock().unwrap().2, 3, "as many as may be under way");
    let rootfs = fs_directory.path().join("many/rootfs");
    assert_eq!(names_in(&rootfs), ["last", "of-6"]);
    assert_eq!(fs::read_to_string(rootfs.join("last")).unwrap(), "6");
    let said = String::from_utf8(output.stderr).unwrap();
    let numbers: Vec<_> = said.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(numbers, ["1/7", "2/7", "3/7", "4/7", "5/7", "6/7", "7/7"]);
}

/// Everything that a pull shows on a terminal of 80 columns.
fn shown_on_a_terminal(registry: &Registry, image: &str, environment: &[(&str, &str)]) -> String {
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None).unwrap();
    let fs_directory = tempfile::tempdir().unwrap();
    let mut command = newroot();
    command.args(["pull", "--registry", &registry.url(), image, "--fs"]).arg(fs_directory.path());
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(environment.iter().copied());
    let mut process = command.stdout(Stdio::null()).stderr(pty.slave).spawn().unwrap();
    drop(command);
    let mut shown = Vec::new();
    // Where nobody has the other side open any more, reading ends with EIO (pty(7)).
    let _ = fs::File::from(pty.master).read_to_end(&mut shown);
    assert!(process.wait().unwrap().success());
    String::from_utf8(shown).unwrap()
}

#[test]
fn bars_move_on_a_terminal_and_each_layer_leaves_its_line() {
    let registry = Registry::start();
    let large = Layer::new().entry(EntryType::Regular, "large", 0o644, "", &busybox().tar());
    let layers = [large.gzip(), Layer::new().file("small", "").gzip()];
    registry.push("library/layers", &layers);
    let shown = shown_on_a_terminal(&registry, "layers", &[]);
    let line = |number: usize| {
        let digest = newroot::registry::Digest::of(&layers[number - 1]);
        let bytes = layers[number - 1].len() as f64;
        let size = if bytes >= 1e6 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.1} kB", bytes / 1e3) };
        format!("layer {number}/2 {:.19}… {size} done", digest.as_str())
    };
    assert!(shown.contains('[') && shown.contains("MB/1."), "a bar says how much of how much: {shown:?}");
    // What is not text moves the cursor about: ESC [ … letter.
    let mut text = String::new();
    let mut rest = shown.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        text += before;
        text.push('\n');
        rest = after.split_once(|end: char| end.is_ascii_alphabetic()).unwrap().1;
    }
    text += rest;
    // Rows that go over the whole width are filled up with spaces, and no line end stands between them.
    let text = text.replace(" layer", "\nlayer");
    let lines: Vec<_> = text.split(['\r', '\n']).map(str::trim_end).collect();
    assert!(lines.contains(&&*line(1)) && lines.contains(&&*line(2)), "{lines:?}");
    let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
    assert!(widest < 80, "{widest} columns: {lines:?}");
    assert!(shown.ends_with(&format!("{}\r\n", line(2))), "{shown:?}");
    for environment in [("TERM", "dumb"), ("NO_COLOR", "1")] {
        let shown = shown_on_a_terminal(&registry, "layers", &[environment]);
        assert_eq!(shown, format!("{}\r\n{}\r\n", line(1), line(2)), "{environment:?}");
    }
}

#[test]
fn an_image_much_larger_than_the_memory_can_be_pulled() {
    let registry = Registry::start();
    let layer = |number: u8| {
        let content = vec![number; 64 << 20];
        Layer::new().entry(EntryType::Regular, &format!("file{number}"), 0o644, "", &content).gzip()
    };
    registry.push("library/large", &(1..=6).map(layer).collect::<Vec<_>>());
    // A limit on all addresses that the program may have in use, of which the binary itself takes a tenth.
    let said = in_a_mount_namespace(
        &registry,
        "mount -t tmpfs tmpfs $FS; prlimit --as=167772160 $NEWROOT pull --fs $FS large; du -sm $FS/large/rootfs",
    );
    assert!(said.contains("Pulling done") && said.contains("\n384\t"), "{said}");
}
