//! Every byte of a terminal, out and in: to pages that are quick, slow, cut off or bridged. Measured times are printed; none is asserted.

use std::time::{Duration, Instant};

use futures_util::future::join;
use nix::sys::signal::Signal;
use shared::protocol::WINDOW;

use crate::common::flood::{Random, after, digest, end, sequence, start};
use crate::common::playground::{CONTAINER, HOST, Page, Playground};

const MIB: usize = 1 << 20;

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
    page.output_of(CONTAINER, "mkfifo /tmp/gate").await;
    for (program, written) in [("sleep 1000", 0), ("yes", MIB)] {
        // The paste comes before the flood: the kernel drops the echo of what comes while there is no room for output.
        page.until("a prompt", |page| page.has_prompt(HOST)).await;
        page.run(HOST, &format!("cat /tmp/gate; {program}")).await;
        page.until("the gate", |page| page.terminals[&HOST].program == "cat").await;
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
        page.run(CONTAINER, ": > /tmp/gate").await;
        let name = program.split(' ').next().unwrap();
        let runs = |page: &Page| page.terminals[&HOST].program == name && page.output[&HOST].len() >= before + written;
        page.until("the program", runs).await;
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
