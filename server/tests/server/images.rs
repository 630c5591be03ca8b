//! `newroot images`: what is imported from the files of other tools, listed and removed.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use newroot::registry::Digest;
use serde_json::json;
use tar::EntryType;
use tempfile::{TempDir, TempPath};

use crate::common::mirror::{Mirror, noise};
use crate::common::{Layer, Registry, busybox, make_image, make_index, names_in, newroot, pull, text_of};

fn images(state: &Path, arguments: &[&str]) -> Output {
    let (verb, rest) = arguments.split_first().unwrap();
    newroot().args(["images", verb, "--state"]).arg(state).args(rest).output().unwrap()
}

fn import(state: &Path, path: &Path, name: Option<&str>) -> Output {
    let mut arguments = vec!["import", path.to_str().unwrap()];
    arguments.extend(name);
    images(state, &arguments)
}

/// Asserts that an import fails with this message, and leaves nothing.
fn refuses(state: &Path, path: &Path, name: Option<&str>, why: &str) {
    let output = import(state, path, name);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains(why), "{why}: {}", text_of(&output));
    assert_eq!(blobs(state), [""; 0], "{why}");
}

fn blobs(state: &Path) -> Vec<String> {
    assert_eq!(names_in(&state.join("imported/unfinished")), [""; 0]);
    names_in(&state.join("imported/blobs/sha256"))
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", text_of(&output));
}

/// Asserts that a mirror without any upstream serves an image whose root has these files.
fn has(state: &Path, image: &str, files: &[&str]) {
    let mirror = Mirror::start(state, None);
    let fs_directory = tempfile::tempdir().unwrap();
    let output = pull(&mirror.url(), fs_directory.path(), image);
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(names_in(&fs_directory.path().join(image).join("rootfs")), files);
}

/// A layout with an image of two layers.
fn layout() -> TempDir {
    let layout = tempfile::tempdir().unwrap();
    make_image(layout.path(), &[Layer::new().file("a", "1").gzip(), Layer::new().file("b", "2").gzip()]);
    layout
}

#[test]
fn layouts_and_archives_of_other_tools_are_imported() {
    let (layout, work) = (layout(), tempfile::tempdir().unwrap());
    let (from, to) = (layout.path().display(), work.path().display());
    sh(&format!(
        "tar -C {from} -cf {to}/layout.tar . && gzip -k {to}/layout.tar
         skopeo --insecure-policy copy --quiet oci:{from} oci-archive:{to}/skopeo.tar:team/app:2
         skopeo --insecure-policy copy --quiet oci:{from} docker-archive:{to}/docker.tar:registry.example/team/app:3
         gzip -k {to}/docker.tar"
    ));
    for (file, name, known_as) in [
        (PathBuf::from(layout.path()), Some("alpine"), "alpine"),
        (work.path().join("layout.tar"), Some("alpine:3"), "alpine:3"),
        (work.path().join("layout.tar.gz"), Some("docker.io/library/alpine:4"), "alpine:4"),
        (work.path().join("skopeo.tar"), None, "team/app:2"),
        (work.path().join("docker.tar"), Some("saved"), "saved"),
        (work.path().join("docker.tar.gz"), Some("saved"), "saved"),
    ] {
        let state = tempfile::tempdir().unwrap();
        let output = import(state.path(), &file, name);
        assert!(output.status.success(), "{}: {}", file.display(), text_of(&output));
        let full = if known_as.contains(':') { known_as.to_owned() } else { format!("{known_as}:latest") };
        assert!(text_of(&output).starts_with(&format!("Imported {full} (sha256:")), "{}", text_of(&output));
        has(state.path(), known_as, &["a", "b"]);
    }
    let state = tempfile::tempdir().unwrap();
    let output = import(state.path(), &work.path().join("docker.tar"), None);
    assert!(text_of(&output).starts_with("Imported registry.example/team/app:3 "), "{}", text_of(&output));
    refuses(
        tempfile::tempdir().unwrap().path(),
        &work.path().join("layout.tar"),
        None,
        "does not say what the image is called",
    );
}

