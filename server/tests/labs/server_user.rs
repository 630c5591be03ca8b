//! The server that speaks HTTP is nobody on the machine: what it is by the kernel's word, and what somebody could do who has
//! taken it over.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};

use crate::common::playground::{CONTAINER, HOST, NO_UPSTREAM, Playground};
use crate::common::{busybox, make_image, names_in, run_newroot, status_field, text_of};

/// Who a server is where nothing else is asked for.
const USER: &str = "2147418112";

fn unsafe_server() -> Playground {
    Playground::start_with(&["--upstream", NO_UPSTREAM, "--without", "server-user"])
}

/// Every thread of a server, as directories of /proc.
fn threads(playground: &Playground) -> Vec<PathBuf> {
    fs::read_dir(format!("/proc/{}/task", playground.pid())).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Whether somebody who has taken a server over could do this: in its mount namespace, with its user and its privileges.
fn can(playground: &Playground, command: &str) -> bool {
    let (pid, process) = (playground.pid().to_string(), PathBuf::from(format!("/proc/{}", playground.pid())));
    let (user, group) = (status_field(&process, "Uid"), status_field(&process, "Gid"));
    let (user, group) = (user.split_whitespace().next().unwrap(), group.split_whitespace().next().unwrap());
    let mut taken = Command::new("nsenter");
    taken.args(["--target", &pid, "--mount"]);
    if user != "0" {
        taken.args(["setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--inh-caps=-all"]);
        taken.args(["--bounding-set=-all", "--no-new-privs"]);
    }
    taken.args(["sh", "-c", command]).output().unwrap().status.success()
}

#[tokio::test]
async fn the_server_has_no_uid_0_no_capability_no_group_and_no_way_to_any() {
    let playground = Playground::start(None);
    // It works like this: a lab is started, served, remade and ended.
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    assert!(page.output_of(CONTAINER, "newroot pull busybox").await.contains("Pulling done"));
    let threads = threads(&playground);
    assert!(threads.len() > 1, "the test sees the threads that came later");
    for thread in threads {
        for ids in ["Uid", "Gid"] {
            assert_eq!(status_field(&thread, ids), [USER; 4].join("\t"), "{ids}");
        }
        assert_eq!(status_field(&thread, "Groups"), "");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status_field(&thread, set), "0000000000000000", "{set}");
        }
        assert_eq!(status_field(&thread, "NoNewPrivs"), "1");
    }
    playground.end_lab(&cookie);
    assert_eq!(names_in(&playground.labs()), [""; 0]);

    // The test can tell: here is one that has stayed root.
    let unsafe_server = unsafe_server();
    let process = PathBuf::from(format!("/proc/{}", unsafe_server.pid()));
    assert_eq!(
        (status_field(&process, "Uid"), status_field(&process, "NoNewPrivs")),
        ("0\t0\t0\t0".into(), "0".into())
    );
    assert!(unsafe_server.log().contains("NOT SAFE"));
}

#[tokio::test]
async fn the_helper_has_a_session_of_its_own_and_nothing_of_the_servers() {
    let playground = Playground::start(None);
    let page = playground.open(&playground.new_cookie()).await;
    let helper = playground.helper();
    let stat = fs::read_to_string(format!("/proc/{helper}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Group, session, terminal.
    assert_eq!(fields[2..5], [helper.to_string().as_str(), helper.to_string().as_str(), "0"]);
    assert_eq!(fs::read_link(format!("/proc/{helper}/cwd")).unwrap(), Path::new("/"));
    assert_eq!(fs::read(format!("/proc/{helper}/environ")).unwrap(), b"");
    assert_eq!(threads_of(helper), 1, "no thread waits for a cgroup");
    // Those of deploy/compose.yaml, and none of the others that root has.
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status_field(Path::new(&format!("/proc/{helper}")), set), "00000000082801eb", "{set}");
    }
    let mut sockets = 0;
    for descriptor in names_in(Path::new(&format!("/proc/{helper}/fd"))) {
        let target = fs::read_link(format!("/proc/{helper}/fd/{descriptor}")).unwrap().display().to_string();
        match (descriptor.as_str(), target.as_str()) {
            ("0" | "1", target) => assert_eq!(target, "/dev/null"),
            // Where the server says what happens.
            ("2", target) => assert!(target.ends_with("/log"), "{target}"),
            (_, target) if target.starts_with("socket:") => sockets += 1,
            (_, target) => assert!(target.starts_with("anon_inode:[event"), "{descriptor} is {target}"),
        }
    }
    // The connection to the server, and those by which its event loop hears of signals.
    assert_eq!(sockets, 4, "{:?}", names_in(Path::new(&format!("/proc/{helper}/fd"))));
    drop(page);
}

fn threads_of(process: nix::unistd::Pid) -> usize {
    fs::read_dir(format!("/proc/{process}/task")).unwrap().count()
}

