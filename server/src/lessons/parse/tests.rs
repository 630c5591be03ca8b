//! Lessons given as text: what they become, and where a fault is said to be.

use shared::lesson::{Block, Language, Lesson, Quiz, Task};

use super::{Fault, Placed, lesson};
use crate::checks::Hint;
use crate::lessons::code::{Steps, cut};
use crate::lessons::{Problem, limits};

const HEAD: &str = "+++\ntitle = \"A lesson\"\n+++\n\n";

fn read_all(text: &str) -> Result<(Lesson, Vec<Placed>), Fault> {
    let code = cut("folder", "file.rs", Language::Rust, "// step: change-root\nchroot(rootfs)?;\nchdir(\"/\")\n");
    lesson("01-a-lesson", text, &Steps::of(&[code]))
}

fn read(body: &str) -> Result<Lesson, Fault> {
    read_all(&format!("{HEAD}{body}")).map(|(lesson, _checks)| lesson)
}

/// The line and the fault of a lesson that has one. Line 5 is the first of `body`.
fn fault(body: &str) -> Fault {
    read(body).expect_err("the lesson has a fault")
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
    let read = |text: &str| read_all(text).expect_err("the head has a fault");
    assert_eq!(read("# A\n\ntext\n"), (1, Problem::NoHead));
    assert_eq!(read("+++\ntitle = \"A\"\n# A\n"), (1, Problem::NoHead));
    assert_eq!(read("+++\ntitle = \" \"\n+++\n# A\n\ntext\n"), (2, Problem::EmptyTitle));
    for (text, line, word) in [
        ("+++\n\n+++\n# A\n\ntext\n", 2, "title"),
        ("+++\ntitle = \"A\"\ntilte = \"B\"\n+++\n# A\n\ntext\n", 3, "tilte"),
        ("+++\ntitle = A\n+++\n# A\n\ntext\n", 2, ""),
    ] {
        let (at, Problem::BadHead { message }) = read(text) else { panic!("{text}") };
        assert_eq!(at, line, "{message}");
        assert!(message.contains(word), "{message}");
    }
    let files = |files: &str| read(&format!("+++\ntitle = \"A\"\nfiles = [\n  {files}]\n+++\n# A\n\ntext\n"));
    for path in ["bin/sh", "/bin/../sh", "/bin//sh", "/bin/", "/", "", &format!("/{}", "a".repeat(limits::PATH))] {
        let bad = Problem::BadPath { path: path.to_owned() };
        assert_eq!(files(&format!("\"/bin\",\n  \"{path}\"")), (5, bad));
    }
    assert_eq!(files(&"\"/a\",".repeat(limits::PATHS + 1)), (4, Problem::TooManyPaths));
}

