//! The filters of system calls: what a container lab never needs does not exist in a sandbox, and what Newroot shows is asked
//! about (seccomp(2)). Which calls programs may make is in `allowed`, what the lab process itself may in `own`.

use libc::{
    BPF_JEQ, EACCES, EAFNOSUPPORT, ENOPROTOOPT, ENOSYS, ENOTTY, EPERM, EPROTONOSUPPORT, SECCOMP_RET_ALLOW,
    SECCOMP_RET_USER_NOTIF, c_long, sock_filter,
};

use crate::defence::{Defence, Defences};
use bpf::{
    ARGUMENT_0, ARGUMENT_1, ARGUMENT_2, answer, any_bit, between, each, each_of_many, errno, for_call, load, mask,
    one_of, open_prologue, prologue, skip_if, skip_unless,
};

mod allowed;
mod bpf;
mod own;

pub use own::program as own_program;

/// Refused with EPERM, each with its reason. All others that are not allowed are answered with ENOSYS, as by a kernel that has
/// never heard of them; so programs fall back to calls whose arguments a filter can see: from clone3(2), whose flags lie in
/// memory, to clone(2), and from io_uring(7), whose calls no filter sees, to plain ones.
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

/// ioctl(2) requests of sockets that make network devices: bridges, VLANs, bonds and tunnels, without any netlink. Each is
/// memory of the kernel's that nobody accounts, and old code that loads itself. ENOTTY, as where there are none.
const DEVICE_IOCTLS: [(u32, u32); 4] = [(0x8940, 0x8941), (0x8982, 0x8983), (0x8990, 0x89af), (0x89e0, 0x89ff)];

/// Kinds of sockets that exist for the learner; others are EAFNOSUPPORT, as on a kernel without them. AF_VSOCK would
/// reach the hypervisor from any network namespace; the memory of AF_NETLINK's unread answers is nobody's, and thousands of
/// such sockets take a machine's; the rest is old code that loads itself at the first call.
const FAMILIES: [u32; 3] = [libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32];

/// Of the internet's protocols those whose buffers the kernel accounts to the lab: TCP and UDP. Raw sockets' are not, nor those
/// of ping's; SCTP, DCCP and the like load themselves.
const INTERNET_PROTOCOLS: [u32; 3] = [0, libc::IPPROTO_TCP as u32, libc::IPPROTO_UDP as u32];
const INTERNET_TYPES: [u32; 2] = [libc::SOCK_STREAM as u32, libc::SOCK_DGRAM as u32];
/// The rest of a socket's type is flags (socket(2), SOCK_NONBLOCK and SOCK_CLOEXEC).
const TYPE_BITS: u32 = 0xf;

/// Options of sockets by which netfilter's old tables are programmed, as iptables-legacy does: a root of a user namespace may,
/// and so has again and again become the machine's. The levels' other options below 64 and above 66 are harmless; multicast
/// routing (from 200 on) is as old and as seldom needed.
const NETFILTER_OPTIONS: [(i32, &[(u32, u32)]); 2] =
    [(libc::IPPROTO_IP, &[(64, 131), (200, 215)]), (libc::IPPROTO_IPV6, &[(64, 65), (68, 69), (80, 80), (200, 215)])];

/// What a filter is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filtered {
    /// The sandbox, where the calls that make containers are asked about.
    Sandbox,
    /// The zygote, and PID 1 until it has the former.
    Zygote,
}

/// The filter. `netfilter` opens what programs it in a lab's own network namespace, by either way.
pub fn program(filtered: Filtered, netfilter: bool, defences: &Defences) -> Vec<sock_filter> {
    if !defences.stand(Defence::Filter) {
        let mut program = open_prologue();
        program.extend(if filtered == Filtered::Sandbox { asks() } else { Vec::new() });
        program.push(answer(SECCOMP_RET_ALLOW));
        return program;
    }
    let mut program = prologue();
    if filtered == Filtered::Sandbox {
        program.extend(asks());
    }
    program.extend(each(REFUSED, errno(EPERM)));
    program.extend(ioctls());
    let netlinks: &[i32] = match (netfilter, defences.stand(Defence::Netlink)) {
        (_, false) => &[libc::NETLINK_ROUTE, libc::NETLINK_NETFILTER, libc::NETLINK_SOCK_DIAG],
        (true, true) => &[libc::NETLINK_NETFILTER],
        (false, true) => &[],
    };
    program.extend(sockets(libc::SYS_socket, netlinks));
    program.extend(sockets(libc::SYS_socketpair, netlinks));
    for call in [libc::SYS_setsockopt, libc::SYS_getsockopt] {
        if !netfilter && defences.stand(Defence::Netfilter) {
            program.extend(for_call(call, options()));
        }
        program.extend(each(&[call], SECCOMP_RET_ALLOW));
    }
    program.extend(each(WATCHED, SECCOMP_RET_ALLOW));
    program.extend(each(&[libc::SYS_clone, libc::SYS_connect, RENAME, OPEN.0], SECCOMP_RET_ALLOW));
    program.extend(each_of_many(&allowed::calls(), SECCOMP_RET_ALLOW));
    program.push(answer(errno(ENOSYS)));
    program
}

