//! The mirror's cache: its limit, what goes first, what is damaged, and a disk that is full.

use std::fs::{self, File, FileTimes};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use newroot::registry::Digest;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tar::EntryType;
use tempfile::TempDir;

use crate::common::mirror::{Mirror, noise};
use crate::common::{Layer, Registry, names_in, until};

/// Pushes an image of one layer of that many bytes. Returns the layer's digest, and its path at a registry.
fn push(registry: &Registry, name: &str, length: u64) -> (Digest, String) {
    let layer = Layer::new().entry(EntryType::Regular, "x", 0o644, "", &noise(length)).gzip();
    let digest = registry.push(&format!("library/{name}"), &[layer]).remove(0);
    let path = format!("/v2/library/{name}/blobs/{}", digest.as_str());
    (digest, path)
}

fn cached(state: &Path, digest: &Digest) -> PathBuf {
    state.join("cache/blobs/sha256").join(digest.hex())
}

/// Makes a file look as if it had been asked for so many hours ago.
fn age(path: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(3600 * hours);
    File::open(path).unwrap().set_times(FileTimes::new().set_accessed(then)).unwrap();
}

fn gets(mirror: &Mirror, path: &str, digest: &Digest) {
    let (head, body) = mirror.get(path);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(Digest::of(&body), *digest);
}

#[test]
fn what_was_asked_for_longest_ago_goes_first_even_after_a_restart() {
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    let [(a, a_path), (b, b_path), (c, c_path)] = ["a", "b", "c"].map(|name| push(&registry, name, 400_000));
    let mirror = Mirror::start_limited(state.path(), &registry.url(), 1_000_000);
    gets(&mirror, &a_path, &a);
    gets(&mirror, &b_path, &b);
    drop(mirror);
    age(&cached(state.path(), &a), 2);
    age(&cached(state.path(), &b), 1);
    let mirror = Mirror::start_limited(state.path(), &registry.url(), 1_000_000);
    // Now `a` is the one that was asked for last, though it came first.
    gets(&mirror, &a_path, &a);
    gets(&mirror, &c_path, &c);
    let there = |digest| cached(state.path(), digest).exists();
    assert_eq!((there(&a), there(&b), there(&c)), (true, false, true));
    gets(&mirror, &b_path, &b);
}

#[test]
fn a_blob_larger_than_the_cache_is_refused_with_the_reason() {
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    let (_, a_path) = push(&registry, "a", 400_000);
    let mirror = Mirror::start_limited(state.path(), &registry.url(), 1000);
    let message = mirror.refuses(&format!("GET {a_path}"), 507, "UNKNOWN");
    assert!(message.contains("takes 1000 bytes in all") && message.contains("--cache-limit"), "{message}");
    assert_eq!(names_in(&state.path().join("cache/unfinished")), [""; 0]);
}

#[test]
fn tags_of_what_was_evicted_go_too() {
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    let (a, a_path) = push(&registry, "a", 400_000);
    let (b, b_path) = push(&registry, "b", 400_000);
    let mirror = Mirror::start_limited(state.path(), &registry.url(), 500_000);
    let (_, manifest) = mirror.get("/v2/library/a/manifests/latest");
    gets(&mirror, &a_path, &a);
    for digest in [&a, &Digest::of(&manifest)] {
        age(&cached(state.path(), digest), 1);
    }
    age(&cached(state.path(), &Digest::of(&manifest)), 2);
    gets(&mirror, &b_path, &b);
    assert_eq!(names_in(&state.path().join("cache/tags/library/a")), [""; 0]);
    assert_eq!(mirror.get("/v2/library/a/manifests/latest").1, manifest);
}

#[test]
fn what_is_being_read_is_not_evicted() {
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    // More than the kernel keeps between server and client.
    let [(a, a_path), (b, b_path), (c, c_path)] = ["a", "b", "c"].map(|name| push(&registry, name, 16 << 20));
    let mirror = Mirror::start_limited(state.path(), &registry.url(), 40 << 20);
    gets(&mirror, &a_path, &a);
    gets(&mirror, &b_path, &b);
    let (_, mut slow) = mirror.begin(&format!("GET {a_path} HTTP/1.1\r\n"));
    let mut body = vec![0; 1000];
    slow.read_exact(&mut body).unwrap();
    age(&cached(state.path(), &a), 2);
    age(&cached(state.path(), &b), 1);
    gets(&mirror, &c_path, &c);
    let there = |digest| cached(state.path(), digest).exists();
    assert_eq!((there(&a), there(&b), there(&c)), (true, false, true));
    slow.read_to_end(&mut body).unwrap();
    assert_eq!(Digest::of(&body), a);
}

/// How many bytes the cache takes of the disk, with what has no name any more.
fn taken(state: &Path) -> u64 {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let named = ["blobs/sha256", "unfinished"].map(|place| state.join("cache").join(place));
    let named = named.iter().flat_map(|place| fs::read_dir(place).unwrap()).map(|entry| length(&entry.unwrap().path()));
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let target = fs::read_link(&path).ok()?;
        let target = target.to_str()?;
        (target.starts_with(state.to_str()?) && target.ends_with(" (deleted)")).then(|| length(&path))
    });
    named.sum::<u64>() + open.sum::<u64>()
}

