//! What archives hold beyond plain files, and what layers do to each other: sparse files as GNU tar writes them, times,
//! links and attributes across layers, directories in each other's way.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use newroot::runtime::{Compression, Limits, UnpackError};
use nix::errno::Errno;
use tar::EntryType;

use crate::common::bench::Bench;
use crate::common::{Layer, MTIME, names_in, text_of};

/// A file of 8 MiB with a page of data in each quarter MiB but the last ones. It has more pieces than fit into one header.
fn make_sparse_file(path: &Path) -> Vec<u8> {
    let file = File::create(path).unwrap();
    file.set_len(8 << 20).unwrap();
    for piece in 0..28u64 {
        file.write_all_at(&[piece as u8 + 1; 4096], piece << 18).unwrap();
    }
    fs::read(path).unwrap()
}

#[test]
fn a_sparse_file_is_the_same_file_with_the_same_holes_in_each_of_its_forms() {
    let directory = tempfile::tempdir().unwrap();
    let long = "n".repeat(120);
    let content = make_sparse_file(&directory.path().join(&long));
    // Nothing but a hole.
    File::create(directory.path().join("hole")).unwrap().set_len(1 << 20).unwrap();
    fs::write(directory.path().join("plain"), "after it").unwrap();
    for form in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let output = Command::new("tar")
            .args(["--sparse", "-cf", "-", "-C"])
            .arg(directory.path())
            .args(form)
            .args([&long, "hole", "plain"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.len() < 1 << 20, "{form:?}: the archive has no holes in it");
        let bench = Bench::new();
        bench.apply_within(output.stdout, Compression::None, Limits::default()).unwrap();
        assert_eq!(names_in(&bench.path("")), ["hole", &long, "plain"], "{form:?}");
        assert!(fs::read(bench.path(&long)).unwrap() == content, "{form:?}");
        assert!(fs::read(bench.path("hole")).unwrap() == vec![0; 1 << 20], "{form:?}");
        assert_eq!(bench.read("plain"), "after it", "{form:?}");
        // st_blocks counts 512 bytes each, whatever the file system's own block.
        let on_disk = |path: &str| fs::metadata(bench.path(path)).unwrap().blocks() * 512;
        assert!(on_disk(&long) <= 28 * 16384, "{form:?}: {} bytes on disk", on_disk(&long));
        assert!(on_disk("hole") <= 16384, "{form:?}");
    }
}

#[test]
fn a_sparse_file_that_lies_about_itself_is_an_error() {
    let sparse = |records: &[(&str, &[u8])], content: &[u8]| {
        let entry = Layer::new().pax(records).entry(EntryType::Regular, "file", 0o644, "", content);
        Bench::new().apply(entry)
    };
    let size = ("GNU.sparse.size", &b"100"[..]);
    for (map, content) in
        [(&b"0,200"[..], &[1; 200][..]), (b"99,2", b"ab"), (b"18446744073709551615,2", b"ab"), (b"0,50", b"too short")]
    {
        let result = sparse(&[size, ("GNU.sparse.map", map)], content);
        assert!(matches!(result, Err(UnpackError::WriteFile { .. })), "{map:?}: {result:?}");
    }
    for value in [&b"x"[..], b"1,-2", b""] {
        assert!(matches!(sparse(&[size, ("GNU.sparse.map", value)], b""), Err(UnpackError::ReadLayer(_))), "{value:?}");
    }
    for list in [&b"99999999\n"[..], b"x\n", b"2\n0\n1\n5\n", &[b'1'; 2000]] {
        let records = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.realsize", b"100")];
        let mut content = list.to_vec();
        content.resize(list.len().next_multiple_of(512), 0);
        assert!(matches!(sparse(&records, &content), Err(UnpackError::WriteFile { .. })), "{list:?}");
    }
    let huge = [("GNU.sparse.size", &b"9223372036854775807"[..]), ("GNU.sparse.map", b"0,0")];
    assert!(matches!(sparse(&huge, b""), Err(UnpackError::TooManyBytes)), "a hole counts as what it is read as");
    let name = [size, ("GNU.sparse.map", b"0,0"), ("GNU.sparse.name", b"../../outside/evil")];
    assert!(matches!(sparse(&name, b""), Err(UnpackError::OutsideRootfs { .. })));
}

