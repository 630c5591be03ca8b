//! Programs that make every watched call, well and badly, and programs that mean harm to whoever watches.

use libc::{AT_FDCWD, c_long};
use shared::protocol::ToLab;
use shared::trace::{Call, CallState};
use tar::EntryType;

use crate::common::page::arguments;
use crate::common::playground::{CONTAINER, HOST, Page, Playground};
use crate::common::program::{Program, Value};
use crate::common::{Layer, Registry, busybox};

/// A lab with these programs, in the working directory of its first terminal.
async fn lab_with(programs: Vec<(&str, Program)>) -> (Playground, Page, Registry) {
    let mut layer = Layer::new().directory("programs");
    for (name, program) in programs {
        layer = layer.entry(EntryType::Regular, &format!("programs/{name}"), 0o755, "", &program.file());
    }
    let registry = Registry::start();
    registry.push("library/programs:latest", &[busybox().gzip(), layer.gzip()]);
    let playground = Playground::start(Some(&registry.url()));
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(page.output_of(HOST, "newroot pull programs").await.contains("Pulling done"));
    page.output_of(HOST, "cd /fs/programs/rootfs/programs").await;
    (playground, page, registry)
}

fn outcome(call: &Call) -> String {
    match &call.state {
        CallState::Returned { value } if *value > 100 => "a process".into(),
        CallState::Returned { value } => value.to_string(),
        CallState::Failed { errno, .. } => errno.clone(),
        other => format!("{other:?}"),
    }
}

/// The calls of a program in their order, each with its arguments and its outcome.
async fn calls_of(page: &mut Page, program: &str) -> Vec<String> {
    page.calls.clear();
    page.output_of(HOST, &format!("./{program}")).await;
    let is_over = |page: &Page| {
        let mut calls = page.calls.values().filter(|call| call.process.program == program);
        calls.all(|call| !matches!(call.state, CallState::Made | CallState::Waiting))
    };
    page.until("the end of its calls", is_over).await;
    let calls = page.calls.values().filter(|call| call.process.program == program);
    calls.map(|call| format!("{}({}) = {}", call.name, arguments(call), outcome(call))).collect()
}

