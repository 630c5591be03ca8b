//! Attacks of one system call each: what the filter refuses, and what only the machine's root may.

use std::io;
use std::mem::zeroed;

use crate::Outcome::{Escaped, Held};
use crate::{Attack, Outcome, call, error, got, reached, string};

/// All of them.
pub const ATTACKS: &[Attack] = &[
    ("keys-add", keys_add),
    ("keys-session", keys_session),
    ("userfaultfd", || got(call(libc::SYS_userfaultfd, &[1]), "faults that wait in the kernel")),
    ("io-uring", io_uring),
    ("aio-slots", aio_slots),
    ("clone3-unseen", clone3_unseen),
    ("file-handles", file_handles),
    ("open-by-handle", open_by_handle),
    ("perf-counters", perf_counters),
    ("segments", segments),
    ("interrupt-80", interrupt_80),
    ("move-pages", || reached(call(libc::SYS_move_pages, &[0]))),
    ("migrate-pages", || reached(call(libc::SYS_migrate_pages, &[0]))),
    ("sysfs-call", || reached(call(libc::SYS_sysfs, &[3]))),
    ("ustat-call", || reached(call(libc::SYS_ustat, &[0, 0]))),
    ("reboot", || reached(call(libc::SYS_reboot, &[0xfee1_dead, 672_274_793, 0]))),
    ("bpf-program", bpf_program),
    ("kernel-log", || reached(call(libc::SYS_syslog, &[10]))),
    ("clock-tick", clock_tick),
    ("swapon", || reached(call(libc::SYS_swapon, &[string("/nonexistent").as_ptr() as usize, 0]))),
    ("accounting", || reached(call(libc::SYS_acct, &[string("/nonexistent").as_ptr() as usize]))),
    ("load-module", || reached(call(libc::SYS_init_module, &[0, 0, string("").as_ptr() as usize]))),
    ("kexec", || reached(call(libc::SYS_kexec_load, &[0, 1 << 20, 0, 0]))),
    ("io-ports", || got(call(libc::SYS_iopl, &[3]), "all ports of the hardware")),
    ("fanotify", || got(call(libc::SYS_fanotify_init, &[4, 0]), "may refuse what others open")),
    ("nice-below-zero", || got(call(libc::SYS_setpriority, &[0, 0, -20i32 as usize]), "before all others")),
    ("real-time", real_time),
    ("io-priority", || got(call(libc::SYS_ioprio_set, &[1, 0, 1 << 13]), "the disk before all others")),
    ("socket-vsock", || socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    ("socket-packet", || socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
    ("socket-alg", || socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ("socket-key", || socket(libc::AF_KEY, libc::SOCK_RAW, 2)),
    ("socket-xdp", || socket(libc::AF_XDP, libc::SOCK_RAW, 0)),
    ("socket-nfnetlink", || socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER)),
    ("socket-xfrm", || socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_XFRM)),
    ("socket-generic", || socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_GENERIC)),
    ("socket-audit", || socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT)),
    ("netfilter-by-option", netfilter_by_option),
];

fn keys_add() -> Outcome {
    let (kind, name) = (string("user"), string("newroot-attack"));
    let arguments = [kind.as_ptr() as usize, name.as_ptr() as usize, name.as_ptr() as usize, 1, -1i32 as usize];
    got(call(libc::SYS_add_key, &arguments), "a key that outlives the machine")
}

fn keys_session() -> Outcome {
    got(call(libc::SYS_keyctl, &[1, string("newroot-attack").as_ptr() as usize]), "a keyring of the machine's quota")
}

fn io_uring() -> Outcome {
    let parameters = [0u64; 15];
    got(call(libc::SYS_io_uring_setup, &[8, parameters.as_ptr() as usize]), "calls that no filter sees")
}

/// Asynchronous requests are counted for the whole machine (/proc/sys/fs/aio-max-nr).
fn aio_slots() -> Outcome {
    let mut context = 0usize;
    got(call(libc::SYS_io_setup, &[64, &raw mut context as usize]), "slots that all of the machine shares")
}

/// Namespaces whose making nobody is asked about: the flags are in memory.
fn clone3_unseen() -> Outcome {
    let mut arguments = [0u64; 11];
    arguments[0] = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS) as u64;
    arguments[4] = libc::SIGCHLD as u64;
    match call(libc::SYS_clone3, &[arguments.as_ptr() as usize, 88]) {
        Ok(0) => unsafe { libc::_exit(0) },
        result => got(result, "namespaces that the trace does not know"),
    }
}

