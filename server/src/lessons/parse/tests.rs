//! Lessons given as text: what they become, and where a fault is said to be.

use shared::lesson::{Block, Language, Lesson};

use super::lesson;
use crate::lessons::code::{Steps, cut};
use crate::lessons::{Error, Problem};

const HEAD: &str = "+++\ntitle = \"A lesson\"\n+++\n\n";

fn read(body: &str) -> Result<Lesson, Error> {
    let code = cut("folder", "file.rs", Language::Rust, "// step: change-root\nchroot(rootfs)?;\nchdir(\"/\")\n");
    lesson("01-a-lesson", &format!("{HEAD}{body}"), &Steps::of(&[code]))
}

/// The line and the fault of a lesson that has one. Line 5 is the first of `body`.
fn fault(body: &str) -> (usize, Problem) {
    let error = read(body).expect_err("the lesson has a fault");
    (error.line, error.problem)
}

fn prose(html: &str) -> Block {
    Block::Prose { html: html.to_owned() }
}

#[test]
fn a_lesson_becomes_steps_of_prose_commands_and_folds() {
    let lesson = read(
        "# Change the *root*, `now`

<!-- code: change-root \"chroot(rootfs)\" \"chdir\" -->

Look at **this**.

- one
- two

```console run=host
newroot pull busybox
ls /
```

```rust
chroot(\"/\")?;
```

> [!HINT]
> Use it.
>
> ```console run=container
> ls
> ```

> [!ANSWER]
>
> A list:
> - of one

> [!NOTE]
> An aside.

# Next

Done.
",
    )
    .expect("it has no fault");
    assert_eq!((lesson.slug.as_str(), lesson.title.as_str()), ("01-a-lesson", "A lesson"));
    let [first, second] = lesson.steps.as_slice() else { panic!("two steps: {:?}", lesson.steps) };
    assert_eq!((first.title.as_str(), first.slug.as_str()), ("Change the root, now", "change-the-root-now"));
    assert_eq!(first.code.as_deref(), Some("change-root"));
    assert_eq!(first.line, ["chroot(rootfs)", "chdir"]);
    assert_eq!(
        first.blocks,
        [
            prose("<p>Look at <strong>this</strong>.</p>\n<ul>\n<li>one</li>\n<li>two</li>\n</ul>\n"),
            Block::Command { terminal: "host".to_owned(), text: "newroot pull busybox\nls /".to_owned() },
            prose(
                "<pre><code class=\"language-rust\"><span class=\"function\">chroot</span>(\
                 <span class=\"string\">\"/\"</span>)?;\n</code></pre>\n"
            ),
            Block::Fold {
                title: "Hint".to_owned(),
                blocks: vec![
                    prose("<p>Use it.</p>\n"),
                    Block::Command { terminal: "container".to_owned(), text: "ls".to_owned() },
                ],
            },
            Block::Fold {
                title: "Answer".to_owned(),
                blocks: vec![prose("<p>A list:</p>\n<ul>\n<li>of one</li>\n</ul>\n")],
            },
            prose("<blockquote class=\"markdown-alert-note\">\n<p>An aside.</p>\n</blockquote>\n"),
        ]
    );
    assert_eq!((second.code.as_deref(), second.blocks.len()), (None, 1));
}

#[test]
fn links_open_beside_the_page_and_give_it_away_to_nobody() {
    let lesson =
        read("# Read\n\n[a \"b\"](https://example.org/?a=1&b=\"2\") and <https://example.org/>, not \\<a href>\n");
    let [Block::Prose { html }] = &lesson.expect("it has no fault").steps[0].blocks[..] else { panic!("prose") };
    assert_eq!(html.matches("<a target=\"_blank\" rel=\"noopener noreferrer\" href=\"https://").count(), 2);
    assert_eq!(html.matches("<a").count(), 2, "{html}");
}

