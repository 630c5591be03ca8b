//! Attacks on the machine's files: the kernel's own, devices, mounts, and the way out of a root directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::Outcome::{Escaped, Held};
use crate::{Attack, Outcome, call, error, got, is_control, string, told};

/// All of them.
pub const ATTACKS: &[Attack] = &[
    ("write-core-pattern", || writes("/proc/sys/kernel/core_pattern")),
    ("write-modprobe", || writes("/proc/sys/kernel/modprobe")),
    ("write-drop-caches", || writes("/proc/sys/vm/drop_caches")),
    ("write-address-randomness", || writes("/proc/sys/kernel/randomize_va_space")),
    ("write-panic", || writes("/proc/sys/kernel/panic")),
    ("write-file-max", || writes("/proc/sys/fs/file-max")),
    ("write-pty-max", || writes("/proc/sys/kernel/pty/max")),
    ("write-overcommit", || writes("/proc/sys/vm/overcommit_memory")),
    ("write-sysrq", || writes("/proc/sysrq-trigger")),
    ("write-irq-affinity", || writes("/proc/irq/default_smp_affinity")),
    ("write-huge-pages", || writes_sys("/sys/kernel/mm/transparent_hugepage/enabled")),
    ("write-uevent", || writes_sys("/sys/devices/virtual/mem/null/uevent")),
    ("write-processor-offline", || writes_sys("/sys/devices/system/cpu/cpu1/online")),
    ("write-profiling", || writes_sys("/sys/kernel/profiling")),
    ("read-slab", || reads("/proc/slabinfo")),
    ("read-vmalloc", || reads("/proc/vmallocinfo")),
    ("read-page-flags", || opens_to_read("/proc/kpageflags")),
    ("read-timers", || reads("/proc/timer_list")),
    ("read-core", || reads("/proc/kcore")),
    ("read-kernel-messages", || opens_to_read("/proc/kmsg")),
    ("read-kernel-addresses", kernel_addresses),
    ("read-page-frames", page_frames),
    ("raise-memory-limit", || {
        writes_first(&["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"])
    }),
    ("raise-process-limit", || writes_first(&["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"])),
    ("raise-processor-limit", || writes_first(&["/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"])),
    ("release-agent", release_agent),
    ("mknod-disk", || mknod("attack-disk", libc::S_IFBLK, 254, 0)),
    ("mknod-memory", || mknod("attack-memory", libc::S_IFCHR, 1, 1)),
    ("device-of-the-image", device_of_the_image),
    ("device-writes-back", device_writes_back),
    ("device-lock", device_lock),
    ("mount-devtmpfs", || mounts("none", "devtmpfs")),
    ("mount-debugfs", || mounts("none", "debugfs")),
    ("mount-tracefs", || mounts("none", "tracefs")),
    ("mount-securityfs", || mounts("none", "securityfs")),
    ("mount-pstore", || mounts("none", "pstore")),
    ("mount-cgroup-devices", mount_cgroup_devices),
    ("remount-program", remount_program),
    ("chroot-twice", chroot_twice),
    ("raise-descriptor-limit", raise_descriptor_limit),
    ("oom-shield", || got(fs::write("/proc/self/oom_score_adj", "-1000"), "never killed for want of memory")),
    ("pressure-trigger", pressure_trigger),
];

/// Opened is enough: written, it would do harm where this succeeds.
fn writes(path: &str) -> Outcome {
    got(OpenOptions::new().write(true).open(path), &format!("{path} is open for writing"))
}

/// The learner's mount of /sys is read-only, and the learner's own: mounted anew it might not be.
fn writes_sys(path: &str) -> Outcome {
    if !is_control() {
        let safe = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        let _ = mount("none", "/sys", "sysfs", libc::MS_REMOUNT | safe, "");
        let _ = mount("none", "/sys", "sysfs", safe, "");
    }
    writes(path)
}

fn writes_first(paths: &[&str]) -> Outcome {
    match paths.iter().find(|path| Path::new(path).exists()) {
        // On the machine itself there is no limit at the root of all; in its part `newroot` there is.
        Some(_) if is_control() => Escaped("this is the machine".to_owned()),
        Some(path) => writes(path),
        None => Held(format!("none of {paths:?} is there")),
    }
}

fn reads(path: &str) -> Outcome {
    let mut byte = [0];
    got(File::open(path).and_then(|mut file| file.read_exact(&mut byte)), &format!("{path} is read"))
}

/// A read would wait for the kernel's next message, or take it from somebody.
fn opens_to_read(path: &str) -> Outcome {
    got(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path), &format!("{path} is open"))
}

fn kernel_addresses() -> Outcome {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    match symbols.lines().find(|line| !line.starts_with("0000000000000000 ")) {
        Some(line) => Escaped(format!("a symbol of the kernel is at {}", &line[..16])),
        None => Held(format!("{} symbols, all at 0", symbols.lines().count())),
    }
}

/// Which page of the machine's memory a page of ours is: what hammering rows of memory begins with.
fn page_frames() -> Outcome {
    use std::os::unix::fs::FileExt;
    let page = Box::new(1u8);
    let place = &raw const *page as u64 / 4096 * 8;
    let mut entry = [0; 8];
    match File::open("/proc/self/pagemap").and_then(|map| map.read_exact_at(&mut entry, place)) {
        Ok(()) if u64::from_le_bytes(entry) & ((1 << 55) - 1) != 0 => Escaped("the number of a page frame".to_owned()),
        Ok(()) => Held("page frames have the number 0".to_owned()),
        Err(error) => Held(error.to_string()),
    }
}

