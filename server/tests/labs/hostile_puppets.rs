//! Learners who bring the lab process to a stand: by PID 1, which they trace and whose end of the channel they take, and
//! by sheer numbers. Whatever they do, other terminals answer, a reset works, and the lab ends in time.

use std::time::Duration;

use libc::{O_NOCTTY, O_RDWR, c_long};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::protocol::{TerminalId, ToLab};
use tar::EntryType;
use tokio::time::sleep;

use crate::common::playground::{CONTAINER, HOST, Page, Playground};
use crate::common::program::{Program, Value};
use crate::common::{Layer, Registry, busybox, names_in, run_newroot};
use crate::life::lab_process;

/// A lab that begins with a program, as `/attack`.
async fn lab_with(program: Program, flags: &[&str]) -> (Playground, Page) {
    let registry = Registry::start();
    let layer = Layer::new().entry(EntryType::Regular, "attack", 0o755, "", &program.file());
    registry.push("library/attack:latest", &[busybox().gzip(), layer.gzip()]);
    let url = registry.url();
    let playground = Playground::start_with(&[&["--upstream", &url, "--lab-image", "attack"], flags].concat());
    let page = playground.open(&playground.new_cookie()).await;
    (playground, page)
}

/// What a puppeteer needs of PID 1.
struct Strings {
    /// Where the descriptor of the channel's end is kept.
    channel: i64,
}

impl Program {
    /// Traces PID 1, so that it answers nobody any more, and takes a copy of its end of the channel.
    fn take_strings(&mut self) -> Strings {
        self.plain(libc::SYS_pidfd_open, &[1]);
        let process = self.keep();
        self.call(libc::SYS_pidfd_getfd, &[Value::At(process), 3.into()]);
        let channel = self.keep();
        self.plain(libc::SYS_ptrace, &[c_long::from(libc::PTRACE_ATTACH), 1]);
        self.plain(libc::SYS_wait4, &[1, 0, c_long::from(libc::__WALL)]);
        Strings { channel }
    }

    fn say(&mut self, text: &str) {
        let address = self.bytes(text.as_bytes());
        self.plain(libc::SYS_write, &[1, address, text.len() as i64]);
    }

    /// A message for sendmsg(2), and where the descriptor that it brings is to be kept.
    fn message(&mut self, text: &str) -> (i64, i64) {
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let bytes = self.bytes(text.as_bytes());
        let part = self.bytes(&words(&[bytes as u64, text.len() as u64]));
        // struct cmsghdr: its length with one descriptor, SOL_SOCKET, SCM_RIGHTS; then the descriptor.
        let control = self.bytes(&words(&[20, 1 | 1 << 32, 0]));
        let header = self.bytes(&words(&[0, 0, part as u64, 1, control as u64, 24, 0]));
        (header, control + 16)
    }

    /// Waits until somebody has written into a FIFO.
    fn await_word(&mut self, fifo: &str) {
        let path = self.bytes(fifo.as_bytes());
        let buffer = self.bytes(&[0; 8]);
        self.plain(libc::SYS_open, &[path, 0]);
        let fd = self.keep();
        self.call(libc::SYS_read, &[Value::At(fd), buffer.into(), 1.into()]);
    }

    fn for_ever(&mut self) {
        self.plain(libc::SYS_pause, &[]);
    }
}

