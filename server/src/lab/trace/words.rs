//! A call in words: its name, its sort, its arguments as the manual names them, and what it is about to do in one sentence.

use nix::sys::signal::Signal;
use shared::trace::{Argument, CallKind};

use super::ask::{Arguments, Ask, At, Attributes, Value};
use super::flags::{self, directory, names};
use super::memory::Text;

impl Ask {
    /// The call's name in the manual, and its sort.
    pub fn name(&self) -> (&'static str, CallKind) {
        match self {
            Ask::Clone { .. } => ("clone", CallKind::Namespace),
            Ask::Unshare { .. } => ("unshare", CallKind::Namespace),
            Ask::Setns { .. } => ("setns", CallKind::Namespace),
            Ask::Mount { .. } => ("mount", CallKind::Mount),
            Ask::Unmount { .. } => ("umount2", CallKind::Mount),
            Ask::OpenFileSystem { .. } => ("fsopen", CallKind::Mount),
            Ask::PickFileSystem { .. } => ("fspick", CallKind::Mount),
            Ask::Configure { .. } => ("fsconfig", CallKind::Mount),
            Ask::MakeMount { .. } => ("fsmount", CallKind::Mount),
            Ask::MoveMount { .. } => ("move_mount", CallKind::Mount),
            Ask::OpenTree { .. } => ("open_tree", CallKind::Mount),
            Ask::SetAttributes { .. } => ("mount_setattr", CallKind::Mount),
            Ask::PivotRoot { .. } => ("pivot_root", CallKind::Root),
            Ask::Chroot { .. } => ("chroot", CallKind::Root),
            Ask::SetHostname { .. } => ("sethostname", CallKind::Name),
            Ask::Execute { at: None, .. } => ("execve", CallKind::Program),
            Ask::Execute { at: Some(_), .. } => ("execveat", CallKind::Program),
            Ask::Connect { .. } => ("connect", CallKind::Step),
            Ask::Rename { .. } => ("rename", CallKind::Step),
            Ask::OpenUnnamed { .. } => ("open", CallKind::Step),
        }
    }

    /// Its arguments, in the manual's order.
    pub fn arguments(&self) -> Vec<Argument> {
        let mut list = Vec::new();
        let mut add = |name: &str, value: String| list.push(Argument { name: name.to_owned(), value });
        match self {
            Ask::Clone { flags, stack } => {
                add("flags", clone_flags(*flags));
                add("stack", pointer(*stack));
            }
            Ask::Unshare { flags } => add("flags", names(*flags, &[flags::NAMESPACES, flags::SHARED])),
            Ask::Setns { fd, nstype } => {
                add("fd", fd.to_string());
                add("nstype", names(*nstype, &[flags::NAMESPACES]));
            }
            Ask::Mount { source, target, kind, flags, data } => {
                add("source", source.to_string());
                add("target", target.to_string());
                add("filesystemtype", kind.to_string());
                add("mountflags", names(without_magic(*flags), &[flags::MOUNT]));
                add("data", data.to_string());
            }
            Ask::Unmount { target, flags } => {
                add("target", target.to_string());
                add("flags", names(*flags, &[flags::UNMOUNT]));
            }
            Ask::OpenFileSystem { name, flags } => {
                add("fsname", name.to_string());
                add("flags", names(*flags, &[flags::FSOPEN]));
            }
            Ask::PickFileSystem { directory: at, path, flags } => {
                add("dirfd", directory(*at));
                add("path", path.to_string());
                add("flags", names(*flags, &[flags::FSPICK]));
            }
            Ask::Configure { fd, command, key, value, aux } => {
                add("fd", fd.to_string());
                add("cmd", flags::FSCONFIG.get(*command as usize).map_or(command.to_string(), |name| (*name).into()));
                add("key", key.to_string());
                add(
                    "value",
                    match value {
                        Value::Text(text) => text.to_string(),
                        Value::Address(address) => pointer(*address),
                    },
                );
                add("aux", directory(*aux));
            }
            Ask::MakeMount { fd, flags, attributes } => {
                add("fsfd", fd.to_string());
                add("flags", names(*flags, &[flags::FSMOUNT]));
                add("attr_flags", names(*attributes, &[flags::ATTRIBUTES]));
            }
            Ask::MoveMount { from_directory, from, to_directory, to, flags } => {
                add("from_dirfd", directory(*from_directory));
                add("from_path", from.to_string());
                add("to_dirfd", directory(*to_directory));
                add("to_path", to.to_string());
                add("flags", names(*flags, &[flags::MOVE_MOUNT]));
            }
            Ask::OpenTree { directory: at, path, flags } => {
                add("dirfd", directory(*at));
                add("path", path.to_string());
                add("flags", names(*flags, &[flags::OPEN_TREE, flags::AT]));
            }
            Ask::SetAttributes { directory: at, path, flags, attributes, size } => {
                add("dirfd", directory(*at));
                add("path", path.to_string());
                add("flags", names(*flags, &[flags::AT]));
                add("attr", attributes.to_string());
                add("size", size.to_string());
            }
            Ask::PivotRoot { new_root, put_old } => {
                add("new_root", new_root.to_string());
                add("put_old", put_old.to_string());
            }
            Ask::Chroot { path } => add("path", path.to_string()),
            Ask::SetHostname { name, length } => {
                add("name", name.to_string());
                add("len", length.to_string());
            }
            Ask::Execute { at, path, arguments } => {
                if let Some(At { directory: from, .. }) = at {
                    add("dirfd", directory(*from));
                }
                add("pathname", path.to_string());
                add("argv", arguments.to_string());
                if let Some(At { flags, .. }) = at {
                    add("flags", names(*flags, &[flags::AT]));
                }
            }
            Ask::Connect { fd, address, length } => {
                add("sockfd", fd.to_string());
                add("addr", pointer(*address));
                add("addrlen", length.to_string());
            }
            Ask::Rename { from, to } => {
                add("oldpath", from.to_string());
                add("newpath", to.to_string());
            }
            Ask::OpenUnnamed { directory } => {
                add("pathname", directory.to_string());
                add("flags", "O_TMPFILE".to_owned());
            }
        }
        list
    }
}

