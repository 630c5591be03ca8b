//! `newroot images`, as its user sees it: what it prints of the images that need no registry.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use newroot::registry::{self, Inventoried, Place};
use newroot::user::ServerUser;

/// What to do with images.
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Take images from a file, so that labs can pull them without a registry
    Import {
        #[command(flatten)]
        state: State,
        /// An OCI image layout, as a directory or an archive, or an archive of `docker save`
        path: PathBuf,
        /// What the image is called [default: what the file says]
        name: Option<String>,
    },
    /// Show the images that labs can pull without a registry
    List {
        #[command(flatten)]
        state: State,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Remove what the mirror has cached
    Prune {
        #[command(flatten)]
        state: State,
        /// What was imported, too
        #[arg(long)]
        all: bool,
    },
}

/// Which server's images.
#[derive(clap::Args)]
pub struct State {
    /// Where images are kept; the same as for `serve`
    #[arg(long, value_name = "DIR", default_value = "/var/lib/newroot")]
    state: PathBuf,
}

/// Does it.
pub fn run(verb: Verb) -> Result<ExitCode> {
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "images needs root, as the server does whose images they are; start it with sudo"
    );
    let State { state } = match &verb {
        Verb::Import { state, .. } | Verb::List { state, .. } | Verb::Prune { state, .. } => state,
    };
    // The images are the server's user's, who could have put a link in the place of any of them.
    let directories = registry::directories(state);
    let user = ServerUser::of_state(&directories);
    if !matches!(verb, Verb::List { .. }) {
        directories.iter().try_for_each(|directory| user.own(directory))?;
    }
    user.write_files().context("cannot write files as the server's user")?;
    match verb {
        Verb::Import { state, path, name } => {
            for image in registry::import(&state.state, &path, name.as_deref())? {
                println!("Imported {} ({})", image.name, short(&image.digest));
            }
        }
        Verb::List { state, json: true } => {
            let images: Vec<_> = registry::list(&state.state).iter().map(json).collect();
            println!("{:#}", serde_json::Value::from(images));
        }
        Verb::List { state, json: false } => print(&registry::list(&state.state)),
        Verb::Prune { state, all } => {
            let before = registry::list(&state.state);
            let freed = registry::prune(&state.state, all)?;
            let after = registry::list(&state.state);
            let stays = |image: &&Inventoried| {
                after.iter().any(|other| (&other.name, other.place) == (&image.name, image.place))
            };
            for image in before.iter().filter(|image| !stays(image)) {
                println!("Removed {} ({})", image.name, place(image.place));
            }
            println!("Freed {}", size(freed));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(images: &[Inventoried]) {
    let rows = images.iter().map(|image| {
        let used = image.used.map_or("-".to_owned(), |at| ago(at.elapsed().unwrap_or_default()));
        [image.name.clone(), short(&image.digest), size(image.size), place(image.place).to_owned(), used]
    });
    let mut table = vec![["IMAGE", "DIGEST", "SIZE", "PLACE", "USED"].map(str::to_owned)];
    table.extend(rows);
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [0, 1, 2, 3].map(width);
    for [name, digest, size, place, used] in &table {
        let [a, b, c, d] = widths;
        println!("{name:a$}  {digest:b$}  {size:>c$}  {place:d$}  {used}");
    }
}

fn json(image: &Inventoried) -> serde_json::Value {
    let used = image.used.and_then(|at: SystemTime| at.duration_since(UNIX_EPOCH).ok());
    serde_json::json!({
        "name": image.name,
        "digest": image.digest.as_str(),
        "bytes": image.size,
        "place": place(image.place),
        "used": used.map(|used| used.as_secs()),
    })
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Embedded => "embedded",
        Place::Imported => "imported",
        Place::Cached => "cached",
    }
}

/// As much of a digest as tells images apart.
fn short(digest: &registry::Digest) -> String {
    format!("sha256:{}", &digest.hex()[..12])
}

fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes @ 1e9.. => format!("{:.1} GB", bytes / 1e9),
        bytes @ 1e6.. => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} kB", bytes / 1e3),
    }
}

fn ago(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match (minutes, minutes / 60, minutes / 60 / 24) {
        (0, ..) => "just now".to_owned(),
        (minutes, 0, _) => format!("{minutes} min ago"),
        (_, hours, 0) => format!("{hours} h ago"),
        (.., days) => format!("{days} d ago"),
    }
}
