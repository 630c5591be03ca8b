//! Attacks by what a learner reaches through others: the session of whoever started the server, the network of a lab
//! process that is taken over, and inodes that are the machine's.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;

use crate::common::page::HOST;
use crate::common::playground::Playground;
use crate::common::text_of;
use crate::control::{self, ATTACKER};
use crate::rows::{self, By, PUPPETS};
use crate::table::{Outcome, Table};
use crate::written_down::child;

use Outcome::{Escaped, Held};

async fn attack(name: &str, url: &str, more: &[&str]) -> Outcome {
    let flags = [&["--upstream", url, "--lab-image", "attacker"], more].concat();
    match name {
        "terminal-of-the-server" => {
            let (playground, terminal) = Playground::start_on_terminal("true", &flags);
            let mut page = playground.open(&playground.new_cookie()).await;
            page.until("a prompt", |page| page.has_prompt(HOST)).await;
            // Whoever sits there answers the question with a password, and does not know whose question it is. The thread ends
            // with the terminal, if nobody asks.
            let mut seat = File::from(terminal);
            std::thread::spawn(move || {
                let (mut seen, mut byte) = (Vec::new(), [0]);
                while seat.read(&mut byte).is_ok_and(|length| length > 0) {
                    seen.push(byte[0]);
                    if seen.ends_with(b"your-password:") {
                        let _ = seat.write_all(b"correct-horse\n");
                    }
                }
            });
            let said = page.output_of(HOST, "PROMPT=your-password: /attacker terminal-of-the-server").await;
            Outcome::of(name, &said).unwrap_or_else(|| panic!("{said}"))
        }
        "network-of-the-lab-process" => {
            let playground = Playground::start_with(&flags);
            let _page = playground.open(&playground.new_cookie()).await;
            let lab = child(playground.helper().as_raw(), "newroot lab");
            let output = Command::new("nsenter")
                .args(["--target", &lab.to_string(), "--net", "--", ATTACKER, "connect-to-the-server"])
                .env("PORT", playground.address().port().to_string())
                .output()
                .unwrap();
            Outcome::of("connect-to-the-server", &text_of(&output)).unwrap()
        }
        "device-lock" => {
            let playground = Playground::start_with(&flags);
            let mut page = playground.open(&playground.new_cookie()).await;
            let before = page.output[&HOST].len();
            page.run(HOST, "/attacker hold device-lock").await;
            let said = |page: &crate::common::page::Page| Outcome::of(name, &page.text_since(HOST, before));
            page.until("the attacker's word", |page| said(page).is_some()).await;
            assert!(said(&page).unwrap().has_escaped(), "a lock on one's own node is anybody's");
            match Command::new("flock").args(["--nonblock", "/dev/null", "true"]).status().unwrap().success() {
                true => Held("the machine's /dev/null is another inode".to_owned()),
                false => Escaped("nobody on the machine can lock /dev/null any more".to_owned()),
            }
        }
        other => panic!("there is no attack {other}"),
    }
}

#[tokio::test]
async fn nothing_is_reached_through_others() {
    let registry = control::registry();
    let mut table = Table::default();
    for row in rows::chosen(PUPPETS) {
        let With { with, without } = both(row.name, row.by, &registry.url()).await;
        table.judge(row, &with, Some(&without), &without);
    }
    table.finish("through others");
}

struct With {
    with: Outcome,
    without: Outcome,
}

async fn both(name: &str, by: By, url: &str) -> With {
    let with = attack(name, url, &[]).await;
    With { with, without: attack(name, url, &["--without", by.name()]).await }
}