#[test]
fn times_are_as_fine_as_the_archive_has_them() {
    let bench = Bench::new();
    let layer = Layer::new()
        .pax(&[("mtime", b"1000000000.123456789")])
        .directory("directory")
        .pax(&[("mtime", b"-1.25")])
        .file("directory/old", "")
        .pax(&[("mtime", b"5.5")])
        .symlink("link", "nowhere")
        .file("plain", "");
    bench.apply(layer).unwrap();
    let time = |path: &str| {
        let status = fs::symlink_metadata(bench.path(path)).unwrap();
        (status.mtime(), status.mtime_nsec())
    };
    assert_eq!(time("directory"), (1_000_000_000, 123_456_789), "although a file came into it later");
    assert_eq!(time("directory/old"), (-2, 750_000_000));
    assert_eq!(time("link"), (5, 500_000_000));
    assert_eq!(time("plain"), (MTIME as i64, 0));
    let bad = Layer::new().pax(&[("mtime", b"yesterday")]).file("plain", "");
    assert!(matches!(bench.apply(bad), Err(UnpackError::ReadLayer(_))));
}

#[test]
fn a_hard_link_may_lead_to_a_lower_layer_and_a_new_file_under_one_name_leaves_the_other() {
    let bench = Bench::new();
    bench.apply(Layer::new().file("d/first", "1")).unwrap();
    bench.apply(Layer::new().hard_link("e/second", "d/first").hard_link("e/third", "/d/first")).unwrap();
    let inode = |path: &str| fs::metadata(bench.path(path)).unwrap().ino();
    assert_eq!((inode("e/second"), inode("e/third")), (inode("d/first"), inode("d/first")));
    bench.apply(Layer::new().file("d/first", "new")).unwrap();
    assert_eq!((bench.read("d/first").as_str(), bench.read("e/second").as_str()), ("new", "1"));
    // A name for itself would remove what it should name.
    let error = bench.apply(Layer::new().hard_link("e/second", "e/second")).unwrap_err();
    assert!(matches!(error, UnpackError::HardLink { errno: Errno::ENOENT, .. }), "{error}");
}

#[test]
fn a_directory_has_the_attributes_of_the_uppermost_layer_that_names_it() {
    let bench = Bench::new();
    let note = |value: &'static [u8]| [("SCHILY.xattr.user.note", value)];
    let lower = Layer::new().pax(&note(b"1")).directory("named").pax(&note(b"1")).directory("unnamed");
    bench.apply(lower.file("named/kept", "").file("unnamed/kept", "")).unwrap();
    let upper = Layer::new()
        .pax(&[("SCHILY.xattr.user.other", b"2")])
        .owned_entry(EntryType::Directory, "named", 0o1750, (8, 9), "", b"")
        .file("unnamed/more", "");
    bench.apply(upper).unwrap();
    assert_eq!(bench.attribute("named", "user.note"), Err(rustix::io::Errno::NODATA));
    assert_eq!(bench.attribute("named", "user.other").unwrap(), b"2");
    assert_eq!(bench.attribute("unnamed", "user.note").unwrap(), b"1");
    let status = fs::metadata(bench.path("named")).unwrap();
    assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o1750, 8, 9));
    assert_eq!(names_in(&bench.path("named")), ["kept"]);
}

#[test]
fn what_lies_below_a_link_to_nothing_makes_the_something() {
    let bench = Bench::new();
    let links = Layer::new()
        .symlink("lib", "usr/lib")
        .symlink("var", "/usr/../srv/var")
        .symlink("to-var", "var/deep")
        .symlink("out", "../../../outside/new");
    bench.apply(links).unwrap();
    bench.apply(Layer::new().file("lib/x/file", "1").file("to-var/file", "2").file("out/file", "3")).unwrap();
    assert_eq!(bench.read("usr/lib/x/file"), "1");
    assert_eq!(bench.read("srv/var/deep/file"), "2");
    assert_eq!(bench.read("outside/new/file"), "3");
    bench.assert_outside_is_untouched();
    // Links that lead to each other lead nowhere.
    let circle = Layer::new().symlink("one", "two").symlink("two", "one/more").file("one/file", "");
    let error = bench.apply(circle).unwrap_err();
    assert!(matches!(error, UnpackError::MakeDirectory { errno: Errno::ELOOP, .. }), "{error}");
}

