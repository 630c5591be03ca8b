//! The terminal: keys, jobs, sizes and names, with a shell around `newroot run` and without.

use std::fs;
use std::process::Command;

use crate::common::terminal::{CTRL_BACKSLASH, CTRL_C, CTRL_Z, Terminal};
use crate::common::text_of;
use crate::machine::{Machine, eventually};

/// `newroot run …` as words for a shell.
fn words(machine: &Machine, arguments: &[&str]) -> String {
    let command = machine.run(arguments);
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| format!("'{}' ", word.to_str().unwrap())).collect()
}

/// An interactive shell of this machine, which has job control.
fn shell() -> Terminal {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]).env("PS1", "outside> ").env("DOCKER_CONFIG", "/nonexistent");
    let mut terminal = Terminal::start(&command);
    terminal.until("outside> ");
    terminal
}

/// A shell without job control, that runs this and no more.
fn script(text: &str) -> Terminal {
    Terminal::start(Command::new("sh").args(["-c", text]))
}

/// Starts `cat` by a shell, and waits until it has the terminal. (What is typed is echoed, so the word is not in it.)
fn start_cat(terminal: &mut Terminal) {
    terminal.type_keys("sh -c 'echo o\"\"n; exec cat'\n");
    terminal.until("on\r\n");
    until_cat_runs(terminal);
}

/// Types a line, and waits for it twice: it is echoed by the terminal, and then said by `cat`, which runs by then.
fn until_cat_runs(terminal: &mut Terminal) {
    terminal.type_keys("meow\n");
    terminal.until("meow\r\n");
    terminal.until("meow\r\n");
}

#[test]
fn keys_reach_the_program_in_the_foreground_of_the_containers_shell_and_not_the_shell() {
    let machine = Machine::new();
    for flags in [&[][..], &["--mount", "default"], &["--init", "--mount", "default"], &["--root", "pivot"]] {
        let mut terminal = shell();
        terminal.type_keys(&format!("{}\n", words(&machine, &[flags, &["busybox", "sh"]].concat())));
        terminal.until("/ # ");
        for (key, status) in [(CTRL_C, 130), (CTRL_BACKSLASH, 131)] {
            start_cat(&mut terminal);
            terminal.type_keys(key);
            terminal.until("/ # ");
            terminal.type_keys("echo status=$?\n");
            terminal.until(&format!("status={status}\r\n"));
        }
        start_cat(&mut terminal);
        terminal.type_keys(CTRL_Z);
        terminal.until("Stopped");
        terminal.until("/ # ");
        terminal.type_keys("kill %1; exit 7\n");
        // `exit` once more, if the shell warns of stopped jobs.
        terminal.type_keys("exit 7\n");
        terminal.until("outside> ");
        terminal.type_keys("echo status=$?\n");
        terminal.until("status=7\r\n");
        terminal.type_keys("exit\n");
    }
}

#[test]
fn ctrl_c_ends_a_command_that_is_process_1_and_says_why_it_was_killed() {
    let machine = Machine::new();
    for (init, key, status) in [
        (&[][..], CTRL_C, 130),
        (&[], CTRL_BACKSLASH, 131),
        (&["--init"], CTRL_C, 130),
        (&["--init"], CTRL_BACKSLASH, 131),
    ] {
        let command = [init, &["busybox", "sh", "-c", "exec cat"]].concat();
        let mut terminal = Terminal::start(&machine.run(&command));
        until_cat_runs(&mut terminal);
        terminal.type_keys(key);
        let (ended, said) = terminal.end();
        assert_eq!(ended, Some(status), "{said}");
        assert_eq!(said.contains("does not reach process 1"), init.is_empty(), "{said}");
    }
}

/// /proc/PID/stat of every process below one.
fn below(process: &str) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    let stat = |child: &str| fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
    let with_its_own = |child: &str| [vec![stat(child)], below(child)].concat();
    children.split_whitespace().flat_map(with_its_own).collect()
}