/// clone(2) has the signal that tells of the child's end in the flags' lowest byte.
fn clone_flags(flags: u64) -> String {
    let names = names(flags & !0xff, &[flags::NAMESPACES, flags::SHARED]);
    match (flags & 0xff) as i32 {
        0 => names,
        signal => match Signal::try_from(signal) {
            Ok(signal) => format!("{names} | {signal}"),
            Err(_no_signal) => format!("{names} | {signal}"),
        },
    }
}

/// Until Linux 2.4 mount(2) wanted a magic number in the upper half; it is taken and ignored.
pub fn without_magic(flags: u64) -> u64 {
    if flags & libc::MS_MGC_MSK == libc::MS_MGC_VAL { flags & !libc::MS_MGC_MSK } else { flags }
}

fn pointer(address: u64) -> String {
    if address == 0 { "NULL".to_owned() } else { format!("{address:#x}") }
}

impl std::fmt::Display for Attributes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Attributes::Are { set, clear, propagation, user_namespace } => {
                let attributes = |value| names(value, &[flags::ATTRIBUTES]);
                write!(out, "{{ attr_set: {}, attr_clr: {}", attributes(*set), attributes(*clear))?;
                write!(out, ", propagation: {}, userns_fd: {user_namespace} }}", names(*propagation, &[flags::MOUNT]))
            }
            Attributes::Unreadable(address) => Text::Unreadable(*address).fmt(out),
        }
    }
}

impl std::fmt::Display for Arguments {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Arguments::Are(texts, more) => {
                let texts = texts.iter().map(Text::to_string).chain(more.then(|| "…".to_owned()));
                write!(out, "[{}]", texts.collect::<Vec<_>>().join(", "))
            }
            Arguments::Unreadable(address) => Text::Unreadable(*address).fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ask: &Ask) -> String {
        let values: Vec<_> = ask.arguments().into_iter().map(|argument| argument.value).collect();
        format!("{}({})", ask.name().0, values.join(", "))
    }

    #[test]
    fn calls_are_written_as_in_c() {
        let text = |text: &str| Text::Is(text.as_bytes().to_vec());
        let mount = |flags| {
            shown(&Ask::Mount { source: Text::Null, target: text("/"), kind: Text::Null, flags, data: Text::Null })
        };
        assert_eq!(mount(libc::MS_REC | libc::MS_PRIVATE), r#"mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)"#);
        // The kernel takes the whole upper half away, as if nothing else had been in it.
        assert_eq!(mount(libc::MS_MGC_VAL | libc::MS_RDONLY), r#"mount(NULL, "/", NULL, MS_RDONLY, NULL)"#);
        let flags = (libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::SIGCHLD) as u64;
        assert_eq!(shown(&Ask::Clone { flags, stack: 0 }), "clone(CLONE_NEWNS | CLONE_NEWPID | SIGCHLD, NULL)");
        let arguments = Arguments::Are(vec![text("sh"), text("-c")], true);
        let execute = Ask::Execute { at: None, path: text("/bin/sh"), arguments };
        assert_eq!(shown(&execute), r#"execve("/bin/sh", ["sh", "-c", …])"#);
    }
}
