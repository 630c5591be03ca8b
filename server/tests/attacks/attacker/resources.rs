//! Attacks that take more than a lab may have, each up to an amount that no limit allows and no machine feels. `AMOUNT` is
//! how much, where the test wants another.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::Outcome::{Escaped, Held};
use crate::{Attack, Outcome, call, error, is_control, string};

/// All of them.
pub const ATTACKS: &[Attack] = &[
    ("processes", || takes(amount(400), "processes", process)),
    ("zombies", || takes(amount(400), "zombies", zombie)),
    ("threads", || takes(amount(400), "threads", thread)),
    ("memory", || takes(amount(256), "MiB of memory", |_| memory(-1))),
    ("memory-files", || takes(amount(256), "MiB in memory files", |_| memory_file())),
    ("memory-shared", || takes(amount(256), "MiB of System V memory", |_| shared_memory())),
    ("memory-many-tmpfs", || takes(amount(64), "tmpfs mounts of 4 MiB", tmpfs)),
    ("memory-pipes", memory_pipes),
    ("memory-unix-sockets", memory_unix_sockets),
    ("memory-tcp", memory_tcp),
    ("memory-netlink", memory_netlink),
    ("memory-message-queues", memory_message_queues),
    ("disk", || takes(amount(256), "MiB of disk", disk)),
    ("files", || takes(amount(400_000), "files", file)),
    ("network-namespaces", || takes(amount(200), "network namespaces", |_| namespace(libc::CLONE_NEWNET))),
    ("user-namespaces-deep", || takes(amount(40), "user namespaces one in the other", |_| user_namespace())),
    ("mounts", || takes(amount(20), "times as many mounts", mounts_doubled)),
    ("cgroups", || takes(amount(1000), "cgroups", cgroup)),
    ("descriptors", || takes(amount(3000), "descriptors of a process", descriptor)),
    ("descriptors-in-flight", descriptors_in_flight),
    ("pseudoterminals", || takes(amount(600), "pseudoterminals", |_| pseudoterminal())),
    ("pseudoterminals-of-many", pseudoterminals_of_many),
    ("inotify-instances", || takes(amount(400), "inotify instances", |_| held(call(libc::SYS_inotify_init1, &[0])))),
    ("posix-queues", || takes(amount(300), "POSIX queues", posix_queue)),
    ("timers", || takes(amount(10_000), "timers", |_| timer())),
    ("signals-queued", || takes(amount(10_000), "queued signals", |_| queued_signal())),
    ("locked-memory", || takes(amount(256), "MiB of locked memory", |_| locked())),
    ("aio-many", || takes(amount(100), "times 512 asynchronous requests", |_| aio())),
    ("epoll-nested", || takes(amount(400), "epoll instances", epoll())),
    ("event-counters", || takes(amount(3000), "event counters", |_| held(call(libc::SYS_eventfd2, &[0, 0])))),
    ("file-locks", || takes(amount(3000), "file locks", lock)),
    ("pipe-size", || takes(amount(80), "pipes of 1 MiB", |_| big_pipe())),
    ("netlink-sockets", || takes(amount(400), "netlink sockets", |_| held(call(libc::SYS_socket, &[16, 3, 0])))),
];

/// How much is taken.
fn amount(usual: usize) -> usize {
    std::env::var("AMOUNT").ok().and_then(|amount| amount.parse().ok()).unwrap_or(usual)
}

/// Takes one after the other. It has escaped if it gets all, for that is more than is allowed.
fn takes(amount: usize, what: &str, mut one: impl FnMut(usize) -> io::Result<()>) -> Outcome {
    for number in 0..amount {
        if let Err(error) = one(number) {
            return Held(format!("{number} of {amount} {what}, then: {error}"));
        }
    }
    Escaped(format!("{amount} {what}"))
}

/// A descriptor that nobody closes.
fn held(result: io::Result<usize>) -> io::Result<()> {
    result.map(drop)
}

fn process(_number: usize) -> io::Result<()> {
    match unsafe { libc::fork() } {
        -1 => Err(error()),
        0 => loop {
            // They end with who has made them.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            unsafe { libc::pause() };
        },
        _ => Ok(()),
    }
}

