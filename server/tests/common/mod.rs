//! What several test files need: images made on the spot, a real registry on a free port, the `newroot` binary.
//! All of it needs root, Debian's docker-registry, skopeo and busybox-static, and fails without.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

pub mod bench;
pub mod flood;
pub mod mirror;
pub mod playground;
pub mod proxy;
pub mod scripted;
pub mod terminal;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use newroot::registry::Digest;
use serde_json::json;
use tar::EntryType;
use tempfile::TempDir;

/// The time that files in test images have.
pub const MTIME: u64 = 1_000_000_000;

/// A layer in the making. Names go into the archive as they are, however hostile.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    /// An empty layer.
    pub fn new() -> Layer {
        Layer(tar::Builder::new(Vec::new()))
    }

    /// Adds an entry of any kind, owned by root.
    pub fn entry(self, kind: EntryType, path: &str, mode: u32, target: &str, content: &[u8]) -> Layer {
        self.owned_entry(kind, path, mode, (0, 0), target, content)
    }

    /// Adds an entry of any kind.
    pub fn owned_entry(
        mut self,
        kind: EntryType,
        path: &str,
        mode: u32,
        (uid, gid): (u64, u64),
        target: &str,
        content: &[u8],
    ) -> Layer {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mtime(MTIME);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        if kind == EntryType::Char {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    /// Adds a directory.
    pub fn directory(self, path: &str) -> Layer {
        self.entry(EntryType::Directory, path, 0o755, "", b"")
    }

    /// Adds a file.
    pub fn file(self, path: &str, content: &str) -> Layer {
        self.entry(EntryType::Regular, path, 0o644, "", content.as_bytes())
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Layer {
        self.entry(EntryType::Symlink, path, 0o777, target, b"")
    }

    /// Adds a hard link.
    pub fn hard_link(self, path: &str, target: &str) -> Layer {
        self.entry(EntryType::Link, path, 0o644, target, b"")
    }

    /// Puts a PAX header before the next entry.
    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Layer {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    /// The archive.
    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    /// The archive in gzip.
    pub fn gzip(self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.tar()).unwrap();
        encoder.finish().unwrap()
    }
}

/// A layer that a shell runs in: busybox with its applets, and the directories one mounts on.
pub fn busybox() -> Layer {
    let busybox = fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut layer = Layer::new();
    for directory in ["bin", "etc", "proc", "mnt", "tmp", "root", "dev"] {
        layer = layer.directory(directory);
    }
    layer = layer.entry(EntryType::Regular, "bin/busybox", 0o755, "", &busybox);
    for applet in ["sh", "ls", "cat", "mount", "ps", "kill", "sleep", "hostname", "readlink", "grep", "tty", "env"] {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    layer.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
}

/// A layer in gzip with a small Debian of the same release as this machine, made by mmdebstrap once and then kept below
/// `target`.
pub fn debian() -> Vec<u8> {
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).expect("a Debian of a release");
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-images");
    let kept = images.join(format!("debian-{suite}.tar"));
    if !kept.exists() {
        fs::create_dir_all(&images).unwrap();
        let targets = Command::new("apt-get")
            .args(["indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"])
            .output()
            .unwrap();
        let targets = String::from_utf8(targets.stdout).unwrap();
        let mirror = targets.lines().find_map(|line| line.strip_prefix(&format!("{suite} main ")));
        let mirror = mirror.expect("apt knows a mirror; if not, `apt-get update` tells it");
        let unfinished = tempfile::Builder::new().suffix(".tar").tempfile_in(&images).unwrap();
        let output = Command::new("mmdebstrap")
            .args(["--quiet", "--variant=essential", suite])
            .arg(unfinished.path())
            .arg(mirror)
            .output()
            .expect("mmdebstrap is installed");
        assert!(output.status.success(), "{}", text_of(&output));
        unfinished.persist(&kept).unwrap();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::copy(&mut fs::File::open(kept).unwrap(), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// Puts a blob into an OCI image layout. Returns its descriptor.
fn put_blob(layout: &Path, media_type: &str, bytes: &[u8]) -> serde_json::Value {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let digest = Digest::of(bytes);
    fs::write(blobs.join(digest.hex()), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest.as_str(), "size": bytes.len() })
}

/// Makes one manifest the way into an OCI image layout.
fn finish_layout(layout: &Path, manifest: &serde_json::Value) {
    fs::write(layout.join("index.json"), json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Writes an OCI image layout with one image of these gzip layers. Returns the digests of the layers.
pub fn make_image(layout: &Path, layers: &[Vec<u8>]) -> Vec<Digest> {
    make_configured_image(layout, layers, json!({}))
}

/// The same, with this `config` in its configuration.
pub fn make_configured_image(layout: &Path, layers: &[Vec<u8>], config: serde_json::Value) -> Vec<Digest> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    finish_layout(layout, &make_manifest(layout, layers, architecture, config));
    layers.iter().map(|layer| Digest::of(layer)).collect()
}

/// Gives the image in an OCI image layout a tag, by which umoci finds it.
pub fn tag_layout(layout: &Path, tag: &str) {
    let index = layout.join("index.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    json["manifests"][0]["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    fs::write(&index, json.to_string()).unwrap();
}

/// Writes an OCI image layout with one image of these gzip layers, whose whole configuration `change` may change.
pub fn make_odd_image(layout: &Path, layers: &[Vec<u8>], change: impl FnOnce(&mut serde_json::Value)) {
    let read = |descriptor: &serde_json::Value| -> serde_json::Value {
        let hex = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:");
        serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(hex)).unwrap()).unwrap()
    };
    let write = |descriptor: &serde_json::Value, blob: &serde_json::Value| {
        put_blob(layout, descriptor["mediaType"].as_str().unwrap(), blob.to_string().as_bytes())
    };
    let descriptor = make_manifest(layout, layers, "amd64", json!({}));
    let mut manifest = read(&descriptor);
    let mut configuration = read(&manifest["config"]);
    change(&mut configuration);
    manifest["config"] = write(&manifest["config"], &configuration);
    finish_layout(layout, &write(&descriptor, &manifest));
}

/// Writes an OCI image layout with an index of images, each of one gzip layer and for one platform.
pub fn make_index(layout: &Path, images: &[(&str, Option<&str>, Vec<u8>)]) {
    let manifests: Vec<_> = images
        .iter()
        .map(|(architecture, variant, layer)| {
            let mut manifest = make_manifest(layout, std::slice::from_ref(layer), architecture, json!({}));
            manifest["platform"] = json!({ "os": "linux", "architecture": architecture });
            if let Some(variant) = variant {
                manifest["platform"]["variant"] = json!(variant);
            }
            manifest
        })
        .collect();
    let index_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": index_type, "manifests": manifests });
    finish_layout(layout, &put_blob(layout, index_type, index.to_string().as_bytes()));
}

/// Writes an image without its layout. Returns the descriptor of its manifest.
fn make_manifest(
    layout: &Path,
    layers: &[Vec<u8>],
    architecture: &str,
    config: serde_json::Value,
) -> serde_json::Value {
    let put = |media_type: &str, bytes: &[u8]| put_blob(layout, media_type, bytes);
    let layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let descriptors: Vec<_> = layers.iter().map(|layer| put(layer_type, layer)).collect();
    let plain = |layer: &Vec<u8>| {
        let mut bytes = Vec::new();
        std::io::copy(&mut flate2::read::GzDecoder::new(&layer[..]), &mut bytes).unwrap();
        Digest::of(&bytes).as_str().to_owned()
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(plain).collect::<Vec<_>>() },
    });
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": descriptors }).to_string();
    put(manifest_type, manifest.as_bytes())
}

/// Name and password at a private registry.
pub const LOGIN: (&str, &str) = ("learner", "correct horse");

/// A real registry (Debian's docker-registry) that ends with this value.
pub struct Registry {
    process: Child,
    storage: TempDir,
    address: String,
    answered: BufReader<ChildStdout>,
}

impl Registry {
    /// Starts an empty one on a port of the kernel's choice, and waits until it listens.
    pub fn start() -> Registry {
        Registry::start_with("")
    }

    /// The same, for those who have `LOGIN` only.
    pub fn start_private() -> Registry {
        Registry::start_with("auth: {htpasswd: {realm: newroot, path: PASSWORDS}}\n")
    }

    fn start_with(access: &str) -> Registry {
        let storage = tempfile::tempdir().unwrap();
        let configuration = storage.path().join("config.yml");
        let root = storage.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: 127.0.0.1:0}}\n",
            root.display()
        );
        let passwords = storage.path().join("passwords");
        // bcrypt of the password, as `htpasswd -B` writes it.
        fs::write(&passwords, "learner:$2y$05$NewrootNewrootNewrootuj1kbuHNB2aktDG2tJTRBMgv58qSqbPq\n").unwrap();
        let access = access.replace("PASSWORDS", passwords.to_str().unwrap());
        fs::write(&configuration, text + &access).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let line = log.next().unwrap_or_else(|| panic!("docker-registry did not start:\n{said}")).unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().unwrap().to_owned();
            }
            said += &line;
        };
        // Somebody must read on, or it will wait for a full pipe to empty.
        std::thread::spawn(move || log.for_each(drop));
        let answered = BufReader::new(process.stdout.take().unwrap());
        Registry { process, storage, address, answered }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes an image of gzip layers and pushes it, by skopeo: `library/alpine:3`. Returns the digests of the layers.
    pub fn push(&self, name: &str, layers: &[Vec<u8>]) -> Vec<Digest> {
        self.push_configured(name, layers, json!({}))
    }

    /// The same, with this `config` in the image's configuration.
    pub fn push_configured(&self, name: &str, layers: &[Vec<u8>], config: serde_json::Value) -> Vec<Digest> {
        let layout = tempfile::tempdir().unwrap();
        let digests = make_configured_image(layout.path(), layers, config);
        self.copy(layout.path(), name, &[]);
        digests
    }

    /// Pushes what is in an OCI image layout, by `skopeo copy` with these options.
    pub fn copy(&self, layout: &Path, name: &str, options: &[&str]) {
        let output = Command::new("skopeo")
            .args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"])
            .args(options)
            .arg(format!("oci:{}", layout.display()))
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .expect("skopeo is installed");
        assert!(output.status.success(), "{}", text_of(&output));
    }

    /// Ends it, once it has noted a request that contains `text`. Returns how many such requests it has noted in all.
    pub fn count_requests(mut self, text: &str) -> usize {
        let mut count = 0;
        let mut line = String::new();
        while self.answered.read_line(&mut line).unwrap() > 0 {
            if line.contains(text) {
                count += 1;
                let _ = self.process.kill();
            }
            line.clear();
        }
        count
    }

    /// Ends it, once it has noted a request for each of these paths. Returns all requests that it has noted.
    pub fn requests(mut self, paths: &[String]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        let mut missing = paths.to_vec();
        while self.answered.read_line(&mut line).unwrap() > 0 {
            missing.retain(|path| !line.contains(path));
            if missing.is_empty() {
                let _ = self.process.kill();
            }
            lines.push(std::mem::take(&mut line));
        }
        lines
    }

    /// The file in which the registry keeps a blob.
    pub fn blob_file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.storage.path().join(format!("storage/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The binary under test, with an environment in which no other registry than the named one can come into play, and no
/// password.
pub fn newroot() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_newroot"));
    command
        .env_remove("NEWROOT_REGISTRY")
        .env_remove("NEWROOT_MIRROR")
        .env("DOCKER_CONFIG", "/nonexistent")
        .stdin(Stdio::null());
    command
}

/// A command for the binary under test, run to its end.
pub fn run_newroot(arguments: &[&str]) -> Output {
    newroot().args(arguments).output().unwrap()
}

/// The same command with every signal as by default, even where this test was started in the background by a script, which
/// has its programs ignore Ctrl-C.
pub fn with_default_signals(command: &Command) -> Command {
    let mut default = Command::new("env");
    default.arg("--default-signal").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => default.env(name, value),
            None => default.env_remove(name),
        };
    }
    default
}

/// `newroot pull --registry URL --fs FS IMAGE`.
pub fn pull(url: &str, fs: &Path, image: &str) -> Output {
    run_newroot(&["pull", "--registry", url, "--fs", fs.to_str().unwrap(), image])
}

/// Runs a shell script in a mount namespace of its own, with the binary as `$NEWROOT` and a directory for mounts as `$FS`.
pub fn in_a_mount_namespace(registry: &Registry, script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .env("NEWROOT", env!("CARGO_BIN_EXE_newroot"))
        .env("NEWROOT_REGISTRY", registry.url())
        .env("DOCKER_CONFIG", "/nonexistent")
        .env("FS", directory.path())
        .output()
        .unwrap();
    text_of(&output)
}

/// Standard output and standard error together.
pub fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The names in a directory, sorted.
pub fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| String::from_utf8_lossy(entry.unwrap().file_name().as_bytes()).into_owned())
        .collect();
    names.sort();
    names
}