/// A program that the machine's root would start when a cgroup of version 1 gets empty.
fn release_agent() -> Outcome {
    let paths =
        ["memory", "pids", "cpu", "devices", "freezer"].map(|name| format!("/sys/fs/cgroup/{name}/release_agent"));
    if let Some(path) = paths.iter().find(|path| Path::new(path).exists()) {
        return writes(path);
    }
    fs::create_dir_all("attack-mnt").unwrap();
    let mounted = mount("none", "attack-mnt", "cgroup", 0, "pids");
    match mounted {
        Ok(()) => writes("attack-mnt/release_agent"),
        Err(error) => Held(error.to_string()),
    }
}

fn mknod(name: &str, kind: u32, major: u32, minor: u32) -> Outcome {
    let _ = fs::remove_file(name);
    let path = string(name);
    let result = unsafe { libc::mknod(path.as_ptr(), kind | 0o666, libc::makedev(major, minor)) };
    let made = if result < 0 { Err(error()) } else { Ok(()) };
    let _ = fs::remove_file(name);
    got::<()>(made, "a device node")
}

/// `/trap` is a device node in the lab image.
fn device_of_the_image() -> Outcome {
    assert!(fs::metadata("/trap").unwrap().file_type().is_char_device());
    opens_to_read("/trap")
}

/// The node of /dev/null is the machine's own: who owns it, and when it was touched, is seen there.
fn device_writes_back() -> Outcome {
    let status = fs::metadata("/dev/null").unwrap();
    if format!("{}:{}", status.dev(), status.ino()) != told("NULL") {
        return Held("the node is another one than the machine's".to_owned());
    }
    // Everybody may set the present time where everybody may write.
    let (null, now) = (string("/dev/null"), [libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW }; 2]);
    match unsafe { libc::utimensat(libc::AT_FDCWD, null.as_ptr(), now.as_ptr(), 0) } {
        0 => Escaped("the times of the machine's /dev/null are set".to_owned()),
        _ => Held(error().to_string()),
    }
}

/// To be held: whether the machine's /dev/null is locked by it, the test finds out.
fn device_lock() -> Outcome {
    let null = File::open("/dev/null").unwrap();
    let result = unsafe { libc::flock(null.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    std::mem::forget(null);
    got(if result < 0 { Err(error()) } else { Ok(()) }, "a lock on the inode of /dev/null")
}

fn mount(source: &str, target: &str, kind: &str, flags: u64, options: &str) -> io::Result<()> {
    let (source, target, kind, options) = (string(source), string(target), string(kind), string(options));
    let result =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    if result < 0 { Err(error()) } else { Ok(()) }
}

fn mounts(source: &str, kind: &str) -> Outcome {
    fs::create_dir_all("attack-mnt").unwrap();
    got(mount(source, "attack-mnt", kind, 0, ""), &format!("{kind} is mounted"))
}

/// A hierarchy of version 1 with a controller that no lab is given.
fn mount_cgroup_devices() -> Outcome {
    fs::create_dir_all("attack-mnt").unwrap();
    match mount("none", "attack-mnt", "cgroup", 0, "devices") {
        Err(error) => Held(error.to_string()),
        Ok(()) => {
            let made = fs::create_dir("attack-mnt/newroot-attack");
            let _ = fs::remove_dir("attack-mnt/newroot-attack");
            got(made, "a cgroup of the machine's")
        }
    }
}

/// The program that every lab runs, made writable again.
fn remount_program() -> Outcome {
    let program = if is_control() { "attack-program" } else { "/usr/local/bin/newroot" };
    if is_control() {
        fs::write(program, "").unwrap();
        mount(program, program, "", libc::MS_BIND, "").unwrap();
        mount("", program, "", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY, "").unwrap();
    }
    got(mount("", program, "", libc::MS_REMOUNT | libc::MS_BIND, ""), "the program is not read-only any more")
}

/// The classic: a second chroot frees who is above it. Out is who sees a file that the first root has not.
fn chroot_twice() -> Outcome {
    let outside = told("OUTSIDE");
    if is_control() {
        // On the machine itself there must be something to get out of.
        fs::create_dir_all("attack-root").unwrap();
        call(libc::SYS_chroot, &[string("attack-root").as_ptr() as usize]).unwrap();
        std::env::set_current_dir("/").unwrap();
    }
    fs::create_dir_all("attack-below").unwrap();
    if let Err(error) = call(libc::SYS_chroot, &[string("attack-below").as_ptr() as usize]) {
        return Held(error.to_string());
    }
    for _ in 0..64 {
        let _ = std::env::set_current_dir("..");
    }
    call(libc::SYS_chroot, &[string(".").as_ptr() as usize]).unwrap();
    match Path::new(&outside).exists() {
        true => Escaped(format!("{outside} is there")),
        false => Held(format!("the topmost root is the lab's: no {outside}")),
    }
}

fn raise_descriptor_limit() -> Outcome {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let before = limit.rlim_max;
    limit.rlim_max += 1;
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    got(if result < 0 { Err(error()) } else { Ok(()) }, &format!("more descriptors than {before}"))
}

/// A trigger of the pressure stall information starts a real-time thread in the kernel.
fn pressure_trigger() -> Outcome {
    match OpenOptions::new().read(true).write(true).open("/proc/pressure/memory") {
        Err(error) => Held(error.to_string()),
        Ok(mut file) => got(io::Write::write_all(&mut file, b"some 150000 2000000\0"), "a thread in the kernel"),
    }
}
