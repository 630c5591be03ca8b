//! `newroot lessons check`: reads lessons, and does each as a learner would who clicks on everything, in a machine of its
//! own. How one is walked is in [`walk`].

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use newroot::classroom::{Classroom, Learner, ProgressStore};
use newroot::lab::Keeper;
use newroot::lessons::{Choice, Parsed};
use newroot::registry::{self, Store};
use newroot::user::ServerUser;
use newroot::{http, lab, runtime};

use super::lab_options::LabOptions;
use walk::Walk;

mod page;
mod walk;

/// What can be done with lessons.
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Do every lesson in a real lab, and see that its tasks turn green when they should.
    ///
    /// Every expression must compile, and every command name a terminal that there is. Then each lesson is walked in a
    /// machine of its own, as by somebody who clicks on every command: no task may be done before the commands that stand
    /// before it, and each must be after those, and after its solution where one follows. A quiz is answered where it
    /// stands, and must have been graded by the lesson's end.
    ///
    /// Images come from this binary alone. Takes root, as labs do.
    #[command(
        after_long_help = "Exit status:\n  0  all lessons can be done\n  1  one cannot; the file, the line and the reason are said"
    )]
    Check(CheckOptions),
}

/// What can be set for a check.
#[derive(clap::Args)]
pub struct CheckOptions {
    /// A directory of lessons, instead of those in this binary
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// What each lab is and may.
    #[command(flatten)]
    lab: LabOptions,
}

/// Does what was asked for.
pub fn run(verb: Verb) -> Result<ExitCode> {
    let Verb::Check(options) = verb;
    // Its faults are found without root.
    let choice = match &options.directory {
        Some(directory) => Choice::of_directory(directory)?,
        None => Choice::embedded()?,
    };
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the lessons can be read; to walk them takes labs, and labs take root: use sudo"
    );
    lab::uncover::uncover().context("cannot make this container fit for labs")?;
    runtime::ensure_certificates().context("cannot prepare TLS")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the event loop")?;
    runtime.block_on(check(&choice, &options))
}

async fn check(choice: &Choice, options: &CheckOptions) -> Result<ExitCode> {
    let school = School::open(choice, options)?;
    let mut failed = 0;
    for lesson in choice.parsed(false) {
        let (commands, checks) = walk::count(&lesson.lesson);
        let title = format!("{}: {commands} commands, {checks} tasks and quizzes", lesson.lesson.slug);
        match school.walk(lesson).await? {
            None => println!("{title}: ok"),
            Some(fault) => {
                failed += 1;
                println!("{title}: FAILED\n{fault}");
            }
        }
    }
    school.close().await;
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        _ => {
            println!("{failed} of {} lessons cannot be done as they are written", choice.parsed(false).len());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A server without a site: labs, their mirror, and nobody in them.
struct School {
    classroom: Arc<Classroom>,
    // Removed when all labs have ended.
    _directory: TempDir,
}

impl School {
    fn open(choice: &Choice, options: &CheckOptions) -> Result<School> {
        let directory =
            tempfile::Builder::new().prefix("newroot-lessons-").tempdir().context("cannot make a directory")?;
        let state = directory.path().join("state");
        let store = Arc::new(Store::open(&state, None)?);
        let rootfs = registry::lab_rootfs(&state)?;
        // All that is served here is what this process has started itself, so it can stay root.
        let user = ServerUser::ourselves();
        let keeper = Keeper::ourselves(options.lab.settings(directory.path().join("labs"), rootfs, 1, user));
        let progress = ProgressStore::open(directory.path().join("progress")).context("cannot keep progress")?;
        let (classroom, arrivals) = Classroom::new(keeper, 1, progress, None);
        classroom.set_checks(choice.checks(false));
        tokio::spawn(http::serve_mirrors(arrivals, store, http::Limits::default()));
        Ok(School { classroom, _directory: directory })
    }

    /// Walks one lesson in a new lab; returns what is wrong with it.
    async fn walk(&self, lesson: &Parsed) -> Result<Option<walk::Fault>> {
        let learner = Learner::new()?;
        let lab = self.classroom.lab(&learner, None).await?;
        let walked = async { Walk::begin(&lab, lesson).await?.through().await };
        let fault = walked.await.with_context(|| format!("cannot walk {}", lesson.lesson.slug));
        self.classroom.end(&learner).await;
        fault
    }

    async fn close(self) {
        self.classroom.end_all().await;
        lab::cgroup::remove_parent();
    }
}
