//! Terminals from end to end, without a browser: a real server, real sandboxes, and pages that are quick, slow, cut off
//! or hostile. Runs as root. Measured times are printed; none is asserted.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::playground::{CONTAINER, HOST, Page, Playground};
use futures_util::future::join;
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use shared::protocol::{Exit, Offset, Size, TerminalId, ToLab, WINDOW};
use tokio_tungstenite::tungstenite::Message;

const MIB: usize = 1 << 20;

/// Numbers that look random, and come again for the same seed. It is printed, and `NEWROOT_SEED` sets it.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let seed =
            std::env::var("NEWROOT_SEED").map_or_else(|_| getrandom::u64().unwrap(), |seed| seed.parse().unwrap());
        println!("NEWROOT_SEED={seed}");
        Random(seed | 1)
    }

    fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// What `seq 1 LAST` shows on a terminal.
fn sequence(last: u32) -> Vec<u8> {
    (1..=last).flat_map(|number| format!("{number}\r\n").into_bytes()).collect()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The place after the first occurrence of a text.
fn after(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).map(|place| place + text.len())
}

/// The terminal that is neither `host` nor `container`.
fn other_terminal(page: &Page) -> Option<TerminalId> {
    page.terminals.keys().copied().find(|id| ![HOST, CONTAINER].contains(id))
}

/// Types a command, and waits until it has said `<start>`; returns the place in the output after that.
async fn start(page: &mut Page, command: &str) -> usize {
    page.until("a prompt", |page| page.has_prompt(HOST)).await;
    let before = page.output[&HOST].len();
    // The echo of the command has the word in two halves.
    page.run(HOST, &format!("stty raw -echo; printf '<st''art>'; {command}; stty sane; printf '<en''d>\\n'")).await;
    let place = |page: &Page| after(&page.output[&HOST][before..], "<start>");
    page.until("the command's start", |page| place(page).is_some()).await;
    before + place(page).unwrap()
}

/// Waits until the command that [`start`] has started has ended; returns what it has shown.
async fn end(page: &mut Page, from: usize) -> Vec<u8> {
    let end = |page: &Page| {
        let tail = page.output[&HOST].len().saturating_sub(200).max(from);
        after(&page.output[&HOST][tail..], "<end>").map(|end| tail + end - "<end>".len())
    };
    page.until("the command's end", |page| page.has_prompt(HOST) && end(page).is_some()).await;
    page.output[&HOST][from..end(page).unwrap()].to_vec()
}

/// A page that is cut off at random, a hundred times during a flood, has every byte once in the end.
async fn resumes_exactly(playground: &Playground, cookie: &str, cuts: usize) {
    let mut random = Random::new();
    let mut page = playground.open(cookie).await;
    page.output_of(HOST, "seq 1 1000000 > /tmp/flood").await;
    // Everything from here on, by the places that the lab gives it.
    let (mut all, base) = (Vec::new(), page.ends[&HOST].0);
    page.run(HOST, "cat /tmp/flood; echo =do\"\"ne=").await;
    let truth = [sequence(1_000_000), b"=done=\r\n".to_vec()].concat();
    for _ in 0..cuts {
        let had = base + all.len() as u64;
        let wanted = had + random.next() % (150 << 10);
        page.acknowledges = !random.next().is_multiple_of(4);
        // One that does not acknowledge gets no more than a window.
        let enough = |page: &Page| page.ends[&HOST].0 >= wanted.min(had + WINDOW / 2);
        page.until("some output", enough).await;
        assert_eq!(page.skips, [], "bytes were left out");
        let (machine, ends) = (page.machine.clone(), page.ends.clone());
        let output = &page.output[&HOST];
        all.extend(&output[output.len() - (ends[&HOST].0 - had) as usize..]);
        // With output still on its way, which makes an end of this kind a reset.
        drop(page);
        page = playground.connect(cookie, machine, ends.into_iter().collect()).await;
    }
    page.acknowledges = true;
    page.until("the end of the flood", |page| page.has_prompt(HOST)).await;
    assert_eq!(page.skips, [], "bytes were left out");
    all.extend(&page.output[&HOST]);
    let start = after(&all, "\n").unwrap();
    let output = &all[start..(start + truth.len()).min(all.len())];
    let wrong = output.iter().zip(&truth).position(|(one, other)| one != other);
    assert_eq!((wrong, output.len()), (None, truth.len()), "the output differs from what the program wrote");
}

/// 20 MB of arbitrary bytes arrive as they are.
async fn shows_all_of_a_large_file(playground: &Playground, cookie: &str, way: &str) {
    let mut page = playground.open(cookie).await;
    let said = page.output_of(HOST, "cd /tmp; head -c 20971520 /dev/urandom > large; sha256sum large").await;
    let since = Instant::now();
    let from = start(&mut page, "cat /tmp/large").await;
    page.until("all of it", |page| page.output[&HOST].len() >= from + 20 * MIB).await;
    let rate = 20.0 / since.elapsed().as_secs_f64();
    let shown = end(&mut page, from).await;
    assert_eq!((shown.len(), page.skips.len()), (20 * MIB, 0));
    assert!(said.contains(&digest(&shown)), "{} is not {said}", digest(&shown));
    println!("20 MiB {way}: {rate:.0} MiB/s");
}

