//! The names of flags, as the manual has them.

use libc as c;

/// A bit or bits, and their name.
pub type Flag = (u64, &'static str);

macro_rules! named {
    ($($flag:ident)*) => { &[$((c::$flag as u32 as u64, stringify!($flag))),*] };
}

/// clone(2), unshare(2), setns(2): kinds of namespaces.
pub const NAMESPACES: &[Flag] =
    named! { CLONE_NEWNS CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET CLONE_NEWCGROUP };

/// clone(2), unshare(2): the rest. The time namespace is told by a bit that clone(2) uses for the signal.
pub const SHARED: &[Flag] = named! {
    CLONE_VM CLONE_FS CLONE_FILES CLONE_SIGHAND CLONE_PIDFD CLONE_PTRACE CLONE_VFORK CLONE_PARENT CLONE_THREAD
    CLONE_SYSVSEM CLONE_SETTLS CLONE_PARENT_SETTID CLONE_CHILD_CLEARTID CLONE_DETACHED CLONE_UNTRACED
    CLONE_CHILD_SETTID CLONE_IO
};

/// mount(2).
pub const MOUNT: &[Flag] = named! {
    MS_REMOUNT MS_BIND MS_MOVE MS_REC MS_PRIVATE MS_SLAVE MS_SHARED MS_UNBINDABLE MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC
    MS_SYNCHRONOUS MS_MANDLOCK MS_DIRSYNC MS_NOSYMFOLLOW MS_NOATIME MS_NODIRATIME MS_SILENT MS_POSIXACL MS_RELATIME
    MS_STRICTATIME MS_LAZYTIME MS_I_VERSION
};

/// mount(2): the propagation types.
pub const PROPAGATION: u64 = c::MS_SHARED | c::MS_PRIVATE | c::MS_SLAVE | c::MS_UNBINDABLE;

/// umount2(2).
pub const UNMOUNT: &[Flag] = named! { MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW };

/// The AT_ flags of open_tree(2), mount_setattr(2) and execveat(2).
pub const AT: &[Flag] = named! { AT_EMPTY_PATH AT_NO_AUTOMOUNT AT_SYMLINK_NOFOLLOW AT_RECURSIVE };

/// open_tree(2), besides [`AT`].
pub const OPEN_TREE: &[Flag] = named! { OPEN_TREE_CLONE OPEN_TREE_CLOEXEC };

/// move_mount(2).
pub const MOVE_MOUNT: &[Flag] = named! {
    MOVE_MOUNT_F_SYMLINKS MOVE_MOUNT_F_AUTOMOUNTS MOVE_MOUNT_F_EMPTY_PATH MOVE_MOUNT_T_SYMLINKS MOVE_MOUNT_T_AUTOMOUNTS
    MOVE_MOUNT_T_EMPTY_PATH MOVE_MOUNT_SET_GROUP MOVE_MOUNT_BENEATH
};

/// fsopen(2), fsmount(2): both have this one flag.
pub const FSOPEN: &[Flag] = named! { FSOPEN_CLOEXEC };
/// See [`FSOPEN`].
pub const FSMOUNT: &[Flag] = named! { FSMOUNT_CLOEXEC };
/// fspick(2).
pub const FSPICK: &[Flag] = named! { FSPICK_CLOEXEC FSPICK_SYMLINK_NOFOLLOW FSPICK_NO_AUTOMOUNT FSPICK_EMPTY_PATH };

/// Attributes of a mount: fsmount(2), mount_setattr(2).
pub const ATTRIBUTES: &[Flag] = named! {
    MOUNT_ATTR_RDONLY MOUNT_ATTR_NOSUID MOUNT_ATTR_NODEV MOUNT_ATTR_NOEXEC MOUNT_ATTR_NOATIME MOUNT_ATTR_STRICTATIME
    MOUNT_ATTR_NODIRATIME MOUNT_ATTR_IDMAP MOUNT_ATTR_NOSYMFOLLOW
};

/// The commands of fsconfig(2), by number.
pub const FSCONFIG: &[&str] = &[
    "FSCONFIG_SET_FLAG",
    "FSCONFIG_SET_STRING",
    "FSCONFIG_SET_BINARY",
    "FSCONFIG_SET_PATH",
    "FSCONFIG_SET_PATH_EMPTY",
    "FSCONFIG_SET_FD",
    "FSCONFIG_CMD_CREATE",
    "FSCONFIG_CMD_RECONFIGURE",
    "FSCONFIG_CMD_CREATE_EXCL",
];

/// All flags of a value by name, what has no name as a number: `MS_REC | MS_PRIVATE`, `0`.
pub fn names(value: u64, tables: &[&[Flag]]) -> String {
    let mut rest = value;
    let mut words = Vec::new();
    for (bits, name) in tables.iter().copied().flatten() {
        if rest & bits == *bits {
            rest &= !bits;
            words.push((*name).to_owned());
        }
    }
    if rest != 0 || words.is_empty() {
        words.push(if rest == 0 { "0".to_owned() } else { format!("{rest:#x}") });
    }
    words.join(" | ")
}

/// A descriptor that a path is looked up from.
pub fn directory(number: i32) -> String {
    if number == c::AT_FDCWD { "AT_FDCWD".to_owned() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_and_what_has_no_name_is_told_as_a_number() {
        assert_eq!(names(c::MS_REC | c::MS_PRIVATE, &[MOUNT]), "MS_REC | MS_PRIVATE");
        assert_eq!(names(0, &[MOUNT]), "0");
        assert_eq!(names(1 << 40 | c::MS_BIND, &[MOUNT]), "MS_BIND | 0x10000000000");
        assert_eq!(names(c::CLONE_NEWNS as u64 | c::CLONE_VM as u64, &[NAMESPACES, SHARED]), "CLONE_NEWNS | CLONE_VM");
    }
}
