//! The reader's test: the taught files hold to what STYLE.md promises whoever reads them on a beamer. Each rule is a
//! function from sources to what breaks it, and is also shown sources made up to break it.

use std::fs;
use std::path::Path;

/// Lines that a file may have without its tests: three screens.
const FILE: usize = 150;
/// Lines that a step may have, from its signature to its last brace: one screen.
const STEP: usize = 45;
/// A step that is longer, and what it may have until it is split. Nothing else gets in here.
const LONG_STEPS: [(&str, usize); 1] = [("put-entry", 80)];
/// Places that may construct the same variant of an error that names a call: chdir(2) may fail in a few places, and a
/// message that fits everywhere says nothing.
const PLACES: usize = 3;

/// A taught file: its path below `runtime/`, and its lines without its tests.
struct Source {
    path: String,
    lines: Vec<String>,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").map(str::to_owned);
        Source { path: path.to_owned(), lines: lines.collect() }
    }

    /// A complaint about a line, counted from 1.
    fn fault(&self, index: usize, sentence: impl AsRef<str>) -> String {
        format!("{}:{}: {}", self.path, index + 1, sentence.as_ref())
    }

    /// The lines of code, each with its index; what is commented out is none.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().enumerate().map(|(index, line)| (index, line.trim())).filter(|(_, line)| !is_comment(line))
    }

    /// The index and name of each step's marker.
    fn steps(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().enumerate().filter_map(|(index, line)| Some((index, line.trim().strip_prefix("// step: ")?)))
    }
}

fn is_comment(line: &str) -> bool {
    line.starts_with("//")
}

fn is_function(line: &str) -> bool {
    let line = line.trim_start_matches("pub(super) ").trim_start_matches("pub ").trim_start_matches("async ");
    line.starts_with("fn ")
}

/// A file is short, and opens with what lives in it.
fn files_out_of_hand(sources: &[Source]) -> Vec<String> {
    let long = sources.iter().filter(|source| source.lines.len() > FILE);
    let long = long.map(|source| source.fault(FILE, format!("a file has at most {FILE} lines before its tests")));
    let opens = |source: &&Source| !source.lines.first().is_some_and(|line| line.starts_with("//! "));
    long.chain(sources.iter().filter(opens).map(|source| source.fault(0, "a file opens with `//!`"))).collect()
}

/// A marker stands above one function with a doc comment, which fits on a screen; no two steps have one name.
fn steps_out_of_hand(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for source in sources {
        for (marker, name) in source.steps() {
            if names.contains(&name) {
                faults.push(source.fault(marker, format!("a second step {name}")));
            }
            names.push(name);
            let below = || source.lines.iter().enumerate().skip(marker + 1);
            let function = below().find(|(_, line)| !is_comment(line.trim()) && !line.trim().starts_with("#["));
            let Some((start, signature)) = function.filter(|(_, line)| is_function(line.trim())) else {
                faults.push(source.fault(marker, format!("below the marker of {name} stands no function")));
                continue;
            };
            if start == marker + 1 || !source.lines[marker + 1].trim().starts_with("/// ") {
                faults.push(source.fault(start, format!("the step {name} does not say what it does")));
            }
            let indentation = signature.len() - signature.trim_start().len();
            let last = format!("{}}}", " ".repeat(indentation));
            let end = below().skip(start - marker).find(|(_, line)| **line == last).map_or(start, |(index, _)| index);
            let most = LONG_STEPS.iter().find(|(long, _)| *long == name).map_or(STEP, |(_, lines)| *lines);
            if end - start + 1 > most {
                faults.push(source.fault(start, format!("the step {name} has {} lines", end - start + 1)));
            }
        }
    }
    faults
}

/// The system calls of a file: the functions that it imports from nix.
fn calls_of(source: &Source) -> Vec<String> {
    let text: String = source.lines.join("\n");
    let imports = text.split("use nix::").skip(1).filter_map(|rest| rest.split(';').next());
    let names = imports.flat_map(|import| import.split(|c: char| !c.is_alphanumeric() && c != '_'));
    // Modules are followed by `::`, and types begin with a capital letter; what is left and called is a function.
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned).collect()
}

