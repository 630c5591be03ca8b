//! `newroot serve --lessons`: lessons of a directory, and what is saved there while pages are open.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common;
use crate::common::playground::{NO_UPSTREAM, Playground};

/// A directory that others than root may read. The one above it is root's alone, as /root is.
fn open_directory() -> Inside {
    let closed = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap();
    let path = closed.path().join("lessons");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Inside { path, _closed: closed }
}

struct Inside {
    path: PathBuf,
    _closed: TempDir,
}

impl Inside {
    fn path(&self) -> &Path {
        &self.path
    }
}

fn write(directory: &Path, lesson: &str, title: &str, body: &str) {
    fs::create_dir_all(directory.join(lesson)).unwrap();
    let text = format!("+++\ntitle = \"{title}\"\n+++\n\n# A step\n\n{body}\n");
    fs::write(directory.join(lesson).join("lesson.md"), text).unwrap();
}

fn start(directory: &Path) -> Playground {
    Playground::start_with(&["--upstream", NO_UPSTREAM, "--lessons", directory.to_str().unwrap()])
}

/// Each lesson's folder and title, as a page gets them.
fn lessons(playground: &Playground) -> Vec<(String, String)> {
    let answer = playground.ask(&format!("GET /api/lessons HTTP/1.1\r\nHost: {}", playground.address()));
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let lessons: Vec<Value> = serde_json::from_str(body).unwrap();
    let text = |lesson: &Value, field: &str| lesson[field].as_str().unwrap().to_owned();
    lessons.iter().map(|lesson| (text(lesson, "slug"), text(lesson, "title"))).collect()
}

/// A page that waits for changes.
struct Waiting(BufReader<TcpStream>);

impl Waiting {
    fn new(playground: &Playground) -> Waiting {
        let mut stream = TcpStream::connect(playground.address()).unwrap();
        write!(stream, "GET /api/lessons/changes HTTP/1.1\r\nHost: {}\r\n\r\n", playground.address()).unwrap();
        Waiting(BufReader::new(stream))
    }

    /// The fault that the next event tells; empty where there is none. Nothing when the stream has ended.
    fn next(&mut self) -> Option<String> {
        let mut lines = (&mut self.0).lines().map_while(Result::ok);
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned))?;
        Some(serde_json::from_str(&data).unwrap())
    }
}

#[test]
fn a_directory_adds_lessons_and_stands_for_others_and_what_is_saved_shows() {
    let directory = open_directory();
    let at = directory.path();
    write(at, "04-mount-namespace-and-root-directory", "Another", "text");
    write(at, "99-own", "My own", "text");
    let playground = start(at);
    let all = lessons(&playground);
    let titled = |slug: &str| all.iter().find(|(one, _)| one.starts_with(slug)).map(|(_, title)| title.as_str());
    assert_eq!((titled("04-"), titled("99-"), titled("02-")), (Some("Another"), Some("My own"), Some("Processes")));

    let mut page = Waiting::new(&playground);
    assert_eq!(page.next().as_deref(), Some(""), "at once, so that nothing is missed that was saved before");
    write(at, "99-own", "Saved", "text");
    assert_eq!(page.next().as_deref(), Some(""));
    assert_eq!(lessons(&playground).last().unwrap().1, "Saved");

    // As editors do that write beside the file, and put it in its place.
    write(at, ".draft", "Moved", "text");
    fs::rename(at.join(".draft/lesson.md"), at.join("99-own/lesson.md")).unwrap();
    assert_eq!(page.next().as_deref(), Some(""));
    assert_eq!(lessons(&playground).last().unwrap().1, "Moved");

    write(at, "99-own", "Faulty", "```console run=hots\nls\n```");
    let fault = page.next().unwrap();
    let place = format!("{}/99-own/lesson.md:7: there is no terminal `hots`", at.display());
    assert!(fault.starts_with(&place), "{fault}");
    assert_eq!(lessons(&playground).last().unwrap().1, "Moved", "the last good one stays");
    assert!(playground.log().contains(&place), "{}", playground.log());
    assert_eq!(Waiting::new(&playground).next(), Some(fault), "a page that comes later is told, too");

    write(at, "99-own", "Mended", "text");
    assert_eq!(page.next().as_deref(), Some(""));
    assert_eq!(lessons(&playground).last().unwrap().1, "Mended");

    fs::rename(at.join("99-own"), at.join("98-new")).unwrap();
    assert_eq!(page.next().as_deref(), Some(""));
    write(at, "98-new", "In a new folder", "text");
    assert_eq!(page.next().as_deref(), Some(""));
    let (slug, title) = lessons(&playground).pop().unwrap();
    assert_eq!((slug.as_str(), title.as_str()), ("98-new", "In a new folder"));
}

#[test]
fn a_page_that_waits_for_changes_keeps_no_server_from_ending() {
    let directory = open_directory();
    write(directory.path(), "99-own", "My own", "text");
    let mut playground = start(directory.path());
    let mut page = Waiting::new(&playground);
    assert_eq!(page.next().as_deref(), Some(""));
    assert!(playground.stop(Signal::SIGTERM).success());
    assert_eq!(page.next(), None);
}

#[test]
fn lessons_that_never_change_say_so() {
    let playground = Playground::start(None);
    let host = playground.address();
    let answer = playground.ask(&format!("GET /api/lessons/changes HTTP/1.1\r\nHost: {host}"));
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
}

#[test]
fn a_server_does_not_start_with_a_fault_and_says_where_it_is() {
    let directory = open_directory();
    write(directory.path(), "99-own", "My own", "> [!TASK a]\n> Do it.\n>\n> ```check\n> machine.rows.size() >\n> ```");
    let at = directory.path().to_str().unwrap();
    for (lessons, message) in [
        (at.to_owned(), format!("{at}/99-own/lesson.md:11: the expression is not understood: ")),
        (format!("{at}/99-own"), format!("there is no lesson in {at}/99-own;")),
        (format!("{at}/none"), format!("{at}/none")),
    ] {
        let run = directory.path().join("run");
        let flags =
            ["serve", "--listen", "127.0.0.1:0", "--run", run.to_str().unwrap(), "--state", run.to_str().unwrap()];
        let output = common::run_newroot(&[&flags[..], &["--upstream", NO_UPSTREAM, "--lessons", &lessons]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", common::text_of(&output));
        assert!(common::text_of(&output).contains(&message), "{message}: {}", common::text_of(&output));
    }
}

#[test]
fn lessons_that_only_root_may_read_are_refused_with_the_reason() {
    let directory = open_directory();
    write(directory.path(), "99-own", "My own", "text");
    let lesson = directory.path().join("99-own/lesson.md");
    fs::set_permissions(&lesson, fs::Permissions::from_mode(0o600)).unwrap();
    let run = directory.path().join("run");
    let flags = ["serve", "--listen", "127.0.0.1:0", "--run", run.to_str().unwrap(), "--state", run.to_str().unwrap()];
    let lessons = ["--upstream", NO_UPSTREAM, "--lessons", directory.path().to_str().unwrap()];
    let output = common::run_newroot(&[&flags[..], &lessons[..]].concat());
    let said = common::text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot read {}: Permission denied", lesson.display())), "{said}");
    assert!(said.contains("the server runs as user 2147418112, who must be able to read the lessons"), "{said}");
}