#[test]
fn a_real_docker_save_is_imported() {
    let (work, rootfs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(rootfs.path().join("by-docker"), "").unwrap();
    let engine = Docker::start(work.path());
    let to = work.path().display();
    engine.run(&format!(
        "tar -C {} -c . | docker import - one:1
         docker tag one:1 two:2
         docker save -o {to}/saved.tar one:1 two:2",
        rootfs.path().display()
    ));
    let state = tempfile::tempdir().unwrap();
    let output = import(state.path(), &work.path().join("saved.tar"), None);
    assert!(output.status.success(), "{}", text_of(&output));
    for image in ["one:1", "two:2"] {
        has(state.path(), image, &["by-docker"]);
    }
}

/// A real Docker engine that ends with this value.
struct Docker {
    process: std::process::Child,
    socket: String,
}

impl Docker {
    fn start(directory: &Path) -> Docker {
        let socket = format!("unix://{}/docker.sock", directory.display());
        let mut process = Command::new("dockerd")
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "-H", &socket])
            .arg("--data-root")
            .arg(directory.join("data"))
            .arg("--exec-root")
            .arg(directory.join("exec"))
            .arg("--pidfile")
            .arg(directory.join("pid"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("dockerd is installed");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        loop {
            let line = log.next().unwrap_or_else(|| panic!("dockerd did not start:\n{said}")).unwrap();
            if line.contains("API listen on") {
                break;
            }
            said += &line;
        }
        std::thread::spawn(move || log.for_each(drop));
        Docker { process, socket }
    }

    fn command(&self, script: &str) -> Output {
        Command::new("sh").args(["-ec", script]).env("DOCKER_HOST", &self.socket).output().unwrap()
    }

    fn run(&self, script: &str) {
        let output = self.command(script);
        assert!(output.status.success(), "{}", text_of(&output));
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.process.id() as i32), nix::sys::signal::SIGTERM);
        let _ = self.process.wait();
    }
}

