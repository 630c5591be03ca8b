//! A network that fails: a TCP proxy before a real registry, which spoils its first connections, each in its own way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What goes wrong with a connection.
#[derive(Clone, Copy)]
pub enum Trouble {
    /// It is cut when so many bytes have come back from the registry.
    CutAfter(u64),
    /// The registry has the hiccups: it answers 503 to whatever is asked.
    Unavailable,
}

/// A proxy on a port of the kernel's choice. Its threads end with the test's process.
pub struct Proxy {
    address: String,
    passed: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts one. Connections after those in trouble are left alone.
    pub fn start(registry: &str, troubles: impl IntoIterator<Item = Trouble> + Send + 'static) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let passed = Arc::new(AtomicU64::new(0));
        let (registry, counter) = (registry.to_owned(), Arc::clone(&passed));
        thread::spawn(move || {
            let mut troubles = troubles.into_iter();
            for client in listener.incoming() {
                let (client, counter, trouble) = (client.unwrap(), Arc::clone(&counter), troubles.next());
                let registry = TcpStream::connect(&registry).unwrap();
                thread::spawn(move || serve(client, registry, trouble, &counter));
            }
        });
        Proxy { address, passed }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many bytes have come back through it.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

fn serve(mut client: TcpStream, mut registry: TcpStream, trouble: Option<Trouble>, passed: &AtomicU64) {
    let left = match trouble {
        None => u64::MAX,
        Some(Trouble::CutAfter(bytes)) => bytes,
        Some(Trouble::Unavailable) => {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(b"HTTP/1.1 503 Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            return;
        }
    };
    let (mut from, mut to) = (client.try_clone().unwrap(), registry.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut left = left;
    let mut buffer = [0; 16 << 10];
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Ok(count @ 1..) = registry.read(&mut buffer[..most]) else { break };
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
        left -= count as u64;
        passed.fetch_add(count as u64, Ordering::SeqCst);
    }
    let _ = (client.shutdown(Shutdown::Both), registry.shutdown(Shutdown::Both));
}
