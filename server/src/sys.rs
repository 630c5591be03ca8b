//! The system calls that neither std nor nix offers safely, each as one small safe function. All `unsafe` of the
//! server lives here (and, for the taught code, in `runtime/process.rs`); no policy does.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::NixPath;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Closes every descriptor except these (close_range(2), Linux 5.9). For fresh forks, which
/// inherit all of them, and fresh programs.
pub fn close_all_but(keep: &mut [RawFd]) -> io::Result<()> {
    keep.sort_unstable();
    let mut first: libc::c_uint = 0;
    for end in keep.iter().map(|&fd| fd as libc::c_uint).chain([libc::c_uint::MAX]) {
        if first < end {
            // SAFETY: only called in a fresh program that owns no descriptor yet, or in a fresh fork that never returns
            // to the code which owns these.
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) })?;
        }
        first = end.saturating_add(1);
    }
    Ok(())
}

/// Makes `fd` the descriptor number `number`, which stays open over exec; closes what was there.
pub fn place(fd: OwnedFd, number: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        let flags = nix::fcntl::FdFlag::empty();
        nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFD(flags))?;
        std::mem::forget(fd);
        return Ok(());
    }
    // SAFETY: dup2(2) takes any two numbers; whoever owned `number` before must not use it again, which holds in the
    // fresh forks and programs that call this to lay out their descriptors.
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), number) })?;
    Ok(())
}

/// Takes over a descriptor that this program was started with. Errors with EBADF where it was not.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only asks.
    Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: it is open, as just seen, and by the caller's word nothing in this program owns it yet.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

/// Watches a descriptor with the running tokio runtime. The descriptor should be non-blocking.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd stays open, and the same, until it is dropped; the AsyncFd takes it over.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// Watches a descriptor for exceptional conditions, as POLLPRI in poll(2).
pub fn watch_priority(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as in `watch`.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::PRIORITY) }?)
}

/// Receives one message and the descriptors that came with it (at most four; they close on exec).
/// 0 bytes means that the other end is closed. A message with more descriptors is InvalidData, and none of them stays open.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    // Not by nix, whose iterator refuses a message with too many descriptors, and leaves open those that fitted.
    // SAFETY: it only computes.
    const SPACE: usize = unsafe { libc::CMSG_SPACE(4 * size_of::<RawFd>() as u32) } as usize;
    // Words, because the kernel wants the headers in it aligned.
    let mut space = [0u64; SPACE.div_ceil(size_of::<u64>())];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all of it is integers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = space.as_mut_ptr().cast();
    header.msg_controllen = SPACE as _;
    // SAFETY: the header leads to one buffer and one control space of the lengths that it tells, which live through this.
    let length =
        Errno::result(unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) })?;
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled the control space as far as it now says; the macros walk it to there.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !control.is_null() {
        // SAFETY: as above; a header of this kind is followed by whole descriptors up to its length.
        unsafe {
            if ((*control).cmsg_level, (*control).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let data = libc::CMSG_DATA(control).cast::<RawFd>();
                let bytes = (*control).cmsg_len as usize - (data as usize - control as usize);
                // The kernel has just made these descriptors for this process; nothing else knows them.
                let fds = (0..bytes / size_of::<RawFd>()).map(|place| data.add(place).read_unaligned());
                descriptors.extend(fds.map(|fd| OwnedFd::from_raw_fd(fd)));
            }
            control = libc::CMSG_NXTHDR(&raw const header, control);
        }
    }
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message with more descriptors than any has"));
    }
    Ok((length as usize, descriptors))
}

/// A clock that sends one thread SIGALRM, which does nothing but end a sleep in a system call with EINTR (signal(7)).
#[derive(Debug)]
pub struct Alarm(libc::c_int);