/// Whether a line calls one of these functions, and not a method of that name.
fn has_call(line: &str, names: &[String]) -> bool {
    names.iter().any(|name| {
        line.match_indices(&format!("{name}(")).any(|(start, _)| {
            let before = line[..start].chars().next_back().unwrap_or(' ');
            let path = line[..start].ends_with("::") && !line[..start].contains("nix::");
            !(before.is_alphanumeric() || before == '_' || before == '.' || path)
        })
    })
}

/// In a file with steps, each system call has a reason of its own: a comment between the call before it and itself, or,
/// for the first of a function, the function's own. Calls in lines that follow each other may share one.
fn calls_without_a_reason(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| source.steps().next().is_some()) {
        let calls = calls_of(source);
        let (mut has_reason, mut last) = (false, None);
        for (index, line) in source.lines.iter().map(|line| line.trim()).enumerate() {
            if is_comment(line) {
                has_reason |= !line.starts_with("// step:");
            } else if line == "}" {
                // The end of a function, or of a block; a reason is not meant for what follows it.
                has_reason &= source.lines[index] != "}";
            } else if has_call(line, &calls) && !is_function(line) && !line.starts_with("use ") {
                if !has_reason && last.is_none_or(|last| last + 1 != index) {
                    faults.push(source.fault(index, "a system call without a reason"));
                }
                (has_reason, last) = (false, Some(index));
            }
        }
    }
    faults
}

/// Each variant of an error enum is constructed; one whose message names a call, as `chdir(2)`, at few places.
/// Some are made `elsewhere`, by those who use the taught code.
fn errors_out_of_hand(sources: &[Source], elsewhere: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for definition in sources.iter().filter(|source| source.path.starts_with("error/")) {
        let text = definition.lines.join("\n");
        let Some(name) = text.split("pub enum ").nth(1).and_then(|rest| rest.split(' ').next()) else { continue };
        let variants =
            definition.lines.iter().enumerate().filter(|(_, line)| {
                line.starts_with("    ") && line[4..].starts_with(|c: char| c.is_ascii_uppercase())
            });
        for (index, line) in variants.take_while(|(_, line)| !line.starts_with("    pub ")) {
            let variant = line.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            let others = sources.iter().chain(elsewhere).filter(|source| source.path != definition.path);
            let places = others.map(|source| constructions(source, &format!("{name}::{variant}"))).sum::<usize>();
            let message = definition.lines[..index]
                .iter()
                .rev()
                .take_while(|line| !line.ends_with("},") && !line.ends_with("),"));
            let names_a_call = message.into_iter().any(|line| line.contains("(2)"));
            match places {
                0 => faults.push(definition.fault(index, format!("nothing makes a {name}::{variant}"))),
                _ if places <= PLACES || !names_a_call => {}
                _ => faults.push(definition.fault(index, format!("{places} places make a {name}::{variant}"))),
            }
        }
    }
    faults
}

/// How often a file constructs a variant. In a pattern it has `..` or `=>` after it.
fn constructions(source: &Source, path: &str) -> usize {
    let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
    let after = code.match_indices(path).map(|(start, _)| &code[start + path.len()..]);
    let is_whole = |rest: &&str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let is_pattern = |rest: &&str| {
        let inside = rest.split('}').next().unwrap_or_default();
        inside.contains("..") || rest.trim_start().starts_with("=>") || rest.lines().next().unwrap_or("").contains("=>")
    };
    after.filter(is_whole).filter(|rest| !is_pattern(rest)).count()
}

/// All taught files.
fn sources() -> Vec<Source> {
    let sources = files_below("src/runtime");
    assert!(sources.iter().any(|source| source.path == "error/run.rs") && sources.len() > 20, "files are missing");
    sources
}

/// The Rust files below a folder of the server.
fn files_below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).expect("below it").display().to_string();
            sources.push(Source::new(&name, &fs::read_to_string(&path).expect("text")));
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

