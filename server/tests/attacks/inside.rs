//! Attacks by programs in a lab, most of one system call or one file each.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::{self, Bait};
use crate::rows::{By, INSIDE, Row};
use crate::table::{Outcome, Table};

fn named(rows: &[&Row]) -> Vec<&'static str> {
    rows.iter().map(|row| row.name).collect()
}

/// What is set for labs beside a defence that is turned off, so that it is the only one.
fn flags(without: &str) -> Vec<&str> {
    let mut flags = vec!["--without", without];
    if without == "mount-flags" {
        // In an overlay that the sandbox's own root mounts, the kernel opens no device node anyway.
        flags.extend(["--overlay", "outside"]);
    }
    flags
}

#[tokio::test]
async fn each_attack_from_inside_is_held_and_succeeds_without_its_defence() {
    let registry = control::registry();
    let mut table = Table::default();

    let with = {
        let playground = control::playground(&registry, &[]);
        let bait = Bait::new(&playground);
        let mut page = playground.open(&playground.new_cookie()).await;
        bait.tell(&mut page).await;
        control::in_a_lab(&mut page, &named(&INSIDE.iter().collect::<Vec<_>>())).await
    };

    let mut without: BTreeMap<String, Outcome> = BTreeMap::new();
    let defences: BTreeSet<&str> = INSIDE
        .iter()
        .filter(|row| !row.is_pending)
        .filter_map(|row| match row.by {
            By::Defence(defence) => Some(defence),
            By::Kernel(_) | By::Always(_) => None,
        })
        .collect();
    for defence in defences {
        let playground = control::playground(&registry, &flags(defence));
        let bait = Bait::new(&playground);
        let mut page = playground.open(&playground.new_cookie()).await;
        bait.tell(&mut page).await;
        let rows: Vec<_> = INSIDE.iter().filter(|row| row.by == By::Defence(defence) && !row.is_pending).collect();
        without.extend(control::in_a_lab(&mut page, &named(&rows)).await);
    }

    let playground = control::playground(&registry, &[]);
    let bait = Bait::new(&playground);
    let on_the_machine = bait.on_the_machine(&named(&INSIDE.iter().collect::<Vec<_>>()), &[]);
    for row in INSIDE {
        table.judge(row, &with[row.name], without.get(row.name), &on_the_machine[row.name]);
    }
    table.finish("from inside a lab");
}
