//! The filter of the lab process itself, for the day that somebody takes it over: what serving a lab needs, and nothing that
//! makes a process, a namespace, a mount or a connection.

use libc::{ENOSYS, EPERM, SECCOMP_RET_ALLOW, c_long, sock_filter};

use super::bpf::{ARGUMENT_0, answer, each, each_of_many, errno, for_call, load, prologue, skip_unless};

/// The filter. It is installed before the lab process has threads, so that all of them have it.
pub fn program() -> Vec<sock_filter> {
    let mut program = prologue();
    // The judge's thread and std's; a process would be somebody else's.
    let mut clone = vec![load(ARGUMENT_0)];
    clone.extend([skip_unless(libc::BPF_JSET, libc::CLONE_THREAD as u32, 1), answer(SECCOMP_RET_ALLOW)]);
    clone.push(answer(errno(EPERM)));
    program.extend(for_call(libc::SYS_clone, clone));
    program.extend(each(LOOKS, SECCOMP_RET_ALLOW));
    program.extend(each_of_many(SERVES, SECCOMP_RET_ALLOW));
    program.push(answer(errno(ENOSYS)));
    program
}

/// What it looks into the sandbox with: the learner's processes and their files.
const LOOKS: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_pidfd_open,
    libc::SYS_kill,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_getsid,
    libc::SYS_getpgid,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    // Cgroups that it removes from what the learner has left are the zygote's business.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

/// What it serves pages and the server with, and runs on.
const SERVES: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_setpriority,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // The alarm of the event loop.
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_getrusage,
    libc::SYS_prlimit64,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_restart_syscall,
    libc::SYS_prctl,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
];

#[cfg(test)]
mod tests {
    use super::super::bpf::AUDIT_ARCH;
    use super::super::bpf::tests::verdict;
    use super::*;

    #[test]
    fn it_makes_threads_but_no_process_and_no_way_out() {
        let own = |call, first: i32| verdict(&program(), AUDIT_ARCH, call, [first as u64, 0, 0]);
        assert_eq!(own(libc::SYS_clone, libc::CLONE_VM | libc::CLONE_THREAD), SECCOMP_RET_ALLOW);
        assert_eq!(own(libc::SYS_clone, libc::SIGCHLD), errno(EPERM));
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_chroot,
            libc::SYS_bpf,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_perf_event_open,
            libc::SYS_keyctl,
            libc::SYS_process_vm_writev,
        ] {
            assert_eq!(own(call, 0), errno(ENOSYS), "call {call}");
        }
    }
}
