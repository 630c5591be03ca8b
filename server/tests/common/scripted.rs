//! A registry that does what a test wants: it has one image, and the test decides how each of its layers is sent.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use newroot::registry::Digest;
use serde_json::json;

/// A registry on a port of the kernel's choice, with this image under each name. Its threads end with the test's process.
pub struct ScriptedRegistry {
    url: String,
}

impl ScriptedRegistry {
    /// Starts one. Whoever asks for a layer is left to `send`, with the layer's number and the connection.
    pub fn start(
        layers: Vec<Vec<u8>>,
        send: impl Fn(usize, &[u8], &mut TcpStream) + Send + Sync + 'static,
    ) -> ScriptedRegistry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let descriptor = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len() });
        // Layers without compression, so that both digests are one.
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).as_str().to_owned()).collect();
        let config = json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids } }).to_string();
        let layer_type = "application/vnd.oci.image.layer.v1.tar";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            "layers": layers.iter().map(|layer| descriptor(layer_type, layer)).collect::<Vec<_>>(),
        });
        let image = Arc::new((manifest.to_string(), config, layers, diff_ids, send));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, image) = (stream.unwrap(), Arc::clone(&image));
                thread::spawn(move || {
                    let (manifest, config, layers, diff_ids, send) = &*image;
                    let mut request = String::new();
                    let mut lines = BufReader::new(stream.try_clone().unwrap());
                    while lines.read_line(&mut request).unwrap() > 2 {}
                    let asked = request.lines().next().unwrap();
                    let layer = diff_ids.iter().position(|digest| asked.contains(digest.as_str()));
                    match layer {
                        Some(layer) => send(layer, &layers[layer], &mut stream),
                        None if asked.contains("/manifests/") => answer(manifest.as_bytes(), &mut stream),
                        None if asked.contains("/blobs/") => answer(config.as_bytes(), &mut stream),
                        None => answer(b"{}", &mut stream),
                    }
                });
            }
        });
        ScriptedRegistry { url }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Sends the head of an answer of so many bytes.
pub fn head(length: usize, stream: &mut TcpStream) {
    // Whoever has hung up does not want it.
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
}

/// Sends a whole answer.
pub fn answer(body: &[u8], stream: &mut TcpStream) {
    head(body.len(), stream);
    let _ = stream.write_all(body);
}

/// A registry that gives the same answer to whatever is asked. Returns its address.
pub fn refusing_registry(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while lines.read_line(&mut String::new()).unwrap() > 2 {}
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    url
}