impl Alarm {
    /// One for this thread. From here on SIGALRM is harmless in this process.
    pub fn of_this_thread() -> io::Result<Alarm> {
        extern "C" fn nothing(_signal: libc::c_int) {}
        // Without SA_RESTART: the call is to end, not to go on.
        let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing, which is safe at any moment.
        unsafe { sigaction(Signal::SIGALRM, &action) }?;
        // SAFETY: the structure is integers and pointers, for which zero is a value.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        event.sigev_notify_thread_id = nix::unistd::gettid().as_raw();
        let mut timer: libc::c_int = 0;
        // SAFETY: the kernel reads the event and writes the timer's number. Not by the C library, which has its own.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw const event, &raw mut timer)
        })?;
        Ok(Alarm(timer))
    }

    /// Rings after `first`, and then after each `again`, until it is set anew. No `first` is never.
    pub fn set(&self, first: Duration, again: Duration) {
        let time = |duration| *TimeSpec::from_duration(duration).as_ref();
        let setting = libc::itimerspec { it_interval: time(again), it_value: time(first) };
        let before = std::ptr::null_mut::<libc::itimerspec>();
        // SAFETY: the kernel reads the setting; the timer is there as long as this process. Both times are well formed, so
        // there is no error.
        unsafe { libc::syscall(libc::SYS_timer_settime, self.0, 0, &raw const setting, before) };
    }
}

/// A descriptor that stands for a process and becomes readable when it ends (pidfd_open(2), Linux 5.3).
pub fn pidfd(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers; the result is a new descriptor or -1.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: new, and known to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Where a file is: which mount, which file system, which inode there.
pub struct Location {
    /// The mount that a path to it led into, as numbered in mountinfo.
    pub mount: u32,
    /// The number of its file system's device.
    pub device: u64,
    /// Its number in that file system.
    pub inode: u64,
    /// What sort of file it is and who may use it, as st_mode.
    pub mode: u32,
    /// Whether it is the root of that mount.
    pub is_mount_point: bool,
}

impl Location {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// The location of the file that a path leads to (statx(2) with STATX_MNT_ID, Linux 5.8).
pub fn locate(path: &Path) -> io::Result<Location> {
    const WANTED: libc::c_uint = libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_INO | libc::STATX_MNT_ID;
    // SAFETY: the structure is all integers, for which zero is a value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a NUL-terminated string that lives through the call, which writes one structure of this size.
    let result =
        path.with_nix_path(|path| unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), 0, WANTED, &raw mut found) })?;
    Errno::result(result)?;
    let device = libc::makedev(found.stx_dev_major, found.stx_dev_minor);
    // The kernel numbers mounts by an int; the field is wider for the unique numbers that another flag asks for.
    let mount = u32::try_from(found.stx_mnt_id).map_err(|_| Errno::EOVERFLOW)?;
    let is_mount_point = found.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0;
    Ok(Location { mount, device, inode: found.stx_ino, mode: u32::from(found.stx_mode), is_mount_point })
}

/// Attributes of a mount for [`set_mount_attributes`], as in mount_setattr(2).
pub mod mount_attribute {
    pub use libc::{MOUNT_ATTR_IDMAP as IDMAP, MOUNT_ATTR_NODEV as NODEV, MOUNT_ATTR_NOEXEC as NOEXEC};
    pub use libc::{MOUNT_ATTR_NOSUID as NOSUID, MOUNT_ATTR_RDONLY as RDONLY};
}

/// A detached copy of the mount at `path`, as bind mounting makes it (open_tree(2), Linux 5.2).
pub fn clone_mount(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a NUL-terminated string that lives through the call.
    let fd =
        path.with_nix_path(|path| unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
    // SAFETY: a new descriptor, known to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(Errno::result(fd)? as RawFd) })
}

/// A mount of a new file system that is attached nowhere yet (fsopen(2), Linux 5.2): of this type, with these options, and with
/// these [`mount_attribute`]s.
pub fn new_mount(fs_type: &CStr, options: &[(&CStr, Option<&CStr>)], attributes: u64) -> io::Result<OwnedFd> {
    const FSCONFIG_SET_FLAG: libc::c_uint = 0;
    const FSCONFIG_SET_STRING: libc::c_uint = 1;
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    let nothing: *const libc::c_char = std::ptr::null();
    // SAFETY: all strings are NUL-terminated and live through the calls; each new descriptor is known to nobody else.
    unsafe {
        let context = Errno::result(libc::syscall(libc::SYS_fsopen, fs_type.as_ptr(), 1))?;
        let context = OwnedFd::from_raw_fd(context as RawFd);
        let configure = |command: libc::c_uint, key: *const libc::c_char, value: *const libc::c_char| {
            Errno::result(libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0))
        };
        for (key, value) in options {
            match value {
                Some(value) => configure(FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr())?,
                None => configure(FSCONFIG_SET_FLAG, key.as_ptr(), nothing)?,
            };
        }
        configure(FSCONFIG_CMD_CREATE, nothing, nothing)?;
        let mount = Errno::result(libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, attributes))?;
        Ok(OwnedFd::from_raw_fd(mount as RawFd))
    }
}

