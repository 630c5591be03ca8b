//! Unpacking layers: what an honest image must become, and what a hostile one must not reach.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use newroot::runtime::{Compression, LeftOut, Limits, UnpackError};
use tar::EntryType;

use crate::common::bench::Bench;
use crate::common::{Layer, MTIME, names_in};

#[test]
fn owners_modes_times_and_links_are_those_of_the_archive() {
    let bench = Bench::new();
    let layer = Layer::new()
        .directory("./")
        .directory("etc")
        .owned_entry(EntryType::Regular, "etc/su", 0o4755, (12, 34), "", b"program")
        .entry(EntryType::Directory, "tmp", 0o1777, "", b"")
        .owned_entry(EntryType::Symlink, "etc/link", 0o777, (5, 6), "/nowhere/else", b"")
        .hard_link("etc/second", "etc/su")
        .entry(EntryType::Fifo, "pipe", 0o600, "", b"")
        .file("deep/er/file", "in directories that no entry makes");
    assert_eq!(bench.apply(layer).unwrap(), LeftOut::default());
    let su = fs::metadata(bench.path("etc/su")).unwrap();
    assert_eq!((su.uid(), su.gid(), su.mode() & 0o7777, su.mtime()), (12, 34, 0o4755, MTIME as i64));
    assert_eq!(fs::metadata(bench.path("etc/second")).unwrap().ino(), su.ino());
    assert_eq!(fs::metadata(bench.path("tmp")).unwrap().mode() & 0o7777, 0o1777);
    let link = fs::symlink_metadata(bench.path("etc/link")).unwrap();
    assert_eq!((link.uid(), link.gid(), link.mtime()), (5, 6, MTIME as i64));
    assert_eq!(fs::read_link(bench.path("etc/link")).unwrap(), Path::new("/nowhere/else"));
    assert_eq!(fs::metadata(bench.path("etc")).unwrap().mtime(), MTIME as i64, "although files came into it later");
    assert!(fs::metadata(bench.path("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::metadata(bench.path("deep/er")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_device_node_is_made_where_the_kernel_allows_it() {
    let bench = Bench::new();
    bench.apply(Layer::new().entry(EntryType::Char, "null", 0o666, "", b"")).unwrap();
    let null = fs::metadata(bench.path("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.mode() & 0o7777), (0x103, 0o666));
}

#[test]
fn extended_attributes_are_set_on_whatever_has_them() {
    let bench = Bench::new();
    let get = |path: &str, name: &str| bench.attribute(path, name);
    // What setcap(8) writes for CAP_DAC_OVERRIDE and CAP_FOWNER: bits 1 and 3, which make a line end.
    let capability = b"\x01\0\0\x02\x0a\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0\0";
    let layer = Layer::new()
        // Something before it whose content does not fill its last block.
        .file("first", "12345")
        .pax(&[("SCHILY.xattr.security.capability", capability), ("mtime", b"1.5"), ("SCHILY.xattr.user.empty", b"")])
        .owned_entry(EntryType::Regular, "program", 0o755, (7, 7), "", b"")
        .pax(&[("SCHILY.xattr.user.note", b"of a directory")])
        .directory("directory")
        .file("directory/without", "")
        .pax(&[("SCHILY.xattr.trusted.note", b"of a link")])
        .symlink("link", "program")
        .pax(&[("SCHILY.xattr.user.overlay.redirect", b"/etc"), ("SCHILY.xattr.unknown.kind", b"1")])
        .directory("redirected");
    assert_eq!(bench.apply(layer).unwrap(), LeftOut { nodes: 0, attributes: 2 });
    assert_eq!(get("program", "security.capability").unwrap(), capability);
    assert_eq!(get("program", "user.empty").unwrap(), b"");
    assert_eq!(get("directory", "user.note").unwrap(), b"of a directory");
    assert_eq!(get("link", "trusted.note").unwrap(), b"of a link");
    assert_eq!(get("program", "trusted.note"), Err(rustix::io::Errno::NODATA));
    assert_eq!(get("directory/without", "user.note"), Err(rustix::io::Errno::NODATA));
    assert_eq!(get("redirected", "user.overlay.redirect"), Err(rustix::io::Errno::NODATA));
    for (path, time) in [("program", 1), ("directory", MTIME as i64), ("redirected", MTIME as i64)] {
        assert_eq!(fs::metadata(bench.path(path)).unwrap().mtime(), time, "{path}");
    }
}

#[test]
fn a_malformed_pax_header_is_an_error() {
    let bench = Bench::new();
    let layer = Layer::new().entry(EntryType::XHeader, "pax", 0o644, "", b"9 broken").file("file", "");
    assert!(matches!(bench.apply(layer), Err(UnpackError::ReadLayer(_))));
}

#[test]
fn names_may_be_long() {
    let bench = Bench::new();
    let directory = ["d".repeat(200), "e".repeat(200)].join("/");
    let (by_pax, by_gnu) = (format!("{directory}/pax"), format!("{directory}/gnu"));
    let (gnu_name, gnu_link) = (format!("{by_gnu}\0"), format!("{by_pax}\0"));
    let layer = Layer::new()
        .pax(&[("SCHILY.xattr.user.note", b"1"), ("path", by_pax.as_bytes()), ("uid", b"3000000"), ("gid", b"5")])
        .file("shortened", "content")
        .entry(EntryType::GNULongLink, "././@LongLink", 0o644, "", gnu_link.as_bytes())
        .entry(EntryType::GNULongName, "././@LongLink", 0o644, "", gnu_name.as_bytes())
        .hard_link("shortened", "shortened")
        .pax(&[("linkpath", by_pax.as_bytes())])
        .symlink("link", "shortened");
    bench.apply(layer).unwrap();
    assert_eq!(names_in(&bench.path(&directory)), ["gnu", "pax"]);
    assert_eq!(bench.read(&by_gnu), "content");
    assert_eq!(fs::read_link(bench.path("link")).unwrap(), Path::new(&by_pax));
    let status = fs::metadata(bench.path(&by_pax)).unwrap();
    assert_eq!((status.uid(), status.gid(), status.nlink()), (3_000_000, 5, 2));
    // No longer than the kernel takes, and then the error says which call did not.
    let layer = Layer::new().pax(&[("path", "x".repeat(256).as_bytes())]).file("shortened", "");
    let error = bench.apply(layer).unwrap_err();
    assert!(matches!(error, UnpackError::Remove { errno: nix::errno::Errno::ENAMETOOLONG, .. }), "{error}");
}

#[test]
fn an_upper_layer_wins() {
    let bench = Bench::new();
    bench.apply(Layer::new().file("a/b/file", "old").file("turns", "a file").symlink("moves", "a")).unwrap();
    bench
        .apply(
            Layer::new()
                .file("a/b/file", "new")
                .file("a/b/more", "beside it")
                .file("turns/into", "a directory?")
                .directory("moves"),
        )
        .expect_err("a file is no place for another, unless an entry makes it a directory");
    bench.apply(Layer::new().directory("turns").file("turns/into", "a directory").file("a/b", "a file")).unwrap();
    assert_eq!(bench.read("turns/into"), "a directory");
    assert_eq!(bench.read("a/b"), "a file", "the whole directory has gone for it");
    bench.apply(Layer::new().directory("moves").file("moves/in", "x")).unwrap();
    assert_eq!(names_in(&bench.path("a")), ["b"], "a link is replaced by a directory, not followed");
    assert_eq!(bench.read("moves/in"), "x");
}

#[test]
fn a_whiteout_removes_from_the_layers_below_alone() {
    let bench = Bench::new();
    bench.apply(Layer::new().file("d/gone", "1").file("d/tree/x", "1").file("d/kept", "1")).unwrap();
    bench
        .apply(
            Layer::new()
                .file("d/gone", "2")
                .file("d/.wh.gone", "")
                .file("d/.wh.tree", "")
                .file("d/.wh.never-there", "")
                .file("nowhere/.wh.x", ""),
        )
        .unwrap();
    assert_eq!(names_in(&bench.path("d")), ["gone", "kept"]);
    assert_eq!(
        bench.read("d/gone"),
        "2",
        "what the same layer puts there stays, although the whiteout stands behind it"
    );
    assert_eq!(names_in(&bench.path("")), ["d"], "a whiteout makes nothing");
}

#[test]
fn an_opaque_directory_hides_all_below_and_nothing_of_its_own_layer() {
    let bench = Bench::new();
    bench.apply(Layer::new().file("d/old", "1").file("d/sub/old", "1").file("e/old", "1")).unwrap();
    bench.apply(Layer::new().file("d/sub/new", "2").directory("d").file("d/.wh..wh..opq", "")).unwrap();
    assert_eq!(names_in(&bench.path("d")), ["sub"]);
    assert_eq!(names_in(&bench.path("d/sub")), ["new"]);
    assert_eq!(bench.read("e/old"), "1");
}

#[test]
fn no_path_leads_out() {
    for layer in [
        Layer::new().file("../outside/evil", "x"),
        Layer::new().file("a/../../outside/evil", "x"),
        Layer::new().file("a/..", "x"),
        Layer::new().hard_link("stolen", "../outside/secret"),
    ] {
        let bench = Bench::new();
        assert!(matches!(bench.apply(layer), Err(UnpackError::OutsideRootfs { .. })));
        bench.assert_outside_is_untouched();
    }
    let bench = Bench::new();
    bench.apply(Layer::new().file("below", "1")).unwrap();
    for layer in
        [Layer::new().file(".wh...", ""), Layer::new().file(".wh..", ""), Layer::new().file("../.wh.outside", "")]
    {
        assert!(matches!(bench.apply(layer), Err(UnpackError::OutsideRootfs { .. })));
        bench.assert_outside_is_untouched();
    }
    assert_eq!(bench.read("below"), "1");
}

#[test]
fn an_absolute_path_starts_at_the_root_of_the_image() {
    let bench = Bench::new();
    bench.apply(Layer::new().file(&format!("{}/evil", bench.outside()), "x")).unwrap();
    bench.assert_outside_is_untouched();
    assert_eq!(bench.read(&format!("{}/evil", &bench.outside()[1..])), "x");
}

#[test]
fn a_symbolic_link_leads_nowhere_but_into_the_image() {
    let bench = Bench::new();
    let outside = bench.outside();
    // The targets exist in the image as well, so that what is written through the links has somewhere to go.
    let here = Layer::new().directory(&outside[1..]).symlink("absolute", &outside).symlink("up", "../../outside");
    bench.apply(here.file("absolute/evil", "1").directory("outside").file("up/evil", "2")).unwrap();
    bench.assert_outside_is_untouched();
    assert_eq!(bench.read(&format!("{}/evil", &outside[1..])), "1");
    assert_eq!(bench.read("outside/evil"), "2");
    // Upper layers through links of lower ones: writing, whiteouts, an opaque directory, attributes.
    let through = Layer::new()
        .file("absolute/secret", "3")
        .file("absolute/.wh.evil", "")
        .file("up/.wh..wh..opq", "")
        .entry(EntryType::Directory, "absolute/", 0o700, "", b"");
    bench.apply(through).unwrap();
    bench.assert_outside_is_untouched();
}

#[test]
fn a_file_is_never_written_through_a_link() {
    let bench = Bench::new();
    let secret = format!("{}/secret", bench.outside());
    bench.apply(Layer::new().symlink("link", &secret).file("link", "x")).unwrap();
    bench.assert_outside_is_untouched();
    assert_eq!(bench.read("link"), "x");
}

#[test]
fn a_hard_link_takes_nothing_from_outside() {
    for target in ["etc/passwd", "/etc/passwd", "link/passwd", "secret"] {
        let bench = Bench::new();
        let secret = format!("{}/secret", bench.outside());
        let layer = Layer::new().symlink("link", "/etc").symlink("secret", &secret).hard_link("stolen", target);
        match bench.apply(layer) {
            // A link to a symbolic link is a symbolic link: text, no file.
            Ok(_) => assert!(fs::symlink_metadata(bench.path("stolen")).unwrap().is_symlink(), "{target}"),
            Err(error) => assert!(matches!(error, UnpackError::HardLink { .. }), "{target}: {error}"),
        }
        bench.assert_outside_is_untouched();
    }
}

#[test]
fn an_image_may_be_only_so_big() {
    let bench = Bench::new();
    let limits = Limits { entries: 2, bytes: 10 };
    let three = Layer::new().directory("a").directory("b").directory("c");
    let result = bench.apply_within(three.tar(), Compression::None, limits.clone());
    assert!(matches!(result, Err(UnpackError::TooManyEntries)));
    let bytes = Layer::new().file("a", "123456").file("b", "789012").gzip();
    let result = bench.apply_within(bytes, Compression::Gzip, limits.clone());
    assert!(matches!(result, Err(UnpackError::TooManyBytes)));
    let exactly = Layer::new().file("a", "123456").file("b", "7890").gzip();
    bench.apply_within(exactly, Compression::Gzip, limits).unwrap();
}

#[test]
fn a_name_without_end_does_not_fill_the_memory() {
    let bench = Bench::new();
    // A GNU long name (type L) of 64 MiB in a few kilobytes of gzip.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(64 << 20);
    header.set_cksum();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(header.as_bytes()).unwrap();
    gzip.write_all(&vec![b'a'; 64 << 20]).unwrap();
    let bytes = gzip.finish().unwrap();
    let result = bench.apply_within(bytes, Compression::Gzip, Limits::default());
    assert!(matches!(result, Err(UnpackError::ReadLayer(_))), "{result:?}");
}
