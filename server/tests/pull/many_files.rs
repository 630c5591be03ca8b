//! An image of 30,000 small files, where those who unpack differ most. How long others take for it is printed, side by
//! side and in one run, and not asserted.

use std::fs;
use std::process::Command;

use crate::common;
use crate::common::{Layer, Registry, make_image, text_of};

/// Pulls onto a tmpfs, for a disk that has just deleted much can be slow for minutes.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs tmpfs "$FS"
now() { date +%s%N; }
took() { echo "$1: $((($(now) - $2) / 1000000)) ms"; }
start=$(now); "$NEWROOT" pull --fs "$FS/ours" many; took "newroot pull" "$start"
mkdir "$FS/tar"
start=$(now); tar -xzf "$IMAGE/layer.tar.gz" -C "$FS/tar"; took "tar -x" "$start"
start=$(now); umoci unpack --image "$IMAGE/layout:many" "$FS/umoci"; took "umoci unpack" "$start"
diff -r --no-dereference "$FS/ours/many/rootfs" "$FS/tar"
diff -r --no-dereference "$FS/ours/many/rootfs" "$FS/umoci/rootfs"
echo "files: $(find "$FS/ours/many/rootfs" -type f | wc -l)"
"#;

#[test]
fn thirty_thousand_small_files_are_all_there() {
    let registry = Registry::start();
    let image = tempfile::tempdir().unwrap();
    let files = (0..30_000).fold(Layer::new(), |layer, number| {
        let path = format!("usr/lib/package{:03}/file{number}", number / 100);
        layer.file(&path, &format!("{number}\n").repeat(1 + number % 97))
    });
    let layer = files.gzip();
    let layout = image.path().join("layout");
    make_image(&layout, std::slice::from_ref(&layer));
    registry.copy(&layout, "library/many", &[]);
    fs::write(image.path().join("layer.tar.gz"), layer).unwrap();
    common::tag_layout(&layout, "many");
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", SCRIPT])
        .env("NEWROOT", env!("CARGO_BIN_EXE_newroot"))
        .env("NEWROOT_REGISTRY", registry.url())
        .env("DOCKER_CONFIG", "/nonexistent")
        .env("IMAGE", image.path())
        .env("FS", directory.path())
        .output()
        .unwrap();
    assert!(output.status.success() && text_of(&output).contains("files: 30000\n"), "{}", text_of(&output));
    println!("{}", String::from_utf8_lossy(&output.stdout));
}