#[tokio::test]
async fn a_server_without_its_helper_ends_and_the_next_one_has_the_labs() {
    let mut playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    let before = page.output_of(HOST, "echo $$; touch /root/mine").await;
    kill(playground.helper(), Signal::SIGKILL).unwrap();
    assert!(!playground.restart_after_end().success());
    assert!(playground.log().contains("the helper that does what takes root has ended"), "{}", playground.log());
    assert_eq!(page.output_of(HOST, "echo $$; ls /root/mine > /dev/null").await, before);
    let mut second = playground.open(&cookie).await;
    assert_eq!(second.output_of(HOST, "echo $$; ls /root/mine > /dev/null").await, before);
    playground.end_lab(&cookie);
    assert_eq!(names_in(&playground.labs()), [""; 0]);
}

/// What somebody would try who has taken a server over; each with what it would be good for.
fn attempts(playground: &Playground) -> Vec<(&'static str, String)> {
    let id = names_in(&playground.labs()).remove(0);
    let lab = playground.labs().join(&id);
    let cgroup: serde_json::Value = serde_json::from_slice(&fs::read(lab.join("cgroup")).unwrap()).unwrap();
    let cgroup = cgroup["directories"][0].as_str().unwrap().to_owned();
    let process = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let is_lab = fs::read(path.join("cmdline")).is_ok_and(|line| line == b"newroot\0lab\0");
        (is_lab && crate::common::cgroups_of(&path).contains(&id)).then(|| path.file_name().unwrap().to_owned())
    });
    let process = process.last().unwrap().into_string().unwrap();
    let images = playground.state().join("images");
    let rootfs = images.join(&names_in(&images)[0]).join("rootfs");
    let (lab, state, rootfs) = (lab.display(), playground.state().display().to_string(), rootfs.display());
    let (labs, helper) = (playground.labs().display().to_string(), playground.helper());
    let log = playground.run().with_file_name("log").display().to_string();
    vec![
        ("read root's files", "head -c 1 /etc/shadow".to_owned()),
        ("read what lies beside the server's own folders", format!("cat {log}")),
        ("change the machine", "touch /etc/newroot-was-here && rm /etc/newroot-was-here".to_owned()),
        ("put files into the state folder", format!("touch {state}/mine")),
        ("put files into the root of all labs", format!("touch {rootfs}/mine && rm {rootfs}/mine")),
        ("change the root of all labs", format!("chmod 755 {rootfs}/bin/busybox")),
        ("put files into the labs' folder", format!("mkdir {labs}/mine && rmdir {labs}/mine")),
        ("put files into a lab's folder", format!("touch {lab}/mine")),
        (
            "name other cgroups for a lab",
            format!(
                "cp {lab}/cgroup /tmp/newroot-cgroup-$$ && cat /tmp/newroot-cgroup-$$ > {lab}/cgroup && rm /tmp/newroot-cgroup-$$"
            ),
        ),
        ("listen in a lab's place", format!("mv {lab}/socket {lab}/other && mv {lab}/other {lab}/socket")),
        ("make cgroups", format!("mkdir {cgroup}/mine && rmdir {cgroup}/mine")),
        (
            "lift a lab's limits",
            format!(
                "for file in pids.max memory.max memory.limit_in_bytes cpu.shares cpu.weight; do test -e {cgroup}/$file && cat {cgroup}/$file > {cgroup}/$file && exit; done; exit 1"
            ),
        ),
        ("take uids away", "ls /run/newroot-uids".to_owned()),
        ("end the helper", format!("kill -0 {helper}")),
        ("look into the helper", format!("ls /proc/{helper}/fd")),
        ("end a lab past the helper", format!("kill -0 {process}")),
        ("look into a lab", format!("ls /proc/{process}/fd")),
        ("go to the machine's namespaces", format!("nsenter --target {} --mount true", std::process::id())),
        ("go to a lab's namespaces", format!("exec 3< /proc/{process}/ns/mnt")),
        ("mount", "unshare --mount mount -t tmpfs mine /mnt".to_owned()),
        ("make devices", "mknod /tmp/newroot-device-$$ b 254 0 && rm /tmp/newroot-device-$$".to_owned()),
        ("be another user", "setpriv --reuid 1000 --clear-groups true".to_owned()),
        ("be root again", "setpriv --reuid 0 head -c 1 /etc/shadow".to_owned()),
    ]
}

#[tokio::test]
async fn a_server_that_is_taken_over_reaches_its_own_files_and_no_more() {
    let playground = Playground::start(None);
    let page = playground.open(&playground.new_cookie()).await;
    let (state, labs) = (playground.state().display().to_string(), playground.labs().display().to_string());
    // What it must be able to, and shows that the others fail for a reason of ours.
    for command in [
        format!("touch {state}/cache/mine && rm {state}/cache/mine"),
        format!("touch {state}/imported/mine && rm {state}/imported/mine"),
        format!("touch {state}/progress/mine && rm {state}/progress/mine"),
        format!("ls {labs} && cat {labs}/*/log"),
    ] {
        assert!(can(&playground, &command), "{command}");
    }
    for (what, command) in attempts(&playground) {
        assert!(!can(&playground, &command), "could {what}: {command}");
    }
    drop(page);

    // As root it could do all of that.
    let unsafe_server = unsafe_server();
    let page = unsafe_server.open(&unsafe_server.new_cookie()).await;
    for (what, command) in attempts(&unsafe_server) {
        assert!(can(&unsafe_server, &command), "a server that is root could not {what}: {command}");
    }
    drop(page);
}

