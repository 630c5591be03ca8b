//! Terminals as pages see them: opened, named, shared and closed, by pages with manners and without.

use std::collections::BTreeSet;

use shared::protocol::{Exit, Offset, Size, TerminalId, ToLab, WINDOW};
use tokio_tungstenite::tungstenite::Message;

use crate::common::playground::{CONTAINER, HOST, Page, Playground};

/// The terminal that is neither `host` nor `container`.
fn other_terminal(page: &Page) -> Option<TerminalId> {
    page.terminals.keys().copied().find(|id| ![HOST, CONTAINER].contains(id))
}

#[tokio::test]
async fn two_pages_share_the_screen_and_the_one_typed_in_last_has_its_size() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut one = playground.open(&cookie).await;
    one.until("ownership", |page| page.owner).await;
    one.tell(&ToLab::Resize { terminal: HOST, size: Size { columns: 101, rows: 33 } }).await;
    one.until("its size", |page| page.terminals[&HOST].size.columns == 101).await;

    let mut two = playground.open(&cookie).await;
    two.until("ownership", |page| page.owner).await;
    one.until("the loss of it", |page| !page.owner).await;
    assert_eq!(two.terminals[&HOST].size, Size { columns: 101, rows: 33 }, "until the new owner has told its own");
    two.tell(&ToLab::Resize { terminal: HOST, size: Size { columns: 120, rows: 40 } }).await;
    one.until("the owner's size", |page| page.terminals[&HOST].size.columns == 120).await;
    one.tell(&ToLab::Resize { terminal: HOST, size: Size { columns: 50, rows: 10 } }).await;
    assert_eq!(one.output_of(HOST, "stty size").await.trim(), "40 120", "a viewer's size is not heeded");

    // By typing it has become the owner.
    one.until("ownership", |page| page.owner).await;
    two.until("the loss of it", |page| !page.owner).await;
    one.tell(&ToLab::Resize { terminal: HOST, size: Size { columns: 50, rows: 10 } }).await;
    assert_eq!(one.output_of(HOST, "stty size").await.trim(), "10 50");
    two.until("the same screen", |page| {
        page.output[&HOST].ends_with(&one.output[&HOST][one.output[&HOST].len() - 100..])
    })
    .await;
    drop(one);
    two.until("ownership, when the other has gone", |page| page.owner).await;
}

#[tokio::test]
async fn a_storm_of_sizes_reaches_the_program_as_a_breeze() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    let count = r#"n=0; trap 'n=\$((n+1))' WINCH; trap 'echo got \$n; exit' INT; echo counting; while :; do :; done"#;
    page.run(HOST, &format!("sh -c \"{count}\"")).await;
    page.until("the program", |page| page.text_since(HOST, 0).contains("\ncounting")).await;
    for columns in (0..10_000).map(|n| 40 + n % 100) {
        page.tell(&ToLab::Resize { terminal: HOST, size: Size { columns, rows: 20 } }).await;
    }
    page.tell(&ToLab::Resize { terminal: HOST, size: Size { columns: 77, rows: 0 } }).await;
    page.until("the last size", |page| page.terminals[&HOST].size == Size { columns: 77, rows: 1 }).await;
    page.type_keys(HOST, b"\x03").await;
    page.until("the count", |page| page.has_prompt(HOST)).await;
    let said = page.text_since(HOST, 0).split("got ").last().unwrap().to_owned();
    let signals: u32 = said.split_whitespace().next().unwrap().parse().unwrap();
    assert!((1..1000).contains(&signals), "{said}");
    println!("10000 sizes became {signals} signals");
}

#[tokio::test]
async fn signals_that_the_server_was_started_without_are_there_in_a_shell() {
    let playground = Playground::start_ignoring("INT QUIT HUP PIPE TERM TSTP USR1");
    let mut page = playground.open(&playground.new_cookie()).await;
    let said = page.output_of(HOST, "grep -E 'Sig(Ign|Blk|Cgt)' /proc/self/status").await;
    let sets: Vec<u64> =
        said.lines().filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()).collect();
    // Numbers 32 and 33 are the C library's own: glibc's posix_spawn(3), by which the test is started, ignores them.
    assert_eq!(sets.iter().map(|set| set & !(0b11 << 31)).collect::<Vec<_>>(), [0; 3], "{said}");
    for (key, word) in [(b"\x03", "130"), (b"\x1c", "131")] {
        // Not earlier: busybox's shell ignores SIGQUIT, and what it starts does so too up to its exec.
        page.until("the shell", |page| page.terminals[&HOST].program == "sh").await;
        page.run(HOST, "sleep 1000").await;
        page.until("sleep", |page| page.terminals[&HOST].program == "sleep").await;
        page.type_keys(HOST, key).await;
        assert_eq!(page.output_of(HOST, "echo $?").await.trim(), word);
    }
    let said = page.output_of(HOST, "yes | head -1 >/dev/null; env | sort").await;
    for line in
        ["COLORTERM=truecolor", "HOME=/root", "LANG=C.UTF-8", "SHELL=/bin/sh", "TERM=xterm-256color", "USER=root"]
    {
        assert!(said.lines().any(|found| found.trim() == line), "{line} is not in {said}");
    }
}

