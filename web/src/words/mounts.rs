//! How the page says what the fields of mountinfo mean, for the mount at hand and the tables that are shown.

use shared::mount::{Mount, MountId, PeerGroup};
use shared::plain::plain;
use shared::reach::Hidden;
use shared::tables::Field;

use super::{processes, propagation, view};
use crate::tables::{Card, Tables};

/// A field of a mount as an opened row tells it.
pub struct Told {
    /// Its name.
    pub name: &'static str,
    /// Its value as the kernel tells it.
    pub value: String,
    /// What that means.
    pub meaning: String,
}

/// More mounts than this are not named in one breath.
const MOST_NAMED: usize = 5;

/// Whether a row has a text in it. `filter` is in lower case.
pub fn matches(mount: &Mount, filter: &str) -> bool {
    let Mount { mount_point, fs_type, source, options, super_options, root, device, .. } = mount;
    let fields = [mount_point, fs_type, source, options, super_options, root, device];
    fields.into_iter().any(|field| field.to_lowercase().contains(filter))
        || propagation(&mount.propagation).contains(filter)
        || mount.id.0.to_string() == filter
}

/// A card in one phrase: `host`, `sh 2`, `sh 2 in /fs/alpine/rootfs`.
pub fn card(card: &Card) -> String {
    let number = if card.view.ordinal == 0 { String::new() } else { format!(" {}", card.view.ordinal) };
    let root = if card.view.root == "/" { String::new() } else { format!(" in {}", plain(&card.view.root)) };
    format!("{}{number}{root}", view(&card.view))
}

/// Why no path leads to a mount.
pub fn hidden(card: &Card, hidden: Hidden) -> String {
    match hidden {
        Hidden::Under(by) => match card.mounts().find(|mount| mount.id == by) {
            Some(cover) => format!(
                "Hidden: {} on {} lies on top of it. Paths lead there until that is unmounted.",
                cover.fs_type,
                plain(&cover.mount_point)
            ),
            None => "Hidden: another mount lies on top of it.".to_owned(),
        },
        Hidden::OverRoot => "Hidden: it lies on the root directory itself, and a path begins beneath it. \
            Only /.. leads to it, or a new chroot."
            .to_owned(),
        Hidden::Outside => "Hidden: no path from this root directory leads to it.".to_owned(),
    }
}

/// All fields of a mount in words.
pub fn fields(tables: &Tables, at: &Card, mount: &Mount, why_hidden: Option<Hidden>) -> Vec<Told> {
    let told = |name, value: String, meaning: String| Told { name, value, meaning };
    let parent = at.mounts().find(|other| other.id == mount.parent && other.id != mount.id);
    let below = match parent {
        Some(parent) => format!("{} on {}, mount {}", parent.fs_type, plain(&parent.mount_point), parent.id.0),
        None => "a mount that is not in this table: it lies outside the root directory".to_owned(),
    };
    let part = match mount.root.as_str() {
        "/" => "the whole file system".to_owned(),
        root if root.ends_with("//deleted") => "a directory or file that has been deleted since".to_owned(),
        _ if mount.fs_type == "nsfs" => {
            "a namespace, kept alive by this mount though no process may be in it".to_owned()
        }
        _ => "only this directory or file of the file system: a bind mount".to_owned(),
    };
    let mut all = Vec::new();
    all.extend(why_hidden.map(|why| told("Reach", "hidden".to_owned(), hidden(at, why))));
    all.push(told("Mount point", plain(&mount.mount_point), "where it is, seen from this root directory".to_owned()));
    all.extend(propagations(tables, at, mount));
    all.push(told("Type", plain(&mount.fs_type), format!("from source “{}”", plain(&mount.source))));
    all.push(told("Root", plain(&mount.root), part));
    all.push(told("Options", plain(&mount.options), "of this mount alone".to_owned()));
    all.push(told(
        "Superblock",
        plain(&mount.super_options),
        "options of the file system, at all its mounts".to_owned(),
    ));
    all.push(told("Device", mount.device.clone(), same_device(tables, at, mount)));
    all.push(told("Mounted on", mount.parent.0.to_string(), below));
    all.push(told("Mount id", mount.id.0.to_string(), "the kernel's number; used again after an unmount".to_owned()));
    all
}

