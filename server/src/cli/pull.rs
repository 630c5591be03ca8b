//! `newroot pull`, as its user sees it: what it prints while it works and when it is done.

use std::process::ExitCode;

use anyhow::{Context, Result};

use newroot::runtime::{self, LayerDone, PullOptions, Pulled};

/// Pulls, and tells of it.
pub fn run(options: &PullOptions) -> Result<ExitCode> {
    runtime::ensure_certificates().context("cannot prepare TLS")?;
    println!("Pulling {}", options.image);
    match runtime::pull(options, tell_layer)? {
        Pulled::AlreadyThere { rootfs, digest } => {
            println!("Already there: {digest}; the rootfs is in {}", rootfs.display());
        }
        Pulled::Done { rootfs, left_out } => {
            if left_out.nodes > 0 {
                println!("Left out {} device node(s), which only the root of a whole machine may make", left_out.nodes);
            }
            if left_out.attributes > 0 {
                println!("Left out {} extended attribute(s), which cannot be set here", left_out.attributes);
            }
            println!("Pulling done; the rootfs is in {}", rootfs.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each layer, on standard error: standard output says where the image is.
pub fn tell_layer(layer: &LayerDone) {
    let LayerDone { number, of, digest, bytes } = layer;
    let size = match *bytes as f64 {
        bytes @ 1e6.. => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} kB", bytes / 1e3),
    };
    eprintln!("layer {number}/{of} {digest:.19}… {size} done");
}
