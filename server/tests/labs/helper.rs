//! The helper of a server, spoken to by somebody who has taken the server over: it does three things to labs, as root has
//! settled them, and nothing else.

use std::fs;
use std::io::{IoSlice, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use newroot::classroom::Learner;
use newroot::lab::{Keeper, LabId, Settings, cgroup};
use newroot::registry::lab_rootfs;
use newroot::user::ServerUser;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, send, sendmsg, socketpair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common;

/// A helper, and what its server would have in hand.
struct Helper {
    process: Child,
    socket: OwnedFd,
    directory: TempDir,
}

impl Helper {
    /// Starts one that may have so many labs.
    fn start(most: usize) -> Helper {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            directory: directory.path().join("labs"),
            rootfs: lab_rootfs(&directory.path().join("state")).unwrap(),
            most,
            server: ServerUser::default(),
            cgroup: cgroup::Limits { memory: 100 << 20, pids: 99, cpu_percent: 100, cpu_weight: 100 },
            disk: 10 << 20,
            terminals: 2,
            idle: Duration::from_secs(3600),
            unused: Duration::from_secs(3600),
            life: None,
            overlay: None,
            netfilter: false,
            defences: Default::default(),
        };
        let (socket, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let process =
            common::newroot().arg("keeper").stdin(theirs).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let helper = Helper { process, socket, directory };
        helper.send(&serde_json::to_vec(&settings).unwrap());
        assert_eq!(helper.receive(), json!({"number": 0, "outcome": {"Ok": null}}));
        helper
    }

    fn send(&self, packet: &[u8]) {
        assert_eq!(send(self.socket.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL).unwrap(), packet.len());
    }

    /// Waits for a reply. A descriptor that comes along is closed.
    fn receive(&self) -> Value {
        let mut packet = vec![0; 16 << 10];
        let length = recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::empty()).unwrap();
        serde_json::from_slice(&packet[..length]).unwrap()
    }

    fn ask(&self, verb: &str, lab: &str) -> Value {
        self.send(json!({"number": 7, "verb": verb, "lab": lab}).to_string().as_bytes());
        let reply = self.receive();
        assert_eq!(reply["number"], 7);
        reply["outcome"].clone()
    }

    /// Has this refused, with this reason.
    fn refuses(&self, packet: &[u8], why: &str) {
        self.send(packet);
        let reply = self.receive();
        let said = reply["outcome"]["Err"].as_str().unwrap_or_default();
        let shown = String::from_utf8_lossy(&packet[..packet.len().min(200)]);
        assert!(reply["number"] == 0 && said.contains(why), "{shown}: {reply}");
        assert_eq!(self.labs(), [""; 0], "{shown}");
    }

    fn labs(&self) -> Vec<String> {
        if self.directory.path().join("labs").exists() { common::names_in(&self.path()) } else { Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("labs")
    }

    fn descriptors(&self) -> usize {
        common::names_in(Path::new(&format!("/proc/{}/fd", self.process.id()))).len()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let run = self.directory.path().to_str().unwrap();
        common::run_newroot(&["labs", "end", "--all", "--run", run]);
        // With its connection it ends by itself, but later.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The id of a lab that nobody else has.
fn id() -> String {
    Learner::new().unwrap().lab().to_string()
}

#[test]
fn it_refuses_what_is_malformed_too_long_or_foreign() {
    let helper = Helper::start(1);
    let before = helper.descriptors();
    let lab = id();
    for (packet, why) in [
        ("hello".to_owned(), "this is no request"),
        ("{}".to_owned(), "missing field"),
        ("\u{0}".repeat(100), "this is no request"),
        (json!({"number": 1, "verb": "Start"}).to_string(), "missing field `lab`"),
        // Verbs that there are not, and labs that are none.
        (json!({"number": 1, "verb": "Exec", "lab": lab}).to_string(), "unknown variant"),
        (json!({"number": 1, "verb": "Start", "lab": "../../../../etc"}).to_string(), "32 hexadecimal digits"),
        (json!({"number": 1, "verb": "Remove", "lab": "."}).to_string(), "32 hexadecimal digits"),
        (json!({"number": 1, "verb": "Remove", "lab": ""}).to_string(), "32 hexadecimal digits"),
        (json!({"number": 1, "verb": "Kill", "lab": format!("{}/", &lab[1..])}).to_string(), "32 hexadecimal digits"),
        // Labs that are otherwise than root has settled.
        (json!({"number": 1, "verb": "Start", "lab": lab, "rootfs": "/"}).to_string(), "unknown field"),
        (json!({"number": 1, "verb": {"Start": {"memory": 1}}, "lab": lab}).to_string(), ""),
        (json!([{"number": 1, "verb": "Start", "lab": lab}]).to_string(), ""),
        // Settings once more.
        (json!({"directory": "/", "rootfs": "/", "most": 1000}).to_string(), "unknown field"),
        // Longer than any request is.
        (format!("{}{}", json!({"number": 1, "verb": "Start", "lab": lab}), " ".repeat(300)), "none has more than 256"),
        ("x".repeat(100_000), "none has more than 256"),
    ] {
        helper.refuses(packet.as_bytes(), why);
    }
    // Descriptors that come along are not kept.
    for _ in 0..50 {
        let files = [helper.socket.as_raw_fd(); 8];
        let message = [ControlMessage::ScmRights(&files)];
        sendmsg::<()>(helper.socket.as_raw_fd(), &[IoSlice::new(b"take these")], &message, MsgFlags::empty(), None)
            .unwrap();
        assert_eq!(helper.receive()["number"], 0);
    }
    assert_eq!(helper.descriptors(), before);
    // What is well-formed but about nothing does nothing.
    for verb in ["Kill", "Remove"] {
        assert_eq!(helper.ask(verb, &lab), json!({"Ok": null}));
    }
    assert_eq!(helper.labs(), [""; 0]);
}

#[tokio::test]
async fn it_starts_labs_as_they_were_settled_and_no_more_of_them_and_they_outlive_it() {
    let mut helper = Helper::start(1);
    let (one, other) = (id(), id());
    assert_eq!(helper.ask("Start", &one), json!({"Ok": null}));
    let directory = helper.path().join(&one);
    let recorded: Value = serde_json::from_slice(&fs::read(directory.join("cgroup")).unwrap()).unwrap();
    let limits = recorded["directories"].as_array().unwrap().iter().map(|path| Path::new(path.as_str().unwrap()));
    let pids: Vec<String> = limits.filter_map(|path| fs::read_to_string(path.join("pids.max")).ok()).collect();
    assert_eq!(pids, ["99\n"]);

    // Not twice, and not more than there may be; the first goes on.
    for (lab, why) in [(&one, "the room is full"), (&other, "the room is full")] {
        let refused = helper.ask("Start", lab);
        assert!(refused["Err"].as_str().is_some_and(|said| said.contains(why)), "{refused}");
    }
    assert_eq!(helper.labs(), [one.as_str()]);
    let keeper = Keeper::to_end(helper.path());
    let lab: LabId = one.parse().unwrap();
    let handle = newroot::lab::Handle::find(&keeper, lab).await.unwrap();
    assert_eq!(handle.status().await.unwrap().pages, 0);

    // Its end is not theirs.
    nix::sys::socket::shutdown(helper.socket.as_raw_fd(), nix::sys::socket::Shutdown::Write).unwrap();
    let mut said = String::new();
    helper.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(helper.process.wait().unwrap().success(), "{said}");
    assert!(!handle.has_ended());
    assert_eq!(handle.status().await.unwrap().pages, 0);
    handle.kill().await;
    assert!(handle.has_ended());
    keeper.remove(lab).await;
    assert_eq!(helper.labs(), [""; 0]);
}

#[test]
fn a_lab_is_killed_and_removed_on_request_and_its_place_is_free_again() {
    let helper = Helper::start(1);
    let lab = id();
    for _ in 0..3 {
        assert_eq!(helper.ask("Start", &lab), json!({"Ok": null}));
        assert_eq!(helper.ask("Kill", &lab), json!({"Ok": null}));
        assert_eq!(helper.ask("Remove", &lab), json!({"Ok": null}));
        assert_eq!(helper.labs(), [""; 0]);
    }
}

#[test]
fn a_flood_of_requests_waits_in_the_kernel_and_each_is_answered() {
    let helper = Helper::start(1);
    let lab = id();
    let request = |number: u64| json!({"number": number, "verb": "Kill", "lab": lab}).to_string();
    let mut asked = 0;
    // Until nothing more is taken: it works on so many, its replies are not read, and the rest waits.
    loop {
        let sent = send(helper.socket.as_raw_fd(), request(asked + 1).as_bytes(), MsgFlags::MSG_DONTWAIT);
        match sent {
            Ok(_) => asked += 1,
            Err(Errno::EAGAIN) => {
                // It may just be about to take one.
                let mut polled = [PollFd::new(std::os::fd::AsFd::as_fd(&helper.socket), PollFlags::POLLOUT)];
                if poll(&mut polled, PollTimeout::from(500_u16)).unwrap() == 0 || asked > 100_000 {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(asked < 100_000, "it takes as many as are sent");
    let mut answered: Vec<u64> = (0..asked).map(|_| helper.receive()["number"].as_u64().unwrap()).collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=asked).collect::<Vec<_>>());
}
