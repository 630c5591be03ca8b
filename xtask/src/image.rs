//! The busybox image inside the binary: an OCI image layout made of Debian's busybox-static alone. It is the root file
//! system of the learners' machines and also the image `busybox` that they pull. The same busybox always gives the same
//! digests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::command;
use crate::server::interpreter;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a path of the root file system is; the mode is that of chmod(2).
enum Node {
    Directory(u32),
    File(u32, Vec<u8>),
    Link(&'static str),
}

/// Files of a layout by their path in it.
type Layout = BTreeMap<String, Vec<u8>>;

/// Makes `target/dist/images/busybox`, or leaves it untouched where it is there and right.
pub fn build(root: &Path) -> Result<()> {
    let layout = layout(&find_busybox()?)?;
    let folder = root.join("target/dist/images/busybox");
    if is_written(&folder, &layout) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove the old {}", folder.display()))?;
    }
    for (name, bytes) in &layout {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    }
    println!("image: {}, {} bytes", folder.display(), layout.values().map(Vec::len).sum::<usize>());
    Ok(())
}

/// A busybox that needs no shared library: in a learner's machine there is none.
pub fn find_busybox() -> Result<PathBuf> {
    let Some(busybox) = command::find_program("busybox") else {
        bail!("there is no busybox; `cargo xtask setup` installs it");
    };
    let binary = fs::read(&busybox).with_context(|| format!("read {}", busybox.display()))?;
    match interpreter(&binary).with_context(|| busybox.display().to_string())? {
        None => Ok(busybox),
        Some(loader) => bail!("{} is not static: it wants {loader}; install busybox-static", busybox.display()),
    }
}

fn is_written(folder: &Path, layout: &Layout) -> bool {
    let blobs = folder.join("blobs/sha256").read_dir().map_or(0, Iterator::count);
    let expected = layout.keys().filter(|name| name.starts_with("blobs/")).count();
    blobs == expected && layout.iter().all(|(name, bytes)| fs::read(folder.join(name)).is_ok_and(|old| old == *bytes))
}

/// The image layout (OCI image-spec 1.1, image-layout.md) with the tag `latest`.
fn layout(busybox: &Path) -> Result<Layout> {
    let tar = layer(&root_filesystem(busybox)?).context("make the layer")?;
    let mut gzip = GzBuilder::new().mtime(0).read(tar.as_slice(), Compression::best());
    let mut compressed = Vec::new();
    std::io::copy(&mut gzip, &mut compressed).context("compress the layer")?;

    let mut layout = Layout::new();
    let layer = add_blob(&mut layout, "application/vnd.oci.image.layer.v1.tar+gzip", compressed);
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Cmd": ["sh"], "Env": [format!("PATH={PATH}")] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
    });
    let config = add_blob(&mut layout, "application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer] });
    let mut manifest = add_blob(&mut layout, media_type, manifest.to_string().into_bytes());
    manifest["platform"] = json!({ "architecture": architecture(), "os": "linux" });
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest],
    });
    layout.insert("index.json".into(), index.to_string().into_bytes());
    layout.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    Ok(layout)
}

