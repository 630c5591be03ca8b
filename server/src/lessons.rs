//! The lessons and the taught code, as the page receives them; both are compiled into the binary. How a lesson is
//! written is told in `lessons/README.md`; who has got how far in one is not known here.

mod cgroups;
mod code;
mod error;
mod highlight;
mod parse;

use rust_embed::RustEmbed;
use shared::lesson::{Language, Lesson, SourceFile};

use code::Steps;
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
        Ok(Choice { alpine: lessons(&ALPINE)?, busybox: lessons(&BUSYBOX)? })
    }

    /// The lessons, given whether [`IMAGE`] can be pulled.
    pub fn lessons(&self, has_image: bool) -> &[Lesson] {
        if has_image { &self.alpine } else { &self.busybox }
    }
}

/// Reads the embedded lessons.
fn lessons(image: &Image) -> Result<Vec<Lesson>, Error> {
    let runtime = code();
    let mut paths: Vec<_> = Files::iter().filter(|path| path.ends_with("/lesson.md")).collect();
    paths.sort();
    let mut lessons = Vec::with_capacity(paths.len());
    for path in paths {
        let Some(file) = Files::get(&path) else { continue };
        let slug = path.trim_end_matches("/lesson.md");
        let source = std::str::from_utf8(&file.data).map_err(|error| {
            let line = 1 + file.data[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Error { lesson: slug.to_owned(), file: "lesson.md".to_owned(), line, problem: Problem::NotUtf8 }
        })?;
        // None has a line break, so that faults are told with the file's own line numbers.
        let source = cgroups::name(source).replace("{image}", image.name).replace("{why-image}", image.why);
        let twins = twins(slug);
        let mut code_steps = Steps::of(&runtime);
        for twin in &twins {
            code_steps.add_twin(twin).map_err(|(line, problem)| Error {
                lesson: slug.to_owned(),
                file: twin.name.clone(),
                line,
                problem,
            })?;
        }
        lessons.push(Lesson { twins, ..parse::lesson(slug, &source, &code_steps)? });
    }
    Ok(lessons)
}

/// The files of a lesson's folder that tell the taught code in another language.
fn twins(slug: &str) -> Vec<SourceFile> {
    let mut paths: Vec<_> = Files::iter().filter(|path| path.starts_with(&format!("{slug}/"))).collect();
    paths.sort();
    let twins = paths.iter().filter_map(|path| {
        let (folder, name) = path.rsplit_once('/')?;
        let language = match name.rsplit_once('.')?.1 {
            "go" => Language::Go,
            "sh" => Language::Shell,
            _ => return None,
        };
        let text = Files::get(path)?;
        Some(code::cut(&format!("lessons/{folder}"), name, language, &String::from_utf8_lossy(&text.data)))
    });
    twins.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::lesson::Block;

    #[test]
    fn the_shipped_lessons_are_well_formed() {
        let lessons = lessons(&BUSYBOX).expect("they parse, and the runtime has each step and line that they name");
        let slugs: Vec<_> = lessons.iter().map(|lesson| lesson.slug.as_str()).collect();
        assert_eq!(slugs, ["04-mount-namespace-and-root-directory", "05-cgroups"]);
        let commands = lessons[0].steps.iter().flat_map(|step| &step.blocks);
        assert!(commands.filter(|block| matches!(block, Block::Command { .. })).count() >= 7);
        let named = lessons[0].steps.iter().filter(|step| step.code.is_some());
        assert!(named.count() >= 6, "the lessons show the runtime's code");
    }

    #[test]
    fn every_step_with_code_has_its_line_in_each_language() {
        let runtime = code();
        let with_code = |lesson: &Lesson| lesson.steps.iter().any(|step| step.code.is_some());
        for lesson in lessons(&ALPINE).expect("they parse").into_iter().filter(with_code) {
            assert_eq!(
                lesson.twins.iter().map(|twin| twin.language).collect::<Vec<_>>(),
                [Language::Go, Language::Shell]
            );
            for step in &lesson.steps {
                let Some(name) = &step.code else { continue };
                for files in [&runtime, &lesson.twins[..1].to_vec(), &lesson.twins[1..].to_vec()] {
                    let text = Steps::of(files).get(name).unwrap_or_else(|| panic!("no twin of {name}")).clone();
                    assert!(step.line.iter().any(|line| text.contains(line)), "{name}: none of {:?}", step.line);
                }
            }
        }
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