#[tokio::test]
async fn each_watched_call_is_told_when_it_succeeds_and_when_it_fails() {
    let mut good = Program::new();
    let [tmpfs, mnt, empty, name] = [&b"tmpfs"[..], b"/mnt", b"", b"lab"].map(|text| good.bytes(text));
    let here = i64::from(AT_FDCWD);
    let read_only = good.bytes(&[1u64, 0, 0, 0].map(u64::to_le_bytes).concat());
    good.plain(libc::SYS_fsopen, &[tmpfs, 1]);
    good.plain(libc::SYS_fsconfig, &[3, i64::from(libc::FSCONFIG_CMD_CREATE)]);
    good.plain(libc::SYS_fsmount, &[3, 1, 2]);
    good.plain(libc::SYS_move_mount, &[4, empty, here, mnt, 4]);
    good.plain(libc::SYS_open_tree, &[here, mnt, 1]);
    good.plain(libc::SYS_fspick, &[here, mnt, 0]);
    good.plain(libc::SYS_mount_setattr, &[here, mnt, 0, read_only, 32]);
    good.plain(libc::SYS_umount2, &[mnt, 2]);
    good.plain(libc::SYS_sethostname, &[name, 3]);
    good.child(i64::from(libc::CLONE_NEWNS), |_| {});
    good.wait();
    let mut bad = Program::new();
    let (nothing, long) = (bad.bytes(b"/nothing"), bad.bytes(&[b'x'; 65]));
    bad.plain(libc::SYS_fsopen, &[nothing, 0]);
    bad.plain(libc::SYS_fsconfig, &[99, 6]);
    bad.plain(libc::SYS_fsmount, &[99, 0, 0]);
    bad.plain(libc::SYS_move_mount, &[here, nothing, here, nothing, 0]);
    bad.plain(libc::SYS_open_tree, &[here, nothing, 0]);
    bad.plain(libc::SYS_fspick, &[here, nothing, 0]);
    bad.plain(libc::SYS_mount_setattr, &[here, nothing, 0, 8, 32]);
    bad.plain(libc::SYS_sethostname, &[long, 65]);
    bad.plain(libc::SYS_setns, &[99, 0]);
    bad.plain(libc::SYS_unshare, &[1]);
    bad.plain(libc::SYS_clone, &[i64::from(libc::CLONE_NEWNS | libc::CLONE_FS)]);
    bad.plain(libc::SYS_execveat, &[here, nothing, 0, 0, 0]);
    bad.plain(libc::SYS_mount, &[8, nothing, 8, 0, 8]);
    bad.plain(libc::SYS_pivot_root, &[nothing, 8]);
    let mut nobody = Program::new();
    let root = nobody.bytes(b"/");
    nobody.plain(libc::SYS_setuid, &[1000]);
    nobody.plain(libc::SYS_chroot, &[root]);
    let (_playground, mut page, _registry) = lab_with(vec![("good", good), ("bad", bad), ("nobody", nobody)]).await;
    assert_eq!(calls_of(&mut page, "nobody").await, [r#"chroot("/") = EPERM"#]);
    let refused = page.call("chroot", "/").map(|call| call.state.clone());
    assert!(
        matches!(&refused, Some(CallState::Failed { why: Some(why), .. }) if why.contains("CAP_SYS_CHROOT")),
        "{refused:?}"
    );
    assert_eq!(
        calls_of(&mut page, "good").await,
        [
            r#"fsopen("tmpfs", FSOPEN_CLOEXEC) = 3"#,
            "fsconfig(3, FSCONFIG_CMD_CREATE, NULL, NULL, 0) = 0",
            "fsmount(3, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID) = 4",
            r#"move_mount(4, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH) = 0"#,
            r#"open_tree(AT_FDCWD, "/mnt", OPEN_TREE_CLONE) = 5"#,
            r#"fspick(AT_FDCWD, "/mnt", 0) = 6"#,
            r#"mount_setattr(AT_FDCWD, "/mnt", 0, { attr_set: MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 }, 32) = 0"#,
            r#"umount2("/mnt", MNT_DETACH) = 0"#,
            r#"sethostname("lab", 3) = 0"#,
            page.calls
                .values()
                .find(|call| call.name == "clone")
                .map(|call| format!("clone(CLONE_NEWNS | SIGCHLD, NULL) = {}", outcome(call)))
                .unwrap()
                .as_str(),
        ]
    );
    assert!(
        page.calls
            .values()
            .any(|call| call.name == "clone" && matches!(call.state, CallState::Returned { value } if value > 1))
    );
    assert_eq!(
        calls_of(&mut page, "bad").await,
        [
            r#"fsopen("/nothing", 0) = ENODEV"#,
            "fsconfig(99, FSCONFIG_CMD_CREATE, NULL, NULL, 0) = EBADF",
            "fsmount(99, 0, 0) = EBADF",
            r#"move_mount(AT_FDCWD, "/nothing", AT_FDCWD, "/nothing", 0) = ENOENT"#,
            r#"open_tree(AT_FDCWD, "/nothing", 0) = ENOENT"#,
            r#"fspick(AT_FDCWD, "/nothing", 0) = ENOENT"#,
            r#"mount_setattr(AT_FDCWD, "/nothing", 0, 0x8 (cannot be read), 32) = EFAULT"#,
            format!("sethostname(\"{}\", 65) = EINVAL", "x".repeat(64)).as_str(),
            "setns(99, 0) = EBADF",
            "unshare(0x1) = EINVAL",
            "clone(CLONE_NEWNS | CLONE_FS, NULL) = EINVAL",
            r#"execveat(AT_FDCWD, "/nothing", [], 0) = ENOENT"#,
            r#"mount(0x8 (cannot be read), "/nothing", 0x8 (cannot be read), 0, 0x8 (cannot be read)) = EFAULT"#,
            r#"pivot_root("/nothing", 0x8 (cannot be read)) = ENOENT"#,
        ]
    );
}

#[tokio::test]
async fn what_a_hostile_program_does_breaks_nothing_and_is_told_as_far_as_it_is_known() {
    // A path that another process, in the same memory, changes while the call waits.
    let mut changing = Program::new();
    let path = changing.bytes(b"/mnt");
    changing.child(i64::from(libc::CLONE_VM), |child| child.repeat(u32::MAX, |child| child.flip(path + 3)));
    changing.repeat(100, |changing| changing.plain(libc::SYS_chroot, &[path]));
    changing.call(libc::SYS_kill, &[Value::Child, 9.into()]);
    changing.wait();
    // Arguments of 64 KiB, and a path of as much.
    let mut long = Program::new();
    let (word, path) = (long.bytes(&[b'x'; 64 << 10]), long.bytes(b"/bin/true"));
    let list = long.pointers(&[word, word]);
    long.plain(libc::SYS_chroot, &[word]);
    long.plain(libc::SYS_execve, &[path, list, 0]);
    // As many calls as it can.
    let mut many = Program::new();
    many.repeat(5000, |many| many.plain(libc::SYS_chroot, &[8]));
    // One that its parent holds as strace(1) does.
    let mut traced = Program::new();
    traced.child(0, |child| {
        child.plain(libc::SYS_ptrace, &[c_long::from(libc::PTRACE_TRACEME)]);
        child.plain(libc::SYS_chroot, &[8]);
    });
    traced.wait();
    // One whose own filter (BPF: load the number, is it chroot(2)?, EPERM, allow) answers before the lab's.
    let mut filtered = Program::new();
    let filter = [
        0x20u64,
        0x15 | 1 << 24 | (libc::SYS_chroot as u64) << 32,
        0x06 | (0x0005_0001 << 32),
        0x06 | 0x7fff_0000 << 32,
    ];
    let filter = filtered.bytes(&filter.map(u64::to_le_bytes).concat());
    let program = filtered.bytes(&[4, filter as u64].map(u64::to_le_bytes).concat());
    filtered.plain(libc::SYS_seccomp, &[1, 0, program]);
    filtered.plain(libc::SYS_chroot, &[8]);
    filtered.plain(libc::SYS_setns, &[99, 0]);
    let programs =
        vec![("changing", changing), ("long", long), ("many", many), ("traced", traced), ("filtered", filtered)];
    let (_playground, mut page, _registry) = lab_with(programs).await;

    let changing = calls_of(&mut page, "changing").await;
    let is_possible = |call: &String| {
        let (path, result) = call.split_once(" = ").unwrap();
        [r#"chroot("/mnt")"#, r#"chroot("/mnu")"#].contains(&path) && ["0", "ENOENT"].contains(&result)
    };
    assert!(changing.len() == 100 && changing.iter().all(is_possible), "{changing:?}");
    let long = calls_of(&mut page, "long").await;
    assert!(long[0].contains("longer than the kernel takes") && long[0].ends_with("= ENAMETOOLONG"), "{}", long[0]);
    assert!(long[1].starts_with(r#"execve("/bin/true", ["xxxx"#) && long[1].len() < 2000, "{}", long[1]);
    let many = calls_of(&mut page, "many").await;
    assert!(many.len() > 100 && many.iter().all(|call| call == "chroot(0x8 (cannot be read)) = EFAULT"));
    let traced = calls_of(&mut page, "traced").await;
    assert!(traced[0].contains("Unseen") && traced[0].contains("debugger"), "{traced:?}");
    assert_eq!(calls_of(&mut page, "filtered").await, ["setns(99, 0) = EBADF"]);

    // Killed while it waits.
    page.tell(&ToLab::StepThrough { on: true }).await;
    page.run(CONTAINER, "/bin/busybox mount -t tmpfs x /mnt").await;
    page.until("a call that waits", |page| page.waiting().is_some()).await;
    let call = page.waiting().unwrap().clone();
    page.run(HOST, &format!("kill -9 {}; echo =ki\"\"lled=", call.process.pid)).await;
    page.until("its end", |page| page.calls[&call.id].state == CallState::Ended).await;
    page.until("the shell", |page| page.text_since(HOST, 0).contains("=killed=")).await;
    // A terminal that is opened meanwhile, and a reset, wait for nobody.
    page.tell(&ToLab::Open { name: None }).await;
    page.until("its prompt", |page| page.terminals.keys().any(|id| id.0 > 1 && page.has_prompt(*id))).await;
    page.run(CONTAINER, "/bin/busybox true").await;
    page.until("a call that waits", |page| page.waiting().is_some()).await;
    page.calls.clear();
    let shown = page.output[&HOST].len();
    page.tell(&ToLab::Reset).await;
    page.until("a new machine", |page| page.text_since(HOST, shown).contains("was reset") && page.has_prompt(HOST))
        .await;
    assert_eq!(page.stepping, Some(true));
}