fn propagations(tables: &Tables, at: &Card, mount: &Mount) -> Vec<Told> {
    let told = |value: String, meaning: String| Told { name: "Propagation", value, meaning };
    let types = &mount.propagation;
    let mut all = Vec::new();
    if let Some(group) = types.shared {
        let peers = named(tables, at, mount.id, |other| other.propagation.shared == Some(group));
        let slaves = named(tables, at, mount.id, |other| other.propagation.master == Some(group));
        let also = peers.map_or(" No other mount here is in it.".to_owned(), |peers| format!(" Also in it: {peers}."));
        let sends = slaves.map_or(String::new(), |slaves| format!(" Receiving only: {slaves}."));
        let value = format!("shared:{}", group.0);
        all.push(told(
            value,
            format!("peer group {}: what is mounted below one appears below all.{also}{sends}", group.0),
        ));
    }
    if let Some(group) = types.master {
        all.push(told(format!("master:{}", group.0), from_group(tables, at, mount, group)));
    }
    if let Some(group) = types.propagate_from {
        let meaning = format!("the nearest of the groups it receives from that this root can see is {}", group.0);
        all.push(told(format!("propagate_from:{}", group.0), meaning));
    }
    if types.unbindable {
        all.push(told("unbindable".to_owned(), "private, and cannot be bind mounted elsewhere".to_owned()));
    }
    if all.is_empty() {
        let meaning = "what is mounted below it is seen in this mount namespace alone; nothing comes in".to_owned();
        all.push(told("private".to_owned(), meaning));
    }
    all
}

fn from_group(tables: &Tables, at: &Card, mount: &Mount, group: PeerGroup) -> String {
    let masters = named(tables, at, mount.id, |other| other.propagation.shared == Some(group));
    let masters = masters.map_or("none of which is shown here".to_owned(), |masters| format!("that is {masters}"));
    format!("a slave of peer group {}, {masters}: what is mounted there appears here, and nothing goes back", group.0)
}

fn same_device(tables: &Tables, at: &Card, mount: &Mount) -> String {
    match named(tables, at, mount.id, |other| other.device == mount.device) {
        Some(others) => format!("the same file system is at {others}"),
        None => "no other mount here shows this file system".to_owned(),
    }
}

/// The mounts of all cards that are like this, but the one at hand: `/srv, container /srv and 3 more`.
fn named(tables: &Tables, at: &Card, but: MountId, like: impl Fn(&Mount) -> bool) -> Option<String> {
    let mut names = Vec::new();
    let mut more = 0;
    for other in tables.cards().iter().filter(|card| !card.mark.is_gone()) {
        let here = other.view.id == at.view.id;
        for mount in other.mounts().filter(|mount| mount.id != but && like(mount)) {
            if names.len() == MOST_NAMED {
                more += 1;
            } else if here {
                names.push(plain(&mount.mount_point));
            } else {
                names.push(format!("{} {}", card(other), plain(&mount.mount_point)));
            }
        }
    }
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| names.join(", ") + &more)
}

/// Why a card has no row.
pub fn why_empty(card: &Card) -> String {
    let who = processes(&card.view);
    if card.is_arriving() {
        return "Its rows are on their way.".to_owned();
    }
    if card.view.root_deleted {
        return format!(
            "The root directory of {who} has been deleted. It goes on working there, with nothing mounted below."
        );
    }
    if card.view.root == "/" {
        return format!(
            "The mount that {who} has as its root is no longer part of any mount namespace: it was unmounted lazily (umount -l)."
        );
    }
    "No mount is reachable below this root: chroot moved the root directory, not a mount. \
        Mount something in there, such as proc on /proc, and its row appears."
        .to_owned()
}

/// A field in which two mounts differ.
pub fn field(field: Field) -> &'static str {
    match field {
        Field::Type => "type",
        Field::Device => "file system",
        Field::Root => "root",
        Field::Options => "options",
        Field::Propagation => "propagation",
        Field::Source => "source",
        Field::SuperOptions => "superblock options",
    }
}

/// The value of a field.
pub fn value(mount: &Mount, field: Field) -> String {
    match field {
        Field::Type => plain(&mount.fs_type),
        Field::Device => mount.device.clone(),
        Field::Root => plain(&mount.root),
        Field::Options => plain(&mount.options),
        Field::Propagation => propagation(&mount.propagation),
        Field::Source => plain(&mount.source),
        Field::SuperOptions => plain(&mount.super_options),
    }
}

/// The latest that happened in any card, for a screen reader: `new in sh 1: /mnt, tmpfs`.
pub fn latest(tables: &Tables) -> String {
    let news = tables.cards().iter().flat_map(|card| card.rows.iter().map(move |row| (card, row)));
    let news: Vec<_> = news.filter_map(|(card, row)| row.mark.since().map(|at| (at, card, row))).collect();
    let last = news.iter().map(|(at, ..)| *at).fold(0.0, f64::max);
    let mut said: Vec<String> = Vec::new();
    let now: Vec<_> = news.into_iter().filter(|(at, ..)| last - at < 100.0).collect();
    for (_, at, row) in now.iter().take(3) {
        let word = super::mark_name(row.mark);
        said.push(format!("{word} in {}: {}, {}", card(at), plain(&row.mount.mount_point), row.mount.fs_type));
    }
    if now.len() > said.len() {
        said.push(format!("and {} more", now.len() - said.len()));
    }
    said.join("; ")
}
