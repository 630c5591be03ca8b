//! `newroot serve`: its flags, and the parts of the server put together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use newroot::classroom::Classroom;
use newroot::registry::{self, Store, Upstream};
use newroot::runtime::{self, Registry};
use newroot::{http, lab, lessons};

use super::lab_image;
use super::lab_options::LabOptions;

/// What can be set.
#[derive(clap::Args)]
pub struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A name under which browsers reach this server; may be repeated [default: loopback's names there, else any]
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// The registry that the labs' mirror asks, instead of Docker Hub
    #[arg(long, value_name = "URL")]
    upstream: Option<Registry>,
    /// Where unpacked images and the mirror's cache are kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/newroot")]
    state: PathBuf,
    /// Where running labs have their directories
    #[arg(long, value_name = "DIR", default_value = "/run/newroot")]
    run: PathBuf,
    /// How many labs may run at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    labs: usize,
    /// What each lab is and may.
    #[command(flatten)]
    lab: LabOptions,
}

/// Serves until it is told to stop.
pub fn run(options: Options) -> Result<ExitCode> {
    tracing_subscriber::fmt().with_target(false).with_writer(std::io::stderr).init();
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "serve needs root: it makes namespaces, mounts and cgroups for the labs; start it with sudo"
    );
    // Before the runtime has threads: it may have to change the environment.
    runtime::ensure_certificates().context("cannot prepare TLS")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the event loop")?;
    runtime.block_on(serve_until_signal(options))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_until_signal(options: Options) -> Result<()> {
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}; is another one running there?", options.listen))?;
    let address = listener.local_addr()?;
    let upstream = Upstream::new(options.upstream.unwrap_or_else(Registry::docker_hub))?;
    let store = Arc::new(Store::open(&options.state, Some(upstream))?);
    let rootfs = match options.lab.image() {
        Some(image) => lab_image::rootfs(&store, &options.state, image).await?,
        None => registry::lab_rootfs(&store)?,
    };
    let settings = options.lab.settings(options.run.join("labs"), rootfs);
    let (classroom, arrivals) = Classroom::new(settings, options.labs);
    tokio::spawn(http::serve_mirrors(arrivals, http::mirror::router(store)));
    match classroom.find_labs().await {
        0 => {}
        found => println!("{found} lab(s) of a former server go on."),
    }
    let site = http::Site {
        classroom: classroom.clone(),
        lessons: lessons::embedded()?,
        code: lessons::code(),
        hosts: if options.host.is_empty() { http::loopback_hosts(address) } else { options.host },
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
    };
    println!("Newroot is on http://{address} (Ctrl-C ends it, and its labs with it)");
    http::serve(listener, Arc::new(site), stop).await?;
    if asked.await.unwrap_or(true) {
        classroom.end_all().await;
    }
    lab::cgroup::remove_parent();
    Ok(())
}
