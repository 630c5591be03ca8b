//! The functions that are under way in a stopped thread, by the rules that compilers leave for unwinding (the System V
//! ABI's .eh_frame). The C library's calls have no such rules, but small frames: of the first words on the stack the one is
//! taken, as the address that the call returns to, from which the rules lead all the way out.

use std::fs;

use addr2line::gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, RegisterRule, UnwindContext, UnwindSection,
};
use nix::sys::ptrace::getregs;
use nix::unistd::Pid;

use super::binary::Binary;
use crate::lab::trace::memory::words;

/// As many words of the stack are read: 256 KiB, most of which are the states of a pull's requests.
const STACK: usize = 32768;
/// More functions are not followed; the command's own code begins after some twenty, and in a
/// pull after a hundred of the HTTP client's.
const DEEPEST: usize = 256;
/// As many words may lie between the end of the stack and the address to which the C library's call returns.
const LEAF: usize = 48;

type Bytes<'a> = EndianSlice<'a, NativeEndian>;

/// Registers by the numbers of DWARF; of the rest nothing is known.
#[derive(Clone, Copy)]
struct Registers([Option<u64>; 33]);

#[cfg(target_arch = "x86_64")]
mod number {
    pub const STACK: u16 = 7;
    pub const RETURN: u16 = 16;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const STACK: u16 = 31;
    pub const RETURN: u16 = 30;
}

/// Addresses in the binary, one in each function that is under way, the innermost first. `None` where they cannot be told.
pub fn stack_of(thread: Pid, binary: &Binary) -> Option<Vec<u64>> {
    let registers = registers_of(thread)?;
    let base = base_of(thread)?;
    let stack =
        Stack { start: registers.get(number::STACK)?, words: words(thread, registers.get(number::STACK)?, STACK) };
    let text = binary.addresses(".text")?;
    let (table, rules) = (binary.section(".eh_frame_hdr"), binary.section(".eh_frame"));
    let bases = BaseAddresses::default()
        .set_text(text.start)
        .set_eh_frame(binary.addresses(".eh_frame")?.start)
        .set_eh_frame_hdr(binary.addresses(".eh_frame_hdr")?.start);
    let table = EhFrameHdr::new(table, NativeEndian).parse(&bases, size_of::<usize>() as u8).ok()?;
    let table = table.table()?;
    let rules = EhFrame::new(rules, NativeEndian);
    let mut context = UnwindContext::new();
    // The caller of `function`, which `registers` are in the middle of.
    let mut caller = |function: u64, registers: &Registers| -> Option<Registers> {
        let row = table
            .unwind_info_for_address(&rules, &bases, &mut context, function, EhFrame::<Bytes>::cie_from_offset)
            .ok()?;
        let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { return None };
        let frame = registers.get(register.0)?.checked_add_signed(offset)?;
        let mut restored = *registers;
        for (register, rule) in row.registers() {
            restored.0[usize::from(register.0).min(32)] = match rule {
                RegisterRule::Offset(offset) => stack.at(frame.checked_add_signed(*offset)?),
                RegisterRule::ValOffset(offset) => frame.checked_add_signed(*offset),
                RegisterRule::SameValue => registers.get(register.0),
                _ => None,
            };
        }
        restored.0[usize::from(number::STACK)] = Some(frame);
        Some(restored)
    };
    // Both ABIs keep the stack at multiples of 16 where a function calls another.
    let leaves = (0..LEAF as u64).map(|word| stack.start + word * 8).filter(|place| (place + 8).is_multiple_of(16));
    let stacks = leaves.filter_map(|place| Some((place, stack.at(place)?))).map(|(place, returns_to)| {
        let mut registers = registers;
        registers.0[usize::from(number::STACK)] = Some(place + 8);
        registers.0[usize::from(number::RETURN)] = Some(returns_to);
        let mut addresses = Vec::new();
        while addresses.len() < DEEPEST {
            // The instruction before the one returned to is the call.
            let Some(address) = registers.get(number::RETURN).and_then(|next| next.checked_sub(base + 1)) else {
                break;
            };
            if !text.contains(&address) {
                break;
            }
            let Some(next) = caller(address, &registers) else { break };
            addresses.push(address);
            registers = next;
        }
        addresses
    });
    innermost(stacks.collect())
}

/// Of what may be the functions that are under way, by the place on the stack where they begin, what is. A number that
/// happens to look like an address leads nowhere. An address that an earlier call has left behind leads to the same
/// outermost function, on a way that may be longer, but from further within the stack.
fn innermost(stacks: Vec<Vec<u64>>) -> Option<Vec<u64>> {
    let longest = stacks.iter().rev().max_by_key(|addresses| addresses.len())?;
    // In the child of a clone(2) two functions are all.
    let outermost = *longest.last().filter(|_| longest.len() > 1)?;
    stacks.into_iter().find(|addresses| addresses.len() > 1 && addresses.last() == Some(&outermost))
}

struct Stack {
    start: u64,
    words: Vec<u64>,
}

impl Stack {
    fn at(&self, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.start)?;
        self.words.get(usize::try_from(offset / 8).ok()?).copied().filter(|_| offset % 8 == 0)
    }
}

impl Registers {
    fn get(&self, register: u16) -> Option<u64> {
        *self.0.get(usize::from(register))?
    }
}

/// What functions must leave as it was; of the others their callers do not rely on anything.
fn registers_of(thread: Pid) -> Option<Registers> {
    let now = getregs(thread).ok()?;
    let mut registers = Registers([None; 33]);
    #[cfg(target_arch = "x86_64")]
    let kept = [(3, now.rbx), (6, now.rbp), (7, now.rsp), (12, now.r12), (13, now.r13), (14, now.r14), (15, now.r15)];
    #[cfg(target_arch = "aarch64")]
    let kept = {
        let kept = (19..=30).map(|register| (register, now.regs[register]));
        kept.chain([(31, now.sp)]).collect::<Vec<_>>()
    };
    for (register, value) in kept {
        registers.0[register] = Some(value);
    }
    Some(registers)
}

/// Where in memory a process's program begins: the kernel moves it at each start.
fn base_of(thread: Pid) -> Option<u64> {
    let maps = fs::read(format!("/proc/{thread}/maps")).ok()?;
    let maps = String::from_utf8_lossy(&maps);
    // proc_pid_maps(5): addresses, permissions, offset, device, inode, path. A static program is the only file there.
    let mut lines = maps.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let first =
        lines.find(|fields| fields.len() > 5 && fields[2].bytes().all(|byte| byte == b'0') && fields[4] != "0")?;
    u64::from_str_radix(first[0].split_once('-')?.0, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_call_has_left_behind_is_not_under_way() {
        let of_umount2 = vec![0x61ea06, 0x40db65, 0x355da9, 0x2e1602];
        let left_by_mount = vec![0x3f140e, 0x3f11af, 0x40d716, 0x355da9, 0x2e1602];
        let no_way_out = vec![0x17de6d, 0x17df0e];
        let stacks = vec![no_way_out.clone(), vec![0x2e1602], of_umount2.clone(), left_by_mount];
        assert_eq!(innermost(stacks), Some(of_umount2));
        assert_eq!(innermost(vec![vec![], vec![0xa1a6b9]]), None, "one function alone is a number like an address");
        assert_eq!(innermost(vec![vec![0xa1a6b9], no_way_out.clone()]), Some(no_way_out));
        assert_eq!(innermost(vec![]), None);
    }
}
