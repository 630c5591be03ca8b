//! The facts that expressions ask about, as `lessons/FACTS.md` tells them to authors. Whoever fills them in keeps to the
//! bounds given here: an evaluation costs what there is to look at.

use std::collections::BTreeMap;

use serde::Serialize;

/// The most rows of all tables together. A machine with more of anything is not judged while it has.
pub const MOST_ROWS: usize = 4096;
/// The most processes.
pub const MOST_PROCESSES: usize = 512;
/// The most items of any other list.
pub const MOST_ITEMS: usize = 256;
/// The longest text, in bytes, that a learner can choose; what is longer ends in `…`.
pub const LONGEST_TEXT: usize = 1024;

/// All that is known of a machine at one moment. Numbers are 64 bits and signed, as CEL's integers are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// The view of its PID 1.
    pub machine: View,
    /// All views, the machine's first.
    pub views: Vec<View>,
    /// All processes, eldest first.
    pub processes: Vec<Process>,
    /// The machine's own namespaces, those of its PID 1.
    pub namespaces: Namespaces,
    /// What lies at the paths that lessons name.
    pub files: BTreeMap<String, File>,
    /// The images that are unpacked in `/fs`.
    pub images: Vec<Image>,
    /// The calls that were seen, newest last.
    pub trace: Vec<Call>,
    /// The cgroups below the learner's own.
    pub cgroups: Vec<Cgroup>,
}

/// A pair of mount namespace and root directory that some process has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "lessons/FACTS.md describes the fields, for those who need them")]
pub struct View {
    pub id: i64,
    pub namespace: i64,
    pub ordinal: i64,
    pub host: bool,
    pub root: String,
    pub root_deleted: bool,
    pub processes: Vec<i64>,
    pub rows: Vec<Row>,
}

/// A row of a mount table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "see View")]
pub struct Row {
    pub id: i64,
    pub parent: i64,
    pub point: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub source: String,
    pub root: String,
    pub device: String,
    pub options: Vec<String>,
    pub super_options: Vec<String>,
    pub propagation: String,
    pub shared: i64,
    pub master: i64,
    pub hidden: bool,
}

/// A process of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "see View")]
pub struct Process {
    pub pid: i64,
    pub parent: i64,
    pub program: String,
    pub arguments: Vec<String>,
    pub terminal: String,
    pub namespaces: Namespaces,
    pub root: String,
    pub cwd: String,
    pub outside: bool,
    pub capabilities: Vec<String>,
    pub hostname: String,
    pub cgroup: String,
}

/// The inodes of a process's namespaces; 0 where one could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "see View")]
pub struct Namespaces {
    pub mnt: i64,
    pub pid: i64,
    pub uts: i64,
    pub ipc: i64,
    pub net: i64,
    pub user: i64,
    pub cgroup: i64,
}

/// What lies at a path.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "see View")]
pub struct File {
    pub exists: bool,
    #[serde(rename = "type")]
    pub kind: String,
    pub size: i64,
    pub mode: i64,
    pub digest: String,
    pub target: String,
}

/// An unpacked image.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "see View")]
pub struct Image {
    pub name: String,
    pub digest: String,
    pub layers: i64,
}

/// A system call.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "see View")]
pub struct Call {
    pub name: String,
    pub program: String,
    pub pid: i64,
    pub ordinal: i64,
    pub arguments: BTreeMap<String, String>,
    pub ok: bool,
    pub value: i64,
    pub errno: String,
}

/// A cgroup that the learner may have made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "see View")]
pub struct Cgroup {
    pub path: String,
    pub processes: Vec<i64>,
    pub memory_max: i64,
    pub pids_max: i64,
    pub cpu_max: i64,
    pub oom_kills: i64,
}

impl Facts {
    /// One of everything, all of it empty: what an expression is tried on when it is compiled.
    pub fn sample() -> Facts {
        let text = vec![String::new()];
        let row = Row { options: text.clone(), super_options: text.clone(), ..Row::default() };
        let view = View { processes: vec![0], rows: vec![row], ..View::default() };
        Facts {
            machine: view.clone(),
            views: vec![view],
            processes: vec![Process { arguments: text.clone(), capabilities: text, ..Process::default() }],
            images: vec![Image::default()],
            trace: vec![Call::default()],
            cgroups: vec![Cgroup { processes: vec![0], ..Cgroup::default() }],
            ..Facts::default()
        }
    }
}

/// A text that a learner has chosen, not longer than [`LONGEST_TEXT`].
pub fn bounded(text: String) -> String {
    match text.len() {
        0..=LONGEST_TEXT => text,
        _ => text
            .char_indices()
            .take_while(|(at, _)| *at < LONGEST_TEXT)
            .map(|(_, letter)| letter)
            .chain(['…'])
            .collect(),
    }
}
