//! `newroot pull`, as its user sees it: what it prints while it works and when it is done.

use std::process::ExitCode;

use anyhow::{Context, Result};

use newroot::runtime::{self, Progress, PullError, PullOptions, Pulled, printable};

/// Pulls, and tells of it.
pub fn run(options: &PullOptions) -> Result<ExitCode> {
    runtime::ensure_certificates().context("cannot prepare TLS")?;
    println!("Pulling {}", options.image);
    let pulled = match runtime::pull(options, &Progress::on_standard_error()) {
        // As if the signal had ended it at once; shells know these numbers.
        Err(error @ PullError::Interrupted { signal }) => {
            eprintln!("newroot: {error}");
            return Ok(ExitCode::from(128 + signal as u8));
        }
        result => result?,
    };
    match pulled {
        Pulled::AlreadyThere { rootfs, digest } => {
            println!("Already there: {}; the rootfs is in {}", printable(digest), rootfs.display());
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
