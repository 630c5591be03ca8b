//! `newroot doctor`: what this machine has and lacks, as its user reads it.

use std::process::ExitCode;

use newroot::doctor::{self, Verdict};
use newroot::runtime::printable_lines;

use super::serve;

/// Looks at the machine as `serve` would with these flags, and prints what it finds.
pub fn run(options: &serve::Options) -> ExitCode {
    let plan = options.plan();
    let mut lacking = 0;
    let mut tell = |findings: Vec<doctor::Finding>| {
        for finding in findings {
            println!("{}", printable_lines(&finding));
            lacking += usize::from(finding.verdict == Verdict::Lacking);
        }
    };
    tell(doctor::examine(&plan));
    tell(doctor::look_around(&plan));
    match lacking {
        0 => println!("\n`newroot serve` will work here."),
        1 => println!("\n`newroot serve` will not work here: it lacks one thing."),
        count => println!("\n`newroot serve` will not work here: it lacks {count} things."),
    }
    if lacking == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
