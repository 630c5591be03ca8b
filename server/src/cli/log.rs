//! The log that the server and the labs write to standard error. What strangers have put into a message is shown there, and
//! not obeyed by whoever's terminal it is.

use std::io::{IsTerminal, stderr};

use newroot::runtime::printable_lines;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::debug_fn;

/// Prints a line for each event from now on; without the time, where another log adds it.
pub fn start(with_time: bool) {
    let fields = debug_fn(|out, field, value| {
        let text = printable_lines(format_args!("{value:?}"));
        match field.name() {
            "message" => write!(out, "{text}"),
            name => write!(out, "{name}={text}"),
        }
    });
    let log = tracing_subscriber::fmt().with_target(false).with_writer(stderr).with_ansi(stderr().is_terminal());
    let log = log.fmt_fields(fields.delimited(" "));
    if with_time { log.init() } else { log.without_time().init() }
}
