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
use crate::common::{Layer, Registry, names_in};

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
