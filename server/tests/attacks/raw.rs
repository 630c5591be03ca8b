//! HTTP and WebSocket by hand: what no library sends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long anything may take. Nothing is timed by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends bytes as they are and returns what is answered, until the other side closes the connection.
pub fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be refused before all is sent.
    let _cut_off = stream.write_all(request);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer: 0 where there is none.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// The head of a request for a WebSocket, with these headers instead of honest ones.
pub fn upgrade(headers: &[&str]) -> Vec<u8> {
    let mut head =
        "GET /api/lab HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            .to_owned();
    for header in headers {
        head += &format!("{header}\r\n");
    }
    (head + "\r\n").into_bytes()
}

/// Sends the head of a request, and returns the status of its answer; the connection, if it is a WebSocket, is closed.
pub fn status_of(address: SocketAddr, head: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _cut_off = stream.write_all(head);
    status(&read_head(&mut stream))
}

fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length > 0) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A WebSocket.
pub struct Socket(TcpStream);

/// The kinds of frames (RFC 6455, section 5.2), and the bit of the last of a message.
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
pub const LAST: u8 = 0x80;

impl Socket {
    /// Opens one as our own page does.
    pub fn open(address: SocketAddr, cookie: &str) -> Socket {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let headers = [format!("Host: {address}"), format!("Origin: http://{address}"), format!("Cookie: {cookie}")];
        stream.write_all(&upgrade(&headers.each_ref().map(String::as_str))).unwrap();
        let head = read_head(&mut stream);
        assert_eq!(status(&head), 101, "{head}");
        Socket(stream)
    }

    /// Sends bytes as they are; whether the other side takes them.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Sends a frame.
    pub fn frame(&mut self, first: u8, payload: &[u8]) -> bool {
        self.send(&frame(first, payload.len() as u64, payload, true))
    }

    /// Sends a message.
    pub fn say(&mut self, json: &str) -> bool {
        self.frame(LAST | TEXT, json.as_bytes())
    }

    /// The next frame: its kind and its content. None where the connection has ended.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            short => u64::from(short),
        };
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[0] & 0xf, payload))
    }

    fn bytes<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.0.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Whether the connection goes on: a ping is answered. Otherwise why it ended.
    pub fn goes_on(&mut self) -> Result<(), String> {
        self.frame(LAST | PING, b"there?");
        while let Some((kind, payload)) = self.next() {
            match kind {
                PONG if payload == b"there?" => return Ok(()),
                CLOSE => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return Err(format!(
                        "closed with {code} {}",
                        String::from_utf8_lossy(payload.get(2..).unwrap_or_default())
                    ));
                }
                _ => {}
            }
        }
        Err("the connection has ended".to_owned())
    }

    /// Takes what comes until a message has this in it. False where the connection ends before.
    pub fn hears(&mut self, words: &str) -> bool {
        while let Some((kind, payload)) = self.next() {
            if kind != CLOSE && payload.windows(words.len()).any(|window| window == words.as_bytes()) {
                return true;
            }
        }
        false
    }
}

/// A frame; its length may be a lie.
pub fn frame(first: u8, length: u64, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(mask | length as u8),
        126..65536 => {
            bytes.push(mask | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    if masked {
        // A mask of zeros changes nothing.
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}
