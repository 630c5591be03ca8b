//! Why a program of the image could not be executed. execve(2) says it in one word; the file says the rest.

mod elf;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use self::elf::Elf;
use super::error::RunError;
use super::nearest::nearest;

/// A program as it was asked for.
pub struct Program<'a> {
    /// Its name or path.
    pub name: &'a str,
    /// Where names without a `/` are looked up: directories, with `:` between them.
    pub path: &'a str,
    /// The image it should be in.
    pub image: &'a str,
}

impl Program<'_> {
    /// What exec(2) meant by its error, seen from inside the image.
    pub fn explain(&self, error: &io::Error) -> RunError {
        let (program, image) = (self.name.to_owned(), self.image.to_owned());
        let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
        let Some(file) = self.find() else {
            return match errno {
                Errno::ENOENT => RunError::NoSuchProgram { program, image, hint: self.hint() },
                _ => RunError::Exec { program, image, errno },
            };
        };
        let start = beginning(&file);
        match errno {
            // The file is there, so this is about the one that it names.
            Errno::ENOENT => match wants(&start) {
                Some(interpreter) => RunError::NoInterpreter { program, image, interpreter, hint: shells() },
                None => RunError::Exec { program, image, errno },
            },
            Errno::ENOEXEC => match Elf::read(&start) {
                Some(elf) if elf.machine != Elf::machine_here() => {
                    RunError::ForeignArchitecture { program, image, machine: elf.machine }
                }
                _ => RunError::NoFormat { program, image },
            },
            Errno::EACCES if file.is_dir() => RunError::IsDirectory { program, image },
            Errno::EACCES if mode(&file) & 0o111 == 0 => RunError::NotExecutable { program, image, mode: mode(&file) },
            errno => RunError::Exec { program, image, errno },
        }
    }

    /// The file that was meant, if there is one.
    fn find(&self) -> Option<PathBuf> {
        if self.name.contains('/') {
            return Some(PathBuf::from(self.name)).filter(|file| file.exists());
        }
        self.directories().map(|directory| directory.join(self.name)).find(|file| file.exists())
    }

    fn directories(&self) -> impl Iterator<Item = &Path> {
        self.path.split(':').filter(|directory| !directory.is_empty()).map(Path::new)
    }

    /// What could be run instead: a program with nearly that name, or a shell.
    fn hint(&self) -> String {
        let name = Path::new(self.name).file_name().unwrap_or_default().to_string_lossy();
        // Whoever wants a shell takes another one: bash is many things in `sh`, but `hash` is none.
        if name.ends_with("sh") {
            return shells();
        }
        let entries = self.directories().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let near = nearest(&name, names).and_then(|near| Program { name: &near, ..*self }.find());
        near.map_or_else(shells, |near| format!("this image has {}", near.display()))
    }
}

/// The shell that there is.
fn shells() -> String {
    let shells = ["/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/ash", "/busybox/sh"];
    match shells.into_iter().find(|shell| Path::new(shell).exists()) {
        Some(shell) => format!("this image has {shell}"),
        None => "this image has no shell".to_owned(),
    }
}

/// The file without which a program cannot be executed, by its first bytes: a script's interpreter, or ELF's loader.
pub fn wants(start: &[u8]) -> Option<String> {
    interpreter(start).or_else(|| Elf::read(start)?.loader)
}

/// The program that a script names in its first line, after `#!` (execve(2), "Interpreter scripts").
fn interpreter(start: &[u8]) -> Option<String> {
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned)
}

/// Its first bytes: `#!` and ELF headers are there. Of what is no regular file, nothing: reading could take for ever.
fn beginning(file: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    if file.is_file() {
        // What cannot be read cannot be told, either; the errno is.
        let _ = fs::File::open(file).and_then(|file| file.take(64 << 10).read_to_end(&mut start));
    }
    start
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode() & 0o7777)
}
