//! How `newroot pull` fails: what it says, and that it leaves nothing.

use std::fs;
use std::process::Command;

use tar::EntryType;

use crate::common;
use crate::common::scripted::{self, ScriptedRegistry};
use crate::common::{Layer, Registry, busybox, in_a_mount_namespace, make_odd_image, names_in, newroot, pull, text_of};

#[test]
fn a_pull_that_fails_says_why_and_leaves_nothing() {
    let registry = Registry::start();
    let digests = registry.push("library/broken", &[busybox().gzip(), Layer::new().file("x", "content").gzip()]);
    let fs_directory = tempfile::tempdir().unwrap();
    let path = fs_directory.path();
    let fails = |url: &str, image: &str, why: &str| {
        let output = pull(url, path, image);
        assert_eq!(output.status.code(), Some(1));
        assert!(text_of(&output).contains(why), "{why}: {}", text_of(&output));
        assert_eq!(names_in(path), [""; 0], "{why}");
    };
    fails(&registry.url(), "missing", "has no image library/missing:latest");
    fails("http://127.0.0.1:1", "busybox", "cannot reach 127.0.0.1:1: Connection refused");
    fails("http://192.0.2.1:5000", "busybox", "without encryption");
    // The last byte of the last layer, turned around on the registry's disk.
    let blob = registry.blob_file(&digests[1]);
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    fails(&registry.url(), "broken", "nothing of it was used");
}

#[test]
fn an_image_that_is_not_as_its_configuration_says_is_refused() {
    let registry = Registry::start();
    let layers = [Layer::new().file("x", "content").gzip(), Layer::new().file("y", "content").gzip()];
    let fs_directory = tempfile::tempdir().unwrap();
    let fails = |change: &dyn Fn(&mut serde_json::Value), why: &str| {
        let layout = tempfile::tempdir().unwrap();
        make_odd_image(layout.path(), &layers, change);
        registry.copy(layout.path(), "library/odd", &["--all"]);
        let output = pull(&registry.url(), fs_directory.path(), "odd");
        assert_eq!(output.status.code(), Some(1));
        assert!(text_of(&output).contains(why), "{why}: {}", text_of(&output));
        assert_eq!(names_in(fs_directory.path()), [""; 0], "{why}");
    };
    fails(&|config| config["architecture"] = "s390x".into(), "odd:latest is not made for linux/");
    fails(&|config| config["architecture"] = "s390x".into(), "there is linux/s390x; choose one of them by --platform");
    fails(&|config| config["os"] = "windows".into(), "there is windows/amd64");
    let id = |config: &serde_json::Value, number: usize| config["rootfs"]["diff_ids"][number].clone();
    fails(&|config| config["rootfs"]["diff_ids"][1] = id(config, 0), "has, without its compression, the digest");
    fails(&|config| drop(config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop()), "2 layers, and");
    fails(&|config| config["rootfs"] = 5.into(), "the image's configuration is not as it should be");
    let layout = tempfile::tempdir().unwrap();
    make_odd_image(layout.path(), &layers, |config| config["architecture"] = "s390x".into());
    registry.copy(layout.path(), "library/odd", &[]);
    let output = newroot()
        .args(["pull", "--registry", &registry.url(), "--platform", "linux/s390x", "odd", "--fs"])
        .arg(fs_directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
}

#[test]
fn an_image_of_too_many_layers_is_refused_before_any_is_fetched() {
    let registry = ScriptedRegistry::start(vec![Layer::new().tar(); 501], |_, _, _| panic!("asked for a layer"));
    let fs_directory = tempfile::tempdir().unwrap();
    let output = pull(registry.url(), fs_directory.path(), "high");
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains("the image has 501 layers; none is made of so many"), "{}", text_of(&output));
    assert_eq!(names_in(fs_directory.path()), [""; 0]);
}

#[test]
fn a_full_disk_is_said_with_what_is_needed_and_what_is_free_and_nothing_is_left_on_it() {
    let registry = Registry::start();
    let file = |size: usize| Layer::new().entry(EntryType::Regular, "file", 0o644, "", &vec![b'x'; size]);
    registry.push("library/large", &[file(3 << 20).gzip()]);
    let many = (0..600).fold(Layer::new(), |layer, number| layer.file(&format!("file{number}"), "x"));
    registry.push("library/many", &[many.gzip()]);
    let layout = tempfile::tempdir().unwrap();
    common::make_image(layout.path(), &[file(3 << 20).gzip()]);
    registry.copy(layout.path(), "library/plain", &["--dest-decompress"]);
    for (image, needed) in [
        ("large", "needs 3.1 MB at least, and 1."),
        // Before a byte is fetched: the layers alone are more.
        ("plain", "needs 3.1 MB at least, and 1.0 MB were free"),
        // Only the disk can tell how much of it many small files take.
        ("many", "MB were free"),
    ] {
        let said = in_a_mount_namespace(
            &registry,
            &format!(
                "mount -t tmpfs -o size=1M tmpfs $FS; $NEWROOT pull --fs $FS/images {image}; echo status $?; \
                 echo left: $(ls -A $FS)"
            ),
        );
        assert!(said.contains("status 1\nleft:\n"), "{image}: {said}");
        assert!(
            said.contains("newroot: the disk of /") && said.contains("is full: the image needs"),
            "{image}: {said}"
        );
        assert!(said.contains(needed), "{image}: {said}");
        assert!(said.contains("make room, or pull to another disk by --fs"), "{image}: {said}");
    }
}