fn zombie(_number: usize) -> io::Result<()> {
    match unsafe { libc::fork() } {
        -1 => Err(error()),
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

fn thread(_number: usize) -> io::Result<()> {
    let sleeping = || loop {
        std::thread::sleep(Duration::from_secs(1000));
    };
    std::thread::Builder::new().stack_size(32 << 10).spawn(sleeping).map(drop)
}

const MEBIBYTE: usize = 1 << 20;

/// One MiB of memory that is written to: of a file, or nobody's.
fn memory(file: i32) -> io::Result<()> {
    let kind = if file < 0 { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS } else { libc::MAP_SHARED };
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let place = unsafe { libc::mmap(std::ptr::null_mut(), MEBIBYTE, protection, kind, file, 0) };
    if place == libc::MAP_FAILED {
        return Err(error());
    }
    unsafe { place.cast::<u8>().write_bytes(1, MEBIBYTE) };
    Ok(())
}

fn memory_file() -> io::Result<()> {
    let file = unsafe { libc::memfd_create(c"attack".as_ptr(), 0) };
    if file < 0 || unsafe { libc::ftruncate(file, MEBIBYTE as i64) } < 0 {
        return Err(error());
    }
    memory(file)
}

fn shared_memory() -> io::Result<()> {
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, MEBIBYTE, 0o600) };
    if id < 0 {
        return Err(error());
    }
    let place = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    // It goes with the last process that has it.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    if place as isize == -1 {
        return Err(error());
    }
    unsafe { place.cast::<u8>().write_bytes(1, MEBIBYTE) };
    Ok(())
}

fn tmpfs(number: usize) -> io::Result<()> {
    let path = format!("/tmp/attack-tmpfs-{number}");
    fs::create_dir_all(&path)?;
    let target = string(&path);
    if unsafe { libc::mount(c"a".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()) } < 0 {
        return Err(error());
    }
    fs::write(format!("{path}/file"), vec![1; 4 * MEBIBYTE])
}

/// Fills descriptors with data that nobody reads, MiB by MiB.
fn fills(name: &str, mebibytes: usize, mut pair: impl FnMut() -> io::Result<i32>) -> Outcome {
    let (mut written, data) = (0, vec![1u8; 64 << 10]);
    while written < mebibytes * MEBIBYTE {
        let writer = match pair() {
            Ok(writer) => writer,
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                go_on_in_a_child();
                continue;
            }
            Err(error) => return Held(format!("{} MiB in {name}, then: {error}", written / MEBIBYTE)),
        };
        let mut had = 0;
        loop {
            let result = unsafe { libc::write(writer, data.as_ptr().cast(), data.len()) };
            if result <= 0 {
                break;
            }
            had += result as usize;
        }
        if had == 0 {
            return Held(format!("{} MiB in {name}, then: {}", written / MEBIBYTE, error()));
        }
        written += had;
    }
    Escaped(format!("{mebibytes} MiB in {name}"))
}

/// A process has only so many descriptors, but another process has as many.
fn go_on_in_a_child() {
    match unsafe { libc::fork() } {
        0 => {
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let _ = call(libc::SYS_close_range, &[3, u32::MAX as usize, 0]);
        }
        child => unsafe {
            libc::waitpid(child, std::ptr::null_mut(), 0);
            libc::_exit(0)
        },
    }
}

fn nonblocking(descriptor: i32) -> i32 {
    unsafe { libc::fcntl(descriptor, libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK) };
    descriptor
}

fn memory_pipes() -> Outcome {
    fills("pipes", amount(160), || {
        let mut pipe = [0; 2];
        if unsafe { libc::pipe(pipe.as_mut_ptr()) } < 0 {
            return Err(error());
        }
        unsafe { libc::fcntl(pipe[1], libc::F_SETPIPE_SZ, MEBIBYTE) };
        unsafe { libc::fcntl(pipe[1], libc::F_SETFL, libc::O_WRONLY | libc::O_NONBLOCK) };
        Ok(pipe[1])
    })
}

fn memory_unix_sockets() -> Outcome {
    fills("Unix sockets", amount(160), || {
        let mut pair = [0; 2];
        if unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) } < 0 {
            return Err(error());
        }
        Ok(nonblocking(pair[1]))
    })
}

fn memory_tcp() -> Outcome {
    use std::net::{TcpListener, TcpStream};
    let listener = match TcpListener::bind("127.0.0.1:0") {
        Ok(listener) => listener,
        Err(error) => return Held(error.to_string()),
    };
    fills("TCP connections", amount(160), || {
        let stream = TcpStream::connect(listener.local_addr()?)?;
        std::mem::forget(listener.accept()?);
        let writer = nonblocking(stream.as_raw_fd());
        std::mem::forget(stream);
        Ok(writer)
    })
}

/// Answers that nobody reads: each request for the list of links is answered with a kibibyte and more.
fn memory_netlink() -> Outcome {
    // A header and a struct ifinfomsg: RTM_GETLINK of the first link.
    let mut request = [0u8; 32];
    request[..4].copy_from_slice(&32u32.to_ne_bytes());
    request[4..6].copy_from_slice(&18u16.to_ne_bytes());
    request[6..8].copy_from_slice(&1u16.to_ne_bytes());
    request[20..24].copy_from_slice(&1u32.to_ne_bytes());
    let batch = request.repeat(64);
    takes(amount(900), "netlink sockets full of answers", |_| {
        let socket = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0) };
        if socket < 0 {
            return Err(error());
        }
        let much = 1i32 << 30;
        for option in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
            unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const much).cast(), 4) };
        }
        for _ in 0..3 {
            unsafe { libc::send(socket, batch.as_ptr().cast(), batch.len(), 0) };
        }
        Ok(())
    })
}