#[tokio::test]
async fn terminals_are_opened_named_and_closed_on_every_page() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut one = playground.open(&cookie).await;
    let mut two = playground.open(&cookie).await;
    one.tell(&ToLab::Open { name: Some("a\u{7}  build\n".to_owned()) }).await;
    two.until("another terminal", |page| page.terminals.len() == 3).await;
    let third = other_terminal(&two).unwrap();
    assert_eq!(two.terminals[&third].name, "a build");
    assert_eq!(two.output_of(third, "tty").await.trim(), "/dev/pts/2", "a session of its own");
    two.tell(&ToLab::Rename { terminal: third, name: "container".to_owned() }).await;
    one.until("another name", |page| page.terminals.get(&third).is_some_and(|it| it.name == "container 2")).await;

    // A page that comes later finds it, and there are no more than may be.
    for _ in 0..20 {
        one.tell(&ToLab::Open { name: None }).await;
    }
    one.until("as many as may be", |page| page.terminals.len() == 8).await;
    one.output_of(HOST, "true").await;
    let three = playground.open(&cookie).await;
    assert_eq!(three.terminals.len(), 8);
    let names: BTreeSet<_> = three.terminals.values().map(|terminal| terminal.name.clone()).collect();
    assert_eq!(names.len(), 8, "{names:?}");

    // What runs in a closed terminal ends with it, in the background too; what was told to stay, stays.
    two.run(third, "sleep 1111 & (trap '' HUP; exec sleep 3333) & sh -c 'kill -STOP $$' & sleep 2222").await;
    two.until("the last program", |page| page.terminals[&third].program == "sleep").await;
    one.tell(&ToLab::Close { terminal: third }).await;
    two.until("its end", |page| page.terminals.len() == 7).await;
    let mut left = String::new();
    while left.trim() != "sleep 3333" {
        left = one.output_of(HOST, "ps -o args | grep -E '^(sleep|sh -c)'").await;
    }
    one.run(third, "nobody hears this").await;

    // The lesson's terminals too can be closed, and opened again though there are as many as there may be.
    one.tell(&ToLab::Open { name: None }).await;
    one.tell(&ToLab::Close { terminal: CONTAINER }).await;
    one.until("its end", |page| !page.terminals.contains_key(&CONTAINER) && page.terminals.len() == 7).await;
    one.tell(&ToLab::Open { name: None }).await;
    one.tell(&ToLab::Open { name: Some("container".to_owned()) }).await;
    let named = |page: &Page| page.terminals.values().find(|it| it.name == "container").map(|it| it.id);
    one.until("a new one of its name", |page| named(page).is_some_and(|id| page.has_prompt(id))).await;
    assert_eq!(one.terminals.len(), 8);
    assert!(named(&one).unwrap() > third, "a number is never used again");
    assert_eq!(one.output_of(HOST, "ls /dev/pts | wc -l").await.trim(), "9", "as many as are open, and ptmx");
}

#[tokio::test]
async fn the_end_of_a_shell_is_told_and_what_is_typed_then_is_executed_by_nobody() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.tell(&ToLab::Resize { terminal: HOST, size: Size { columns: 97, rows: 31 } }).await;
    page.until("its size", |page| page.terminals[&HOST].size.columns == 97).await;
    // A background program holds the terminal and floods it; the shell's end is its end all the same.
    page.run(HOST, "(trap '' HUP; sleep 1000; yes) & exit 7").await;
    page.until("the shell's end", |page| !page.terminals[&HOST].running).await;
    assert_eq!(page.terminals[&HOST].exit, Some(Exit::Status(7)));
    page.run(HOST, "touch /tmp/surprise").await;
    page.tell(&ToLab::Restart { terminal: HOST }).await;
    // What is typed before the shell is there is meant for it, and not lost.
    page.run(HOST, "echo =$(stty size)=").await;
    page.until("the new shell's answer", |page| page.text_since(HOST, 0).contains("=31 97=")).await;
    page.until("the word that it runs", |page| page.terminals[&HOST].running).await;
    assert_eq!(page.terminals[&HOST].exit, None);
    assert!(page.output_of(HOST, "ls /tmp/surprise").await.contains("No such file"));

    page.run(HOST, "yes & kill -9 $$").await;
    page.until("the shell's end", |page| page.terminals[&HOST].exit == Some(Exit::Signal(9))).await;
    assert!(page.output_of(CONTAINER, "echo still here").await.contains("still here"));
}

