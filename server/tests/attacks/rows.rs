//! The list of attacks, and the defence of each.

use By::{Always, Defence, Kernel};

/// An attack by its name.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it fails at.
    pub by: By,
    /// Its defence is not yet built, so it must be seen to succeed.
    pub is_pending: bool,
}

/// What an attack fails at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A defence of ours, by the name that `serve --without` knows.
    Defence(&'static str),
    /// The kernel, by this: it cannot be turned off, so the attack is also made on the machine itself, where it succeeds.
    Kernel(&'static str),
    /// A part of the server that is not turned off; the attack's honest twin succeeds.
    Always(&'static str),
}

impl By {
    /// As the table says it.
    pub fn name(&self) -> &'static str {
        let (Defence(name) | Kernel(name) | Always(name)) = self;
        name
    }
}

const fn row(name: &'static str, by: By) -> Row {
    Row { name, by, is_pending: false }
}

/// One whose defence comes with another change: it succeeds until then.
#[allow(dead_code, reason = "there may be none")]
const fn pending(name: &'static str, by: By) -> Row {
    Row { name, by, is_pending: true }
}

const CAPABILITY: By = Kernel("user namespace: no capability on the machine");
const PROCESSES: By = Kernel("PID namespace");
const FILTER: By = Defence("filter");
/// The helper cannot map the machine's root: it has no CAP_SETFCAP.
const IDS: By = Kernel("the ids of the lab's users are nobody's on the machine");

/// Made by a program in a lab.
pub const INSIDE: &[Row] = &[
    // System calls that the filter refuses.
    row("keys-add", FILTER),
    row("keys-session", FILTER),
    row("userfaultfd", FILTER),
    row("io-uring", FILTER),
    row("aio-slots", FILTER),
    row("clone3-unseen", FILTER),
    row("file-handles", FILTER),
    row("open-by-handle", CAPABILITY),
    row("perf-counters", FILTER),
    row("segments", FILTER),
    row("interrupt-80", FILTER),
    row("move-pages", FILTER),
    row("migrate-pages", FILTER),
    row("sysfs-call", FILTER),
    row("ustat-call", FILTER),
    row("reboot", FILTER),
    row("socket-vsock", FILTER),
    row("socket-packet", FILTER),
    row("socket-alg", FILTER),
    row("socket-key", FILTER),
    row("socket-xdp", FILTER),
    row("socket-nfnetlink", FILTER),
    row("socket-xfrm", FILTER),
    row("socket-generic", FILTER),
    row("socket-audit", FILTER),
    row("netfilter-by-option", Defence("netfilter")),
    row("terminal-type-into", FILTER),
    row("terminal-discipline", FILTER),
    // System calls that only the machine's root may make.
    row("bpf-program", CAPABILITY),
    row("kernel-log", CAPABILITY),
    row("clock-tick", CAPABILITY),
    row("swapon", CAPABILITY),
    row("accounting", CAPABILITY),
    row("load-module", CAPABILITY),
    row("kexec", CAPABILITY),
    row("io-ports", CAPABILITY),
    row("fanotify", CAPABILITY),
    row("nice-below-zero", CAPABILITY),
    row("real-time", CAPABILITY),
    row("io-priority", CAPABILITY),
    row("terminal-console", CAPABILITY),
    row("raise-descriptor-limit", CAPABILITY),
    row("oom-shield", CAPABILITY),
    // The kernel's own files.
    row("write-core-pattern", IDS),
    row("write-modprobe", IDS),
    row("write-drop-caches", IDS),
    row("write-address-randomness", IDS),
    row("write-panic", IDS),
    row("write-file-max", IDS),
    row("write-pty-max", IDS),
    row("write-overcommit", IDS),
    row("write-sysrq", IDS),
    row("write-irq-affinity", IDS),
    row("write-huge-pages", Kernel("sysfs stays read-only in a user namespace")),
    row("write-uevent", Kernel("sysfs stays read-only in a user namespace")),
    row("write-processor-offline", Kernel("sysfs stays read-only in a user namespace")),
    row("write-profiling", Kernel("sysfs stays read-only in a user namespace")),
    row("read-slab", IDS),
    row("read-vmalloc", IDS),
    row("read-page-flags", IDS),
    row("read-timers", IDS),
    row("raise-memory-limit", IDS),
    row("raise-process-limit", IDS),
    row("raise-processor-limit", IDS),
    row("read-core", CAPABILITY),
    row("read-kernel-messages", CAPABILITY),
    row("read-kernel-addresses", CAPABILITY),
    row("read-page-frames", CAPABILITY),
    row("release-agent", CAPABILITY),
    row("pressure-trigger", Kernel("only root may write to /proc/pressure, since a server was started")),
    // Devices and mounts.
    row("mknod-disk", CAPABILITY),
    row("mknod-memory", CAPABILITY),
    // Pending until a lab starts again with --overlay outside: the helper lacks CAP_FOWNER, with which that overlay is written.
    row("device-of-the-image", Defence("mount-flags")),
    row("device-writes-back", Defence("devices")),
    row("mount-devtmpfs", CAPABILITY),
    row("mount-debugfs", CAPABILITY),
    row("mount-tracefs", CAPABILITY),
    row("mount-securityfs", CAPABILITY),
    row("mount-pstore", CAPABILITY),
    row("mount-cgroup-devices", CAPABILITY),
    row("remount-program", Kernel("mounts from outside are locked")),
    row("chroot-twice", Kernel("mount namespace whose root is the lab's")),
    // Everybody else.
    row("see-the-server", PROCESSES),
    row("signal-the-server", PROCESSES),
    row("trace-the-server", PROCESSES),
    row("watch-the-server", PROCESSES),
    row("limits-of-the-server", PROCESSES),
    row("memory-of-the-server", PROCESSES),
    row("files-of-the-server", PROCESSES),
    row("namespaces-of-the-server", PROCESSES),
    row("signal-everybody", PROCESSES),
    row("parent-user-namespace", Kernel("user namespace")),
    row("parent-pid-namespace", PROCESSES),
    row("descriptors-of-pid-1", Kernel("PID namespace, and what PID 1 closes")),
    row("environment-of-pid-1", Kernel("PID namespace, and an empty environment")),
    row("limits-of-pid-1", Defence("resources")),
    row("connect-to-the-server", Kernel("network namespace")),
    row("connect-to-an-abstract-socket", Kernel("network namespace")),
    row("semaphores-of-others", Kernel("IPC namespace")),
];

const LIMITS: By = Defence("limits");
const RESOURCES_OF_EACH: By = Defence("resources");

/// Made by a program in a lab, which takes what others need.
pub const RESOURCES: &[Row] = &[
    row("processes", LIMITS),
    row("zombies", LIMITS),
    row("threads", LIMITS),
    row("memory", LIMITS),
    row("memory-files", LIMITS),
    row("memory-shared", LIMITS),
    row("memory-many-tmpfs", LIMITS),
    row("memory-pipes", LIMITS),
    row("memory-unix-sockets", LIMITS),
    row("memory-message-queues", LIMITS),
    row("disk", LIMITS),
    row("files", LIMITS),
    row("memory-tcp", LIMITS),
    row("memory-netlink", Defence("netlink")),
    row("netlink-sockets", Defence("netlink")),
    row("network-namespaces", RESOURCES_OF_EACH),
    row("descriptors", RESOURCES_OF_EACH),
    row("event-counters", RESOURCES_OF_EACH),
    row("file-locks", RESOURCES_OF_EACH),
    row("pseudoterminals", Defence("pseudoterminals")),
    row("pseudoterminals-of-many", Defence("pseudoterminals")),
    row("aio-many", FILTER),
    row("cgroups", Kernel("64 cgroups for each lab: the kernel counts with version 2, the lab process with 1")),
    row("user-namespaces-deep", Kernel("32 user namespaces one in the other")),
    row("mounts", Kernel("/proc/sys/fs/mount-max for each mount namespace")),
    row("descriptors-in-flight", Kernel("RLIMIT_NOFILE counts descriptors that are on their way")),
    row("inotify-instances", Kernel("max_inotify_instances of the user namespace")),
    row("posix-queues", Kernel("RLIMIT_MSGQUEUE")),
    row("timers", RESOURCES_OF_EACH),
    row("signals-queued", RESOURCES_OF_EACH),
    row("locked-memory", Kernel("RLIMIT_MEMLOCK")),
    row("epoll-nested", Kernel("epoll instances are nested five deep at most")),
    row("pipe-size", Kernel("/proc/sys/fs/pipe-user-pages-soft")),
];

const ORIGIN: By = Defence("origin");
const HOST: By = Defence("host");
const FRAMES: By = Defence("frames");
const COOKIE: By = Always("the cookie names the lab, and nothing else does");
const PROTOCOL: By = Always("what breaks the WebSocket protocol ends the page's connection");
/// What bounds what a page asks for.
pub const WINDOWS: By = Always("what a page asks for is bounded, and what it does not take waits with the program");

/// Made by a page, of ours or of another site, or by whoever reaches the server's port.
pub const PAGES: &[Row] = &[
    row("other-site-opens-a-lab", ORIGIN),
    row("other-site-ends-a-lab", ORIGIN),
    row("no-site-opens-a-lab", ORIGIN),
    row("null-site-opens-a-lab", ORIGIN),
    row("rebound-name-opens-a-lab", HOST),
    row("rebound-name-ends-a-lab", HOST),
    row("two-hosts", Defence("headers-once")),
    row("two-origins", Defence("headers-once")),
    row("no-cookie", COOKIE),
    row("odd-cookie", COOKIE),
    row("made-up-cookie", Defence("signed-cookies")),
    row("ends-another-lab", COOKIE),
    row("assets-climb", Always("assets are names in the binary, not files")),
    row("assets-climb-escaped", Always("assets are names in the binary, not files")),
    row("request-in-a-request", Always("a request of two lengths is refused")),
    row("giant-head", Always("a request's head is bounded")),
    row("trace-method", Always("only GET and DELETE")),
    row("page-in-a-frame", Always("frame-ancestors of the Content-Security-Policy")),
    row("giant-text", FRAMES),
    row("giant-binary", FRAMES),
    row("giant-announced", FRAMES),
    row("fragments-without-end", FRAMES),
    row("wrong-text", PROTOCOL),
    row("unmasked", PROTOCOL),
    row("reserved-kind", PROTOCOL),
    row("giant-ping", PROTOCOL),
    row("unknown-messages", WINDOWS),
    row("offset-from-the-future", WINDOWS),
    row("input-before-the-greeting", WINDOWS),
    row("resizes", WINDOWS),
    row("terminals-without-end", WINDOWS),
    row("giant-names", WINDOWS),
    row("typing-without-end", WINDOWS),
    row("page-that-does-not-read", WINDOWS),
];

const UNPACK: By = Always("each name is looked up below the rootfs, and no link is followed");

/// Made by an image that a lab pulls.
pub const IMAGES: &[Row] = &[
    row("image-climbs", UNPACK),
    row("image-absolute", UNPACK),
    row("image-link-absolute", UNPACK),
    row("image-link-climbs", UNPACK),
    row("image-hard-link", UNPACK),
    row("image-whiteout", UNPACK),
    row("image-opaque", UNPACK),
    row("image-bomb", Always("the lab's disk is bounded, and a pull that fails leaves nothing")),
    row("image-words", Always("names of images are printed with their control characters quoted")),
];

const NAMES: By = Always("repositories, tags and digests are parsed, and are no paths");
const READ_ONLY: By = Always("the mirror is read, and asks its own upstream alone");

/// Made by a program in a lab, at its registry mirror.
pub const MIRROR: &[Row] = &[
    row("mirror-climbs", NAMES),
    row("mirror-climbs-escaped", NAMES),
    row("mirror-digest-climbs", NAMES),
    row("mirror-asks-elsewhere", READ_ONLY),
    row("mirror-is-a-proxy", READ_ONLY),
    row("mirror-connects", READ_ONLY),
    row("mirror-is-written-to", READ_ONLY),
    row("mirror-giant-head", Always("a request's head is bounded")),
    row("mirror-ranges", Always("one range at most")),
    row("mirror-http-2", Defence("http-one")),
];

/// Made by whoever has taken PID 1 or the lab process, or an inode that others have.
pub const PUPPETS: &[Row] = &[
    row("terminal-of-the-server", Defence("session")),
    row("network-of-the-lab-process", Defence("lab-network")),
    row("device-lock", Defence("devices")),
];

/// All of them, or the one that `NEWROOT_ATTACK` names, to look at it alone.
pub fn chosen(rows: &'static [Row]) -> impl Iterator<Item = &'static Row> {
    let one = std::env::var("NEWROOT_ATTACK").ok();
    rows.iter().filter(move |row| one.as_deref().is_none_or(|one| one == row.name))
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Row> {
    [INSIDE, RESOURCES, PAGES, IMAGES, MIRROR, PUPPETS].into_iter().flatten()
}