#[test]
fn ctrl_z_stops_the_container_with_its_parent_and_fg_lets_both_go_on() {
    let machine = Machine::new();
    for init in [&[][..], &["--init"]] {
        let mut terminal = shell();
        let command = words(&machine, &[init, &["busybox", "sh", "-c", "echo re\"\"ady; exec cat"]].concat());
        terminal.type_keys(&format!("{command}\n"));
        terminal.until("ready\r\n");
        terminal.type_keys(CTRL_Z);
        terminal.until("Stopped");
        terminal.until("outside> ");
        eventually("everyone in the container has stopped", || {
            below(&terminal.process().to_string()).iter().all(|stat| stat.contains(") T "))
        });
        terminal.type_keys("echo $((6*7))\n");
        terminal.until("42\r\n");
        terminal.type_keys("fg\n");
        terminal.until("exec cat'");
        terminal.type_keys("go on\n");
        // Once for the echo, once from the program.
        terminal.until("go on\r\n");
        terminal.until("go on\r\n");
        terminal.type_keys(CTRL_C);
        terminal.until("outside> ");
        terminal.type_keys("echo status=$?\n");
        terminal.until("status=130\r\n");
        terminal.type_keys("exit\n");
    }
}

#[test]
fn ctrl_z_does_nothing_where_no_shell_waits() {
    let machine = Machine::new();
    let mut terminal = Terminal::start(&machine.run(&["busybox", "sh", "-c", "echo ready; exec cat"]));
    terminal.until("ready\r\n");
    terminal.type_keys(&format!("{CTRL_Z}go on\n"));
    terminal.until("go on\r\n");
    terminal.until("go on\r\n");
    // Ctrl-D, the end of the input.
    terminal.type_keys("\x04");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn the_terminal_is_taken_back_and_mended() {
    let machine = Machine::new();
    let mut terminal = script(&format!("{}; read line; echo \"got=$line\"", words(&machine, &["busybox", "sh"])));
    terminal.until("/ # ");
    terminal.type_keys("exit\n");
    terminal.type_keys("hello\n");
    // The shell in the container had put itself in the foreground.
    let (_, said) = terminal.end();
    assert!(said.contains("got=hello"), "{said}");
    for (raw, left, echo) in [("stty -echo; kill -9 $$", "killed", " echo "), ("stty -echo", "ended", " -echo ")] {
        let run = words(&machine, &["--init", "busybox", "sh", "-c", &format!("busybox {raw}")]);
        let (_, said) = script(&format!("{run}; stty -a")).end();
        assert!(said.contains(echo), "{left}: {said}");
    }
}

#[test]
fn the_size_of_the_window_arrives_and_its_changes() {
    let machine = Machine::new();
    let script = "trap 'busybox stty size; exit 0' WINCH; busybox stty size; sleep 1000 & wait";
    let mut terminal = Terminal::start(&machine.run(&["--mount", "default", "busybox", "sh", "-c", script]));
    terminal.until("24 80\r\n");
    terminal.resize(30, 100);
    terminal.until("30 100\r\n");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn the_terminal_can_be_opened_by_its_names_in_the_container() {
    let machine = Machine::new();
    let script = "tty; echo to the console > /dev/console; echo to the tty > /dev/tty; ls -l /dev/pts";
    let terminal = Terminal::start(&machine.run(&["--mount", "default", "busybox", "sh", "-c", script]));
    let (status, said) = terminal.end();
    assert_eq!(status, Some(0), "{said}");
    for line in ["/dev/console\r\n", "to the console\r\n", "to the tty\r\n"] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn without_a_terminal_pipes_stay_pipes() {
    let machine = Machine::new();
    for flags in [&[][..], &["--init"], &["--mount", "default"]] {
        let run = words(&machine, &[flags, &["busybox", "cat"]].concat());
        let output = Command::new("setsid").args(["sh", "-c", &format!("echo hi | {run} | cat")]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hi\n", "{}", text_of(&output));
    }
}

#[test]
fn the_terminal_has_a_name_in_the_container() {
    let machine = Machine::new();
    for root in ["chroot", "pivot"] {
        let pty = nix::pty::openpty(None, None).unwrap();
        let mut command = machine.run(&["--root", root, "--mount", "default", "busybox", "tty"]);
        let output = command.stdin(pty.slave).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/dev/console\n", "{root}: {}", text_of(&output));
        let output = machine.run(&["--root", root, "--mount", "default", "busybox", "tty"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "not a tty\n", "{root}: {}", text_of(&output));
    }
}
