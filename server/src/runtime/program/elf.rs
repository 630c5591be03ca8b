//! The little of an ELF file that tells why it cannot be executed: which machine it is for, and which loader it needs
//! (elf(5)). Teaches nothing about containers.

use std::env::consts;

/// A program in machine code.
pub struct Elf {
    /// The machine it is for: `x86_64`, `aarch64`.
    pub machine: String,
    /// The dynamic loader it names; none in a static program.
    pub loader: Option<String>,
}

/// Machines by their numbers in ELF (e_machine), as Rust and uname(1) call them.
const MACHINES: [(u64, &str); 10] = [
    (3, "i686"),
    (8, "mips"),
    (20, "powerpc"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

/// The kind of program header that names the loader.
const PT_INTERP: u64 = 3;

impl Elf {
    /// Reads a file's content. `None` if it is not in ELF.
    pub fn read(file: &[u8]) -> Option<Elf> {
        let class = *file.strip_prefix(b"\x7fELF")?.first()?;
        let fields = Fields { file, big_endian: file.get(5) == Some(&2) };
        let number = fields.number(18, 2)?;
        let machine = MACHINES.iter().find(|(known, _)| *known == number);
        let machine = machine.map_or_else(|| format!("machine {number} of ELF"), |(_, name)| (*name).to_owned());
        // The class says how wide addresses are, and so where everything after them is.
        let loader = if class == 2 { fields.loader() } else { None };
        Some(Elf { machine, loader })
    }

    /// This machine's name.
    pub fn machine_here() -> &'static str {
        consts::ARCH
    }
}

/// Numbers in a file of which nothing is certain.
struct Fields<'a> {
    file: &'a [u8],
    big_endian: bool,
}

impl Fields<'_> {
    fn number(&self, place: u64, size: usize) -> Option<u64> {
        let start = usize::try_from(place).ok()?;
        let bytes = self.file.get(start..start.checked_add(size)?)?.iter();
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.big_endian { bytes.fold(0, join) } else { bytes.rev().fold(0, join) })
    }

    /// The path in the first program header of that kind.
    fn loader(&self) -> Option<String> {
        let (headers, size, count) = (self.number(32, 8)?, self.number(54, 2)?, self.number(56, 2)?);
        for index in 0..count {
            let header = headers.checked_add(size * index)?;
            if self.number(header, 4)? == PT_INTERP {
                let start = usize::try_from(self.number(header.checked_add(8)?, 8)?).ok()?;
                let length = usize::try_from(self.number(header.checked_add(32)?, 8)?).ok()?;
                let path = self.file.get(start..start.checked_add(length)?)?;
                return Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_its_machine_and_its_loader_and_nothing_in_it_is_trusted() {
        let mut file = vec![0; 0xb0];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = 183;
        (file[32], file[54], file[56]) = (0x40, 0x38, 1);
        (file[0x40], file[0x48], file[0x60]) = (3, 0x80, 11);
        file[0x80..0x8b].copy_from_slice(b"/lib/ld.so\0");
        let elf = Elf::read(&file).expect("ELF");
        assert_eq!((elf.machine.as_str(), elf.loader.as_deref()), ("aarch64", Some("/lib/ld.so")));
        file[0x60] = 0xff;
        assert_eq!(Elf::read(&file).expect("ELF").loader, None, "a path that ends outside of the file");
        file[18] = 0xfe;
        assert_eq!(Elf::read(&file).expect("ELF").machine, "machine 254 of ELF");
        (file[5], file[18], file[19]) = (2, 0, 22);
        assert_eq!(Elf::read(&file).expect("ELF").machine, "s390x", "big-endian");
        assert!(Elf::read(&file[..19]).is_none() && Elf::read(b"#!/bin/sh\n").is_none());
    }
}
