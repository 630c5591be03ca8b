//! What the sandbox's filter of system calls refuses, tried from inside a lab by programs of a few bytes each: their
//! exit status is the errno.

use std::collections::BTreeMap;

use libc::{EACCES, EAFNOSUPPORT, ENOPROTOOPT, ENOSYS, ENOTTY, EPERM, EPROTONOSUPPORT, c_int, c_long};
use tar::EntryType;

use crate::common::playground::{HOST, Playground};
use crate::common::{Layer, Registry, busybox};

/// The way into the kernel.
#[derive(Clone, Copy)]
enum Entry {
    Syscall,
    Interrupt80,
}

/// A static program that makes one system call with three arguments, and exits with its errno.
fn probe(entry: Entry, number: u32, arguments: [u32; 3]) -> Vec<u8> {
    // Where it is loaded: the whole file, headers and all.
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let mut code = vec![];
    let mut load = |opcode: u8, value: u32| {
        code.push(opcode);
        code.extend(value.to_le_bytes());
    };
    let (first, second, third) = match entry {
        Entry::Syscall => (0xbf, 0xbe, 0xba),     // mov edi, esi, edx
        Entry::Interrupt80 => (0xbb, 0xb9, 0xba), // mov ebx, ecx, edx
    };
    for (opcode, value) in [(0xb8, number), (first, arguments[0]), (second, arguments[1]), (third, arguments[2])] {
        load(opcode, value);
    }
    // xor r10d, r10d; xor r8d, r8d; xor r9d, r9d
    code.extend([0x45, 0x31, 0xd2, 0x45, 0x31, 0xc0, 0x45, 0x31, 0xc9]);
    code.extend(match entry {
        Entry::Syscall => [0x0f, 0x05],
        Entry::Interrupt80 => [0xcd, 0x80],
    });
    // neg eax; mov edi, eax; mov eax, 60 (exit); syscall
    code.extend([0xf7, 0xd8, 0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
    // elf(5): a header, one segment that may be read and executed, the code.
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    program.extend([BASE + HEADERS, 64, 0].map(u64::to_le_bytes).concat());
    program.extend(0u32.to_le_bytes());
    program.extend([64u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    program.extend([1u32, 5].map(u32::to_le_bytes).concat());
    let size = HEADERS + code.len() as u64;
    program.extend([0, BASE, BASE, size, size, 0x1000].map(u64::to_le_bytes).concat());
    program.extend(code);
    program
}

struct Probe {
    name: String,
    program: Vec<u8>,
    status: c_int,
}

fn probes() -> Vec<Probe> {
    let mut probes = Vec::new();
    let mut add = |name: &str, entry, number: c_long, arguments: [c_int; 3], status| {
        let program = probe(entry, number as u32, arguments.map(|argument| argument as u32));
        probes.push(Probe { name: name.to_owned(), program, status });
    };
    macro_rules! refused {
        ($($call:ident)*) => { [$((stringify!($call), libc::$call)),*] };
    }
    // Arguments of zero do no harm anywhere: nobody gets further than a check of them, should the filter have a hole.
    for (name, number) in refused! {
        SYS_bpf SYS_kexec_load SYS_kexec_file_load SYS_init_module SYS_finit_module SYS_delete_module SYS_add_key
        SYS_request_key SYS_keyctl SYS_userfaultfd SYS_perf_event_open SYS_open_by_handle_at SYS_name_to_handle_at
        SYS_reboot SYS_swapon SYS_swapoff SYS_migrate_pages SYS_move_pages SYS_settimeofday SYS_clock_settime
        SYS_clock_adjtime SYS_adjtimex SYS_syslog SYS_quotactl SYS_quotactl_fd SYS_acct SYS_lookup_dcookie
        SYS_nfsservctl SYS_uselib SYS_ustat SYS_sysfs SYS_iopl SYS_ioperm SYS_modify_ldt
    } {
        add(name, Entry::Syscall, number, [0; 3], EPERM);
        // The same by the numbers of x32, which are those of 64 bits with one bit more.
        add(&format!("x32-{name}"), Entry::Syscall, number | 0x4000_0000, [0; 3], ENOSYS);
    }
    for (name, number) in refused! {
        SYS_clone3 SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register SYS_io_setup SYS_io_submit SYS_kcmp
        SYS_fanotify_init SYS_landlock_create_ruleset SYS_memfd_secret SYS_remap_file_pages SYS_vhangup SYS_mbind
    } {
        add(name, Entry::Syscall, number, [0; 3], ENOSYS);
    }
    for (name, request) in [("TIOCSTI", libc::TIOCSTI), ("TIOCLINUX", libc::TIOCLINUX), ("TIOCSETD", libc::TIOCSETD)] {
        add(name, Entry::Syscall, libc::SYS_ioctl, [0, request as c_int, 0], EPERM);
    }
    let raw = libc::SOCK_RAW;
    for (name, family) in
        [("vsock", libc::AF_VSOCK), ("alg", libc::AF_ALG), ("packet", libc::AF_PACKET), ("netlink", libc::AF_NETLINK)]
    {
        add(name, Entry::Syscall, libc::SYS_socket, [family, raw, 0], EAFNOSUPPORT);
    }
    add("netfilter", Entry::Syscall, libc::SYS_socket, [libc::AF_NETLINK, raw, libc::NETLINK_NETFILTER], EAFNOSUPPORT);
    add("raw", Entry::Syscall, libc::SYS_socket, [libc::AF_INET, raw, libc::IPPROTO_ICMP], EACCES);
    let sctp = [libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_SCTP];
    add("sctp", Entry::Syscall, libc::SYS_socket, sctp, EPROTONOSUPPORT);
    for (name, call, level, option) in [
        ("iptables-set", libc::SYS_setsockopt, libc::IPPROTO_IP, 64),
        ("iptables-get", libc::SYS_getsockopt, libc::IPPROTO_IP, 64),
        ("arptables-set", libc::SYS_setsockopt, libc::IPPROTO_IP, 96),
        ("ebtables-set", libc::SYS_setsockopt, libc::IPPROTO_IP, 128),
        ("ip6tables-set", libc::SYS_setsockopt, libc::IPPROTO_IPV6, 64),
        ("multicast-routing", libc::SYS_setsockopt, libc::IPPROTO_IP, 200),
    ] {
        add(name, Entry::Syscall, call, [0, level, option], ENOPROTOOPT);
    }
    // SIOCBRADDBR and SIOCSIFVLAN (linux/sockios.h).
    for (name, request) in [("bridge", 0x89a0), ("vlan", 0x8983)] {
        add(name, Entry::Syscall, libc::SYS_ioctl, [0, request, 0], ENOTTY);
    }
    // 32-bit programs' getpid: SIGSYS, or SIGSEGV where the kernel has no such entry at all.
    add("interrupt-80", Entry::Interrupt80, 20, [0; 3], -1);
    // And what must work: a probe that always fails would prove nothing.
    add("getuid", Entry::Syscall, libc::SYS_getuid, [0; 3], 0);
    add("ptrace", Entry::Syscall, libc::SYS_ptrace, [libc::PTRACE_TRACEME, 0, 0], 0);
    add("unshare", Entry::Syscall, libc::SYS_unshare, [libc::CLONE_NEWNS, 0, 0], 0);
    add("nothing-there", Entry::Syscall, libc::SYS_chroot, [0; 3], libc::EFAULT);
    probes
}

#[tokio::test]
async fn each_refused_call_answers_what_is_promised() {
    let probes = probes();
    let mut layer = Layer::new().directory("probes");
    for Probe { name, program, .. } in &probes {
        layer = layer.entry(EntryType::Regular, &format!("probes/{name}"), 0o755, "", program);
    }
    let registry = Registry::start();
    registry.push("library/probes:latest", &[busybox().gzip(), layer.gzip()]);
    let playground = Playground::start(Some(&registry.url()));
    let mut page = playground.open(&playground.new_cookie()).await;
    assert!(page.output_of(HOST, "newroot pull probes").await.contains("Pulling done"));
    let command = "cd /fs/probes/rootfs/probes; for p in *; do ./$p; echo \"$p=$?\"; done 2>/dev/null; cd";
    let said = page.output_of(HOST, command).await;
    // The echo of the command has an `=` too, but no number.
    let pair = |line: &'_ str| {
        line.trim().split_once('=').and_then(|(name, status)| Some((name.to_owned(), status.parse().ok()?)))
    };
    let statuses: BTreeMap<String, c_int> = said.lines().filter_map(pair).collect();
    for Probe { name, status, .. } in &probes {
        let found = statuses.get(name).copied();
        match status {
            -1 => assert!(
                found.is_some_and(|found| [128 + libc::SIGSYS, 128 + libc::SIGSEGV].contains(&found)),
                "{name}: {found:?}"
            ),
            status => assert_eq!(found, Some(*status), "{name}"),
        }
    }
    println!("{} programs tried, 32-bit entry: {:?}", probes.len(), statuses["interrupt-80"]);
}
