//! `newroot serve`: its flags, and the parts of the server put together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use newroot::classroom::Classroom;
use newroot::lab::cgroup::Limits;
use newroot::registry::{self, Store, Upstream};
use newroot::runtime::{self, Registry};
use newroot::{http, lab, lessons};

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
    /// Memory of a lab in MiB, the files of its tmpfs mounts included
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    lab_memory: u64,
    /// Disk of a lab in MiB; it is a tmpfs, so its memory bounds it too
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    lab_disk: u64,
    /// Processes and threads of a lab
    #[arg(long, value_name = "N", default_value_t = 256)]
    lab_pids: u64,
    /// Processor time of a lab, in percent of one processor
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    lab_cpu: u64,
    /// A lab's share of the processors when they are all in use; others have 100 unless told otherwise
    #[arg(long, value_name = "WEIGHT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    lab_cpu_weight: u64,
    /// Terminals that a lab may have open at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=64))]
    lab_terminals: u32,
    /// How long a lab lives in which nobody types, and to which nobody comes: 45m, 2h, 90s
    #[arg(long, value_name = "TIME", default_value = "60m", value_parser = time)]
    idle: Duration,
    /// How long a lab lives in any case; 0 is for ever
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = time)]
    life: Duration,
}

/// A number of minutes, or one with its unit.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "m"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        _ => 3600,
    };
    let number = number.parse::<u32>().map_err(|_| "a time is a number and s, m or h, like 45m".to_owned())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
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
    let settings = lab::Settings {
        directory: options.run.join("labs"),
        rootfs: registry::lab_rootfs(&store)?,
        cgroup: Limits {
            memory: options.lab_memory << 20,
            pids: options.lab_pids,
            cpu_percent: options.lab_cpu,
            cpu_weight: options.lab_cpu_weight,
        },
        disk: options.lab_disk << 20,
        terminals: options.lab_terminals,
        idle: options.idle,
        life: (!options.life.is_zero()).then_some(options.life),
    };
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