#[tokio::test]
async fn what_a_former_server_has_left_is_the_new_users_but_for_what_links_lead_to() {
    let mut playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let page = playground.open(&cookie).await;
    drop(page);
    let (cache, outside) = (playground.state().join("cache"), playground.run().with_file_name("outside"));
    let nested = cache.join("tags/library/of/a/former/server");
    fs::create_dir_all(&nested).unwrap();
    fs::write(nested.join(":tag"), "root's").unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "root's").unwrap();
    // What somebody could have put there who had taken over the former server.
    symlink(&outside, cache.join("tags/folder")).unwrap();
    symlink(outside.join("file"), cache.join("tags/link")).unwrap();
    fs::hard_link(outside.join("file"), cache.join("tags/hard")).unwrap();
    playground.restart_after(Signal::SIGTERM);
    let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid().to_string();
    for owned in [&cache, &nested, &nested.join(":tag"), &playground.state().join("progress")] {
        assert_eq!(owner(owned), USER, "{}", owned.display());
    }
    for roots in [&outside, &outside.join("file"), &playground.state(), &playground.state().join("images")] {
        assert_eq!(owner(roots), "0", "{}", roots.display());
    }
    let mut page = playground.open(&cookie).await;
    assert!(page.output_of(HOST, "echo the machine of before").await.contains("of before"));
}

#[test]
fn links_in_the_servers_folders_lead_root_nowhere() {
    let mut playground = Playground::start(None);
    assert!(playground.stop(Signal::SIGTERM).success());
    let (state, outside) = (playground.state(), playground.run().with_file_name("outside"));
    fs::create_dir(&outside).unwrap();
    let precious = "0".repeat(64);
    fs::write(outside.join(&precious), "root's").unwrap();
    // As somebody would leave them who has taken the server over.
    let user = Some(USER.parse().unwrap());
    for folder in ["cache/blobs/sha256", "imported/blobs/sha256", "imported/unfinished"] {
        fs::remove_dir_all(state.join(folder)).unwrap();
        symlink(&outside, state.join(folder)).unwrap();
        lchown(state.join(folder), user, user).unwrap();
    }
    let image = tempfile::tempdir().unwrap();
    make_image(image.path(), &[busybox().gzip()]);
    let (state, image) = (state.to_str().unwrap(), image.path().to_str().unwrap());
    let untouched = || assert_eq!(names_in(&outside), [precious.as_str()]);
    for (arguments, why) in [
        (&["prune", "--state", state][..], "Permission denied"),
        (&["prune", "--all", "--state", state], "Permission denied"),
        (&["import", "--state", state, image, "mine"], "Permission denied"),
    ] {
        let output = run_newroot(&[&["images"], arguments].concat());
        assert!(!output.status.success() && text_of(&output).contains(why), "{arguments:?}: {}", text_of(&output));
        untouched();
    }
    assert!(run_newroot(&["images", "list", "--state", state]).status.success());
    untouched();
}

#[tokio::test]
async fn the_servers_user_can_be_chosen_but_is_never_root_nor_one_of_a_labs() {
    for (user, why) in [
        ("root", "cannot be root"),
        ("0", "cannot be root"),
        ("no-such-user", "there is no user no-such-user"),
        ("1879048192", "belong to labs"),
        ("-1", "there is no user -1"),
    ] {
        let output = run_newroot(&["serve", &format!("--user={user}")]);
        assert!(!output.status.success() && text_of(&output).contains(why), "{user}: {}", text_of(&output));
    }
    let playground = Playground::start_with(&["--upstream", NO_UPSTREAM, "--user", "nobody"]);
    let process = PathBuf::from(format!("/proc/{}", playground.pid()));
    assert!(status_field(&process, "Uid").starts_with("65534\t"));
    assert_eq!(fs::metadata(playground.state().join("cache")).unwrap().uid(), 65534);
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(page.output_of(HOST, "newroot pull busybox").await.contains("Pulling done"));
    // Nobody else's business, and no other's group.
    let labs = fs::metadata(playground.labs()).unwrap();
    assert_eq!((labs.uid(), labs.mode() & 0o777), (0, 0o750));
    let socket = playground.labs().join(&names_in(&playground.labs())[0]).join("socket");
    let socket = fs::metadata(socket).unwrap();
    assert_eq!((socket.uid(), socket.permissions().mode() & 0o777), (65534, 0o600));
}

#[tokio::test]
async fn nobody_keeps_labs_from_starting_by_taking_the_names_of_uids() {
    // What anybody on the machine can bind.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(4096)), hard).unwrap();
    let name = |number: u32| format!("newroot-uid-{}", 0x7000_0000_u32 + number * 131_072);
    let taken: Vec<_> = (0..2047)
        .filter_map(|number| {
            let address = SocketAddr::from_abstract_name(name(number)).unwrap();
            UnixListener::bind_addr(&address).ok()
        })
        .collect();
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(page.output_of(HOST, "echo started").await.contains("started"));
    drop(taken);
}