#[test]
fn nothing_an_author_writes_becomes_markup_of_its_own() {
    for body in [
        "# A\n\n<script>alert(1)</script>\n",
        "# A\n\nsome <b onclick=\"x()\">text</b>\n",
        "# A\n\n<!-- a note -->\n\ntext\n",
        "# A\n\n- <img src=x>\n",
        "# A\n\n> [!HINT]\n> <b>\n",
    ] {
        assert!(matches!(fault(body), (7, Problem::Html) | (8, Problem::Html)), "{body}");
    }
    for (address, link) in [("javascript:x()", "[a](javascript:x\\(\\))"), ("mailto:a@b.c", "<mailto:a@b.c>")] {
        assert_eq!(fault(&format!("# A\n\n{link}\n")), (7, Problem::Link { address: address.to_owned() }));
    }
    assert_eq!(fault("# A\n\n![a](https://example.org/a.png)\n"), (7, Problem::Picture));
    assert_eq!(fault("# An <b>\n\ntext\n"), (5, Problem::Html));
}

#[test]
fn a_fault_is_told_with_file_and_line() {
    let error = read("# A\n\ntext\n\n# B\n\n```console run=hots\nls\n```\n").expect_err("there is no such terminal");
    assert_eq!(
        error.to_string(),
        "lessons/01-a-lesson/lesson.md:11: there is no terminal `hots`; a command has `run=` and one of: host, container"
    );
}

#[test]
fn each_fault_is_found_where_it_is() {
    let name = |name: &str| name.to_owned();
    let slug = name("a");
    for (body, line, problem) in [
        ("", 5, Problem::NoSteps),
        ("text\n\n# A\n\ntext\n", 5, Problem::BeforeFirstStep),
        ("# A\n\ntext\n\n#\n\ntext\n", 9, Problem::UntitledStep),
        ("# A\n\ntext\n\n# B\n\n# C\n\ntext\n", 9, Problem::EmptyStep),
        ("# A\n\n<!-- code: change-root -->\n", 5, Problem::EmptyStep),
        ("# A\n\ntext\n\n# a!\n\ntext\n", 9, Problem::SameStep { slug }),
        ("# A\n\n<!-- code: chroot -->\n\ntext\n", 7, Problem::UnknownCodeStep { name: name("chroot") }),
        ("# A\n\n<!-- code: change-root -->\n<!-- code: change-root -->\n", 8, Problem::SecondCodeStep),
        ("# A\n\n<!-- code: change-root \"chrot(\" -->\n\ntext\n", 7, Problem::UnknownLine { text: name("chrot(") }),
        ("# A\n\n```console rnu=host\nls\n```\n", 7, Problem::UnknownFenceWord { word: name("rnu=host") }),
        ("# A\n\n```console run=host\n\n```\n", 7, Problem::EmptyCommand),
        ("# A\n\n> [!HITN]\n> text\n", 7, Problem::UnknownFold { name: name("HITN") }),
        ("# A\n\n- ```console run=host\n  ls\n  ```\n", 7, Problem::Nested),
        ("# A\n\n- one\n- > [!HINT]\n  > two\n", 8, Problem::Nested),
        ("# A\n\n> [!HINT]\n> ```console run=moon\n> ls\n> ```\n", 8, Problem::UnknownTerminal { name: name("moon") }),
    ] {
        assert_eq!(fault(body), (line, problem), "{body}");
    }
}

#[test]
fn the_head_is_read_strictly() {
    let read = |text: &str| lesson("01", text, &Steps::of(&[])).map_err(|error| (error.line, error.problem));
    assert_eq!(read("# A\n\ntext\n"), Err((1, Problem::NoHead)));
    assert_eq!(read("+++\ntitle = \"A\"\n# A\n"), Err((1, Problem::NoHead)));
    assert_eq!(read("+++\ntitle = \" \"\n+++\n# A\n\ntext\n"), Err((2, Problem::EmptyTitle)));
    for (text, line, word) in [
        ("+++\n\n+++\n# A\n\ntext\n", 2, "title"),
        ("+++\ntitle = \"A\"\ntilte = \"B\"\n+++\n# A\n\ntext\n", 3, "tilte"),
        ("+++\ntitle = A\n+++\n# A\n\ntext\n", 2, ""),
    ] {
        let Err((at, Problem::BadHead { message })) = read(text) else { panic!("{text}") };
        assert_eq!(at, line, "{message}");
        assert!(message.contains(word), "{message}");
    }
}