#[tokio::test]
async fn a_page_cut_off_at_random_a_hundred_times_under_flood_has_every_byte_once() {
    let playground = Playground::start(None);
    resumes_exactly(&playground, &playground.new_cookie(), 100).await;
}

#[tokio::test]
async fn a_large_file_arrives_byte_for_byte() {
    let playground = Playground::start(None);
    shows_all_of_a_large_file(&playground, &playground.new_cookie(), "over TCP").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_cannot_be_handed_over_is_bridged() {
    let mut playground = Playground::start(None);
    let cookie = playground.new_cookie();
    drop(playground.open(&cookie).await);
    playground.bridge().await;
    shows_all_of_a_large_file(&playground, &cookie, "bridged").await;
    resumes_exactly(&playground, &cookie, 30).await;
    // Input is carried as well, and the lab's end.
    let mut page = playground.open(&cookie).await;
    let from = start(&mut page, "head -c 300000 | sha256sum").await;
    let bytes = Random::new().bytes(300_000);
    page.paste(HOST, &bytes).await;
    let said = end(&mut page, from).await;
    assert!(said.starts_with(digest(&bytes).as_bytes()), "{}", String::from_utf8_lossy(&said));
    playground.end_lab(&cookie);
    page.until("the close", |page| page.closed.is_some()).await;
    assert_eq!(page.closed, Some(shared::protocol::CLOSE_LAB_ENDED));
}

#[tokio::test]
async fn a_flood_waits_for_a_slow_page_and_ctrl_c_gets_through() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    for rate in [None, Some(2e6)] {
        page.rate = rate;
        page.run(HOST, "yes").await;
        let before = page.ends[&HOST].0;
        page.until("a flood", |page| page.ends[&HOST].0 > before + 1_000_000).await;
        let since = Instant::now();
        page.type_keys(HOST, b"\x03").await;
        let shown = page.output[&HOST].len();
        page.until("the prompt", |page| page.text_since(HOST, shown).contains("# ")).await;
        let pace = rate.map_or("as fast as it can".to_owned(), |rate| format!("{} MB/s", rate / 1e6));
        println!("Ctrl-C under `yes`, a page that reads {pace}: {:?} to the prompt", since.elapsed());
    }
    assert_eq!(page.skips, []);
}

#[tokio::test]
async fn a_slow_viewer_is_skipped_forward_and_its_fast_owner_gets_everything() {
    let playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let mut viewer = playground.open(&cookie).await;
    let truth = sequence(500_000);
    viewer.output_of(HOST, "seq 1 500000 > /tmp/flood").await;
    let flood = async |page: &mut Page| {
        page.until("a prompt", |page| page.has_prompt(HOST)).await;
        let before = page.output[&HOST].len();
        let since = Instant::now();
        page.run(HOST, "cat /tmp/flood").await;
        let ended = |page: &Page| page.output[&HOST].len() > before + truth.len() && page.has_prompt(HOST);
        page.until("all of it", ended).await;
        let echo = before + after(&page.output[&HOST][before..], "\n").unwrap();
        assert!(page.output[&HOST][echo..].starts_with(&truth), "the owner's output is not what the program wrote");
        truth.len() as f64 / 1e6 / since.elapsed().as_secs_f64()
    };
    let mut owner = playground.open(&cookie).await;
    viewer.until("the other's ownership", |page| !page.owner).await;
    viewer.rate = Some(400e3);
    let (together, ()) =
        join(flood(&mut owner), viewer.until("being skipped forward", |page| page.skips.len() > 1)).await;
    let skips = viewer.skips.clone();
    drop(viewer);
    println!("owner beside a viewer at 0.4 MB/s: {together:.1} MB/s; alone: {:.1} MB/s", flood(&mut owner).await);
    assert_eq!(owner.skips, []);
    assert!(skips.windows(2).all(|pair| pair[0].1 < pair[1].1), "{skips:?}");
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
async fn a_large_paste_arrives_whole_and_in_order() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    let bytes = Random::new().bytes(MIB);

    // To a program that sends back what it gets.
    let from = start(&mut page, "head -c 1048576").await;
    page.paste(HOST, &bytes).await;
    let echoed = end(&mut page, from).await;
    assert!(
        echoed == bytes,
        "{} bytes of 1 MiB came back, {:?} is the first wrong one",
        echoed.len(),
        echoed.iter().zip(&bytes).position(|(one, other)| one != other)
    );

    // Bracketed, to a program that takes its time.
    let bracketed = [b"\x1b[200~", &bytes[..MIB - 12], b"\x1b[201~"].concat();
    let slow = "i=0; while [ $i -lt 256 ]; do dd bs=4096 count=1 iflag=fullblock 2>/dev/null; usleep 1000; i=$((i+1)); done | sha256sum";
    let from = start(&mut page, slow).await;
    page.paste(HOST, &bracketed).await;
    let said = end(&mut page, from).await;
    assert!(said.starts_with(digest(&bracketed).as_bytes()), "{}", String::from_utf8_lossy(&said));

    // In lines to a terminal in its usual mode, where no line may be longer than 4095 bytes (termios(3)).
    let lines: String = (0..).map(|n| format!("line {n} {}\n", "x".repeat(n % 3000))).take(1400).collect();
    let before = page.output[&HOST].len();
    page.run(HOST, "stty -echo; printf '<rea''dy>'; cat > /tmp/pasted; stty sane; sha256sum /tmp/pasted").await;
    page.until("cat", |page| page.text_since(HOST, before).contains("<ready>")).await;
    page.paste(HOST, lines.as_bytes()).await;
    page.type_keys(HOST, b"\x04").await;
    page.until("the digest", |page| page.text_since(HOST, before).contains("  /tmp/pasted\r\n")).await;
    assert!(lines.len() > MIB / 2 && page.text_since(HOST, before).contains(&digest(lines.as_bytes())));
}

