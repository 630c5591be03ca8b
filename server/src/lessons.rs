//! The lessons and the taught code, as the page receives them; both are compiled into the binary. How a lesson is
//! written is told in `lessons/README.md`; who has got how far in one is not known here.

mod code;
mod error;
mod parse;

use std::collections::HashSet;

use rust_embed::RustEmbed;
use shared::lesson::Lesson;

pub use code::code;
pub use error::{Error, Problem};

/// What lies in the folder `lessons/` of the repository.
#[derive(RustEmbed)]
#[folder = "../lessons"]
#[allow_missing = true]
struct Files;

/// The image that lessons pull, if it can be had.
pub const IMAGE: &str = "alpine";

/// What `{image}` and `{why-image}` in a lesson's text stand for: an image's name, and a sentence that says why it is this one.
struct Image {
    name: &'static str,
    why: &'static str,
}

const ALPINE: Image =
    Image { name: IMAGE, why: "The image is `alpine`, a small Linux distribution: some megabytes in one layer." };

const BUSYBOX: Image = Image {
    name: "busybox",
    why: "The image is `busybox`, since `alpine` cannot be pulled here just now: Newroot carries this one along, so that a \
          classroom needs no network.",
};

/// The lessons inside this binary, in the order of their numbers: each for the image they should use, and for the one that
/// needs no network.
pub struct Choice {
    alpine: Vec<Lesson>,
    busybox: Vec<Lesson>,
}

impl Choice {
    /// Reads the embedded lessons. Fails at the first fault of the first faulty one.
    pub fn embedded() -> Result<Choice, Error> {
        let code_steps = code().into_iter().flat_map(|file| file.steps).map(|step| step.name).collect();
        Ok(Choice { alpine: lessons(&code_steps, &ALPINE)?, busybox: lessons(&code_steps, &BUSYBOX)? })
    }

    /// The lessons, given whether [`IMAGE`] can be pulled.
    pub fn lessons(&self, has_image: bool) -> &[Lesson] {
        if has_image { &self.alpine } else { &self.busybox }
    }
}

/// Reads the embedded lessons; `code_steps` are the names that a step may call its code by.
fn lessons(code_steps: &HashSet<String>, image: &Image) -> Result<Vec<Lesson>, Error> {
    let mut paths: Vec<_> = Files::iter().filter(|path| path.ends_with("/lesson.md")).collect();
    paths.sort();
    let mut lessons = Vec::with_capacity(paths.len());
    for path in paths {
        let Some(file) = Files::get(&path) else { continue };
        let slug = path.trim_end_matches("/lesson.md");
        let source = std::str::from_utf8(&file.data).map_err(|error| {
            let line = 1 + file.data[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Error { lesson: slug.to_owned(), line, problem: Problem::NotUtf8 }
        })?;
        // Neither has a line break, so that faults are told with the file's own line numbers.
        let source = source.replace("{image}", image.name).replace("{why-image}", image.why);
        lessons.push(parse::lesson(slug, &source, code_steps)?);
    }
    Ok(lessons)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::lesson::Block;

    /// What a shipped lesson calls its code by is compared with the runtime in the next test, not in this one.
    fn any_code_step() -> HashSet<String> {
        let mut names = HashSet::new();
        loop {
            match lessons(&names, &BUSYBOX) {
                Err(Error { problem: Problem::UnknownCodeStep { name }, .. }) => names.insert(name),
                Err(error) => panic!("{error}"),
                Ok(_) => return names,
            };
        }
    }

    #[test]
    fn the_shipped_lessons_are_well_formed() {
        let lessons = lessons(&any_code_step(), &BUSYBOX).expect("they parse");
        let slugs: Vec<_> = lessons.iter().map(|lesson| lesson.slug.as_str()).collect();
        assert_eq!(slugs, ["04-mount-namespace-and-root-directory"]);
        let commands = lessons[0].steps.iter().flat_map(|step| &step.blocks);
        assert!(commands.filter(|block| matches!(block, Block::Command { .. })).count() >= 7);
    }

    #[test]
    fn every_step_that_a_shipped_lesson_names_is_in_the_runtime() {
        let choice = Choice::embedded().expect("every name is known");
        let lessons = choice.lessons(true);
        let named = lessons.iter().flat_map(|lesson| &lesson.steps).filter(|step| step.code.is_some());
        assert!(named.count() >= 6, "the lessons show the runtime's code");
    }

    #[test]
    fn a_lesson_names_the_image_that_can_be_had_and_says_why() {
        let choice = Choice::embedded().expect("they parse");
        let text = |has_image| serde_json::to_string(choice.lessons(has_image)).expect("it is JSON");
        let (alpine, busybox) = (text(true), text(false));
        assert!(alpine.contains("newroot pull alpine") && !alpine.contains("newroot pull busybox"));
        assert!(busybox.contains("newroot pull busybox") && !busybox.contains("newroot pull alpine"));
        assert!(busybox.contains("cannot be pulled here just now"));
        assert!(![alpine, busybox].iter().any(|text| text.contains("image}")));
    }
}
