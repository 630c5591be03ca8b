//! Images made on the spot: layers, and OCI image layouts with them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use newroot::registry::Digest;
use serde_json::json;
use tar::EntryType;

use super::text_of;

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
