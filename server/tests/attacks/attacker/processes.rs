//! Attacks on whoever else is on the machine: its processes, its namespaces, its network.

use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use crate::Outcome::{Escaped, Held};
use crate::{Attack, Outcome, call, error, got, is_control, told};

/// All of them.
pub const ATTACKS: &[Attack] = &[
    ("see-the-server", see_the_server),
    ("signal-the-server", || at_server(|server| call(libc::SYS_kill, &[server, 0]), "it can be signalled")),
    ("trace-the-server", || at_server(|server| call(libc::SYS_ptrace, &[0x4206, server, 0, 0]), "it is traced")),
    ("watch-the-server", || at_server(|server| call(libc::SYS_pidfd_open, &[server, 0]), "it can be watched")),
    ("limits-of-the-server", limits_of_the_server),
    ("memory-of-the-server", memory_of_the_server),
    ("files-of-the-server", files_of_the_server),
    ("namespaces-of-the-server", namespaces_of_the_server),
    ("signal-everybody", signal_everybody),
    ("parent-user-namespace", || parent("user", libc::CLONE_NEWUSER)),
    ("parent-pid-namespace", || parent("pid", libc::CLONE_NEWUSER | libc::CLONE_NEWPID)),
    ("descriptors-of-pid-1", descriptors_of_pid_1),
    ("environment-of-pid-1", environment_of_pid_1),
    ("limits-of-pid-1", limits_of_pid_1),
    ("connect-to-the-server", connect_to_the_server),
    ("connect-to-an-abstract-socket", connect_to_an_abstract_socket),
    ("semaphores-of-others", semaphores_of_others),
];

