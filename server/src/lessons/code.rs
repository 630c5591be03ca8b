//! The taught code for the page: the very files that this binary is compiled from, cut into steps by marker lines.

use rust_embed::RustEmbed;
use shared::lesson::{CodeStep, SourceFile};

/// The taught runtime's source, embedded from the folder it is compiled from.
#[derive(RustEmbed)]
#[folder = "src/runtime"]
#[allow_missing = true]
struct Runtime;

/// The files of `server/src/runtime` that have steps, in the order of their names.
pub fn code() -> Vec<SourceFile> {
    let mut names: Vec<_> = Runtime::iter().filter(|name| name.ends_with(".rs")).collect();
    names.sort();
    let files = names.iter().filter_map(|name| {
        let file = Runtime::get(name)?;
        Some(cut(name, &String::from_utf8_lossy(&file.data)))
    });
    files.filter(|file| !file.steps.is_empty()).collect()
}

/// Cuts a file at its marker lines, `// step: NAME`: a step goes from the line after its marker to the last line with
/// text before the next marker. The tests at a file's end are left out: they are not in the binary either.
fn cut(name: &str, text: &str) -> SourceFile {
    let mut lines = Vec::new();
    let mut steps: Vec<CodeStep> = Vec::new();
    let compiled = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    for (number, line) in (1..).zip(compiled) {
        if let Some(step) = line.trim().strip_prefix("// step: ") {
            steps.push(CodeStep { name: step.to_owned(), lines: (number + 1, number) });
            continue;
        }
        if let Some(step) = steps.last_mut().filter(|_| !line.trim().is_empty()) {
            step.lines.1 = number;
        }
        lines.push((number, line.to_owned()));
    }
    SourceFile { name: name.to_owned(), lines, steps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const TEXT: &str = "\
//! A file.
fn before() {}

// step: one
/// Why.
fn one() {
    two();

    // step: two
    three();
}

#[cfg(test)]
mod tests {
    // step: none
}
";

    #[test]
    fn a_file_is_cut_at_its_markers_and_keeps_its_line_numbers() {
        let file = cut("file.rs", TEXT);
        assert_eq!(
            file.steps,
            [CodeStep { name: "one".to_owned(), lines: (5, 7) }, CodeStep { name: "two".to_owned(), lines: (10, 11) }]
        );
        let on_disk: Vec<_> = TEXT.lines().collect();
        for (number, line) in &file.lines {
            assert_eq!(line, on_disk[*number as usize - 1]);
            assert!(!line.contains("step:"));
        }
        let numbers: Vec<_> = file.lines.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 5, 6, 7, 8, 10, 11, 12], "neither markers nor tests");
    }

    #[test]
    fn the_names_of_the_runtimes_steps_are_unique_and_none_is_empty() {
        let mut names = HashSet::new();
        for file in code() {
            for step in file.steps {
                assert!(step.lines.0 <= step.lines.1, "{}: step {} has no lines", file.name, step.name);
                assert!(names.insert(step.name.clone()), "{}: a second step {}", file.name, step.name);
            }
        }
    }
}