#[test]
fn within_a_layer_the_later_entry_wins() {
    let bench = Bench::new();
    let layer = Layer::new()
        .pax(&[("mtime", b"1")])
        .entry(EntryType::Directory, "d", 0o700, "", b"")
        .file("d/kept", "")
        .pax(&[("mtime", b"2")])
        .entry(EntryType::Directory, "d", 0o711, "", b"")
        .file("f", "old")
        .file("f", "new")
        .directory("becomes-file/with/more")
        .file("becomes-file", "")
        .file("becomes-directory", "")
        .directory("becomes-directory")
        .file("becomes-link", "")
        .symlink("becomes-link", "f");
    bench.apply(layer).unwrap();
    let status = fs::metadata(bench.path("d")).unwrap();
    assert_eq!((status.mode() & 0o7777, status.mtime()), (0o711, 2));
    assert_eq!(names_in(&bench.path("d")), ["kept"]);
    assert_eq!(bench.read("f"), "new");
    let kind = |path: &str| fs::symlink_metadata(bench.path(path)).unwrap().file_type();
    assert!(kind("becomes-file").is_file() && kind("becomes-directory").is_dir() && kind("becomes-link").is_symlink());
    assert_eq!(kind("becomes-link").is_symlink(), fs::read_link(bench.path("becomes-link")).unwrap() == Path::new("f"));
    assert_eq!(text_of(&Command::new("find").arg(bench.path("becomes-file")).output().unwrap()).lines().count(), 1);
}

#[test]
fn a_whiteout_takes_away_one_name_and_nothing_else() {
    let bench = Bench::new();
    let lower = Layer::new()
        .file("target", "kept")
        .symlink("link", "target")
        .file("first", "both")
        .hard_link("second", "first")
        .file("through/file", "1")
        .symlink("way", "through")
        .entry(EntryType::Fifo, "pipe", 0o600, "", b"")
        .directory("empty");
    bench.apply(lower).unwrap();
    let upper = Layer::new()
        .file(".wh.link", "")
        .file(".wh.first", "")
        .file("way/.wh.file", "")
        .file(".wh.pipe", "")
        .file(".wh.empty", "")
        // A whiteout is one whatever its kind and content.
        .symlink("through/.wh.nothing", "/")
        .file("target/.wh.below-a-file", "not empty");
    bench.apply(upper).unwrap();
    assert_eq!(names_in(&bench.path("")), ["second", "target", "through", "way"]);
    assert_eq!((bench.read("target").as_str(), bench.read("second").as_str()), ("kept", "both"));
    assert_eq!(names_in(&bench.path("through")), [""; 0], "a link in the way is followed, as for any other entry");
}

#[test]
fn what_a_whiteout_has_left_in_its_own_layer_the_next_layer_may_remove() {
    let bench = Bench::new();
    bench.apply(Layer::new().file("d/file", "1").file("other", "1")).unwrap();
    bench.apply(Layer::new().file("d/.wh.file", "").file("d/file", "2")).unwrap();
    assert_eq!(bench.read("d/file"), "2");
    bench.apply(Layer::new().file("d/.wh.file", "")).unwrap();
    assert_eq!(names_in(&bench.path("d")), [""; 0]);
    // Opaque in the root directory: nothing of the layers below is left.
    bench.apply(Layer::new().file("new", "").file(".wh..wh..opq", "").file("d/new", "")).unwrap();
    assert_eq!(names_in(&bench.path("")), ["d", "new"]);
    assert_eq!(names_in(&bench.path("d")), ["new"]);
}
