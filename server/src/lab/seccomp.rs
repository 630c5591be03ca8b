//! The sandbox's system call filter: what a container lab never needs is refused, what Newroot shows is asked about,
//! everything else is allowed (seccomp(2), classic BPF over struct seccomp_data).

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, EAFNOSUPPORT, ENOSYS, EPERM,
    EPROTONOSUPPORT, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_USER_NOTIF, c_long,
    sock_filter,
};

/// Refused with EPERM, each with its reason.
const REFUSED: &[c_long] = &[
    // A program in the kernel: bugs of its verifier are everybody's.
    libc::SYS_bpf,
    // Another kernel in this one's place.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    // Code in the kernel.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    // Keyrings know users, but no containers: they outlive a reset, and their quota is the machine's.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Stops the kernel in the middle of a copy for as long as one likes: half of many exploits.
    libc::SYS_userfaultfd,
    // Counters of the processors, which everybody shares, and a long list of bugs.
    libc::SYS_perf_event_open,
    // Opens files by number, past every directory and root (the way out of containers that was called Shocker); and the
    // call that tells such numbers.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // The machine ends, or a PID namespace does at an unexpected place.
    libc::SYS_reboot,
    // The machine's memory, and where in it something lies.
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // The machine's clocks.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // What the kernel says of the whole machine, addresses included.
    libc::SYS_syslog,
    // Who uses what on the machine's disks, and the accounting of all processes.
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    // Calls that nothing has used for decades, and nobody looks after.
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    // The ports of the hardware.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    // Segments for 16-bit programs, and bugs where they meet everything since.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Answered with ENOSYS, so that programs fall back to calls whose arguments a filter can see.
const UNKNOWN: &[c_long] = &[
    // Its flags lie in memory; clone(2) has them in a register.
    libc::SYS_clone3,
    // System calls that no filter sees.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Sent to the lab process before they happen: the calls that a container is made of.
pub const WATCHED: &[c_long] = &[
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_sethostname,
    libc::SYS_execve,
    libc::SYS_execveat,
];

/// Sent as well, for what the taught runtime is at while it makes no such call. Of all other programs they are let go at
/// once, so there is none among them that a program makes by the thousand.
pub const STEPS: [c_long; 3] = [libc::SYS_connect, RENAME, OPEN.0];

/// The C library's rename(2).
#[cfg(target_arch = "x86_64")]
pub const RENAME: c_long = libc::SYS_rename;
#[cfg(target_arch = "aarch64")]
pub const RENAME: c_long = libc::SYS_renameat;

/// The C library's open(2), and where its flags are. Only a file without a name (O_TMPFILE) is asked about.
#[cfg(target_arch = "x86_64")]
pub const OPEN: (c_long, u32) = (libc::SYS_open, ARGUMENT_1);
#[cfg(target_arch = "aarch64")]
pub const OPEN: (c_long, u32) = (libc::SYS_openat, ARGUMENT_2);

/// O_TMPFILE without O_DIRECTORY, which is a part of it.
const UNNAMED: u32 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;

/// clone(2) flags that make namespaces; a clone without them is not asked about.
const NAMESPACE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWCGROUP) as u32;

/// ioctl(2) requests refused with EPERM: the first two type into a terminal on somebody's behalf, the third puts another
/// protocol's code (a line discipline) behind a terminal, which has been a way into the kernel.
const REFUSED_IOCTLS: [u32; 3] = [libc::TIOCSTI as u32, libc::TIOCLINUX as u32, libc::TIOCSETD as u32];

/// Kinds of sockets that exist for the learner; others are EAFNOSUPPORT, as on a kernel without them. AF_VSOCK would
/// reach the hypervisor from any network namespace; the rest is old code that loads itself at the first call.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Of netlink(7): links and routes, lists of sockets, and news of devices. Others are EPROTONOSUPPORT: above all netfilter,
/// which a root of a user namespace may program, and so has again and again become the machine's.
const NETLINKS: [libc::c_int; 3] = [libc::NETLINK_ROUTE, libc::NETLINK_SOCK_DIAG, libc::NETLINK_KOBJECT_UEVENT];

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

// Offsets in struct seccomp_data: the call's number, the architecture, and the low halves of the first three arguments.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_0: u32 = 16;
const ARGUMENT_1: u32 = 24;
const ARGUMENT_2: u32 = 32;

/// The filter.
pub fn program() -> Vec<sock_filter> {
    let mut program = vec![
        // Another architecture's numbers (32-bit programs) mean other calls.
        load(ARCHITECTURE),
        skip_if(BPF_JEQ, AUDIT_ARCH, 1),
        answer(SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        // x32: 64-bit calls under numbers of their own.
        skip_unless(BPF_JGE, 0x4000_0000, 1),
        answer(SECCOMP_RET_ERRNO | ENOSYS as u32),
    ];
    let mut when = |calls: &[c_long], verdict: u32| {
        for &call in calls {
            program.extend([skip_unless(BPF_JEQ, call as u32, 1), answer(verdict)]);
        }
    };
    when(REFUSED, SECCOMP_RET_ERRNO | EPERM as u32);
    when(UNKNOWN, SECCOMP_RET_ERRNO | ENOSYS as u32);
    when(WATCHED, SECCOMP_RET_USER_NOTIF);
    when(&[libc::SYS_connect, RENAME], SECCOMP_RET_USER_NOTIF);
    program.extend([
        skip_unless(BPF_JEQ, OPEN.0 as u32, 4),
        load(OPEN.1),
        skip_unless(BPF_JSET, UNNAMED, 1),
        answer(SECCOMP_RET_USER_NOTIF),
        answer(SECCOMP_RET_ALLOW),
        skip_unless(BPF_JEQ, libc::SYS_clone as u32, 4),
        load(ARGUMENT_0),
        skip_unless(BPF_JSET, NAMESPACE_FLAGS, 1),
        answer(SECCOMP_RET_USER_NOTIF),
        answer(SECCOMP_RET_ALLOW),
    ]);
    program
        .extend([skip_unless(BPF_JEQ, libc::SYS_ioctl as u32, 1 + 2 * REFUSED_IOCTLS.len() as u8), load(ARGUMENT_1)]);
    for request in REFUSED_IOCTLS {
        program.extend([skip_unless(BPF_JEQ, request, 1), answer(SECCOMP_RET_ERRNO | EPERM as u32)]);
    }
    // The number is loaded again, for the tests above may have loaded something else.
    program.extend([
        load(NUMBER),
        skip_if(BPF_JEQ, libc::SYS_socket as u32, 2),
        skip_if(BPF_JEQ, libc::SYS_socketpair as u32, 1),
        answer(SECCOMP_RET_ALLOW),
        load(ARGUMENT_0),
        skip_unless(BPF_JEQ, libc::AF_NETLINK as u32, 2 + 2 * NETLINKS.len() as u8),
        load(ARGUMENT_2),
    ]);
    for netlink in NETLINKS {
        program.extend([skip_unless(BPF_JEQ, netlink as u32, 1), answer(SECCOMP_RET_ALLOW)]);
    }
    program.push(answer(SECCOMP_RET_ERRNO | EPROTONOSUPPORT as u32));
    for family in FAMILIES {
        program.extend([skip_unless(BPF_JEQ, family as u32, 1), answer(SECCOMP_RET_ALLOW)]);
    }
    program.push(answer(SECCOMP_RET_ERRNO | EAFNOSUPPORT as u32));
    program
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn skip_if(test: u32, value: u32, instructions: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: instructions, jf: 0, k: value }
}

fn skip_unless(test: u32, value: u32, instructions: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: 0, jf: instructions, k: value }
}

fn answer(verdict: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer: the few instructions of classic BPF that the filter uses, one by one.
    fn verdict(architecture: u32, number: c_long, arguments: [u64; 3]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number as u32,
            ARCHITECTURE => architecture,
            ARGUMENT_0 => arguments[0] as u32,
            ARGUMENT_1 => arguments[1] as u32,
            ARGUMENT_2 => arguments[2] as u32,
            other => panic!("the filter reads offset {other}"),
        };
        let (program, mut accumulator, mut next) = (program(), 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[next];
            next += 1;
            let class = u32::from(code) & 0x07;
            if class == BPF_RET {
                return k;
            } else if class == BPF_LD {
                accumulator = word(k);
            } else {
                let holds = match u32::from(code) & 0xf0 {
                    BPF_JEQ => accumulator == k,
                    BPF_JGE => accumulator >= k,
                    BPF_JSET => accumulator & k != 0,
                    other => panic!("the filter jumps by {other:#x}"),
                };
                next += usize::from(if holds { jt } else { jf });
            }
        }
    }

    fn ours(number: c_long, arguments: [u64; 3]) -> u32 {
        verdict(AUDIT_ARCH, number, arguments)
    }

    #[test]
    fn each_call_gets_its_verdict() {
        let (eperm, enosys) = (SECCOMP_RET_ERRNO | EPERM as u32, SECCOMP_RET_ERRNO | ENOSYS as u32);
        for &call in REFUSED {
            assert_eq!(ours(call, [0; 3]), eperm, "call {call}");
        }
        for &call in UNKNOWN {
            assert_eq!(ours(call, [0; 3]), enosys, "call {call}");
        }
        for &call in WATCHED {
            assert_eq!(ours(call, [0; 3]), SECCOMP_RET_USER_NOTIF, "call {call}");
        }
        for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_kill, libc::SYS_exit_group] {
            assert_eq!(ours(call, [0; 3]), SECCOMP_RET_ALLOW, "call {call}");
        }
    }

    #[test]
    fn only_a_clone_that_makes_namespaces_is_asked_about() {
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::SIGCHLD) as u64;
        assert_eq!(ours(libc::SYS_clone, [thread, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(ours(libc::SYS_clone, [thread | libc::CLONE_NEWNS as u64, 0, 0]), SECCOMP_RET_USER_NOTIF);
    }

    #[test]
    fn only_a_file_without_a_name_is_asked_about() {
        let flags = |flags: i32| if OPEN.1 == ARGUMENT_1 { [0, flags as u64, 0] } else { [0, 0, flags as u64] };
        assert_eq!(ours(OPEN.0, flags(libc::O_DIRECTORY | libc::O_RDWR)), SECCOMP_RET_ALLOW);
        assert_eq!(ours(OPEN.0, flags(libc::O_TMPFILE | libc::O_RDWR)), SECCOMP_RET_USER_NOTIF);
    }

    #[test]
    fn nobody_types_into_another_ones_terminal() {
        let refused = SECCOMP_RET_ERRNO | EPERM as u32;
        assert_eq!(ours(libc::SYS_ioctl, [0, libc::TIOCSTI as u64, 0]), refused);
        // The kernel looks at the low half alone; so does the filter.
        assert_eq!(ours(libc::SYS_ioctl, [0, 1 << 32 | libc::TIOCSTI as u64, 0]), refused);
        assert_eq!(ours(libc::SYS_ioctl, [0, libc::TIOCGWINSZ as u64, 0]), SECCOMP_RET_ALLOW);
    }

    #[test]
    fn few_kinds_of_sockets_exist() {
        let verdict_of = |family: libc::c_int, protocol: libc::c_int| {
            let arguments = [family as u64, libc::SOCK_RAW as u64, protocol as u64];
            assert_eq!(ours(libc::SYS_socketpair, arguments), ours(libc::SYS_socket, arguments));
            ours(libc::SYS_socket, arguments)
        };
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
            assert_eq!(verdict_of(family, 0), SECCOMP_RET_ALLOW);
        }
        for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET, libc::AF_BLUETOOTH, 0, -1] {
            assert_eq!(verdict_of(family, 0), SECCOMP_RET_ERRNO | EAFNOSUPPORT as u32, "family {family}");
        }
        for (protocol, allowed) in [(libc::NETLINK_ROUTE, true), (libc::NETLINK_NETFILTER, false), (-1, false)] {
            assert_eq!(verdict_of(libc::AF_NETLINK, protocol) == SECCOMP_RET_ALLOW, allowed, "netlink {protocol}");
        }
    }

    #[test]
    fn other_numberings_of_calls_are_no_way_around() {
        assert_eq!(verdict(0x4000_0003, libc::SYS_read, [0; 3]), SECCOMP_RET_KILL_PROCESS, "32-bit");
        assert_eq!(ours(0x4000_0000 | libc::SYS_bpf, [0; 3]), SECCOMP_RET_ERRNO | ENOSYS as u32, "x32");
    }
}