/// The calls that the lab process is asked about.
fn asks() -> Vec<sock_filter> {
    let mut program = each(WATCHED, SECCOMP_RET_USER_NOTIF);
    program.extend(each(&[libc::SYS_connect, RENAME], SECCOMP_RET_USER_NOTIF));
    for (call, flags, asked) in [(OPEN.0, OPEN.1, UNNAMED), (libc::SYS_clone, ARGUMENT_0, NAMESPACE_FLAGS)] {
        let mut body = vec![load(flags)];
        body.extend(any_bit(asked, SECCOMP_RET_USER_NOTIF));
        program.extend(for_call(call, body));
    }
    program
}

fn ioctls() -> Vec<sock_filter> {
    let mut body = vec![load(ARGUMENT_1)];
    body.extend(one_of(&REFUSED_IOCTLS, errno(EPERM)));
    body.extend(DEVICE_IOCTLS.iter().flat_map(|&(first, last)| between(first, last, errno(ENOTTY))));
    body.push(answer(SECCOMP_RET_ALLOW));
    for_call(libc::SYS_ioctl, body)
}

/// Which sockets a call may make: by family, and there by type and protocol.
fn sockets(call: c_long, netlinks: &[i32]) -> Vec<sock_filter> {
    // Of the internet: a type, and then a protocol.
    let mut internet = vec![load(ARGUMENT_1), mask(TYPE_BITS)];
    internet.extend([
        skip_if(BPF_JEQ, INTERNET_TYPES[0], 2),
        skip_if(BPF_JEQ, INTERNET_TYPES[1], 1),
        answer(errno(EACCES)),
        load(ARGUMENT_2),
    ]);
    internet.extend(one_of(&INTERNET_PROTOCOLS, SECCOMP_RET_ALLOW));
    internet.push(answer(errno(EPROTONOSUPPORT)));
    let mut netlink = vec![load(ARGUMENT_2)];
    let numbers: Vec<u32> = netlinks.iter().map(|&number| number as u32).collect();
    netlink.extend(one_of(&numbers, SECCOMP_RET_ALLOW));
    netlink.push(answer(errno(if netlinks.is_empty() { EAFNOSUPPORT } else { EPROTONOSUPPORT })));

    let [unix, inet, inet6] = FAMILIES;
    let mut body = vec![load(ARGUMENT_0)];
    body.extend(one_of(&[unix], SECCOMP_RET_ALLOW));
    body.push(skip_unless(BPF_JEQ, libc::AF_NETLINK as u32, netlink.len() as u8));
    body.extend(netlink);
    body.extend([skip_if(BPF_JEQ, inet, 2), skip_if(BPF_JEQ, inet6, 1), answer(errno(EAFNOSUPPORT))]);
    body.extend(internet);
    for_call(call, body)
}