#[test]
fn a_lab_that_reads_slowly_does_not_make_the_cache_pass_its_limit_and_gives_way_to_others() {
    let limit = 40 << 20;
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    let [(a, a_path), (b, b_path), (c, c_path)] = ["a", "b", "c"].map(|name| push(&registry, name, 16 << 20));
    let mirror = Mirror::start_limited(state.path(), &registry.url(), limit);
    // Not read on: the first bytes are here, and then the kernel's buffers are full.
    let slow = [(&a, &a_path), (&b, &b_path)].map(|(digest, path)| {
        let (_, mut stream) = mirror.begin(&format!("GET {path} HTTP/1.1\r\n"));
        let mut body = vec![0; 1000];
        stream.read_exact(&mut body).unwrap();
        until(|| cached(state.path(), digest).exists());
        (stream, body)
    });
    let message = mirror.refuses(&format!("GET {c_path}"), 507, "UNKNOWN");
    assert!(message.contains("what is in it is being read; wait"), "{message}");
    assert!(taken(state.path()) <= limit, "{}", taken(state.path()));
    // Somebody who takes less has the better right.
    gets(&mirror.of_another_lab(), &c_path, &c);
    assert!(taken(state.path()) <= limit, "{}", taken(state.path()));
    let whole = slow.map(|(mut stream, mut body)| stream.read_to_end(&mut body).map(|_| Digest::of(&body)).ok());
    assert_eq!(whole.iter().zip([&a, &b]).filter(|(got, all)| got.as_ref() == Some(*all)).count(), 1, "one gave way");
    assert!(taken(state.path()) <= limit, "{}", taken(state.path()));
}

#[test]
fn what_comes_wrong_or_is_given_up_takes_nothing_of_the_disk_from_those_who_have_it_open() {
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    let (digest, path) = push(&registry, "a", 16 << 20);
    let file = registry.blob_file(&digest);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let (_, mut slow) = mirror.begin(&format!("GET {path} HTTP/1.1\r\n"));
    slow.read_exact(&mut [0; 1000]).unwrap();
    // It has come when whoever reads it fast has got what there is.
    mirror.ask_bare(&format!("GET {path} HTTP/1.1\r\n"));
    until(|| taken(state.path()) == 0);
    assert!(!cached(state.path(), &digest).exists());
}

#[test]
fn what_is_damaged_on_disk_is_fetched_again() {
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    let (layer, layer_path) = push(&registry, "a", 400_000);
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    let manifest_path = "/v2/library/a/manifests/latest";
    let manifest = Digest::of(&mirror.get(manifest_path).1);
    gets(&mirror, &layer_path, &layer);
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let flip_unseen = |path: &Path| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        flip(path);
        File::open(path).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
    };
    let truncate = |path: &Path| File::options().write(true).open(path).unwrap().set_len(1000).unwrap();
    let empty = |path: &Path| fs::write(path, "").unwrap();
    for damage in [&flip as &dyn Fn(&Path), &flip_unseen, &truncate, &empty] {
        for (digest, path) in [(&layer, layer_path.as_str()), (&manifest, manifest_path)] {
            damage(&cached(state.path(), digest));
            gets(&mirror, path, digest);
            assert_eq!(Digest::of(&fs::read(cached(state.path(), digest)).unwrap()), *digest);
        }
    }
    // A server that was not running meanwhile notices it too.
    drop(mirror);
    flip_unseen(&cached(state.path(), &layer));
    let mirror = Mirror::start(state.path(), Some(&registry.url()));
    gets(&mirror, &layer_path, &layer);
    // And one that cannot fetch it again says so.
    drop(mirror);
    flip_unseen(&cached(state.path(), &layer));
    let mirror = Mirror::start(state.path(), Some("http://127.0.0.1:1"));
    mirror.refuses(&format!("GET {layer_path}"), 502, "UNAVAILABLE");
}

/// A small file system of its own, gone with this value.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(size: &str) -> SmallDisk {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        SmallDisk(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_is_emptied_of_the_cache_first_and_then_said_clearly() {
    let registry = Registry::start();
    let disk = SmallDisk::new("12m");
    let [(a, a_path), (b, b_path), (_, c_path)] =
        [("a", 7u64 << 20), ("b", 8 << 20), ("c", 16 << 20)].map(|(name, length)| push(&registry, name, length));
    let mirror = Mirror::start(disk.0.path(), Some(&registry.url()));
    gets(&mirror, &a_path, &a);
    gets(&mirror, &b_path, &b);
    assert!(!cached(disk.0.path(), &a).exists());
    let message = mirror.refuses(&format!("GET {c_path}"), 507, "UNKNOWN");
    assert!(message.contains("the mirror's disk is full"), "{message}");
    assert_eq!(names_in(&disk.0.path().join("cache/unfinished")), [""; 0]);
    // What is not the cache's is in the way, and stays.
    fs::write(disk.0.path().join("other"), noise(11 << 20)).unwrap();
    mirror.refuses(&format!("GET {b_path}"), 507, "UNKNOWN");
}
