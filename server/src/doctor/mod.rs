//! What this machine has and lacks for labs: a line for each, with its mend where something is missing. Most is found
//! out by doing it, in a child process that is gone afterwards. Nothing is mended here.

mod kernel;
mod machine;
mod probe;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::lab::cgroup::Limits;
use crate::runtime::Registry;

/// What a server would be started with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where it would listen.
    pub listen: SocketAddr,
    /// Which registry its labs would pull from.
    pub upstream: Registry,
    /// Where it would keep images.
    pub state: PathBuf,
    /// Where labs would have their directories.
    pub run: PathBuf,
    /// How many labs there would be at once.
    pub labs: usize,
    /// What each might use.
    pub limits: Limits,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Good,
    /// Labs can do without it.
    Note,
    /// No lab can do without it.
    Lacking,
}

/// Something that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it is.
    pub what: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do, where there is something to do.
    pub mend: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Good, found: found.into(), mend: None }
    }

    fn note(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Note, found: found.into(), mend: Some(mend.into()) }
    }

    fn lacking(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Lacking, found: found.into(), mend: Some(mend.into()) }
    }
}

impl fmt::Display for Finding {
    /// A line, and one below it for the mend.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Lacking => "LACKS",
        };
        write!(out, "{mark:<6}{}: {}", self.what, self.found)?;
        self.mend.iter().try_for_each(|mend| write!(out, "\n        {mend}"))
    }
}

/// Looks at all that a server needs for its labs; takes some milliseconds. To be called by a process of one thread.
pub fn examine(plan: &Plan) -> Vec<Finding> {
    let root = machine::root();
    let is_root = root.verdict == Verdict::Good;
    let mut findings = vec![root, machine::kernel()];
    // All of this takes root, and would only say so again.
    if is_root {
        findings.push(machine::user_ids());
        findings.extend(kernel::examine(plan));
        findings.push(machine::cgroups(&plan.limits));
    }
    findings.extend([machine::memory(plan), machine::directory("state", &plan.state), machine::disk(&plan.state)]);
    findings.extend([machine::directory("run", &plan.run), machine::port(plan.listen)]);
    findings
}

/// Looks at what is good to know besides; may take some seconds, because it asks the network.
pub fn look_around(plan: &Plan) -> Vec<Finding> {
    vec![machine::images(), machine::terminal(), machine::registry(&plan.upstream)]
}