#[test]
fn images_of_several_platforms_are_kept_whole_and_incomplete_ones_as_far_as_they_go() {
    let (layout, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let image = |name: &str| Layer::new().file(name, "").gzip();
    make_index(layout.path(), &[("riscv64", None, image("v")), ("arm", Some("v7"), image("arm"))]);
    assert!(import(state.path(), layout.path(), Some("multi")).status.success());
    let all = names_in(&layout.path().join("blobs/sha256"));
    assert_eq!(blobs(state.path()), all);
    let mirror = Mirror::start(state.path(), None);
    let fs_directory = tempfile::tempdir().unwrap();
    for (platform, file) in [("linux/riscv64", "v"), ("linux/arm/v7", "arm")] {
        let mut command = newroot();
        command.args(["pull", "--registry", &mirror.url(), "--platform", platform, "multi", "--fs"]);
        let output = command.arg(fs_directory.path()).output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        assert_eq!(names_in(&fs_directory.path().join("multi/rootfs")), [file]);
    }
    // `docker save` lists all platforms, and has one.
    let layer = Digest::of(&image("v"));
    fs::remove_file(layout.path().join("blobs/sha256").join(layer.hex())).unwrap();
    let half = tempfile::tempdir().unwrap();
    assert!(import(half.path(), layout.path(), Some("multi")).status.success());
    assert!(!blobs(half.path()).is_empty() && blobs(half.path()).len() < all.len());
    let layer = Digest::of(&image("arm"));
    fs::remove_file(layout.path().join("blobs/sha256").join(layer.hex())).unwrap();
    refuses(
        tempfile::tempdir().unwrap().path(),
        layout.path(),
        Some("multi"),
        "is missing: this is not all of the image",
    );
}

#[test]
fn damaged_and_hostile_files_are_refused_and_leave_nothing() {
    let state = tempfile::tempdir().unwrap();
    let work = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = work.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    refuses(state.path(), &work.path().join("none"), None, "No such file or directory");
    refuses(state.path(), &file("text", b"this is no archive at all"), None, "is not a tar archive");
    refuses(state.path(), &file("cut.gz", &busybox().gzip()[..1000]), None, "is not a tar archive");
    refuses(state.path(), &file("layer.tar", &Layer::new().file("x", "").tar()), None, "has no image");
    refuses(state.path(), &layout().path().join("index.json"), None, "is not a tar archive");

    // A blob that is not what its name says: each of them in turn.
    let good = layout();
    for name in names_in(&good.path().join("blobs/sha256")) {
        let path = good.path().join("blobs/sha256").join(&name);
        let content = fs::read(&path).unwrap();
        let mut bad = content.clone();
        bad[content.len() / 2] ^= 1;
        fs::write(&path, bad).unwrap();
        refuses(state.path(), good.path(), Some("x"), &format!("`blobs/sha256/{name}` is damaged"));
        fs::remove_file(&path).unwrap();
        refuses(state.path(), good.path(), Some("x"), &format!("`blobs/sha256/{name}` is missing"));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        refuses(state.path(), good.path(), Some("x"), "is missing");
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
    }
    let index = |text: &str| {
        let layout = layout();
        fs::write(layout.path().join("index.json"), text).unwrap();
        layout
    };
    let descriptor =
        |digest: &str| json!({ "schemaVersion": 2, "manifests": [{ "digest": digest, "size": 1 }] }).to_string();
    for text in ["", "[]", "{\"schemaVersion\":2,\"manifests\":7}", &descriptor("sha256:../../../etc/passwd")] {
        refuses(state.path(), index(text).path(), Some("x"), "is not as the image specification has it");
    }
    refuses(state.path(), index("{\"schemaVersion\":2,\"manifests\":[]}").path(), Some("x"), "has no image");
    refuses(state.path(), index(&" ".repeat(5 << 20)).path(), Some("x"), "has more than 4194304 bytes");
    for name in ["UPPER", "a b", "../x", "x@sha256:00", ""] {
        refuses(state.path(), good.path(), Some(name), "is not a name for an image");
    }
    refuses(state.path(), &docker_archive("../../etc/passwd", &Digest::of(b"")), None, "is missing");
}

/// A `docker save` archive with one layer of this name in its `manifest.json`. It also has an absolute name and links that
/// lead out.
fn docker_archive(layer: &str, diff_id: &Digest) -> TempPath {
    let config = json!({ "rootfs": { "type": "layers", "diff_ids": [diff_id.as_str()] } }).to_string();
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["x:1"], "Layers": [layer] }]).to_string();
    let archive = Layer::new()
        .file("c.json", &config)
        .file("manifest.json", &manifest)
        .file("/etc/passwd", "")
        .symlink("out", "../../etc/passwd")
        .symlink("circle", "circle")
        .hard_link("hard", "/etc/passwd")
        .symlink("other/layer.tar", "../real.tar")
        .file("real.tar", "a layer");
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    fs::write(&path, archive.tar()).unwrap();
    path
}

#[test]
fn links_in_an_archive_stay_in_it() {
    let state = tempfile::tempdir().unwrap();
    let (right, wrong) = (Digest::of(b"a layer"), Digest::of(&fs::read("/etc/passwd").unwrap()));
    for layer in ["out", "circle", "hard", "/etc/passwd", "missing"] {
        let archive = docker_archive(layer, &wrong);
        refuses(state.path(), &archive, None, &format!("`{layer}` is missing"));
    }
    let archive = docker_archive("other/layer.tar", &wrong);
    refuses(state.path(), &archive, None, "`other/layer.tar` is damaged");
    let archive = docker_archive("other/layer.tar", &right);
    assert!(import(state.path(), &archive, None).status.success());
    assert!(blobs(state.path()).contains(&right.hex().to_owned()));
}

