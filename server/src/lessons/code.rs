//! The taught code for the page: the very files that this binary is compiled from, and their twins in other languages,
//! cut into steps by marker lines.

use std::collections::HashMap;

use rust_embed::RustEmbed;
use shared::lesson::{CodeStep, Language, SourceFile};

use super::Problem;
use super::highlight::highlight;

/// The code of each step: all lines of it, in each language.
pub struct Steps(HashMap<String, String>);

impl Steps {
    /// The steps of some files.
    pub fn of(files: &[SourceFile]) -> Steps {
        let steps =
            files.iter().flat_map(|file| file.steps.iter().map(move |step| (step.name.clone(), text(file, step))));
        Steps(steps.collect())
    }

    /// The code of a step.
    pub fn get(&self, name: &str) -> Option<&String> {
        self.0.get(name)
    }

    /// Takes in the steps of a twin. A step that nothing else has is a fault, at its line.
    pub fn add_twin(&mut self, twin: &SourceFile) -> Result<(), (usize, Problem)> {
        for step in &twin.steps {
            let fault = || (step.lines.0 as usize - 1, Problem::UnknownCodeStep { name: step.name.clone() });
            self.0.get_mut(&step.name).ok_or_else(fault)?.push_str(&text(twin, step));
        }
        Ok(())
    }
}

fn text(file: &SourceFile, step: &CodeStep) -> String {
    let (first, last) = step.lines;
    let lines = file.lines.iter().filter(|(number, _)| (first..=last).contains(number));
    lines.flat_map(|(_, tokens)| tokens.iter().map(|token| token.1.as_str()).chain(["\n"])).collect()
}

/// The taught runtime's source, embedded from the folder it is compiled from.
#[derive(RustEmbed)]
#[folder = "src/runtime"]
#[allow_missing = true]
struct Runtime;

/// The files of `server/src/runtime` that have steps, in the order of their names.
pub fn code() -> Vec<SourceFile> {
    let files = runtime_files().map(|(name, text)| cut("server/src/runtime", &name, Language::Rust, &text));
    files.filter(|file| !file.steps.is_empty()).collect()
}

/// The names of these files and their steps, without their lines, which take time to be coloured.
pub fn code_steps() -> Vec<(String, Vec<CodeStep>)> {
    let files = runtime_files().map(|(name, text)| (name, steps(Language::Rust, &text)));
    files.filter(|(_, steps)| !steps.is_empty()).collect()
}

fn runtime_files() -> impl Iterator<Item = (String, String)> {
    let mut names: Vec<_> = Runtime::iter().filter(|name| name.ends_with(".rs")).collect();
    names.sort();
    names.into_iter().filter_map(|name| {
        let file = Runtime::get(&name)?;
        Some((name.into_owned(), String::from_utf8_lossy(&file.data).into_owned()))
    })
}

/// Cuts a file at its marker lines, `// step: NAME`: a step goes from the line after its marker to the last line with
/// text before the next marker. The tests at a file's end are left out: they are not in the binary either. `folder` is
/// where the file is in the repository.
pub fn cut(folder: &str, name: &str, language: Language, text: &str) -> SourceFile {
    let lines = compiled(text).zip(highlight(language, text));
    let lines = lines.filter(|((_, line), _)| marked(language, line).is_none());
    SourceFile {
        name: name.to_owned(),
        folder: folder.to_owned(),
        language,
        lines: lines.map(|((number, _), tokens)| (number, tokens)).collect(),
        steps: steps(language, text),
    }
}

fn steps(language: Language, text: &str) -> Vec<CodeStep> {
    let mut steps: Vec<CodeStep> = Vec::new();
    for (number, line) in compiled(text) {
        if let Some(step) = marked(language, line) {
            steps.push(CodeStep { name: step.to_owned(), lines: (number + 1, number) });
        } else if let Some(step) = steps.last_mut().filter(|_| !line.trim().is_empty()) {
            step.lines.1 = number;
        }
    }
    steps
}

fn compiled(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.lines().take_while(|line| line.trim() != "#[cfg(test)]"))
}

/// The name of the step that begins behind this line.
fn marked(language: Language, line: &str) -> Option<&str> {
    line.trim().strip_prefix(if language == Language::Shell { "# step: " } else { "// step: " })
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
        let file = cut("folder", "file.rs", Language::Rust, TEXT);
        assert_eq!(
            file.steps,
            [CodeStep { name: "one".to_owned(), lines: (5, 7) }, CodeStep { name: "two".to_owned(), lines: (10, 11) }]
        );
        let on_disk: Vec<_> = TEXT.lines().collect();
        for (number, tokens) in &file.lines {
            let line: String = tokens.iter().map(|token| token.1.as_str()).collect();
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