const TASKS: &str = "+++
title = \"A lesson\"
files = [\"/bin/sh\"]
+++

# A step

> [!TASK own-tmpfs]
> Mount a *tmpfs*
> on `/mnt`.
>
> ```check
> views.exists(v, v.host)
>   && true
> ```
>
> ```hint-when
> machine.rows.exists(r, r.point == \"/mnt\")
> ```
> Not there.
>
> - Here.
>
> ```hint-when
> false
> ```
>
> Never.

Between.

> [!QUIZ where-is-mnt several]
>
> Where will it *be*?
>
> - In the **host's**            `machine.rows.exists(r, r.point == \"/mnt\")`
> - In `both`,
>   or none `true || false`
>
> ```check
> true
> ```
";

#[test]
fn a_task_and_a_quiz_go_to_the_page_and_their_expressions_to_the_lab() {
    let (lesson, checks) = read_all(TASKS).expect("it has no fault");
    assert_eq!(
        lesson.steps[0].blocks,
        [
            Block::Task {
                task: Task {
                    id: "01-a-lesson/own-tmpfs".to_owned(),
                    html: "<p>Mount a <em>tmpfs</em>\non <code>/mnt</code>.</p>\n".to_owned()
                }
            },
            prose("<p>Between.</p>\n"),
            Block::Quiz {
                quiz: Quiz {
                    id: "01-a-lesson/where-is-mnt".to_owned(),
                    html: "<p>Where will it <em>be</em>?</p>\n".to_owned(),
                    options: ["In the <strong>host's</strong>", "In <code>both</code>,\nor none"]
                        .map(str::to_owned)
                        .to_vec(),
                    several: true,
                }
            },
        ]
    );
    let [task, quiz] = checks.as_slice() else { panic!("two checks: {checks:?}") };
    assert_eq!((task.line, quiz.line), (8, 32));
    assert_eq!((task.check.id.as_str(), quiz.check.id.as_str()), ("01-a-lesson/own-tmpfs", "01-a-lesson/where-is-mnt"));
    assert_eq!(task.check.when, "views.exists(v, v.host)\n  && true");
    let hint = |when: &str, html: &str| Hint { when: when.to_owned(), html: html.to_owned() };
    let there = "machine.rows.exists(r, r.point == \"/mnt\")";
    assert_eq!(
        task.check.hints,
        [hint(there, "<p>Not there.</p>\n<ul>\n<li>Here.</li>\n</ul>\n"), hint("false", "<p>Never.</p>\n")]
    );
    assert_eq!(quiz.check.options, [there, "true || false"]);
    assert_eq!((quiz.check.when.as_str(), &quiz.check.hints), ("true", &Vec::new()));
    assert!([task, quiz].iter().all(|placed| placed.check.files == ["/bin/sh"]));
    let json = serde_json::to_string(&lesson).expect("it is JSON");
    assert!(!json.contains("machine.rows") && !json.contains("/bin/sh"), "the page does not get the answers");
}

#[test]
fn each_fault_of_a_task_is_found_where_it_is() {
    const CHECK: &str = "> ```check\n> true\n> ```\n";
    let task = |rest: &str| format!("# A\n\n> [!TASK a]\n> Do it.\n>\n{rest}");
    let word = |word: &str| Problem::QuizWord { word: word.to_owned() };
    let advice = ">\n> ```hint-when\n> true\n> ```\n> Do.\n";
    for (body, line, problem) in [
        ("# A\n\n> [!TASK]\n> Do it.\n".to_owned(), 7, Problem::TaskName),
        ("# A\n\n> [!TASK own_tmpfs]\n> Do it.\n".to_owned(), 7, Problem::TaskName),
        ("# A\n\n> [!TASK a b]\n> Do it.\n".to_owned(), 7, Problem::TaskName),
        (task(&format!("{CHECK}\ntext\n\n> [!TASK a]\n> Do.\n>\n{CHECK}")), 16, Problem::SameTask { name: "a".into() }),
        (task(""), 7, Problem::NoCheck),
        (format!("# A\n\n> [!TASK a]\n{CHECK}"), 8, Problem::TaskForm),
        (task(&format!("{CHECK}>\n> More.\n")), 14, Problem::TaskForm),
        (task(&format!("> More.\n>\n{CHECK}")), 10, Problem::TaskForm),
        (task(&format!("{CHECK}>\n{CHECK}")), 14, Problem::TaskForm),
        (task(&format!("{advice}>\n{CHECK}")), 11, Problem::TaskForm),
        (task(&format!("{CHECK}>\n> ```hint-when\n> true\n> ```\n")), 14, Problem::EmptyHint),
        (task(&format!("{CHECK}{}", advice.repeat(limits::HINTS + 1))), 14 + 5 * limits::HINTS, Problem::TooManyHints),
        (task(&format!("{CHECK}{advice}>\n> ```console run=host\n> ls\n> ```\n")), 19, Problem::Nested),
        (task(&format!("{CHECK}{advice}>\n> > [!HINT]\n> > ls\n")), 19, Problem::Nested),
        ("# A\n\n> [!HINT]\n> > [!TASK a]\n> > Do it.\n".to_owned(), 8, Problem::Nested),
        ("# A\n\n- > [!TASK a]\n  > Do it.\n".to_owned(), 7, Problem::Nested),
        ("# A\n\n```check\ntrue\n```\n".to_owned(), 7, Problem::StrayExpression { name: "check".into() }),
        ("# A\n\n- ```hint-when\n  true\n  ```\n".to_owned(), 7, Problem::Nested),
        (task("> ```check now\n> true\n> ```\n"), 10, Problem::UnknownFenceWord { word: "now".into() }),
        ("# A\n\n> [!QUIZ a severally]\n> So?\n".to_owned(), 7, word("severally")),
        ("# A\n\n> [!QUIZ a]\n> So?\n".to_owned(), 7, Problem::QuizForm),
        (format!("# A\n\n> [!QUIZ a]\n> So?\n>\n{CHECK}"), 10, Problem::QuizForm),
        ("# A\n\n> [!QUIZ a]\n> So?\n>\n> - a `true`\n> - b `true`\n".to_owned(), 7, Problem::NoCheck),
        (format!("# A\n\n> [!QUIZ a]\n> So?\n>\n> - a `true`\n>\n{CHECK}"), 10, Problem::OptionCount),
        (format!("# A\n\n> [!QUIZ a]\n> So?\n>\n> 1. a `true`\n> 2. b `true`\n>\n{CHECK}"), 10, Problem::QuizForm),
        (format!("# A\n\n> [!QUIZ a]\n> So?\n>\n> - a `true`\n> - b\n>\n{CHECK}"), 11, Problem::OptionForm),
        (format!("# A\n\n> [!QUIZ a]\n> So?\n>\n> - a `true`\n> - `true`\n>\n{CHECK}"), 11, Problem::OptionForm),
        (format!("# A\n\n> [!QUIZ a]\n> So?\n>\n> - a `true`\n> - - b `true`\n>\n{CHECK}"), 11, Problem::OptionForm),
        (
            format!("# A\n\n> [!QUIZ a]\n> So?\n>\n> - a `true`\n> - b `true`\n>\n{CHECK}>\n> x\n"),
            17,
            Problem::QuizForm,
        ),
    ] {
        assert_eq!(fault(&body), (line, problem), "{body}");
    }
    let many: String = (0..=limits::TASKS).map(|number| format!("> [!TASK t{number}]\n> Do.\n>\n{CHECK}\n")).collect();
    assert_eq!(fault(&format!("# A\n\n{many}")), (7 + 7 * limits::TASKS, Problem::TooManyTasks));
    let deep = |depth: usize| (1..=depth).map(|n| format!("{}[!HINT]\n", "> ".repeat(n))).collect::<String>();
    // The last line adds a paragraph to the folds.
    let folds = limits::DEPTH - 1;
    assert_eq!(fault(&format!("# A\n\n{}", deep(folds + 1))).1, Problem::TooDeep);
    assert!(read(&format!("# A\n\n{}{}x\n", deep(folds), "> ".repeat(folds))).is_ok());
}

#[test]
fn an_expression_that_is_not_understood_is_told_at_its_own_line() {
    let faulty = |from: &str, to: &str| {
        let text = TASKS.replacen(from, to, 1);
        assert_ne!(text, TASKS);
        match read_all(&text) {
            Err((line, Problem::Expression { message })) if !message.is_empty() => line,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(faulty(">   && true", ">   && && true"), 14);
    assert_eq!(faulty("> false\n", "> &&\n"), 25);
    assert_eq!(faulty("true || false", "true || &&"), 38);
    assert_eq!(faulty("> true\n> ```\n", "> true &&\n> ```\n"), 41);
}

#[test]
fn a_lesson_that_means_harm_costs_no_more_than_a_moment() {
    let size = limits::FILE as usize;
    for piece in ["> ", "- ", "[", "`", "*a_", "> [!HINT]\n", "<", "![](", "&", "[a](<", "#\n", "> [!TASK a]\n"] {
        // What becomes of it does not matter; that it ends, without a full stack, does.
        let _ = read(&format!("# A\n\n{}", piece.repeat(size / piece.len())));
    }
}
