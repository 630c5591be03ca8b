//! `newroot pull` against a real registry. Runs as root.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use common::{Layer, Registry, busybox, names_in, newroot, pull, text_of};
use tar::EntryType;

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

#[test]
fn a_pull_that_fails_says_why_and_leaves_nothing() {
    let registry = Registry::start();
    let digests = registry.push("library/broken", &[busybox().gzip(), Layer::new().file("x", "content").gzip()]);
    let fs_directory = tempfile::tempdir().unwrap();
    let path = fs_directory.path();
    let fails = |url: &str, image: &str, why: &str| {
        let output = pull(url, path, image);
        assert_eq!(output.status.code(), Some(1));
        assert!(text_of(&output).contains(why), "{why}: {}", text_of(&output));
        assert_eq!(names_in(path), [""; 0], "{why}");
    };
    fails(&registry.url(), "missing", "has no image library/missing:latest");
    fails("http://127.0.0.1:1", "busybox", "cannot reach 127.0.0.1:1: Connection refused");
    fails("http://192.0.2.1:5000", "busybox", "without encryption");
    // The last byte of the last layer, turned around on the registry's disk.
    let blob = registry.blob_file(&digests[1]);
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    fails(&registry.url(), "broken", "nothing of it was unpacked");
}

/// A registry that sends a manifest, and of the layer only the first half; then says so, and waits for ever.
fn stalling_registry(layer: &[u8]) -> (String, std::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stalled, is_stalled) = std::sync::mpsc::channel();
    let layer = layer.to_vec();
    let descriptor = |media_type: &str| {
        let digest = newroot::registry::Digest::of(&layer);
        serde_json::json!({ "mediaType": media_type, "digest": digest.as_str(), "size": layer.len() })
    };
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")]
    });
    let manifest = manifest.to_string();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while lines.read_line(&mut request).unwrap() > 2 {}
            let head = |length| format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            if request.contains("/blobs/") {
                stream.write_all(head(layer.len()).as_bytes()).unwrap();
                stream.write_all(&layer[..layer.len() / 2]).unwrap();
                stalled.send(()).unwrap();
                open.push(stream);
            } else if request.contains("/manifests/") {
                write!(stream, "{}{manifest}", head(manifest.len())).unwrap();
            } else {
                write!(stream, "{}{{}}", head(2)).unwrap();
            }
        }
    });
    (url, is_stalled)
}

#[test]
fn a_killed_pull_leaves_the_old_rootfs_and_the_next_one_cleans_up() {
    let registry = Registry::start();
    registry.push("library/alpine", &[Layer::new().file("old", "").gzip()]);
    let fs_directory = tempfile::tempdir().unwrap();
    assert!(pull(&registry.url(), fs_directory.path(), "alpine").status.success());
    let rootfs = fs_directory.path().join("alpine/rootfs");

    let (url, is_stalled) = stalling_registry(&busybox().gzip());
    let mut killed = newroot()
        .args(["pull", "--registry", &url, "--fs", fs_directory.path().to_str().unwrap(), "alpine"])
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
