//! The shipped lessons, and lessons in directories: what is read, what stands for what, and where a fault is said to be.

use std::fs;
use std::path::Path;

use shared::lesson::Block;

use super::*;

/// Writes a file of a lesson below a directory.
fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
    fs::write(path, content).expect("it can be written");
}

fn lesson(title: &str) -> String {
    format!("+++\ntitle = \"{title}\"\n+++\n\n# A step\n\ntext\n")
}

#[test]
fn the_shipped_lessons_are_well_formed() {
    let choice = Choice::embedded().expect("they parse, and the runtime has each step and line that they name");
    let lessons = choice.lessons(false);
    assert!(lessons.len() >= 3);
    for lesson in lessons {
        let named = lesson.steps.iter().filter(|step| step.code.is_some()).count();
        // The runtime sets no limits: a lesson about them has nothing of it to show.
        assert!(named >= 3 || lesson.slug == "05-cgroups", "{} shows the runtime's code in {named} steps", lesson.slug);
        let blocks: Vec<_> = lesson.steps.iter().flat_map(|step| &step.blocks).collect();
        let count = |kind: fn(&Block) -> bool| blocks.iter().filter(|block| kind(block)).count();
        assert!(count(|block| matches!(block, Block::Command { .. })) >= 5, "{}", lesson.slug);
        assert!(count(|block| matches!(block, Block::Task { .. })) >= 2, "{}", lesson.slug);
        assert!(count(|block| matches!(block, Block::Quiz { .. })) >= 1, "{}", lesson.slug);
        let Some(Block::Prose { html }) = lesson.steps.last().and_then(|step| step.blocks.last()) else {
            panic!("{} does not end with its resources", lesson.slug);
        };
        assert!(html.contains("<a "), "{} does not end with its resources", lesson.slug);
    }
}

#[test]
fn each_task_and_quiz_of_the_page_has_its_check_and_no_other_does() {
    let choice = Choice::embedded().expect("they parse");
    let mut on_pages = Vec::new();
    for block in choice.lessons(true).iter().flat_map(|lesson| &lesson.steps).flat_map(|step| &step.blocks) {
        match block {
            Block::Task { task } => on_pages.push((task.id.clone(), 0)),
            Block::Quiz { quiz } => on_pages.push((quiz.id.clone(), quiz.options.len())),
            _ => {}
        }
    }
    let checks = choice.checks(true).into_iter().map(|check| (check.id, check.options.len()));
    assert_eq!(on_pages, checks.collect::<Vec<_>>());
}

#[test]
fn every_step_with_code_has_its_line_in_each_language() {
    let runtime = code();
    for lesson in Choice::embedded().expect("they parse").lessons(true) {
        if lesson.steps.iter().all(|step| step.code.is_none()) {
            continue;
        }
        let languages: Vec<_> = lesson.twins.iter().map(|twin| twin.language).collect();
        assert_eq!(languages, [Language::Go, Language::Shell], "{}", lesson.slug);
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
    let text = |has_image| serde_json::to_string(&choice.lessons(has_image)).expect("it is JSON");
    let (alpine, busybox) = (text(true), text(false));
    assert!(alpine.contains("newroot pull alpine") && !alpine.contains("newroot pull busybox"));
    assert!(busybox.contains("newroot pull busybox") && !busybox.contains("newroot pull alpine"));
    assert!(busybox.contains("cannot be pulled here just now"));
    assert!(![alpine, busybox].iter().any(|text| text.contains("image}")));
    assert!(choice.checks(true).iter().any(|check| check.when.contains("alpine")), "expressions name it too");
}

#[test]
fn the_example_of_the_guide_is_a_lesson_and_its_fault_is_told_as_the_guide_says() {
    let guide = include_str!("../../../lessons/README.md");
    let example = guide.split("````").nth(1).and_then(|block| block.strip_prefix("markdown\n")).expect("an example");
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), "06-volumes/lesson.md", example);
    let choice = Choice::of_directory(directory.path()).expect("it parses");
    assert_eq!(choice.checks(false).len(), 2);

    write(directory.path(), "06-volumes/lesson.md", example.replacen("machine.", "machin.", 1));
    let error = Choice::of_directory(directory.path()).expect_err("it has a fault").to_string();
    let told = error.replace(&directory.path().display().to_string(), "my-lessons");
    assert!(guide.contains(&format!("```text\n{told}\n```")), "{told}");
}