/// Adds a blob and returns its descriptor.
fn add_blob(layout: &mut Layout, media_type: &str, bytes: Vec<u8>) -> Value {
    let digest = digest(&bytes);
    let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
    layout.insert(format!("blobs/{}", digest.replace(':', "/")), bytes);
    descriptor
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// This machine's architecture by the name that Go, and so the image specification, has for it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The root file system, by path without the leading slash.
fn root_filesystem(busybox: &Path) -> Result<BTreeMap<String, Node>> {
    let mut nodes = BTreeMap::new();
    for directory in [
        "bin",
        "dev",
        "etc",
        "fs",
        "home",
        "lib",
        "mnt",
        "opt",
        "proc",
        "run",
        "sbin",
        "srv",
        "sys",
        "usr",
        "usr/bin",
        "usr/lib",
        "usr/local",
        "usr/local/bin",
        "usr/sbin",
        "var",
        "var/log",
        "var/tmp",
    ] {
        nodes.insert(directory.to_owned(), Node::Directory(0o755));
    }
    nodes.insert("root".to_owned(), Node::Directory(0o700));
    nodes.insert("tmp".to_owned(), Node::Directory(0o1777));
    nodes.insert("var/tmp".to_owned(), Node::Directory(0o1777));
    for (name, text) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
        // Terminals belong to the group tty: devpts is mounted with gid=5 (pts(4)).
        ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
        ("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"),
        ("etc/resolv.conf", ""),
        ("etc/os-release", "ID=newroot\nNAME=Newroot\nPRETTY_NAME=\"Newroot's busybox\"\n"),
        ("etc/profile", &format!("export PATH={PATH}\numask 022\n")),
    ] {
        nodes.insert(name.to_owned(), Node::File(0o644, text.into()));
    }
    // Scripts begin with this path wherever they come from.
    nodes.insert("usr/bin/env".to_owned(), Node::Link("/bin/busybox"));
    for applet in command::output(Command::new(busybox).arg("--list"))?.lines() {
        nodes.insert(format!("bin/{applet}"), Node::Link("busybox"));
    }
    let binary = fs::read(busybox).with_context(|| format!("read {}", busybox.display()))?;
    nodes.insert("bin/busybox".to_owned(), Node::File(0o755, binary));
    Ok(nodes)
}

/// The layer: a tar archive in which nothing tells when or by whom it was made.
fn layer(nodes: &BTreeMap<String, Node>) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, node) in nodes {
        let mut header = tar::Header::new_ustar();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        match node {
            Node::Directory(mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
            }
            Node::File(mode, bytes) => {
                header.set_size(bytes.len() as u64);
                header.set_mode(*mode);
                archive.append_data(&mut header, path, bytes.as_slice())?;
            }
            Node::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    Ok(archive.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layout in a folder of its own, removed again at the end.
    struct Written(PathBuf);

    impl Written {
        fn new(name: &str) -> Written {
            let root = std::env::temp_dir().join(format!("newroot-image-{name}-{}", std::process::id()));
            build(&root).expect("make the image");
            Written(root)
        }

        fn layout(&self) -> PathBuf {
            self.0.join("target/dist/images/busybox")
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn other_tools_accept_the_layout_and_its_programs_run() {
        let written = Written::new("peers");
        let image = format!("oci:{}:latest", written.layout().display());
        // A copy reads every blob and checks its digest and size.
        let copy = written.0.join("copy");
        let skopeo = ["copy", "--quiet", &image, &format!("dir:{}", copy.display())];
        command::output(Command::new("skopeo").args(["--insecure-policy"]).args(skopeo)).expect("skopeo copies it");
        let bundle = written.0.join("bundle");
        let layout = format!("{}:latest", written.layout().display());
        let mut umoci = Command::new("umoci");
        command::output(umoci.args(["unpack", "--image", &layout]).arg(&bundle)).expect("umoci unpacks it");
        let mut chroot = Command::new("chroot");
        chroot.arg(bundle.join("rootfs")).args(["/usr/bin/env", "-i", "/bin/sh", "-c"]);
        let seen = command::output(chroot.arg("ls -d /fs && id -un && stat -c %a /root /tmp && cat /etc/os-release"));
        let seen = seen.expect("its shell runs with nothing but the image");
        assert!(seen.starts_with("/fs\nroot\n700\n1777\nID=newroot\n"), "{seen}");
    }

    #[test]
    fn the_same_busybox_gives_the_same_image_and_is_written_once() {
        let (one, two) = (Written::new("one"), Written::new("two"));
        let index = |written: &Written| fs::read_to_string(written.layout().join("index.json")).expect("an index");
        assert_eq!(index(&one), index(&two));
        let blobs = one.layout().join("blobs/sha256");
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(one.layout()).expect("the layout"));
        let before = inode();
        build(&one.0).expect("build again");
        assert_eq!(inode(), before, "what is right stays as it is");
        fs::write(blobs.join("stray"), "").expect("spoil it");
        build(&one.0).expect("mend it");
        assert!(!blobs.join("stray").exists());
    }
}
