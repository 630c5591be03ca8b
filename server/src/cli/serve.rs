//! `newroot serve`: its flags, and the parts of the server put together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use newroot::classroom::{Classroom, Learners, ProgressStore};
use newroot::doctor::{self, Plan, Verdict};
use newroot::{http, lab, lessons, registry, runtime};

use super::http_options::HttpOptions;
use super::lab_image;
use super::lab_options::LabOptions;
use super::mirror::MirrorOptions;

/// What can be set.
#[derive(clap::Args)]
pub struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A name under which browsers reach this server; may be repeated [default: loopback's names there, else any]
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Where the labs' images come from.
    #[command(flatten)]
    mirror: MirrorOptions,
    /// Where unpacked images and the mirror's cache are kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/newroot")]
    state: PathBuf,
    /// Where running labs have their directories
    #[arg(long, value_name = "DIR", default_value = "/run/newroot")]
    run: PathBuf,
    /// How many labs may run at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    labs: usize,
    /// A directory of lessons, added to those of this binary or in place of them; what is saved there shows at once
    #[arg(long, value_name = "DIR")]
    lessons: Option<PathBuf>,
    /// What browsers may take.
    #[command(flatten)]
    http: HttpOptions,
    /// What each lab is and may.
    #[command(flatten)]
    lab: LabOptions,
}

impl Options {
    /// What the doctor is to look at.
    pub fn plan(&self) -> Plan {
        Plan {
            listen: self.listen,
            upstream: self.mirror.upstream(),
            state: self.state.clone(),
            run: self.run.clone(),
            labs: self.labs,
            limits: self.lab.limits(),
        }
    }
}

/// Serves until it is told to stop.
pub fn run(options: Options) -> Result<ExitCode> {
    tracing_subscriber::fmt().with_target(false).with_writer(std::io::stderr).init();
    // First, in a container: the doctor would find what the engine has put in the way.
    lab::uncover::uncover().context("cannot make this container fit for labs")?;
    lab::pressure::keep_for_root(&options.lab.defences())?;
    // While this process has one thread, as the doctor wants it.
    let lacking: Vec<_> =
        doctor::examine(&options.plan()).into_iter().filter(|finding| finding.verdict == Verdict::Lacking).collect();
    if !lacking.is_empty() {
        lacking.iter().for_each(|finding| eprintln!("{finding}"));
        anyhow::bail!("no lab would work here; `newroot doctor` says more");
    }
    // Before the runtime has threads: it may have to change the environment.
    runtime::ensure_certificates().context("cannot prepare TLS")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the event loop")?;
    runtime.block_on(serve_until_signal(options))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_until_signal(options: Options) -> Result<()> {
    let (lessons, keep_lessons) = match &options.lessons {
        None => (lessons::fixed(lessons::Choice::embedded()?), None),
        Some(directory) => {
            let (lessons, keeping) = lessons::watched(directory)?;
            (lessons, Some(tokio::spawn(async move { tracing::error!("{}", keeping.await) })))
        }
    };
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}; is another one running there?", options.listen))?;
    let address = listener.local_addr()?;
    let store = Arc::new(options.mirror.open(&options.state)?);
    let rootfs = match options.lab.image() {
        Some(image) => lab_image::rootfs(&store, &options.state, image).await?,
        None => registry::lab_rootfs(&store)?,
    };
    for off in options.lab.defences().off() {
        tracing::warn!("this server is NOT SAFE: a test has turned off the defence {off:?}");
    }
    let settings = options.lab.settings(options.run.join("labs"), rootfs);
    let progress = options.state.join("progress");
    let progress = ProgressStore::open(progress.clone())
        .with_context(|| format!("cannot keep learners' progress in {}", progress.display()))?;
    let learners = Learners::open(&options.state, options.lab.defences())?;
    let limits = options.http.limits(options.lab.defences());
    let (classroom, arrivals) =
        Classroom::new(settings, options.http.room(options.labs, &options.lab.defences()), progress);
    tokio::spawn(http::serve_mirrors(arrivals, http::mirror::router(store.clone()), limits.clone()));
    match classroom.find_labs().await {
        0 => {}
        found => println!("{found} lab(s) of a former server go on."),
    }
    let site = http::Site {
        classroom: classroom.clone(),
        learners,
        lessons,
        store,
        code: lessons::code(),
        hosts: if options.host.is_empty() { http::loopback_hosts(address) } else { options.host },
        proxies: options.http.proxies(),
        defences: options.lab.defences(),
    };
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (ends_labs, asked) = tokio::sync::oneshot::channel();
    let stop = async move {
        // Ctrl-C is somebody who is done. SIGTERM is a restart or an upgrade: labs outlive it, and the next server
        // finds them.
        let done = tokio::select! {
            _ = interrupt.recv() => true,
            _ = terminate.recv() => false,
        };
        let _ = ends_labs.send(done);
        // Pages that wait for a saved lesson would keep the server waiting for them.
        keep_lessons.inspect(tokio::task::JoinHandle::abort);
    };
    println!("Newroot is on http://{address} (Ctrl-C ends it, and its labs with it)");
    http::serve(listener, Arc::new(site), limits, stop).await;
    if asked.await.unwrap_or(true) {
        classroom.end_all().await;
    }
    lab::cgroup::remove_parent();
    Ok(())
}