/// Hands the lab process a terminal for the next one that a page opens, and once somebody has written into `/go`, takes its
/// O_NONBLOCK away and has it read.
fn a_terminal_that_blocks() -> Program {
    let mut program = Program::new();
    let (zero, flags) = (program.bytes(&[0; 4]), i64::from(O_RDWR | O_NOCTTY));
    let (ptmx, hello, request) = (program.bytes(b"/dev/ptmx"), program.bytes(b"hello"), program.bytes(&[0; 16 << 10]));
    let (message, place) = program.message(r#"{"Opened":{"terminal":2}}"#);
    let strings = program.take_strings();
    program.plain(libc::SYS_open, &[ptmx, flags]);
    program.keep_at(place);
    let master = Value::At(place);
    program.call(libc::SYS_ioctl, &[master, (libc::TIOCSPTLCK as i64).into(), zero.into()]);
    program.call(libc::SYS_ioctl, &[master, (libc::TIOCGPTPEER as i64).into(), flags.into()]);
    let slave = program.keep();
    program.say("=ready=\n");
    program.call(libc::SYS_recvfrom, &[Value::At(strings.channel), request.into(), (16 << 10).into()]);
    program.call(libc::SYS_sendmsg, &[Value::At(strings.channel), message.into()]);
    program.await_word("/go");
    program.call(libc::SYS_fcntl, &[master, i64::from(libc::F_SETFL).into(), i64::from(O_RDWR).into()]);
    program.call(libc::SYS_write, &[Value::At(slave), hello.into(), 5.into()]);
    program.for_ever();
    program
}

/// The terminal that the attack above is about.
const BLOCKED: TerminalId = TerminalId(2);

async fn begin_blocking(page: &mut Page) {
    page.output_of(HOST, "mkfifo /go").await;
    page.run(HOST, "/attack &").await;
    page.until("the attack", |page| page.text_since(HOST, 0).contains("=ready=")).await;
    page.tell(&ToLab::Open { name: None }).await;
    page.until("its terminal", |page| page.terminals.get(&BLOCKED).is_some_and(|terminal| terminal.running)).await;
    page.run(HOST, "echo > /go").await;
}

async fn reset(page: &mut Page) {
    let shown = page.output[&HOST].len();
    page.tell(&ToLab::Reset).await;
    page.until("a new machine", |page| page.text_since(HOST, shown).contains("was reset") && page.has_prompt(HOST))
        .await;
}

fn lab_of(playground: &Playground) -> String {
    let mut names = names_in(&playground.labs());
    assert_eq!(names.len(), 1, "{names:?}");
    names.remove(0)
}

/// Waits for the end of the only lab, until nothing of it is left.
async fn until_gone(playground: &Playground, lab: &str) {
    let directory = playground.labs().join(lab);
    while directory.exists() {
        sleep(Duration::from_millis(50)).await;
    }
}

/// What `newroot labs list` says of the only lab, where it does not answer.
fn silence(playground: &Playground) -> Option<String> {
    let output = run_newroot(&["labs", "list", "--json", "--run", playground.run().to_str().unwrap()]);
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    listed[0]["error"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_terminal_that_is_made_to_block_stops_itself_alone() {
    let (_playground, mut page) = lab_with(a_terminal_that_blocks(), &[]).await;
    begin_blocking(&mut page).await;
    page.until("its end", |page| !page.terminals[&BLOCKED].running).await;
    assert!(page.text_since(BLOCKED, 0).contains("hello"));
    assert!(page.text_since(BLOCKED, 0).contains("a program has made its master side block"));
    assert!(page.output_of(CONTAINER, "echo still").await.contains("still"));
    reset(&mut page).await;
    assert!(page.output_of(HOST, "echo and again").await.contains("and again"));
}

#[tokio::test]
async fn without_its_alarm_a_lab_hangs_and_outlives_its_time_until_the_server_kills_it() {
    let flags = ["--without", "alarm", "--without", "warden", "--idle", "8s"];
    let (mut playground, mut page) = lab_with(a_terminal_that_blocks(), &flags).await;
    begin_blocking(&mut page).await;
    // It is asked for longer than it may be idle, once it blocks; a lab that does not is over before long, and not listed.
    while silence(&playground).is_none() {}
    let lab = lab_of(&playground);
    // The next server has a warden.
    assert_eq!(playground.arguments().drain(6..8).collect::<Vec<_>>(), ["--without", "warden"]);
    playground.restart_after(Signal::SIGTERM);
    until_gone(&playground, &lab).await;
    assert!(playground.log().contains("is killed: it did not answer"), "{}", playground.log());
}

#[tokio::test]
async fn a_lab_process_that_answers_nobody_is_killed_in_time() {
    let (playground, page) = lab_with(Program::new(), &["--life", "8s"]).await;
    let lab = lab_of(&playground);
    kill(Pid::from_raw(lab_process(&lab)), Signal::SIGSTOP).unwrap();
    until_gone(&playground, &lab).await;
    assert!(playground.log().contains("is killed: its time was over"), "{}", playground.log());
    drop(page);
}

/// Has the lab process close the last descriptor of connections that nobody reads, with data in them, and an hour for
/// close(2) to wait until that is through (SO_LINGER).
fn descriptors_that_linger() -> Program {
    let mut program = Program::new();
    let (stream, inet) = (i64::from(libc::SOCK_STREAM), i64::from(libc::AF_INET));
    // struct sockaddr_in of 127.0.0.1:7777; struct linger; as much as no buffer takes.
    let address = program.bytes(&[2, 0, 0x1e, 0x61, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let linger = program.bytes(&[1u32, 3600].map(u32::to_le_bytes).concat());
    let (data, junk) = (program.bytes(&[0; 8 << 20]), program.bytes(b"junk"));
    let (message, place) = program.message("nothing that the lab knows");
    let strings = program.take_strings();
    program.plain(libc::SYS_socket, &[inet, stream]);
    let listener = program.keep();
    program.call(libc::SYS_bind, &[Value::At(listener), address.into(), 16.into()]);
    program.call(libc::SYS_listen, &[Value::At(listener), 128.into()]);
    for _ in 0..20 {
        // What is closed at the end of a process does not linger; so the lab's is the close(2) that does, if it is the last.
        program.child(0, |child| {
            child.plain(libc::SYS_socket, &[inet, stream | i64::from(libc::SOCK_NONBLOCK)]);
            child.keep_at(place);
            let socket = Value::At(place);
            child.call(libc::SYS_connect, &[socket, address.into(), 16.into()]);
            let option = [i64::from(libc::SOL_SOCKET), i64::from(libc::SO_LINGER), linger, 8].map(Value::from);
            child.call(libc::SYS_setsockopt, &[&[socket], &option[..]].concat());
            child.call(libc::SYS_write, &[socket, data.into(), (8 << 20).into()]);
            // The lab pauses after so many messages, and meanwhile this process ends.
            child.repeat(16, |child| {
                child.call(libc::SYS_sendto, &[Value::At(strings.channel), junk.into(), 4.into()]);
            });
            child.call(libc::SYS_sendmsg, &[Value::At(strings.channel), message.into()]);
        });
        program.wait();
    }
    program.say("=ready=\n");
    program.for_ever();
    program
}

#[tokio::test]
async fn a_descriptor_that_takes_an_hour_to_close_keeps_nobody_waiting() {
    let (_playground, mut page) = lab_with(descriptors_that_linger(), &[]).await;
    page.run(HOST, "/attack &").await;
    page.until("the attack", |page| page.text_since(HOST, 0).contains("=ready=")).await;
    assert!(page.output_of(CONTAINER, "echo still").await.contains("still"));
    reset(&mut page).await;
}

#[tokio::test]
async fn a_puppet_that_talks_without_end_is_heard_beside_everything_else() {
    let mut program = Program::new();
    let words = r#"{"Exited":{"terminal":7,"exit":{"Status":0}}}"#;
    let (address, length) = (program.bytes(words.as_bytes()), words.len() as i64);
    let strings = program.take_strings();
    for _ in 0..4 {
        program.child(0, |child| {
            child.repeat(u32::MAX, |child| {
                child.call(libc::SYS_sendto, &[Value::At(strings.channel), address.into(), length.into()]);
            });
        });
    }
    program.say("=ready=\n");
    program.for_ever();
    let (_playground, mut page) = lab_with(program, &[]).await;
    page.run(HOST, "/attack &").await;
    page.until("the attack", |page| page.text_since(HOST, 0).contains("=ready=")).await;
    for number in 0..10 {
        assert!(
            page.output_of(CONTAINER, &format!("echo $((7 * {number}))")).await.contains(&(7 * number).to_string())
        );
    }
    reset(&mut page).await;
}

#[tokio::test]
async fn calls_without_end_are_followed_beside_everything_else() {
    let mut program = Program::new();
    for _ in 0..16 {
        program.child(0, |child| child.repeat(u32::MAX, |child| child.plain(libc::SYS_chroot, &[8])));
    }
    program.say("=ready=\n");
    program.for_ever();
    let (_playground, mut page) = lab_with(program, &[]).await;
    page.run(HOST, "/attack &").await;
    page.until("the attack", |page| page.text_since(HOST, 0).contains("=ready=")).await;
    for number in 0..10 {
        assert!(
            page.output_of(CONTAINER, &format!("echo $((7 * {number}))")).await.contains(&(7 * number).to_string())
        );
    }
    reset(&mut page).await;
}

/// Starts children that make a watched call over and over, and kills each in the middle of one.
fn killed_in_a_call(children: u32) -> Program {
    let mut program = Program::new();
    let moment = program.bytes(&[0u64, 700_000].map(u64::to_le_bytes).concat());
    program.repeat(children, |program| {
        program.child(0, |child| child.repeat(u32::MAX, |child| child.plain(libc::SYS_chroot, &[8])));
        program.plain(libc::SYS_nanosleep, &[moment, 0]);
        program.call(libc::SYS_kill, &[Value::Child, 9.into()]);
        program.wait();
    });
    program
}

/// A process that has ended and that this one does not wait for: at the last so many looks it was the same.
async fn lost_zombie(tracer: i32) -> i32 {
    let zombie = || {
        let mut all =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.find(|pid: &i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("State:\tZ") && status.contains(&format!("TracerPid:\t{tracer}\n"))
        })
    };
    let (mut last, mut looks) = (None, 0);
    while looks < 40 {
        sleep(Duration::from_millis(50)).await;
        let now = zombie();
        looks = if now.is_some() && now == last { looks + 1 } else { 0 };
        last = now;
    }
    last.unwrap()
}

#[tokio::test]
async fn without_care_for_the_dead_one_of_them_keeps_the_machine_from_its_end() {
    let (playground, mut page) = lab_with(killed_in_a_call(u32::MAX), &["--without", "reaping"]).await;
    page.run(HOST, "/attack").await;
    lost_zombie(lab_process(&lab_of(&playground))).await;
    page.tell(&ToLab::Reset).await;
    page.until_closed().await;
    assert_eq!(page.reason, "it could not be reset in time");
}

#[tokio::test]
async fn whoever_is_killed_in_a_call_can_be_waited_for() {
    let (_playground, mut page) = lab_with(killed_in_a_call(2000), &[]).await;
    let ended = page.output_of(HOST, "/attack; echo it is over").await;
    assert!(ended.contains("it is over"), "{ended}");
    reset(&mut page).await;
}

/// Binds PID 1's end of the channel to an abstract name (unix(7)).
fn binds_the_channel(name: &str) -> Program {
    let mut program = Program::new();
    // struct sockaddr_un: AF_UNIX, and a name that begins with a zero byte.
    let address = program.bytes(&[b"\x01\0\0", name.as_bytes()].concat());
    program.plain(libc::SYS_pidfd_open, &[1]);
    let process = program.keep();
    program.call(libc::SYS_pidfd_getfd, &[Value::At(process), 3.into()]);
    let channel = program.keep();
    program.call(libc::SYS_bind, &[Value::At(channel), address.into(), (3 + name.len() as i64).into()]);
    program
}

#[tokio::test]
async fn a_name_for_the_channel_is_none_of_the_machines() {
    for (is_the_machines, flags) in [(false, &[][..]), (true, &["--without", "lab-network"])] {
        let name = format!("newroot-hostile-{}-{is_the_machines}", std::process::id());
        let (_playground, mut page) = lab_with(binds_the_channel(&name), flags).await;
        let said = page.output_of(HOST, "/attack; echo it says $?").await;
        assert!(said.contains("it says 0"), "{said}");
        assert_eq!(std::fs::read_to_string("/proc/net/unix").unwrap().contains(&name), is_the_machines);
    }
}