fn memory_message_queues() -> Outcome {
    #[repr(C)]
    struct Message {
        kind: libc::c_long,
        text: [u8; 8192],
    }
    let message = Message { kind: 1, text: [1; 8192] };
    takes(amount(10_000), "System V queues with 16 KiB", |_| {
        let queue = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        if queue < 0 {
            return Err(error());
        }
        for _ in 0..2 {
            let sent = unsafe { libc::msgsnd(queue, (&raw const message).cast(), 8192, libc::IPC_NOWAIT) };
            if sent < 0 {
                return Err(error());
            }
        }
        Ok(())
    })
}

fn disk(number: usize) -> io::Result<()> {
    fs::create_dir_all("/root/attack-disk")?;
    fs::write(format!("/root/attack-disk/{number}"), vec![1; MEBIBYTE])
}

fn file(number: usize) -> io::Result<()> {
    let directory = format!("/tmp/attack-files-{}", number / 10_000);
    if number.is_multiple_of(10_000) {
        fs::create_dir_all(&directory)?;
        let target = string(&directory);
        if unsafe { libc::mount(c"a".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()) } < 0 {
            return Err(error());
        }
    }
    File::create(format!("{directory}/{number}")).map(drop)
}

/// A namespace that an open file keeps.
fn namespace(kind: i32) -> io::Result<()> {
    if unsafe { libc::unshare(kind) } < 0 {
        return Err(error());
    }
    std::mem::forget(File::open("/proc/self/ns/net")?);
    Ok(())
}

fn user_namespace() -> io::Result<()> {
    if unsafe { libc::unshare(libc::CLONE_NEWUSER) } < 0 {
        return Err(error());
    }
    // Who has no id there may make no other.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", "0 0 1")?;
    fs::write("/proc/self/gid_map", "0 0 1")
}

/// Each bind mount of a tree into itself doubles the number of its mounts.
fn mounts_doubled(number: usize) -> io::Result<()> {
    const DIRECTORY: &CStr = c"/tmp/attack-mounts";
    fs::create_dir_all("/tmp/attack-mounts")?;
    let bind = |flags| unsafe {
        libc::mount(DIRECTORY.as_ptr(), DIRECTORY.as_ptr(), std::ptr::null(), flags, std::ptr::null())
    };
    if number == 0 {
        let made = bind(libc::MS_BIND);
        unsafe {
            libc::mount(std::ptr::null(), DIRECTORY.as_ptr(), std::ptr::null(), libc::MS_SHARED, std::ptr::null())
        };
        return if made < 0 { Err(error()) } else { Ok(()) };
    }
    // In the shared group each mount is told to all its peers.
    if bind(libc::MS_BIND | libc::MS_REC) < 0 { Err(error()) } else { Ok(()) }
}

fn cgroup(number: usize) -> io::Result<()> {
    let roots = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
    let root = roots.iter().find(|root| File::open(format!("{root}/cgroup.procs")).is_ok());
    let root = root.ok_or(io::ErrorKind::NotFound)?;
    let parent = if is_control() { format!("{root}/newroot-attack") } else { (*root).to_owned() };
    fs::create_dir_all(&parent)?;
    let made = fs::create_dir(format!("{parent}/attack-{number}"));
    if is_control() {
        fs::remove_dir(format!("{parent}/attack-{number}"))?;
        fs::remove_dir(parent)?;
    }
    made
}

fn descriptor(number: usize) -> io::Result<()> {
    if number == 0 {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        limit.rlim_cur = limit.rlim_max;
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
    held(call(libc::SYS_dup, &[0]))
}

/// A descriptor that was sent and not received is nobody's, and open.
fn descriptors_in_flight() -> Outcome {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let file = File::open("/dev/null").unwrap();
    takes(amount(3000), "times 100 descriptors in flight", |_| {
        let mut pair = [0; 2];
        if unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0, pair.as_mut_ptr()) } < 0
        {
            return Err(error());
        }
        let rights = [file.as_raw_fd(); 100];
        let data = [io::IoSlice::new(b"x")];
        sendmsg::<()>(pair[0], &data, &[ControlMessage::ScmRights(&rights)], MsgFlags::empty(), None)?;
        Ok(())
    })
}

fn pseudoterminal() -> io::Result<()> {
    held(call(
        libc::SYS_openat,
        &[libc::AT_FDCWD as usize, c"/dev/ptmx".as_ptr() as usize, (libc::O_RDWR | libc::O_NOCTTY) as usize],
    ))
}

