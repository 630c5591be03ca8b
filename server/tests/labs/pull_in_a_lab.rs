//! `newroot pull` where learners use it: in a lab, whose registry is the server's mirror, and on its terminal.

use tar::EntryType;

use crate::common::playground::{HOST, Playground};
use crate::common::{Layer, Registry, busybox};

#[tokio::test]
async fn what_goes_wrong_is_said_in_one_sentence() {
    let registry = Registry::start();
    registry.push("library/alpine:latest", &[busybox().gzip()]);
    let large = Layer::new().entry(EntryType::Regular, "large", 0o644, "", &vec![b'x'; 3 << 20]);
    registry.push("library/large:latest", &[large.gzip()]);
    let playground = Playground::start(Some(&registry.url()));
    let mut page = playground.open(&playground.new_cookie()).await;

    let said = page.output_of(HOST, "newroot pull nosuch; echo status $?").await;
    assert!(said.contains("has no image library/nosuch:latest; ") && said.contains("status 1"), "{said}");
    let said = page.output_of(HOST, "newroot pull alpine").await;
    // The page's terminal can show bars; what stays is the line.
    assert!(said.contains("layer 1/1 sha256:") && said.contains("[=") && said.contains(" done\r\n"), "{said:?}");
    let said = page.output_of(HOST, "newroot pull apline").await;
    assert!(said.contains("has no image library/apline:latest; did you mean alpine?"), "{said}");

    let script = "mkdir /tmp/small; mount -t tmpfs -o size=1m tmpfs /tmp/small; newroot pull --fs /tmp/small large; \
                  echo status $?; ls -A /tmp/small";
    let said = page.output_of(HOST, script).await;
    assert!(said.contains("the disk of /tmp/small/large is full") && said.contains("status 1\r\n"), "{said}");
    assert!(said.trim_end().ends_with("status 1"), "nothing is left: {said}");
    let script = "mkdir /tmp/fixed; mount -t tmpfs -o ro tmpfs /tmp/fixed; newroot pull --fs /tmp/fixed alpine";
    let said = page.output_of(HOST, script).await;
    assert!(said.contains("cannot make the directory /tmp/fixed/alpine: Read-only file system"), "{said}");
    let said = page.output_of(HOST, "newroot pull --platform linux/s390x alpine").await;
    assert!(said.contains("is not made for linux/s390x; there is linux/"), "{said}");
    assert_eq!(page.output_of(HOST, "ls /fs").await.trim(), "alpine");
}

#[tokio::test]
async fn without_a_network_the_images_that_are_there_are_named() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    let said = page.output_of(HOST, "newroot pull busybox").await;
    assert!(said.contains("Pulling done"), "{said}");
    let said = page.output_of(HOST, "newroot pull alpine; echo status $?").await;
    assert!(said.contains("; what is there without it: busybox\r\n") && said.contains("status 1"), "{said}");
    let said = page.output_of(HOST, "newroot run alpine; echo status $?").await;
    assert!(said.contains("; what is there without it: busybox\r\n") && said.contains("status 125"), "{said}");
}
