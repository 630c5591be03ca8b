//! `newroot labs`: the labs that run on this machine, and their end. Asks the labs themselves, so that no server is
//! needed, and none is disturbed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use newroot::lab::{self, Handle, Keeper, LabId, Status};
use newroot::runtime;

/// What can be asked for.
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show the labs that run, and what they use.
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// End labs, and remove everything that is left of them.
    End {
        /// End all of them
        #[arg(long, conflicts_with = "labs", required_unless_present = "labs")]
        all: bool,
        /// Which ones: the beginning of an id, as `list` shows it, is enough
        #[arg(value_name = "ID")]
        labs: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(clap::Args)]
struct Place {
    /// Where running labs have their directories, as told to `serve`
    #[arg(long, value_name = "DIR", default_value = "/run/newroot")]
    run: PathBuf,
}

impl Place {
    fn keeper(&self) -> Keeper {
        Keeper::to_end(self.run.join("labs"))
    }
}

/// Does what was asked for.
pub fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "labs are root's business: their directories are closed to others; use sudo"
    );
    runtime.block_on(async {
        match &options.verb {
            Verb::List { json, place } => list(&place.keeper(), *json).await,
            Verb::End { all: true, place, .. } => {
                let keeper = place.keeper();
                end(&keeper, &Handle::ids(keeper.directory())).await
            }
            Verb::End { labs, place, .. } => {
                let keeper = place.keeper();
                end(&keeper, &find(keeper.directory(), labs)?).await
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A lab as `list --json` tells of it.
#[derive(Serialize)]
struct Listed {
    id: LabId,
    /// Absent where it does not answer.
    #[serde(flatten)]
    status: Option<Status>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

async fn list(keeper: &Keeper, json: bool) -> Result<()> {
    let ask = async |id| {
        let answer = match Handle::find(keeper, id).await {
            Ok(handle) => handle.status().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(status) => Listed { id, status: Some(status), error: None },
            Err(error) => Listed { id, status: None, error: Some(error.to_string()) },
        }
    };
    // All at once: one that does not answer holds up no other.
    let labs = futures_util::future::join_all(Handle::ids(keeper.directory()).into_iter().map(ask)).await;
    if json {
        println!("{}", serde_json::to_string_pretty(&labs)?);
        return Ok(());
    }
    println!(
        "{:32} {:>6} {:>6} {:>5} {:>9} {:>9} {:>10}",
        "ID", "AGE", "UNUSED", "PAGES", "TERMINALS", "PROCESSES", "MEMORY"
    );
    for Listed { id, status, error } in &labs {
        match status {
            Some(Status { age_seconds, idle_seconds, pages, terminals, used }) => println!(
                "{id:32} {:>6} {:>6} {pages:>5} {terminals:>9} {:>9} {:>6} MiB",
                duration(*age_seconds),
                duration(*idle_seconds),
                used.processes,
                used.memory >> 20,
            ),
            None => println!("{id:32} does not answer: {}", runtime::printable(error.as_deref().unwrap_or_default())),
        }
    }
    Ok(())
}

/// `45s`, `12m`, `3h`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

/// The labs whose ids begin so.
fn find(directory: &Path, beginnings: &[String]) -> Result<Vec<LabId>> {
    let ids = Handle::ids(directory);
    let named = |beginning: &String| {
        let found: Vec<LabId> = ids.iter().copied().filter(|id| id.to_string().starts_with(beginning)).collect();
        match found[..] {
            [one] => Ok(one),
            [] => bail!("no lab in {} has an id that begins with {beginning}", directory.display()),
            _ => bail!("{} labs have ids that begin with {beginning}: write more of it", found.len()),
        }
    };
    beginnings.iter().map(named).collect()
}

async fn end(keeper: &Keeper, labs: &[LabId]) -> Result<()> {
    let end_one = async |id: &LabId| {
        match Handle::find(keeper, *id).await {
            Ok(handle) => {
                handle.end("it was ended from the command line").await;
                handle.clean_up(|| ()).await;
            }
            Err(_nobody_answers) => keeper.remove(*id).await,
        }
        match keeper.directory().join(id.to_string()).exists() {
            true => Err(anyhow::anyhow!("lab {id} could not be removed")),
            false => {
                println!("{id} has ended");
                Ok(())
            }
        }
    };
    let ended: Vec<Result<()>> = futures_util::future::join_all(labs.iter().map(end_one)).await;
    lab::cgroup::remove_parent();
    ended.into_iter().collect::<Result<()>>().context("not all labs have ended; see the messages above")
}