/// The numbers of a lab's processes may be those of the machine's: it is the server only if it looks like it.
fn is_server(process: usize) -> bool {
    fs::read(format!("/proc/{process}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"serve"))
}

fn server() -> usize {
    told("SERVER").parse().unwrap()
}

fn see_the_server() -> Outcome {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers: Vec<usize> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    match numbers.iter().find(|process| is_server(**process)) {
        Some(process) => Escaped(format!("it is process {process}")),
        None => Held(format!("there are {} processes, and it is none of them", numbers.len())),
    }
}

fn at_server(attack: impl Fn(usize) -> io::Result<usize>, what: &str) -> Outcome {
    match attack(server()) {
        Ok(_) if is_server(server()) => Escaped(what.to_owned()),
        Ok(_) => Held("that is a process of the lab's own".to_owned()),
        Err(error) => Held(error.to_string()),
    }
}

fn limits_of_the_server() -> Outcome {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let limit = &raw mut limit as usize;
    at_server(|server| call(libc::SYS_prlimit64, &[server, 7, 0, limit]), "its limits")
}

fn memory_of_the_server() -> Outcome {
    at_server(|server| File::open(format!("/proc/{server}/mem")).map(|_| 0), "its memory is open")
}

fn files_of_the_server() -> Outcome {
    at_server(|server| fs::read_dir(format!("/proc/{server}/root/")).map(|_| 0), "its root directory")
}

fn namespaces_of_the_server() -> Outcome {
    at_server(
        |server| {
            let namespace = File::open(format!("/proc/{server}/ns/net"))?;
            call(libc::SYS_setns, &[namespace.as_raw_fd() as usize, 0])
        },
        "its network namespace is entered",
    )
}

/// kill(-1, 0) reaches all that one may signal. On the machine, the test's own child is one of them.
fn signal_everybody() -> Outcome {
    match call(libc::SYS_kill, &[-1i32 as usize, 0]) {
        Ok(_) if is_server(server()) => Escaped("the server is among those".to_owned()),
        result => Held(format!("only those of the lab: {result:?}")),
    }
}

/// ioctl_nsfs(2): the namespace above this one.
fn parent(kind: &str, flags: i32) -> Outcome {
    const NS_GET_PARENT: u64 = 0xb702;
    let own = match is_control() {
        false => File::open(format!("/proc/self/ns/{kind}")).unwrap(),
        // Of the machine's own there is none above: a child's is asked about.
        true => below(kind, flags),
    };
    let parent = unsafe { libc::ioctl(own.as_raw_fd(), NS_GET_PARENT as _) };
    got(if parent < 0 { Err(error()) } else { Ok(parent) }, "a namespace of the machine")
}

fn below(kind: &str, flags: i32) -> File {
    let (mut ours, mut theirs) = ([0; 2], [0; 2]);
    unsafe { (libc::pipe(ours.as_mut_ptr()), libc::pipe(theirs.as_mut_ptr())) };
    let (child, byte) = (unsafe { libc::fork() }, [0u8]);
    let end = |fd: RawFd| unsafe { libc::read(fd, byte.as_ptr().cast_mut().cast(), 1) };
    if child == 0 {
        unsafe {
            libc::unshare(flags);
            if flags & libc::CLONE_NEWPID != 0 {
                // The children of who calls unshare(2) are in it.
                libc::fork();
            }
            libc::write(ours[1], byte.as_ptr().cast(), 1);
            libc::close(theirs[1]);
            end(theirs[0]);
            libc::_exit(0)
        }
    }
    end(ours[0]);
    let name = if kind == "pid" { "pid_for_children" } else { kind };
    File::open(format!("/proc/{child}/ns/{name}")).unwrap()
}

/// PID 1 has what the lab process has given to it, and nothing else: its channel, and three times /dev/null.
fn descriptors_of_pid_1() -> Outcome {
    let process = if is_control() { server() } else { 1 };
    let pidfd = match call(libc::SYS_pidfd_open, &[process, 0]) {
        Ok(pidfd) => pidfd,
        Err(error) => return Held(error.to_string()),
    };
    let mut foreign = Vec::new();
    for number in 0..1024usize {
        if call(libc::SYS_pidfd_getfd, &[pidfd, number, 0]).is_err() {
            continue;
        }
        let link = fs::read_link(format!("/proc/{process}/fd/{number}")).unwrap_or_default().display().to_string();
        let is_its_own = ["/dev/null", "/null"].contains(&link.as_str()) || number == 3 && link.starts_with("socket:");
        if !is_its_own {
            foreign.push(format!("{number}={link}"));
        }
    }
    match foreign.is_empty() {
        true => Held("its channel and /dev/null".to_owned()),
        false => Escaped(format!("PID 1 holds {}", foreign.join(" "))),
    }
}

fn environment_of_pid_1() -> Outcome {
    let process = if is_control() { server() } else { 1 };
    match fs::read(format!("/proc/{process}/environ")) {
        Ok(environment) if environment.is_empty() => Held("it has none".to_owned()),
        Ok(environment) => Escaped(format!("{} bytes of the server's environment", environment.len())),
        Err(error) => Held(error.to_string()),
    }
}

/// Who may open more descriptors than this takes the kernel's memory where no cgroup counts it.
fn limits_of_pid_1() -> Outcome {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    match limit.rlim_max {
        most @ ..=1024 => Held(format!("{most} descriptors")),
        most => Escaped(format!("{most} descriptors for each process")),
    }
}

fn connect_to_the_server() -> Outcome {
    got(TcpStream::connect(format!("127.0.0.1:{}", told("PORT"))), "connected to a service of the machine")
}

fn connect_to_an_abstract_socket() -> Outcome {
    let address = SocketAddr::from_abstract_name(told("ABSTRACT")).unwrap();
    got(UnixStream::connect_addr(&address), "connected to a service of the machine")
}

/// Puts a semaphore on the machine, until the end of standard input.
pub fn bait() {
    let key: usize = told("SEMAPHORE").parse().unwrap();
    let id = call(libc::SYS_semget, &[key, 1, libc::IPC_CREAT as usize | 0o666]).unwrap();
    println!("made");
    let _ = io::stdin().read_line(&mut String::new());
    let _ = call(libc::SYS_semctl, &[id, 0, libc::IPC_RMID as usize]);
}

/// System V semaphores have numbers that everybody of an IPC namespace knows.
fn semaphores_of_others() -> Outcome {
    let key: usize = told("SEMAPHORE").parse().unwrap();
    got(call(libc::SYS_semget, &[key, 0, 0]), "a semaphore of the machine's")
}