#[test]
fn a_taught_file_is_short_and_says_what_lives_in_it() {
    assert_eq!(files_out_of_hand(&sources()), [""; 0]);
    let long = "//! A file.\n".to_owned() + &"\n".repeat(150);
    let with_tests = "//! A file.\n#[cfg(test)]\n".to_owned() + &"\n".repeat(150);
    let broken = [Source::new("a.rs", &long), Source::new("b.rs", "use a;"), Source::new("c.rs", &with_tests)];
    assert_eq!(
        files_out_of_hand(&broken),
        ["a.rs:151: a file has at most 150 lines before its tests", "b.rs:1: a file opens with `//!`"]
    );
}

#[test]
fn a_step_is_one_function_that_fits_on_a_screen_and_says_what_it_does() {
    assert_eq!(steps_out_of_hand(&sources()), [""; 0]);
    let long = format!("// step: long\n/// Why.\nfn long() {{\n{}}}\n", "    a();\n".repeat(44));
    let fits = format!("// step: fits\n/// Why.\n#[inline]\npub fn fits() {{\n{}}}\n", "    a();\n".repeat(43));
    let broken = [
        Source::new("a.rs", &(fits + &long)),
        Source::new(
            "b.rs",
            "// step: constant\n/// Why.\nconst A: u8 = 1;\n// step: mute\nfn mute() {}\n// step: mute\n",
        ),
    ];
    assert_eq!(
        steps_out_of_hand(&broken),
        [
            "a.rs:51: the step long has 46 lines",
            "b.rs:1: below the marker of constant stands no function",
            "b.rs:5: the step mute does not say what it does",
            "b.rs:6: a second step mute",
            "b.rs:6: below the marker of mute stands no function",
        ]
    );
}

#[test]
fn each_system_call_of_a_step_has_a_reason() {
    assert_eq!(calls_without_a_reason(&sources()), [""; 0]);
    let text = "\
use nix::mount::{MsFlags, mount};
use nix::unistd::chdir;
// step: a
/// Goes.
fn a() {
    mount(NONE)?;
    mount(NONE)?;
    let path = b();
    chdir(\"/\")?;
    // Why.
    chdir(\"/\")?;
    command.chdir(); other::chdir(); mount_all();
}
fn b() { c(); }
fn d() {
    mount(NONE)?;
}
";
    let without_steps = text.replace("// step: a\n", "");
    assert_eq!(
        calls_without_a_reason(&[Source::new("a.rs", text), Source::new("b.rs", &without_steps)]),
        ["a.rs:9: a system call without a reason", "a.rs:16: a system call without a reason"]
    );
}

#[test]
fn each_error_is_of_one_call_and_of_one_that_is_there() {
    assert_eq!(errors_out_of_hand(&sources(), &files_below("src/registry")), [""; 0]);
    let error = "pub enum RunError {\n    #[error(\"\")]\n    Mount { errno: Errno },\n    Unused,\n    Any { a: A },\n    #[error(\"cannot wait(2)\")]\n    Wait(Errno),\n}\nimpl A {}\n";
    let uses = "\
a().map_err(|errno| RunError::Mount { errno })?;
b().map_err(RunError::Wait)?;
// RunError::Unused
c().map_err(RunError::Wait)?;
d().map_err(RunError::Wait)?;
RunError::Wait(errno); RunError::Any { a }; RunError::Any { a }; RunError::Any { a }; RunError::Any { a };
match e { RunError::Mount { .. } => 1, RunError::Unused => 2, RunError::UnusedToo => 3 }
";
    assert_eq!(
        errors_out_of_hand(&[Source::new("error/run.rs", error), Source::new("a.rs", uses)], &[]),
        ["error/run.rs:4: nothing makes a RunError::Unused", "error/run.rs:7: 4 places make a RunError::Wait"]
    );
}

#[test]
fn the_steps_are_those_that_lessons_can_name() {
    let mut steps: Vec<String> = sources()
        .iter()
        .flat_map(|source| source.steps().map(|(_, name)| name.to_owned()).collect::<Vec<_>>())
        .collect();
    steps.sort();
    for expected in ["change-root", "mount-default", "mount-proc", "new-mount-namespace", "pivot-root", "propagation"] {
        assert!(steps.iter().any(|step| step == expected), "{expected}: {steps:?}");
    }
}