/// All that the machine leaves to labs, with further instances of devpts and by several processes. That is no harm as long as
/// there is one for whoever opens it in a lab's own devpts: so this looks there.
fn pseudoterminals_of_many() -> Outcome {
    /// Together more than there are by default (kernel.pty.max), with fewer descriptors each than a process may have.
    const CHILDREN: usize = 5;
    if is_control() {
        // They are everybody's on the machine.
        return Escaped("not tried there".to_owned());
    }
    let (mut ready, done) = std::io::pipe().unwrap();
    for child in 0..CHILDREN {
        if unsafe { libc::fork() } == 0 {
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let path = format!("/tmp/attack-devpts-{child}");
            let _ = fs::create_dir_all(&path);
            let (target, options) = (string(&path), c"newinstance,ptmxmode=0666");
            unsafe { libc::mount(c"a".as_ptr(), target.as_ptr(), c"devpts".as_ptr(), 0, options.as_ptr().cast()) };
            let mut count = 0u32;
            while let Ok(master) = File::options().read(true).write(true).open(format!("{path}/ptmx")) {
                std::mem::forget(master);
                count += 1;
            }
            let _ = (&done).write_all(&count.to_le_bytes());
            loop {
                unsafe { libc::pause() };
            }
        }
    }
    drop(done);
    let mut counts = [0; 4 * CHILDREN];
    if ready.read_exact(&mut counts).is_err() {
        return Held("the kernel has ended those that took them".to_owned());
    }
    let taken: u32 = counts.chunks(4).map(|count| u32::from_le_bytes(count.try_into().unwrap())).sum();
    match File::options().read(true).write(true).open("/dev/ptmx") {
        Ok(_) => Held(format!("{taken} were had, and the lab's own devpts has still one")),
        Err(error) => Escaped(format!("{taken} were had, and nobody else gets one: {error}")),
    }
}

fn posix_queue(number: usize) -> io::Result<()> {
    let name = string(&format!("newroot-attack-{number}"));
    // The size of a queue counts, not what is in it: ten messages of 8 KiB.
    let queue = call(libc::SYS_mq_open, &[name.as_ptr() as usize, (libc::O_CREAT | libc::O_RDWR) as usize, 0o600, 0]);
    if is_control() {
        let _ = call(libc::SYS_mq_unlink, &[name.as_ptr() as usize]);
    }
    held(queue)
}

fn timer() -> io::Result<()> {
    let mut id = 0i32;
    held(call(libc::SYS_timer_create, &[1, 0, &raw mut id as usize]))
}

fn queued_signal() -> io::Result<()> {
    let mut blocked: libc::sigset_t = unsafe { std::mem::zeroed() };
    unsafe { libc::sigaddset(&mut blocked, 40) };
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &blocked, std::ptr::null_mut()) };
    // struct siginfo: its number and its code, SI_QUEUE.
    let mut info = [0i32; 32];
    (info[0], info[2]) = (40, -1);
    held(call(libc::SYS_rt_sigqueueinfo, &[std::process::id() as usize, 40, info.as_ptr() as usize]))
}

fn locked() -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_LOCKED;
    match unsafe { libc::mmap(std::ptr::null_mut(), MEBIBYTE, protection, kind, -1, 0) } {
        libc::MAP_FAILED => Err(error()),
        _ => Ok(()),
    }
}

fn aio() -> io::Result<()> {
    let mut context = 0usize;
    held(call(libc::SYS_io_setup, &[512, &raw mut context as usize]))
}

/// Each in the next, as deep as it goes.
fn epoll() -> impl FnMut(usize) -> io::Result<()> {
    let mut inner = None::<usize>;
    move |_| {
        let outer = call(libc::SYS_epoll_create1, &[0])?;
        if let Some(inner) = inner {
            let mut event = libc::epoll_event { events: 1, u64: 0 };
            call(libc::SYS_epoll_ctl, &[outer, 1, inner, &raw mut event as usize])?;
        }
        inner = Some(outer);
        Ok(())
    }
}

fn lock(number: usize) -> io::Result<()> {
    let file = File::create(format!("/tmp/attack-lock-{number}"))?;
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    std::mem::forget(file);
    if result < 0 { Err(error()) } else { Ok(()) }
}

fn big_pipe() -> io::Result<()> {
    let mut pipe = [0; 2];
    if unsafe { libc::pipe(pipe.as_mut_ptr()) } < 0 {
        return Err(error());
    }
    match unsafe { libc::fcntl(pipe[1], libc::F_SETPIPE_SZ, MEBIBYTE) } {
        -1 => Err(error()),
        _ => Ok(()),
    }
}