#[test]
fn a_directory_adds_lessons_and_stands_for_those_of_the_same_folder() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    write(at, "99-volumes/lesson.md", lesson("Volumes"));
    write(at, "04-mount-namespace-and-root-directory/lesson.md", lesson("Another"));
    write(at, "notes/todo.txt", "no lesson");
    write(at, ".git/lesson.md", "hidden");
    let shipped = Choice::embedded().expect("they parse");
    let choice = Choice::with_directory(at).expect("they parse");
    let slugs: Vec<_> = choice.lessons(true).iter().map(|lesson| lesson.slug.clone()).collect();
    let mut expected: Vec<_> = shipped.lessons(true).iter().map(|lesson| lesson.slug.clone()).collect();
    expected.push("99-volumes".to_owned());
    assert_eq!(slugs, expected);
    let replaced = &choice.lessons(true)[expected.iter().position(|slug| slug.starts_with("04")).expect("it is there")];
    assert_eq!((replaced.title.as_str(), replaced.twins.len()), ("Another", 0), "as a whole, with its twins");
    assert_eq!(Choice::of_directory(at).expect("they parse").lessons(true).len(), 2);
}

#[test]
fn a_fault_is_told_with_file_and_line() {
    let long = vec![b'x'; limits::FILE as usize + 1];
    let (unknown, hots) = ("// step: unknown\n", "```console run=hots\nls\n```\n");
    for (name, content, shown) in [
        ("01-a/lesson.md", (lesson("A") + hots).into_bytes(), "01-a/lesson.md:8: there is no terminal `hots`"),
        ("01-a/lesson.md", b"+++\ntitle = \"A\"\n\xff".to_vec(), "01-a/lesson.md:3: the file is not UTF-8"),
        ("01-a/lesson.md", long.clone(), "01-a/lesson.md:1: the file is larger than 256 KiB"),
        ("01-a/a.go", long, "01-a/a.go:1: the file is larger"),
        ("01-a/a.go", format!("package main\n{unknown}x\n").into_bytes(), "01-a/a.go:2: no file of server/src/runtime"),
        ("1-a/lesson.md", lesson("A").into_bytes(), "1-a/lesson.md:1: a lesson's folder is called NN-slug"),
        ("01-A/lesson.md", lesson("A").into_bytes(), "01-A/lesson.md:1: a lesson's folder"),
        ("01-a--b/lesson.md", lesson("A").into_bytes(), "01-a--b/lesson.md:1: a lesson's folder"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), "01-a/lesson.md", lesson("A"));
        write(directory.path(), name, content);
        let error = Choice::with_directory(directory.path()).expect_err(shown).to_string();
        assert!(error.starts_with(&format!("{}/{shown}", directory.path().display())), "{error}");
    }
}

#[test]
fn a_directory_without_lessons_is_a_mistake_and_one_that_cannot_be_read_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = |path: &Path| Choice::with_directory(path).expect_err("there is none").to_string();
    assert!(error(directory.path()).starts_with("there is no lesson in /"));
    assert!(error(&directory.path().join("none")).contains("No such file or directory"));
    for number in 0..=limits::LESSONS {
        write(directory.path(), &format!("{:02}-a{number}/lesson.md", number % 100), "");
    }
    assert!(error(directory.path()).starts_with("there are more than 100 lessons in "));
}

#[test]
fn the_line_ends_of_another_system_change_nothing() {
    let read = |text: String| {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), "01-a/lesson.md", text);
        Choice::of_directory(directory.path()).expect("it parses").lessons(true)[0].clone()
    };
    assert_eq!(read(format!("\u{feff}{}", lesson("A").replace('\n', "\r\n"))), read(lesson("A")));
}
