//! HTTP by hand, for what no browser would do.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

/// How long anything may take on a machine that does much else. Nothing is timed by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that says what it is told to.
pub struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    /// Opens one.
    pub fn open(address: SocketAddr) -> Raw {
        Raw::of(TcpStream::connect(address).unwrap())
    }

    /// Opens one from a certain address of this machine.
    pub fn open_from(from: &str, address: SocketAddr) -> Raw {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
            socket.connect(address).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        Raw::of(stream)
    }

    /// A connection that is there already.
    pub fn of(stream: TcpStream) -> Raw {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Raw { stream: BufReader::new(stream) }
    }

    /// Its own address.
    pub fn address(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    /// Lets the kernel keep no more than it must of what comes.
    pub fn with_little_room(self) -> Raw {
        setsockopt(self.stream.get_ref(), sockopt::RcvBuf, &4096).unwrap();
        self
    }

    /// Says this. One that is closed meanwhile is seen when it is read.
    pub fn say(mut self, bytes: impl AsRef<[u8]>) -> Raw {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
        self
    }

    /// The next line, without its end; empty at the end of a head, and of the connection.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            read => drop(read.expect("something within a minute")),
        }
        line.trim_end().to_owned()
    }

    /// The next so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("so many bytes within a minute");
        bytes
    }

    /// What comes until the other side closes the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            read => drop(read.expect("the end within a minute")),
        }
        rest
    }

    /// Whether something has come that is not read yet.
    pub fn has_come(&self) -> bool {
        self.stream.get_ref().set_nonblocking(true).unwrap();
        let peeked = self.stream.get_ref().peek(&mut [0]);
        self.stream.get_ref().set_nonblocking(false).unwrap();
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

/// Looks again and again until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The most memory that a process has had, in KiB.
pub fn peak(pid: impl std::fmt::Display) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a process of this machine");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Forgets that (proc_pid_clear_refs(5)).
pub fn forget_peak(pid: impl std::fmt::Display) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
}