#[test]
fn a_second_import_replaces_the_first_and_a_failed_one_does_not() {
    let (first, second, state) = (layout(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_image(second.path(), &[Layer::new().file("a", "1").gzip(), Layer::new().file("new", "").gzip()]);
    assert!(import(state.path(), first.path(), Some("x")).status.success());
    assert!(import(state.path(), second.path(), Some("x")).status.success());
    assert_eq!(blobs(state.path()), names_in(&second.path().join("blobs/sha256")), "what only the first had is gone");
    fs::write(second.path().join("index.json"), "").unwrap();
    assert!(!import(state.path(), second.path(), Some("x")).status.success());
    has(state.path(), "x", &["a", "new"]);
}

#[test]
fn images_are_listed_and_pruned_beside_a_running_mirror() {
    let registry = Registry::start();
    let layer = Layer::new().entry(EntryType::Regular, "large", 0o644, "", &noise(16 << 20)).gzip();
    let digest = registry.push("library/alpine:3", std::slice::from_ref(&layer)).remove(0);
    let (state, layout) = (tempfile::tempdir().unwrap(), layout());
    let mirror = Mirror::start_limited(state.path(), &registry.url(), 20 << 20);
    mirror.get("/v2/library/alpine/manifests/3");
    let path = format!("/v2/library/alpine/blobs/{}", digest.as_str());
    let (_, mut reader) = mirror.begin(&format!("GET {path} HTTP/1.1\r\n"));
    assert!(import(state.path(), layout.path(), Some("team/app")).status.success());

    let list = || -> Vec<(String, String)> {
        let output = images(state.path(), &["list", "--json"]);
        let json: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        let text = |image: &serde_json::Value, key: &str| image[key].as_str().unwrap().to_owned();
        json.iter().map(|image| (text(image, "name"), text(image, "place"))).collect()
    };
    let rows = |rows: &[(&str, &str)]| -> Vec<(String, String)> {
        rows.iter().map(|(name, place)| ((*name).to_owned(), (*place).to_owned())).collect()
    };
    let all = [("busybox:latest", "embedded"), ("team/app:latest", "imported"), ("alpine:3", "cached")];
    assert_eq!(list(), rows(&all));
    let table = text_of(&images(state.path(), &["list"]));
    let line = table.lines().find(|line| line.starts_with("team/app:latest ")).unwrap();
    assert!(line.contains("  sha256:") && line.contains(" kB  imported  just now"), "{table}");

    // The blob is being read, so it stays; the manifest is not.
    assert!(text_of(&images(state.path(), &["prune"])).starts_with("Removed alpine:3 (cached)\nFreed 0."));
    assert_eq!(list(), rows(&all[..2]), "an imported image is no cache, whatever its limit");
    let mut body = Vec::new();
    reader.read_to_end(&mut body).unwrap();
    assert_eq!(Digest::of(&body), digest);
    let freed = format!("Freed {:.1} MB\n", layer.len() as f64 / 1e6);
    assert_eq!(text_of(&images(state.path(), &["prune"])), freed);
    assert_eq!(names_in(&state.path().join("cache/blobs/sha256")), [""; 0]);
    // The mirror goes on, with what it has and what it can fetch.
    let fs_directory = tempfile::tempdir().unwrap();
    for image in ["team/app", "alpine:3"] {
        assert!(pull(&mirror.url(), fs_directory.path(), image).status.success());
    }
    let said = text_of(&images(state.path(), &["prune", "--all"]));
    assert!(said.starts_with("Removed team/app:latest (imported)\nRemoved alpine:3 (cached)\nFreed "), "{said}");
    assert_eq!(list(), rows(&all[..1]));
    assert_eq!(blobs(state.path()), [""; 0]);
    let nowhere = tempfile::tempdir().unwrap();
    let output = images(&nowhere.path().join("missing"), &["prune", "--all"]);
    assert_eq!(text_of(&output), "Freed 0.0 kB\n");
}