fn options() -> Vec<sock_filter> {
    NETFILTER_OPTIONS
        .iter()
        .flat_map(|(level, ranges)| {
            let mut body = vec![load(ARGUMENT_2)];
            body.extend(ranges.iter().flat_map(|&(first, last)| between(first, last, errno(ENOPROTOOPT))));
            let mut program = vec![load(ARGUMENT_1), skip_unless(BPF_JEQ, *level as u32, body.len() as u8)];
            program.extend(body);
            program
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::bpf::AUDIT_ARCH;
    use super::bpf::tests::verdict;
    use super::*;

    fn ours(number: c_long, arguments: [u64; 3]) -> u32 {
        verdict(&program(Filtered::Sandbox, false, &Defences::default()), AUDIT_ARCH, number, arguments)
    }

    #[test]
    fn each_call_gets_its_verdict() {
        for &call in REFUSED {
            assert_eq!(ours(call, [0; 3]), errno(EPERM), "call {call}");
        }
        for call in
            [libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_setup, libc::SYS_landlock_create_ruleset, 999]
        {
            assert_eq!(ours(call, [0; 3]), errno(ENOSYS), "call {call}");
        }
        for &call in WATCHED {
            assert_eq!(ours(call, [0; 3]), SECCOMP_RET_USER_NOTIF, "call {call}");
        }
        for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_kill, libc::SYS_exit_group, libc::SYS_setsockopt] {
            assert_eq!(ours(call, [0; 3]), SECCOMP_RET_ALLOW, "call {call}");
        }
    }

    #[test]
    fn what_is_refused_is_in_no_list_of_what_is_allowed() {
        let allowed = allowed::calls();
        for call in REFUSED.iter().chain(WATCHED) {
            assert!(!allowed.contains(call), "call {call}");
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
    fn the_zygote_is_asked_about_nothing_and_may_do_no_more() {
        let zygote = program(Filtered::Zygote, false, &Defences::default());
        for call in 0..500 {
            let asked = ours(call, [0; 3]);
            let expected = if asked == SECCOMP_RET_USER_NOTIF { SECCOMP_RET_ALLOW } else { asked };
            assert_eq!(verdict(&zygote, AUDIT_ARCH, call, [0; 3]), expected, "call {call}");
        }
    }

    #[test]
    fn nobody_types_into_another_ones_terminal() {
        let refused = errno(EPERM);
        assert_eq!(ours(libc::SYS_ioctl, [0, libc::TIOCSTI as u64, 0]), refused);
        // The kernel looks at the low half alone; so does the filter.
        assert_eq!(ours(libc::SYS_ioctl, [0, 1 << 32 | libc::TIOCSTI as u64, 0]), refused);
        assert_eq!(ours(libc::SYS_ioctl, [0, libc::TIOCGWINSZ as u64, 0]), SECCOMP_RET_ALLOW);
    }

    #[test]
    fn no_network_device_is_made_by_ioctl() {
        let (add_bridge, add_vlan, flags, add_route) = (0x89a0, 0x8983, 0x8914, 0x890b);
        for request in [add_bridge, add_vlan] {
            assert_eq!(ours(libc::SYS_ioctl, [0, request, 0]), errno(ENOTTY), "{request:#x}");
        }
        for request in [flags, add_route] {
            assert_eq!(ours(libc::SYS_ioctl, [0, request, 0]), SECCOMP_RET_ALLOW, "{request:#x}");
        }
    }

    #[test]
    fn few_kinds_of_sockets_exist() {
        let verdict_of = |family: libc::c_int, kind: libc::c_int, protocol: libc::c_int| {
            let arguments = [family as u64, kind as u64, protocol as u64];
            assert_eq!(ours(libc::SYS_socketpair, arguments), ours(libc::SYS_socket, arguments));
            ours(libc::SYS_socket, arguments)
        };
        let stream = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        assert_eq!(verdict_of(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0), SECCOMP_RET_ALLOW);
        for family in [libc::AF_INET, libc::AF_INET6] {
            assert_eq!(verdict_of(family, stream, 0), SECCOMP_RET_ALLOW);
            assert_eq!(verdict_of(family, libc::SOCK_DGRAM, libc::IPPROTO_UDP), SECCOMP_RET_ALLOW);
            assert_eq!(verdict_of(family, libc::SOCK_RAW, libc::IPPROTO_ICMP), errno(EACCES));
            assert_eq!(verdict_of(family, libc::SOCK_DGRAM, libc::IPPROTO_ICMP), errno(EPROTONOSUPPORT));
            assert_eq!(verdict_of(family, libc::SOCK_STREAM, libc::IPPROTO_SCTP), errno(EPROTONOSUPPORT));
        }
        for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET, libc::AF_NETLINK, libc::AF_BLUETOOTH, 0, -1] {
            assert_eq!(verdict_of(family, libc::SOCK_RAW, 0), errno(EAFNOSUPPORT), "family {family}");
        }
    }

    #[test]
    fn netfilter_is_one_decision_for_both_ways_to_it() {
        let (closed, open) = (
            program(Filtered::Sandbox, false, &Defences::default()),
            program(Filtered::Sandbox, true, &Defences::default()),
        );
        let netlink = [libc::AF_NETLINK as u64, libc::SOCK_RAW as u64, libc::NETLINK_NETFILTER as u64];
        let (ip, ipv6) = (libc::IPPROTO_IP as u64, libc::IPPROTO_IPV6 as u64);
        for (call, arguments) in [
            (libc::SYS_socket, netlink),
            (libc::SYS_setsockopt, [0, ip, 64]),
            (libc::SYS_getsockopt, [0, ip, 80]),
            (libc::SYS_setsockopt, [0, ipv6, 64]),
            (libc::SYS_getsockopt, [0, ipv6, 69]),
        ] {
            assert_ne!(verdict(&closed, AUDIT_ARCH, call, arguments), SECCOMP_RET_ALLOW, "{call} {arguments:?}");
            assert_eq!(verdict(&open, AUDIT_ARCH, call, arguments), SECCOMP_RET_ALLOW, "{call} {arguments:?}");
        }
        let route = [libc::AF_NETLINK as u64, libc::SOCK_RAW as u64, libc::NETLINK_ROUTE as u64];
        assert_eq!(verdict(&open, AUDIT_ARCH, libc::SYS_socket, route), errno(EPROTONOSUPPORT));
        // Other options of the same levels: the traffic class, of IPv4 and IPv6.
        for arguments in [[0, ip, libc::IP_TOS as u64], [0, ipv6, libc::IPV6_TCLASS as u64], [0, 1, 64]] {
            assert_eq!(verdict(&closed, AUDIT_ARCH, libc::SYS_setsockopt, arguments), SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn other_numberings_of_calls_are_no_way_around() {
        let program = program(Filtered::Sandbox, false, &Defences::default());
        let killed = libc::SECCOMP_RET_KILL_PROCESS;
        assert_eq!(verdict(&program, 0x4000_0003, libc::SYS_read, [0; 3]), killed, "32-bit");
        assert_eq!(ours(0x4000_0000 | libc::SYS_bpf, [0; 3]), errno(ENOSYS), "x32");
    }
}
