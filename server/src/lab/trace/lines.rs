//! Which line of the taught code makes a call. Nothing in that code tells: the stack of the stopped thread leads through the
//! functions that are under way, and the line tables of the binary say where in the source each of them is. Only threads
//! that run this very binary are asked, and a learner who changes such a process sees a wrong line, no more.

mod binary;
mod unwind;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, Error, NativeEndian};
use nix::unistd::Pid;
use shared::lesson::CodeStep;
use shared::trace::CodeLine;

use crate::lessons;
use binary::Binary;

/// Where the sandbox's copy of this binary is, as the lab process sees it.
const PROGRAM: &str = "/newroot";
/// Where the taught code is, in the paths of the line tables.
const RUNTIME: &str = "server/src/runtime/";
/// More places in the code are not remembered; the runtime has far fewer.
const MOST_KNOWN: usize = 1024;

/// Finds lines, and remembers them by their addresses in the binary.
pub struct Lines {
    program: PathBuf,
    known: HashMap<u64, Vec<Place>>,
    /// What is read from the binary when a line is first asked for; `None` within where it has no line tables.
    tables: Option<Option<Tables>>,
}

/// A file of the taught code, and a line in it.
type Place = (String, u32);

struct Tables {
    binary: Binary,
    lines: Context<EndianSlice<'static, NativeEndian>>,
    /// The files that the page shows, with their steps.
    shown: Vec<(String, Vec<CodeStep>)>,
}

impl Tables {
    fn read() -> Option<Tables> {
        let binary = Binary::own().ok()?;
        let section =
            |id: addr2line::gimli::SectionId| Ok::<_, Error>(EndianSlice::new(binary.section(id.name()), NativeEndian));
        let lines = Context::from_dwarf(Dwarf::load(section).ok()?).ok()?;
        Some(Tables { binary, lines, shown: lessons::code_steps() })
    }

    fn places(&self, address: u64) -> Vec<Place> {
        let mut places = Vec::new();
        if let Ok(mut frames) = self.lines.find_frames(address).skip_all_loads() {
            // A function that was compiled into another one is a frame of its own here, the innermost first.
            while let Ok(Some(frame)) = frames.next() {
                let place = frame.location.and_then(|location| Some((location.file?, location.line?)));
                let place = place.and_then(|(file, line)| Some((file.split_once(RUNTIME)?.1.to_owned(), line)));
                places.extend(place);
            }
        }
        places
    }
}

impl Default for Lines {
    fn default() -> Lines {
        Lines { program: PathBuf::from(PROGRAM), known: HashMap::new(), tables: None }
    }
}

impl Lines {
    /// Whether a process runs this binary.
    pub fn is_ours(&self, process: Pid) -> bool {
        let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
        let exe = identity(Path::new(&format!("/proc/{process}/exe")));
        exe.is_ok_and(|exe| identity(&self.program).is_ok_and(|ours| ours == exe))
    }

    /// The line at which a stopped thread of such a process is, in the innermost file that the page shows.
    pub fn line_of(&mut self, thread: Pid) -> Option<CodeLine> {
        let tables = self.tables.get_or_insert_with(Tables::read).as_ref()?;
        let addresses = unwind::stack_of(thread, &tables.binary)?;
        if self.known.len() + addresses.len() > MOST_KNOWN {
            self.known.clear();
        }
        for &address in &addresses {
            self.known.entry(address).or_insert_with(|| tables.places(address));
        }
        let mut places = addresses.iter().filter_map(|address| self.known.get(address)).flatten();
        places.find_map(|(file, line)| {
            let (_, steps) = tables.shown.iter().find(|(name, _)| name == file)?;
            let step = steps.iter().find(|step| (step.lines.0..=step.lines.1).contains(line));
            Some(CodeLine { file: file.clone(), step: step.map(|step| step.name.clone()), line: *line })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_binary_is_taken_for_it() {
        let lines = Lines { program: std::env::current_exe().expect("its path"), ..Lines::default() };
        assert!(lines.is_ours(nix::unistd::getpid()));
        assert!(!lines.is_ours(nix::unistd::getppid()));
        assert!(!Lines::default().is_ours(nix::unistd::getpid()), "there is no such file here");
    }
}