#[tokio::test]
async fn a_page_that_comes_back_goes_on_at_the_byte_and_a_new_one_sees_the_same_screen() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut page = playground.open(&cookie).await;
    page.output_of(HOST, "seq 1 5000").await;
    let (all, ends, machine) = (page.output[&HOST].clone(), page.ends.clone(), page.machine.clone());
    drop(page);
    let shown: Vec<_> = ends.into_iter().collect();
    let mut back = playground.connect(&cookie, machine.clone(), shown.clone()).await;
    back.run(HOST, "echo a\"\"gain").await;
    back.until("the answer", |page| page.text_since(HOST, 0).contains("again")).await;
    assert!(!back.text_since(HOST, 0).contains("4999"), "nothing that was there is sent again");
    let mut new = playground.open(&cookie).await;
    new.until("the history", |page| page.text_since(HOST, 0).contains("again")).await;
    assert!(new.output[&HOST].starts_with(&all), "the ring replays what was shown, byte for byte");

    // While the page was away its machine ended, and another one came: what it had seen says nothing about that.
    playground.end_lab(&cookie);
    let mut other = playground.connect(&cookie, machine.clone(), vec![]).await;
    other.until("a new shell", |page| page.has_prompt(HOST)).await;
    let mut stale = playground.connect(&cookie, machine.clone(), vec![(HOST, Offset(3))]).await;
    assert_ne!(stale.machine, machine);
    stale.ends.clear();
    stale.until("the new machine's first words", |page| page.text_since(HOST, 0).starts_with("\r\n")).await;
    stale.until("all of them", |page| page.has_prompt(HOST)).await;
    assert!(stale.text_since(HOST, 0).contains("BusyBox"));
}

#[tokio::test]
async fn a_page_without_manners_harms_no_other() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut good = playground.open(&cookie).await;
    let text = |text: &str| Message::Text(text.into());
    let nobody = TerminalId(4_000_000_000);

    let mut bad = playground.open(&cookie).await;
    for message in [
        text("{"),
        text(r#"{"type":"from_the_future","offset":7}"#),
        text(r#"{"type":"resize","terminal":0,"size":{"columns":-1,"rows":70000}}"#),
        text(r#"{"type":"open","name":"\u0000\u001b]0;x\u0007"}"#),
        Message::Binary(vec![].into()),
        Message::Binary(vec![9; 5000].into()),
        Message::Binary(vec![1; 13].into()),
        Message::Ping(b"are you there?".to_vec().into()),
    ] {
        bad.send(message).await;
    }
    for message in [
        ToLab::Acknowledge { terminal: HOST, offset: Offset(u64::MAX) },
        ToLab::Acknowledge { terminal: nobody, offset: Offset(0) },
        ToLab::Resize { terminal: nobody, size: Size { columns: 1, rows: 1 } },
        ToLab::Resize { terminal: HOST, size: Size { columns: u16::MAX, rows: u16::MAX } },
        ToLab::Restart { terminal: nobody },
        ToLab::Restart { terminal: HOST },
        ToLab::Close { terminal: nobody },
        ToLab::Rename { terminal: nobody, name: "x".repeat(100_000) },
        ToLab::Rename { terminal: HOST, name: "mine".to_owned() },
        ToLab::Hello { machine: bad.machine.clone(), terminals: vec![(HOST, Offset(u64::MAX)); 1000] },
    ] {
        bad.tell(&message).await;
    }
    bad.run(nobody, "echo").await;
    bad.until("the pong", |page| page.pongs == 1).await;
    bad.tell(&ToLab::Resize { terminal: HOST, size: Size { columns: 80, rows: 24 } }).await;
    assert_eq!(bad.output_of(HOST, "echo as ever").await.trim(), "as ever");

    // A flood of input that keeps to no window is cut, and said so.
    bad.run(HOST, "sleep 1000").await;
    bad.until("sleep", |page| page.terminals[&HOST].program == "sleep").await;
    for _ in 0..20 {
        bad.type_keys(HOST, &[b'\n'; 30_000]).await;
    }
    good.until("the word of it", |page| page.text_since(HOST, 0).contains("bytes not typed")).await;
    // Until the lab has read all of it, the rest could still come after another page's Ctrl-C.
    bad.send(Message::Ping(b"is that all?".to_vec().into())).await;
    bad.until("the pong", |page| page.pongs == 2).await;
    good.type_keys(HOST, b"\x03").await;
    assert_eq!(good.output_of(HOST, "echo as ever").await.trim(), "as ever");

    // A message without end is not waited for.
    bad.send_too_much(4 << 20).await;
    bad.until_closed().await;

    // One that owns the terminals and acknowledges nothing stops its own flood, until another one is typed in.
    let mut silent = playground.open(&cookie).await;
    silent.acknowledges = false;
    silent.run(HOST, "seq 1 200000").await;
    silent.until("a window", |page| page.output[&HOST].len() as u64 > WINDOW / 2).await;
    good.run(HOST, "echo =$((6 * 7))=").await;
    good.until("the answer", |page| page.text_since(HOST, 0).contains("\n=42=")).await;
    assert!(good.text_since(HOST, 0).contains("\n200000\r\n"));

    // One that has not said hello is nobody.
    let mut mute = playground.dial(&cookie, "/api/lab").await;
    mute.run(CONTAINER, "touch /tmp/surprise").await;
    assert_eq!(good.output_of(CONTAINER, "seq 1 100000").await.lines().count(), 100_000);
    assert!(good.output_of(CONTAINER, "ls /tmp/surprise").await.contains("No such file"));
}
