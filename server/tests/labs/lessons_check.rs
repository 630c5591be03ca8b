//! `newroot lessons check`, on the lessons in the binary and on some that nobody could do.

use std::fs;

use crate::common::{newroot, text_of};

#[test]
fn every_lesson_in_the_binary_can_be_done() {
    let output = newroot().args(["lessons", "check"]).output().unwrap();
    print!("{}", text_of(&output));
    assert!(output.status.success());
}

/// Checks a directory with this one lesson; returns what is said of it, with this exit status.
fn said_of(body: &str, status: i32) -> String {
    let directory = tempfile::tempdir().unwrap();
    let lesson = directory.path().join("01-wrong");
    fs::create_dir(&lesson).unwrap();
    fs::write(lesson.join("lesson.md"), format!("+++\ntitle = \"Wrong\"\n+++\n\n# A step\n\n{body}")).unwrap();
    let output = newroot().args(["lessons", "check"]).arg(directory.path()).output().unwrap();
    let said = text_of(&output).replace(directory.path().to_str().unwrap(), "DIR");
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

fn refusal_of(body: &str) -> String {
    said_of(body, 1)
}

fn task(check: &str) -> String {
    format!("> [!TASK it]\n> Do it.\n>\n> ```check\n> {check}\n> ```\n")
}

const MOUNT: &str = "```console run=host\nmount -t tmpfs x /tmp\n```\n\n";
const IS_MOUNTED: &str = "machine.rows.exists(r, r.point == \"/tmp\")";

#[test]
fn what_cannot_be_read_is_refused_with_file_and_line() {
    let said = refusal_of(&task("machin.rows.size() > 0"));
    assert!(said.contains("DIR/01-wrong/lesson.md:11: ") && said.contains("there is no `machin`"), "{said}");
    let said = refusal_of(&MOUNT.replace("host", "hots"));
    assert!(said.contains("DIR/01-wrong/lesson.md:7: ") && said.contains("hots"), "{said}");
}

#[test]
fn what_cannot_be_done_is_refused_with_file_and_line_and_what_was_seen() {
    let never = refusal_of(&format!("{MOUNT}{}", task("machine.rows.exists(r, r.point == \"/mnt\")")));
    assert!(never.contains("DIR/01-wrong/lesson.md:11: the task is not done"), "{never}");
    assert!(never.contains("\"/tmp\":\"tmpfs\""), "it says what the machine looked like: {never}");
    assert!(never.contains("1 of 1 lessons"), "{never}");
    let early = refusal_of(&format!("{MOUNT}{}", task("machine.rows.size() > 0")));
    assert!(early.contains("DIR/01-wrong/lesson.md:11: the task is done before"), "{early}");
    let busy = refusal_of(&format!("```console run=host\nsleep 1000\n```\n\n{MOUNT}{}", task(IS_MOUNTED)));
    assert!(busy.contains("lesson.md:15: `mount -t tmpfs x /tmp` cannot be typed"), "{busy}");
    let quiz = "> [!QUIZ where]\n> Where?\n>\n> - Here  `true`\n> - There  `true`\n>\n> ```check\n> true\n> ```\n";
    let both = refusal_of(&format!("{MOUNT}{quiz}"));
    assert!(both.contains("lesson.md:11: when the quiz was graded, 2 options were true"), "{both}");
}

#[test]
fn what_comes_from_the_background_behind_a_prompt_is_in_nobodys_way() {
    let waits = "```console run=host\n(until [ -e /tmp/go ]; do usleep 9999; done; echo late; mount -t tmpfs x /tmp) &\n```\n\n";
    let goes = "```console run=container\ntouch /tmp/go\n```\n\n";
    let next = "```console run=host\ntrue\n```\n";
    let said = said_of(&format!("{waits}{goes}{}\n{next}", task(IS_MOUNTED)), 0);
    assert!(said.contains("01-wrong: 3 commands, 1 tasks and quizzes: ok"), "{said}");
}