#[tokio::test]
async fn ctrl_c_overtakes_a_paste_that_nobody_reads_and_nothing_of_it_is_executed() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    for program in ["sleep 1000", "yes"] {
        page.until("a prompt", |page| page.has_prompt(HOST)).await;
        page.run(HOST, program).await;
        let name = program.split(' ').next().unwrap();
        page.until("the program", |page| page.terminals[&HOST].program == name).await;
        let before = page.output[&HOST].len();
        let line = b"touch /tmp/surprise; echo surprise\n";
        let room = page.room_for_input(HOST) as usize;
        let paste = line.repeat(room / line.len());
        for piece in paste.chunks(16 * 1024) {
            page.type_keys(HOST, piece).await;
        }
        // As many whole lines as the kernel takes that nobody reads: it comes to no key behind them.
        let echoed = |page: &Page| page.text_since(HOST, before).matches("echo surprise\r\n").count() > 100;
        page.until("the paste", echoed).await;
        let since = Instant::now();
        page.type_keys(HOST, b"\x03").await;
        page.until("the prompt", |page| page.has_prompt(HOST)).await;
        println!("Ctrl-C behind a paste to `{program}`: {:?} to the prompt", since.elapsed());
        let said = page.output_of(HOST, "ls /tmp/surprise").await;
        assert!(said.contains("No such file"), "{program}: {said}");
    }
    // To a program that wants it, the same key is a byte like any other, and in its place.
    let from = start(&mut page, "head -c 5 | od -An -tx1").await;
    for key in [b"a", b"\x03", b"b", b"\x1a", b"\x1c"] {
        page.type_keys(HOST, key).await;
    }
    assert_eq!(String::from_utf8_lossy(&end(&mut page, from).await).trim(), "61 03 62 1a 1c");
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
        let before = page.output[&HOST].len();
        page.run(HOST, "sh -c 'echo rea\"\"dy; exec sleep 1000'").await;
        page.until("sleep", |page| page.text_since(HOST, before).contains("\nready")).await;
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
    let mut mute = playground.connect_silently(&cookie).await;
    mute.run(CONTAINER, "touch /tmp/surprise").await;
    assert_eq!(good.output_of(CONTAINER, "seq 1 100000").await.lines().count(), 100_000);
    assert!(good.output_of(CONTAINER, "ls /tmp/surprise").await.contains("No such file"));
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_of_a_flood_costs_no_byte() {
    let mut playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.output_of(HOST, "seq 1 1000000 > /tmp/flood").await;
    let from = start(&mut page, "cat /tmp/flood").await;
    page.until("some output", |page| page.output[&HOST].len() > from + MIB).await;
    playground.restart_after(Signal::SIGKILL);
    let shown = end(&mut page, from).await;
    let truth: Vec<u8> = sequence(1_000_000).into_iter().filter(|&byte| byte != b'\r').collect();
    assert!(shown == truth, "the output differs from what the program wrote");
}

#[tokio::test]
async fn the_time_from_a_key_to_its_echo_is_printed() {
    let playground = Playground::start(None);
    let mut page = playground.open(&playground.new_cookie()).await;
    page.run(HOST, "stty raw -echo; printf '<re''ady>'; cat").await;
    page.until("cat", |page| page.text_since(HOST, 0).contains("<ready>")).await;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..2000 {
        let (since, before) = (Instant::now(), page.output[&HOST].len());
        page.type_keys(HOST, b"x").await;
        page.until("the echo", |page| page.output[&HOST].len() > before).await;
        times.push(since.elapsed());
    }
    times.sort();
    println!("from a key to its echo by `cat`: p50 {:?}, p99 {:?}", times[1000], times[1980]);
}
