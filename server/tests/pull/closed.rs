//! Set-user-ID programs of an image on a machine that others use, too: what a pull leaves, and while it works.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tar::EntryType;

use crate::common::scripted::{self, ScriptedRegistry};
use crate::common::{Layer, Registry, busybox, newroot, pull, run_newroot, text_of, until};

/// Somebody on this machine who is not root.
const SOMEBODY: u32 = 12345;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A directory for images that everybody can get into, as /fs is.
fn shared_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Whether somebody else can execute the program.
fn somebody_runs(program: &Path) -> bool {
    Command::new(program).arg("true").uid(SOMEBODY).gid(SOMEBODY).status().is_ok_and(|status| status.success())
}

fn set_user_id() -> Layer {
    let program = fs::read("/bin/busybox").unwrap();
    busybox().entry(EntryType::Regular, "bin/busybox-for-all", 0o4755, "", &program)
}

#[test]
fn nobody_else_can_execute_the_programs_of_an_image() {
    let registry = Registry::start();
    registry.push("library/tools", &[set_user_id().gzip()]);
    registry.push("team/tools", &[set_user_id().gzip()]);
    let fs_directory = shared_directory();
    for name in ["tools", "team/tools"] {
        let image = fs_directory.path().join(name);
        let program = image.join("rootfs/bin/busybox-for-all");
        assert!(pull(&registry.url(), fs_directory.path(), name).status.success());
        assert_eq!((mode(&image), mode(&program)), (0o700, 0o4755));
        assert!(!somebody_runs(&program));
        // Whoever wants it has to say so.
        let open = ["--open", "--registry", &registry.url(), "--fs", fs_directory.path().to_str().unwrap()];
        assert!(run_newroot(&[&["pull", name], &open[..]].concat()).status.success());
        assert_eq!((mode(&image), somebody_runs(&program)), (0o755, true));
        // What an older version has left open is closed by the next pull, though there is nothing to fetch.
        let output = pull(&registry.url(), fs_directory.path(), name);
        assert!(text_of(&output).contains("Already there"), "{}", text_of(&output));
        assert!(!somebody_runs(&program));
    }
}

#[test]
fn half_an_image_is_closed_too_also_where_the_pull_was_killed() {
    let fs_directory = shared_directory();
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let layers = vec![set_user_id().tar(), Layer::new().file("last", "").tar()];
    // The last layer never comes; it is asked for before the first one is unpacked, or after.
    let registry = ScriptedRegistry::start(layers, move |number, layer, stream| match number {
        0 => scripted::answer(layer, stream),
        _ => {
            tell.lock().unwrap().send(stream.try_clone().unwrap()).unwrap();
            std::thread::park();
        }
    });
    let mut pulling = newroot()
        .args(["pull", "--registry", registry.url(), "tools", "--fs"])
        .arg(fs_directory.path())
        .spawn()
        .unwrap();
    let _connection = told.recv().unwrap();
    let image = fs_directory.path().join("tools");
    let program = image.join(".pulling/rootfs/bin/busybox-for-all");
    until(|| program.exists());
    assert_eq!(mode(&image), 0o700);
    pulling.kill().unwrap();
    pulling.wait().unwrap();
    assert!(program.exists());
    assert_eq!((mode(&image), somebody_runs(&program)), (0o700, false));
}

#[test]
fn a_container_whose_user_is_not_root_gets_through_all_the_same() {
    let registry = Registry::start();
    let fs_directory = shared_directory();
    registry.push_configured("library/app", &[busybox().gzip()], json!({ "User": "1000:1000" }));
    assert!(pull(&registry.url(), fs_directory.path(), "app").status.success());
    for root in ["chroot", "pivot"] {
        let fs = fs_directory.path().to_str().unwrap();
        let output = run_newroot(&["run", "--fs", fs, "--root", root, "app", "sh", "-c", "id -u; ls -d /bin; cd /bin"]);
        assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1000\n/bin\n");
    }
}