#[test]
fn where_nothing_can_be_written_it_says_what_to_do() {
    let registry = Registry::start();
    registry.push("library/small", &[Layer::new().file("x", "").gzip()]);
    let read_only = "mount -t tmpfs -o ro tmpfs $FS; $NEWROOT pull --fs $FS small; echo status $?";
    let no_longer = "mount -t tmpfs tmpfs $FS; mkdir $FS/small; mount -o remount,ro $FS; $NEWROOT pull --fs $FS small";
    // Somebody else's directory, for one who is not root.
    let no_root = "mount -t tmpfs -o mode=755 tmpfs $FS; chmod 755 $(dirname $FS); cp $NEWROOT $FS/newroot; \
                   setpriv --reuid 65534 --clear-groups $FS/newroot pull --fs $FS/images small";
    for (script, why) in
        [(read_only, "Read-only file system"), (no_longer, "Read-only file system"), (no_root, "Permission denied")]
    {
        let said = in_a_mount_namespace(&registry, script);
        assert!(said.contains("newroot: cannot make the directory /") && said.contains(why), "{said}");
        assert!(said.contains("; pull as root, or below another directory by --fs"), "{said}");
    }
}

#[test]
fn a_mistyped_name_gets_the_nearest_there_is() {
    let registry = Registry::start();
    let image = || [Layer::new().file("x", "").gzip()];
    registry.push("library/alpine:3.20", &image());
    registry.push("library/alpine:3.21.4", &image());
    registry.push("team/app:1", &image());
    let fs_directory = tempfile::tempdir().unwrap();
    let hint = |url: &str, name: &str| {
        let output = pull(url, fs_directory.path(), name);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(" has no image ") && said.lines().count() == 1, "{said}");
        said.trim_end().rsplit_once("; ").unwrap().1.to_owned()
    };
    assert_eq!(hint(&registry.url(), "alpine:3.2"), "did you mean alpine:3.20?");
    assert_eq!(hint(&registry.url(), "alpine"), "did you mean alpine:3.21.4?", "a tag that there is, at least");
    assert_eq!(hint(&registry.url(), "apline:3.20"), "did you mean alpine?");
    assert_eq!(hint(&registry.url(), "team/apps:1"), "did you mean team/app?");
    assert_eq!(hint(&registry.url(), "debian"), "check the name and the tag");
    // One that was pulled before, from a registry that does not tell what it has.
    assert!(pull(&registry.url(), fs_directory.path(), "alpine:3.20").status.success());
    let url = scripted::refusing_registry("401 Unauthorized", "{}");
    let said = text_of(&pull(&url, fs_directory.path(), "alpine:3.2"));
    assert!(
        said.contains("it is private, or does not exist") && said.contains("; or did you mean alpine:3.20?"),
        "{said}"
    );
    let empty = Registry::start();
    assert_eq!(hint(&empty.url(), "alpine:3.2"), "did you mean alpine:3.20?");
}

#[test]
fn without_a_network_it_names_the_images_that_are_there() {
    let registry = Registry::start();
    let fs_directory = tempfile::tempdir().unwrap();
    for name in ["busybox", "team/app"] {
        registry.push(
            &if name.contains('/') { name.to_owned() } else { format!("library/{name}") },
            &[Layer::new().file("x", "").gzip()],
        );
        assert!(pull(&registry.url(), fs_directory.path(), name).status.success());
    }
    // A network namespace of its own has no way to anywhere.
    let output = Command::new("unshare")
        .args(["--net", env!("CARGO_BIN_EXE_newroot"), "pull", "alpine", "--fs"])
        .arg(fs_directory.path())
        .env_remove("NEWROOT_REGISTRY")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("newroot: cannot reach docker.io: "), "{said}");
    assert!(said.ends_with("; until then there is busybox, team/app\n"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(names_in(fs_directory.path()), ["busybox", "team"]);
}

#[test]
fn a_registry_that_refuses_is_quoted() {
    let fs_directory = tempfile::tempdir().unwrap();
    let fails = |status: &'static str, body: &'static str, why: &str| {
        let url = scripted::refusing_registry(status, body);
        let output = pull(&url, fs_directory.path(), "busybox");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(why) && said.lines().count() == 1, "{why}: {said}");
        assert_eq!(names_in(fs_directory.path()), [""; 0], "{why}");
    };
    let limit = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"you have reached your pull rate limit"}]}"#;
    let advice = "has had too many pulls from here: you have reached your pull rate limit; wait, or name a mirror";
    fails("429 Too Many Requests", limit, advice);
    fails("429 Too Many Requests", "slow down", "has had too many pulls from here: slow down; wait");
    fails("401 Unauthorized", "{}", "wants a login for library/busybox:latest: it is private, or does not exist");
    let denied = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    fails("403 Forbidden", denied, "wants a login for library/busybox:latest");
    fails("200 OK", "<html>this is no registry</html>", "answered with an error");
}
