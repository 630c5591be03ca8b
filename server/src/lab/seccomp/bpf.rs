//! The few instructions of classic BPF that filters of system calls consist of, over struct seccomp_data (seccomp(2)). What
//! a filter decides is said elsewhere.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, ENOSYS, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, c_long, sock_filter,
};

#[cfg(target_arch = "x86_64")]
pub const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub const AUDIT_ARCH: u32 = 0xc000_00b7;

// Offsets in struct seccomp_data: the call's number, the architecture, and the low halves of the first three arguments.
pub const NUMBER: u32 = 0;
pub const ARCHITECTURE: u32 = 4;
pub const ARGUMENT_0: u32 = 16;
pub const ARGUMENT_1: u32 = 24;
pub const ARGUMENT_2: u32 = 32;

/// A call that a filter refuses answers with this errno.
pub const fn errno(number: i32) -> u32 {
    SECCOMP_RET_ERRNO | number as u32
}

/// What every filter begins with: only this architecture's own numbers go on, and are loaded.
pub fn prologue() -> Vec<sock_filter> {
    vec![
        // Another architecture's numbers (32-bit programs) mean other calls.
        load(ARCHITECTURE),
        skip_if(BPF_JEQ, AUDIT_ARCH, 1),
        answer(SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        // x32: 64-bit calls under numbers of their own.
        skip_unless(BPF_JGE, 0x4000_0000, 1),
        answer(errno(ENOSYS)),
    ]
}

/// The same for a filter that refuses nothing: other numbers' calls are made.
pub fn open_prologue() -> Vec<sock_filter> {
    vec![load(ARCHITECTURE), skip_if(BPF_JEQ, AUDIT_ARCH, 1), answer(SECCOMP_RET_ALLOW), load(NUMBER)]
}

/// Answers each of these calls with a verdict; others go on.
pub fn each(calls: &[c_long], verdict: u32) -> Vec<sock_filter> {
    calls.iter().flat_map(|&call| [skip_unless(BPF_JEQ, call as u32, 1), answer(verdict)]).collect()
}

/// The same for many calls, as ranges of their numbers: with two thirds of all calls in a list, there are few gaps.
pub fn each_of_many(calls: &[c_long], verdict: u32) -> Vec<sock_filter> {
    let mut numbers: Vec<u32> = calls.iter().map(|&call| call as u32).collect();
    numbers.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *end >= number => *end = number + 1,
            _ => ranges.push((number, number + 1)),
        }
    }
    let within = |(first, end)| [skip_unless(BPF_JGE, first, 2), skip_if(BPF_JGE, end, 1), answer(verdict)];
    ranges.into_iter().flat_map(within).collect()
}

pub fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

/// Keeps only these bits of what is loaded.
pub fn mask(bits: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_ALU | libc::BPF_AND | BPF_K) as u16, jt: 0, jf: 0, k: bits }
}

pub fn skip_if(test: u32, value: u32, instructions: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: instructions, jf: 0, k: value }
}

pub fn skip_unless(test: u32, value: u32, instructions: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: 0, jf: instructions, k: value }
}

pub fn answer(verdict: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: verdict }
}

/// For one call alone: looks at its arguments by these instructions. Where they come to no answer, or it is another call,
/// the program goes on with the number loaded again.
pub fn for_call(call: c_long, mut body: Vec<sock_filter>) -> Vec<sock_filter> {
    body.push(load(NUMBER));
    let mut program = vec![skip_unless(BPF_JEQ, call as u32, body.len() as u8)];
    program.append(&mut body);
    program
}

/// Whether the loaded argument has one of these bits set: then the verdict.
pub fn any_bit(bits: u32, verdict: u32) -> [sock_filter; 2] {
    [skip_unless(BPF_JSET, bits, 1), answer(verdict)]
}

/// Whether the loaded argument is one of these values: then the verdict.
pub fn one_of(values: &[u32], verdict: u32) -> Vec<sock_filter> {
    values.iter().flat_map(|&value| [skip_unless(BPF_JEQ, value, 1), answer(verdict)]).collect()
}

/// Whether the loaded argument lies within these bounds, both included: then the verdict.
pub fn between(first: u32, last: u32, verdict: u32) -> [sock_filter; 3] {
    [skip_unless(BPF_JGE, first, 2), skip_if(BPF_JGE, last + 1, 1), answer(verdict)]
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What the kernel would answer: the instructions above, one by one.
    pub fn verdict(program: &[sock_filter], architecture: u32, number: c_long, arguments: [u64; 3]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number as u32,
            ARCHITECTURE => architecture,
            ARGUMENT_0 => arguments[0] as u32,
            ARGUMENT_1 => arguments[1] as u32,
            ARGUMENT_2 => arguments[2] as u32,
            other => panic!("the filter reads offset {other}"),
        };
        let (mut accumulator, mut next) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[next];
            next += 1;
            match u32::from(code) & 0x07 {
                BPF_RET => return k,
                BPF_LD => accumulator = word(k),
                libc::BPF_ALU => accumulator &= k,
                _ => {
                    let holds = match u32::from(code) & 0xf0 {
                        BPF_JEQ => accumulator == k,
                        BPF_JGE => accumulator >= k,
                        BPF_JSET => accumulator & k != 0,
                        other => panic!("the filter jumps by {other:#x}"),
                    };
                    next += usize::from(if holds { jt } else { jf });
                }
            }
        }
    }

    #[test]
    fn ranges_hold_what_is_listed_and_nothing_else() {
        let calls = [7, 3, 4, 5, 9, 3];
        let mut program = prologue();
        program.extend(each_of_many(&calls, 1));
        program.push(answer(2));
        for number in 0..20 {
            let expected = if calls.contains(&number) { 1 } else { 2 };
            assert_eq!(verdict(&program, AUDIT_ARCH, number, [0; 3]), expected, "call {number}");
        }
    }
}
