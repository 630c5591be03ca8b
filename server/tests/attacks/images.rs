//! Attacks by images: archives that want out of the directory that they are unpacked in.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use tar::EntryType;

use crate::common::page::{HOST, Page};
use crate::common::playground::Playground;
use crate::common::{Layer, Registry, busybox, names_in};
use crate::rows::{self, IMAGES};
use crate::table::{Outcome, Table};

use Outcome::{Escaped, Held};

/// A layer that goes for the file `precious` in a directory, which it knows by a path from the root and by one from its own
/// rootfs. None of those attacks that have no such aim.
fn layer(name: &str, absolute: &str, climbing: &str) -> Option<Layer> {
    let layer = Layer::new();
    Some(match name {
        "image-climbs" => layer.file(&format!("{climbing}/new"), "new"),
        "image-absolute" => layer.file(&format!("{absolute}/new"), "new"),
        "image-link-absolute" => layer.symlink("out", absolute).file("out/new", "new"),
        "image-link-climbs" => layer.symlink("out", climbing).file("out/new", "new"),
        "image-hard-link" => layer.hard_link("stolen", &format!("{climbing}/precious")).file("stolen", "changed"),
        "image-whiteout" => layer.symlink("out", absolute).file("out/.wh.precious", ""),
        "image-opaque" => layer.symlink("out", absolute).file("out/.wh..wh..opq", ""),
        _ => return None,
    })
}

/// Unpacks as somebody would who thinks no harm of archives.
fn unpack_naively(archive: &[u8], root: &Path) {
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = root.join(entry.path().unwrap());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let target = entry.link_name().unwrap().map(|target| target.into_owned());
        match (entry.header().entry_type(), name.strip_prefix(".wh.")) {
            (_, Some(".wh..opq")) => {
                for inside in fs::read_dir(path.parent().unwrap()).unwrap() {
                    fs::remove_file(inside.unwrap().path()).unwrap();
                }
            }
            (_, Some(hidden)) => fs::remove_file(path.with_file_name(hidden)).unwrap(),
            (EntryType::Symlink, _) => symlink(target.unwrap(), path).unwrap(),
            (EntryType::Link, _) => fs::hard_link(root.join(target.unwrap()), path).unwrap(),
            _ => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                fs::write(path, content).unwrap();
            }
        }
    }
}

fn judge(names: &str, content: &str, how: &str) -> Outcome {
    match (names, content) {
        ("precious", "untouched") => Held(format!("what is outside is as it was; {how}")),
        (names, content) => Escaped(format!("outside are now: {names:?} {content:?}")),
    }
}

fn naively(name: &str) -> Option<Outcome> {
    let directory = tempfile::tempdir().unwrap();
    let (outside, root) = (directory.path().join("outside"), directory.path().join("a/b/rootfs"));
    fs::create_dir_all(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "untouched").unwrap();
    unpack_naively(&layer(name, outside.to_str().unwrap(), "../../../outside")?.tar(), &root);
    let content = fs::read_to_string(outside.join("precious")).unwrap_or_default();
    Some(judge(&names_in(&outside).join(" "), &content, ""))
}

/// What a command says, in one line.
async fn said(page: &mut Page, command: &str) -> String {
    let said = page.output_of(HOST, command).await;
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn in_a_lab(page: &mut Page, name: &str) -> Outcome {
    let pulled = page.output_of(HOST, &format!("newroot pull {name}")).await;
    match name {
        "image-bomb" => match pulled.contains("Pulling done") {
            true => Escaped("300 MiB are unpacked into a disk of 64".to_owned()),
            false => match said(page, "ls /fs").await {
                left if left.contains("bomb") => Escaped(format!("it leaves {left}")),
                _ => Held("no space left, and nothing left of it".to_owned()),
            },
        },
        "image-words" => match pulled.contains("\u{1b}[31m") {
            true => Escaped("what it says is obeyed by the terminal".to_owned()),
            false => Held("it is quoted".to_owned()),
        },
        _ => {
            let how = if pulled.contains("Pulling done") { "it is unpacked" } else { "it is refused" };
            let names = said(page, "ls /tmp/outside").await;
            let content = said(page, "cat /tmp/outside/precious").await;
            page.output_of(
                HOST,
                "rm -rf /tmp/outside /fs/*; mkdir /tmp/outside; echo untouched > /tmp/outside/precious",
            )
            .await;
            judge(&names, &content, how)
        }
    }
}

#[tokio::test]
async fn no_image_gets_out_of_its_rootfs() {
    let registry = Registry::start();
    for row in IMAGES {
        let layer = match (layer(row.name, "/tmp/outside", "../../../tmp/outside"), row.name) {
            (Some(layer), _) => layer,
            (None, "image-bomb") => Layer::new().entry(EntryType::Regular, "zeros", 0o644, "", &vec![0; 300 << 20]),
            (None, _) => Layer::new().hard_link("link", "\u{1b}[31mred"),
        };
        registry.push(&format!("library/{}:latest", row.name), &[layer.gzip()]);
    }
    registry.push("library/honest:latest", &[busybox().gzip()]);
    let playground = Playground::start_with(&["--upstream", &registry.url(), "--lab-disk", "64"]);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.output_of(HOST, "mkdir /tmp/outside; echo untouched > /tmp/outside/precious").await;
    let mut table = Table::default();
    for row in rows::chosen(IMAGES) {
        let with = in_a_lab(&mut page, row.name).await;
        let twin = match naively(row.name) {
            Some(outcome) => outcome,
            None => match page.output_of(HOST, "newroot pull honest && echo =pu\"\"lled=").await.contains("=pulled=") {
                true => Escaped("is pulled".to_owned()),
                false => Held("is not pulled".to_owned()),
            },
        };
        table.judge(row, &with, None, &twin);
    }
    table.finish("by images");
}