/// Sets attributes on a detached mount (mount_setattr(2), Linux 5.12). With `IDMAP`, `user_namespace` gives the mapping.
pub fn set_mount_attributes(mount: &OwnedFd, attributes: u64, user_namespace: Option<&OwnedFd>) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: the path is the empty string (the descriptor itself is meant), and the structure's size is told.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Puts a detached mount in its place (move_mount(2), Linux 5.2).
pub fn attach_mount(mount: &OwnedFd, target: &Path) -> io::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
    // SAFETY: both strings are NUL-terminated and live through the call.
    let result = target.with_nix_path(|target| unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    Errno::result(result)?;
    Ok(())
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3` of capget(2): 64-bit sets, in two halves.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Makes every permitted capability effective again, as after a change of the effective user.
pub fn raise_capabilities() -> io::Result<()> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: version 3 reads the header and writes exactly two sets.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    for half in &mut sets {
        half.effective = half.permitted;
    }
    // SAFETY: as above; only read.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })?;
    Ok(())
}

/// Lets this thread read every file and search every directory, as far as it is permitted to.
pub fn raise_reading() -> io::Result<()> {
    /// CAP_DAC_READ_SEARCH of capabilities(7).
    const READ_SEARCH: u32 = 1 << 2;
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: version 3 reads the header and writes exactly two sets.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    sets[0].effective |= sets[0].permitted & READ_SEARCH;
    // SAFETY: as above; only read.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })?;
    Ok(())
}

/// Empties the effective, permitted and inheritable sets of this thread.
pub fn drop_capabilities() -> io::Result<()> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let sets = [CapabilitySets::default(); 2];
    // SAFETY: version 3 reads the header and exactly two sets.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })?;
    Ok(())
}

/// Empties the bounding set, so that no program executed later can gain a capability (capabilities(7)).
pub fn drop_bounding_set() -> io::Result<()> {
    bound_capabilities(&[])
}

/// Drops all capabilities but these numbers, from every set; what is executed later has no others, either.
pub fn keep_capabilities(kept: &[u32]) -> io::Result<()> {
    bound_capabilities(kept)?;
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: version 3 reads the header and writes exactly two sets.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    let all = kept.iter().fold(0, |all, number| all | 1_u64 << number);
    for (half, mask) in sets.iter_mut().zip([all as u32, (all >> 32) as u32]) {
        half.effective &= mask;
        half.permitted &= mask;
        half.inheritable = 0;
    }
    // SAFETY: as above; only read.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })?;
    Ok(())
}

fn bound_capabilities(kept: &[u32]) -> io::Result<()> {
    for capability in (0..=63_u32).filter(|number| !kept.contains(number)) {
        // SAFETY: takes integers only.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }) {
            // A number that this kernel does not know: the last one was before it.
            Err(Errno::EINVAL) => break,
            other => other?,
        };
    }
    Ok(())
}

/// Sets the loopback interface of the current network namespace up (netdevice(7)).
pub fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is a valid one: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    // SAFETY: both calls get a live socket and a whole ifreq, whose flags member the first one fills.
    unsafe {
        Errno::result(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as libc::Ioctl, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        Errno::result(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw mut request))?;
    }
    Ok(())
}

/// The file that this process is executed from, mapped into memory for as long as the process lives.
pub fn own_program() -> io::Result<&'static [u8]> {
    let file = File::open("/proc/self/exe")?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let (nowhere, read, private) = (std::ptr::null_mut(), libc::PROT_READ, libc::MAP_PRIVATE);
    // SAFETY: a new mapping, which nobody ever takes away; nor does its content change, for nobody can write to, or cut
    // short, a program that is being executed (ETXTBSY).
    unsafe {
        let start = libc::mmap(nowhere, length, read, private, file.as_raw_fd(), 0);
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(std::slice::from_raw_parts(start.cast(), length))
    }
}

/// Sets every realtime signal to its default action (signal(7)), also those that the C library keeps for itself and so does not
/// let through. A thread library's threads must not exist yet.
pub fn default_realtime_signals() -> io::Result<()> {
    /// The kernel's own structure, which is all zeros for SIG_DFL without flags and mask.
    const DEFAULT: [u64; 4] = [0; 4];
    const MASK_BYTES: usize = 8;
    for signal in 32..=64 {
        let nothing: *const u64 = std::ptr::null();
        // SAFETY: reads one structure of four words and writes nothing; SIG_DFL calls no code of ours.
        Errno::result(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), nothing, MASK_BYTES) })?;
    }
    Ok(())
}

/// Takes the execution domain that programs have unless somebody asks for another (personality(2)): addresses at random
/// places, nothing executable that was only to be read.
pub fn usual_personality() -> io::Result<()> {
    // SAFETY: personality takes a number alone; 0 is PER_LINUX.
    Errno::result(unsafe { libc::personality(0) })?;
    Ok(())
}

/// Clears what keeps capabilities over changes of the user (capabilities(7), "The securebits flags"). Errors with EPERM where
/// they are locked.
pub fn no_securebits() -> io::Result<()> {
    // SAFETY: both take numbers alone.
    unsafe {
        if Errno::result(libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0))? != 0 {
            Errno::result(libc::prctl(libc::PR_SET_SECUREBITS, 0, 0, 0, 0))?;
        }
    }
    Ok(())
}

/// Lets timers be as exact as by default (PR_SET_TIMERSLACK in prctl(2)).
pub fn usual_timer_slack() -> io::Result<()> {
    // SAFETY: takes numbers alone; 0 is what the thread was started with, after an execve(2) what it was given then.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 50_000, 0, 0, 0) })?;
    Ok(())
}

/// Takes the usual scheduling policy (sched(7)) and I/O priority (ioprio_set(2)), and gives up a niceness below 0; one above
/// stays, for it was somebody's wish and to undo it takes a privilege.
pub fn usual_priority() -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: an all-zero sched_param is one: priority 0, which is what SCHED_OTHER wants.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the first reads one sched_param, the others take numbers alone; 0 is the calling process.
    unsafe {
        let policy = Errno::result(libc::syscall(libc::SYS_sched_getscheduler, 0))?;
        if policy == libc::c_long::from(libc::SCHED_FIFO) || policy == libc::c_long::from(libc::SCHED_RR) {
            let other = libc::SCHED_OTHER;
            Errno::result(libc::syscall(libc::SYS_sched_setscheduler, 0, other, &raw const parameters))?;
        }
        Errno::result(libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0))?;
        // The call itself answers 20 less the niceness (getpriority(2), "C library/kernel differences").
        if Errno::result(libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0))? > 20 {
            Errno::result(libc::setpriority(libc::PRIO_PROCESS, 0, 0))?;
        }
    }
    Ok(())
}

/// Leaves the session keyring of whoever started this process for a new one (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING). A
/// kernel or a container engine without keyrings has none to leave.
pub fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: without a name it takes no pointer but a null one.
    let joined = Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0) });
    match joined {
        Err(Errno::ENOSYS | Errno::EPERM) | Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Says whether other processes of the same user may trace this one and own its files in /proc (PR_SET_DUMPABLE).
pub fn set_traceable(traceable: bool) -> io::Result<()> {
    // SAFETY: takes numbers alone.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(traceable), 0, 0, 0) })?;
    Ok(())
}

/// Lets this thread give way to those of a smaller niceness (setpriority(2): on Linux, that of a thread).
pub fn be_nice(niceness: i32) -> io::Result<()> {
    // SAFETY: setpriority takes numbers alone; 0 is the calling thread.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) })?;
    Ok(())
}

/// Tells a pseudoterminal its size; its foreground process group gets SIGWINCH (ioctl_tty(2)).
pub fn set_window_size(terminal: impl AsFd, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize.
    Errno::result(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })?;
    Ok(())
}

/// Opens the other side of a pseudoterminal by its master side, without making it a controlling terminal (ioctl_tty(2),
/// Linux 4.13): by its path it could not be found from outside its mount namespace.
pub fn pseudoterminal_peer(master: impl AsFd) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: TIOCGPTPEER takes flags as of open(2), and no pointer.
    let fd =
        Errno::result(unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCGPTPEER as libc::Ioctl, flags) })?;
    // SAFETY: a new descriptor, known to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Installs a seccomp filter for this thread and everything it will start; returns the descriptor on which the calls
/// that the filter answers with `SECCOMP_RET_USER_NOTIF` arrive. Needs CAP_SYS_ADMIN in the user namespace.
///
/// `WAIT_KILLABLE_RECV` (Linux 5.19): once a call was received, only a deadly signal takes it back, so that the
/// supervisor's CONTINUE and a signal handler cannot make a call happen twice.
pub fn install_filter(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let fd = set_filter(program, flags)?;
    // SAFETY: a new descriptor, known to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// The same for a filter that answers by itself. Needs CAP_SYS_ADMIN in the user namespace, or no_new_privs.
pub fn install_silent_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    Ok(set_filter(program, 0).map(drop)?)
}

fn set_filter(program: &[libc::sock_filter], flags: libc::c_ulong) -> nix::Result<libc::c_long> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, whose length is told; a bad one is refused with EINVAL.
    Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) })
}

/// A system call that waits for the supervisor's answer.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// Names the waiting call on its descriptor.
    pub id: u64,
    /// The thread, as numbered in the receiver's PID namespace.
    pub thread: Pid,
    /// The call's number on this architecture.
    pub number: libc::c_long,
    /// Its arguments, as they stand in registers.
    pub arguments: [u64; 6],
}

/// Takes the next waiting call. Errors with ENOENT where its thread was killed meanwhile; blocks where none waits.
pub fn receive_notification(listener: impl AsFd) -> io::Result<Notification> {
    // SAFETY: an all-zero seccomp_notif is valid, and the kernel demands it zeroed.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the ioctl writes one seccomp_notif, whose size is part of its number.
    Errno::result(unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification)
    })?;
    Ok(Notification {
        id: notification.id,
        thread: Pid::from_raw(notification.pid as i32),
        number: libc::c_long::from(notification.data.nr),
        arguments: notification.data.args,
    })
}

/// Whether a call still waits: if not, its thread was killed, and the thread's number may be another one's by now.
pub fn is_waiting(listener: impl AsFd, id: u64) -> bool {
    // SAFETY: the ioctl reads one number, whose size is part of its own.
    unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
}

/// Lets a waiting call happen as it was made. Errors with ENOENT where its thread was killed meanwhile.
pub fn continue_call(listener: impl AsFd, id: u64) -> io::Result<()> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags })
}

/// Has a waiting call start over, as after a signal that no program sees. Only for a thread that a tracer has interrupted:
/// without a stop that is due the program would see the kernel's own errno.
pub fn restart_call(listener: impl AsFd, id: u64) -> io::Result<()> {
    /// `linux/errno.h` has it, for the kernel alone.
    const ERESTARTNOINTR: i32 = 513;
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: -ERESTARTNOINTR, flags: 0 })
}

fn respond(listener: impl AsFd, mut response: libc::seccomp_notif_resp) -> io::Result<()> {
    // SAFETY: the ioctl reads one seccomp_notif_resp, whose size is part of its number.
    Errno::result(unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response)
    })?;
    Ok(())
}

/// The result of the system call after which a traced thread has just stopped: a value, or an errno.
pub fn result_of_call(thread: Pid) -> nix::Result<i64> {
    let registers = nix::sys::ptrace::getregs(thread)?;
    #[cfg(target_arch = "x86_64")]
    let value = registers.rax as i64;
    #[cfg(target_arch = "aarch64")]
    let value = registers.regs[0] as i64;
    if (-4095..0).contains(&value) { Err(Errno::from_raw(-value as i32)) } else { Ok(value) }
}

/// execve(2) with arguments that are known when this is compiled. Returns only the error.
pub fn exec(program: &CStr, arguments: &[&CStr]) -> io::Error {
    match nix::unistd::execve(program, arguments, &[] as &[&CStr]) {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}