#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; 128],
}

fn file_handles() -> Outcome {
    let mut handle = Handle { bytes: 0, kind: 0, handle: [0; 128] };
    let mut mount = 0;
    let path = string("/");
    let arguments =
        [libc::AT_FDCWD as usize, path.as_ptr() as usize, &raw mut handle as usize, &raw mut mount as usize, 0];
    reached(call(libc::SYS_name_to_handle_at, &arguments))
}

/// Shocker: inode 2 is the root of whatever file system the descriptor is on.
fn open_by_handle() -> Outcome {
    let mut handle = Handle { bytes: 8, kind: 1, handle: [0; 128] };
    handle.handle[0] = 2;
    let directory = unsafe { libc::open(string("/").as_ptr(), libc::O_RDONLY) };
    reached(call(libc::SYS_open_by_handle_at, &[directory as usize, &raw mut handle as usize, 0]))
}

fn perf_counters() -> Outcome {
    // struct perf_event_attr: a software event, the task's clock, of this process in user mode.
    let mut attributes = [0u32; 32];
    (attributes[0], attributes[1], attributes[2]) = (1, 128, 1);
    attributes[10] = 1 << 5 | 1 << 6;
    got(
        call(libc::SYS_perf_event_open, &[attributes.as_ptr() as usize, 0, -1i32 as usize, -1i32 as usize, 0]),
        "a counter",
    )
}

fn segments() -> Outcome {
    let mut table = [0u8; 64];
    got(call(libc::SYS_modify_ldt, &[0, table.as_mut_ptr() as usize, 64]), "the table of segments")
}

/// 32-bit calls have other numbers: 20 is getpid there.
fn interrupt_80() -> Outcome {
    let mut result: u64 = 20;
    unsafe { std::arch::asm!("int 0x80", inout("rax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _) };
    match result as u32 == std::process::id() {
        true => Escaped("32-bit calls".to_owned()),
        false => Held(format!("the answer is {:?}", result as i32)),
    }
}

fn bpf_program() -> Outcome {
    // mov r0, 0; exit
    let program: [u64; 2] = [0xb7, 0x95];
    let licence = string("GPL");
    let mut attributes = [0u64; 16];
    attributes[0] = 1 | (program.len() as u64) << 32;
    attributes[1] = program.as_ptr() as u64;
    attributes[2] = licence.as_ptr() as u64;
    got(call(libc::SYS_bpf, &[5, attributes.as_ptr() as usize, 128]), "a program in the kernel")
}

/// Sets the length of the clock's tick to what it is.
fn clock_tick() -> Outcome {
    let mut clock: libc::timex = unsafe { zeroed() };
    if let Err(error) = call(libc::SYS_adjtimex, &[&raw mut clock as usize]) {
        return Held(error.to_string());
    }
    clock.modes = libc::ADJ_TICK;
    got(call(libc::SYS_adjtimex, &[&raw mut clock as usize]), "the machine's clock")
}

fn real_time() -> Outcome {
    let parameter = libc::sched_param { sched_priority: 1, ..unsafe { zeroed() } };
    got(call(libc::SYS_sched_setscheduler, &[0, 1, &raw const parameter as usize]), "before all others")
}

fn socket(family: i32, kind: i32, protocol: i32) -> Outcome {
    got(call(libc::SYS_socket, &[family as usize, kind as usize, protocol as usize]), "a socket of that kind")
}

/// iptables-legacy programs netfilter by options of any socket: here it asks for the table `filter`, which is made by that.
fn netfilter_by_option() -> Outcome {
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
    if socket < 0 {
        return Held(error().to_string());
    }
    const IPT_SO_GET_INFO: i32 = 64;
    let mut info = [0u8; 84];
    info[..6].copy_from_slice(b"filter");
    let mut length = info.len() as u32;
    let result = unsafe {
        libc::getsockopt(socket, libc::IPPROTO_IP, IPT_SO_GET_INFO, info.as_mut_ptr().cast(), &raw mut length)
    };
    let result = if result < 0 { Err(error()) } else { Ok(()) };
    got::<()>(result.map_err(|error: io::Error| error), "the table of the packet filter")
}
