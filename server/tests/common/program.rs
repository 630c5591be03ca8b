//! Programs of a few bytes that make the system calls a test wants, with any arguments. Static ELF files of x86-64.

/// What stands in a register of a call.
#[derive(Clone, Copy)]
pub enum Value {
    /// This number.
    Is(u64),
    /// The number of the child that was started last.
    Child,
    /// What was kept at this address.
    At(i64),
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Is(number as u64)
    }
}

/// A program under construction.
#[derive(Default)]
pub struct Program {
    code: Vec<u8>,
    data: Vec<u8>,
}

/// Where code and data are loaded.
const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x80_0000;
/// The file begins with a header and two program headers (elf(5)).
const HEADERS: u64 = 64 + 2 * 56;

impl Program {
    /// One that does nothing yet.
    pub fn new() -> Program {
        Program::default()
    }

    /// Puts bytes into its memory, and a zero byte behind them. Returns their address.
    pub fn bytes(&mut self, bytes: &[u8]) -> i64 {
        let address = DATA + self.data.len() as u64;
        self.data.extend(bytes);
        // Pointers to pointers want to be aligned nowhere; but it reads better in a dump.
        self.data.resize((self.data.len() + 1).next_multiple_of(8), 0);
        address as i64
    }

    /// A list of pointers with NULL at its end.
    pub fn pointers(&mut self, pointers: &[i64]) -> i64 {
        let bytes: Vec<u8> = pointers.iter().chain([&0]).flat_map(|pointer| pointer.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    /// Makes a call.
    pub fn call(&mut self, number: i64, arguments: &[Value]) {
        // mov to rdi, rsi, rdx, r10, r8, r9: first the opcode of the move of a number, then that of a move from r12.
        // And that of a move from memory.
        let registers: [([u8; 2], [u8; 3], [u8; 4]); 6] = [
            ([0x48, 0xbf], [0x4c, 0x89, 0xe7], [0x48, 0x8b, 0x3c, 0x25]),
            ([0x48, 0xbe], [0x4c, 0x89, 0xe6], [0x48, 0x8b, 0x34, 0x25]),
            ([0x48, 0xba], [0x4c, 0x89, 0xe2], [0x48, 0x8b, 0x14, 0x25]),
            ([0x49, 0xba], [0x4d, 0x89, 0xe2], [0x4c, 0x8b, 0x14, 0x25]),
            ([0x49, 0xb8], [0x4d, 0x89, 0xe0], [0x4c, 0x8b, 0x04, 0x25]),
            ([0x49, 0xb9], [0x4d, 0x89, 0xe1], [0x4c, 0x8b, 0x0c, 0x25]),
        ];
        let zeroes = std::iter::repeat(&Value::Is(0));
        for ((number, child, memory), value) in registers.iter().zip(arguments.iter().chain(zeroes)) {
            match value {
                Value::Is(value) => {
                    self.code.extend(number);
                    self.code.extend(value.to_le_bytes());
                }
                Value::Child => self.code.extend(child),
                Value::At(address) => {
                    self.code.extend(memory);
                    self.code.extend((*address as u32).to_le_bytes());
                }
            }
        }
        // mov rax, number; syscall
        self.code.extend([0x48, 0xb8]);
        self.code.extend(number.to_le_bytes());
        self.code.extend([0x0f, 0x05]);
    }

    /// The same with numbers alone.
    pub fn plain(&mut self, number: i64, arguments: &[i64]) {
        let values: Vec<Value> = arguments.iter().map(|&number| number.into()).collect();
        self.call(number, &values);
    }

    /// Keeps the result of the last call in its memory, eight bytes of it. Returns their address.
    pub fn keep(&mut self) -> i64 {
        let address = self.bytes(&[0; 8]);
        self.keep_at(address);
        address
    }

    /// The same, at an address.
    pub fn keep_at(&mut self, address: i64) {
        // mov [address], rax
        self.code.extend([0x48, 0x89, 0x04, 0x25]);
        self.code.extend((address as u32).to_le_bytes());
    }

    /// Does something so many times.
    pub fn repeat(&mut self, times: u32, body: impl FnOnce(&mut Program)) {
        // mov ebx, times
        self.code.push(0xbb);
        self.code.extend(times.to_le_bytes());
        let start = self.code.len();
        body(self);
        // dec ebx; jnz start
        self.code.extend([0xff, 0xcb, 0x0f, 0x85]);
        let back = start as i64 - (self.code.len() as i64 + 4);
        self.code.extend((back as i32).to_le_bytes());
    }

    /// Changes a byte of its memory, there and back.
    pub fn flip(&mut self, address: i64) {
        // xor byte [address], 1
        self.code.extend([0x80, 0x34, 0x25]);
        self.code.extend((address as u32).to_le_bytes());
        self.code.push(1);
    }

    /// Starts a child by clone(2) with these flags, which does something and exits.
    pub fn child(&mut self, flags: i64, body: impl FnOnce(&mut Program)) {
        self.plain(libc::SYS_clone, &[flags | i64::from(libc::SIGCHLD)]);
        // mov r12, rax; test rax, rax; jnz over the body
        self.code.extend([0x49, 0x89, 0xc4, 0x48, 0x85, 0xc0, 0x0f, 0x85]);
        let place = self.code.len();
        self.code.extend([0; 4]);
        body(self);
        self.plain(libc::SYS_exit, &[0]);
        let over = (self.code.len() - place - 4) as i32;
        self.code[place..place + 4].copy_from_slice(&over.to_le_bytes());
    }

    /// Waits for the child that was started last.
    pub fn wait(&mut self) {
        self.call(libc::SYS_wait4, &[Value::Child]);
    }

    /// The program's file. It exits with the errno of its last call.
    pub fn file(mut self) -> Vec<u8> {
        // neg eax; mov edi, eax; mov eax, 60 (exit); syscall
        self.code.extend([0xf7, 0xd8, 0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        file.extend([CODE + HEADERS, 64, 0].map(u64::to_le_bytes).concat());
        file.extend(0u32.to_le_bytes());
        file.extend([64u16, 56, 2, 0, 0, 0].map(u16::to_le_bytes).concat());
        let code = HEADERS + self.code.len() as u64;
        let data = self.data.len() as u64;
        let start = code.next_multiple_of(0x1000);
        for (flags, offset, address, size) in [(5u32, 0, CODE, code), (6, start, DATA, data)] {
            file.extend([1, flags].map(u32::to_le_bytes).concat());
            file.extend([offset, address, address, size, size, 0x1000].map(u64::to_le_bytes).concat());
        }
        file.extend(&self.code);
        file.resize(start as usize, 0);
        file.extend(&self.data);
        file
    }
}
