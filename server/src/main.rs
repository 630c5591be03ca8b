//! The command line, nothing else: reads arguments, starts the one thing asked for, turns errors into exit codes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use newroot::classroom::Classroom;
use newroot::lab::cgroup::Limits;
use newroot::{http, lab, lessons};

/// Watch the Linux kernel build a container, one system call at a time.
#[derive(Parser)]
#[command(name = "newroot", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the playground and serve its page.
    Serve(Serve),
    /// One learner's machine; started by `serve` only.
    #[command(hide = true)]
    Lab,
    /// PID 1 of a learner's machine; started by `lab` only.
    #[command(hide = true)]
    Init,
}

#[derive(Args)]
struct Serve {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A name under which browsers reach this server; may be repeated. [default: loopback's names, or any]
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Where unpacked images and the registry cache are kept.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/newroot")]
    state: PathBuf,
    /// Where running labs have their sockets.
    #[arg(long, value_name = "DIR", default_value = "/run/newroot")]
    run: PathBuf,
    /// How many labs may run at once.
    #[arg(long, value_name = "N", default_value_t = 64)]
    labs: usize,
    /// Memory of a lab, in MiB, the files of its tmpfs mounts included.
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    lab_memory: u64,
    /// Size of a lab's disk, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    lab_disk: u64,
    /// Processes and threads of a lab.
    #[arg(long, value_name = "N", default_value_t = 256)]
    lab_pids: u64,
    /// Processor time of a lab, in percent of one processor.
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    lab_cpu: u64,
    /// Minutes after which a lab ends when no page is open.
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    idle: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_target(false).with_writer(std::io::stderr).without_time().init();
    let result = match arguments.verb {
        Verb::Serve(options) => serve(options),
        Verb::Lab => lab::process::main().map_err(Into::into),
        Verb::Init => lab::init::main().map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("newroot: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(options: Serve) -> Result<()> {
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "newroot serve needs root: it makes namespaces, mounts and cgroups for the labs; run it with sudo"
    );
    let rootfs = PathBuf::from("/tmp/rootfs");
    let mirror = axum::Router::new();
    let settings = lab::Settings {
        directory: options.run.join("labs"),
        rootfs,
        disk: options.lab_disk << 20,
        limits: Limits { memory: options.lab_memory << 20, pids: options.lab_pids, cpu_percent: options.lab_cpu },
        idle: Duration::from_secs(60 * options.idle),
    };
    let (classroom, arrivals) = Classroom::new(settings, options.labs);
    let found = classroom.find_labs().await;
    if found > 0 {
        println!("{found} labs of a former server go on.");
    }
    tokio::spawn(http::serve_mirrors(arrivals, mirror));

    let listener = TcpListener::bind(options.listen).await.with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = listener.local_addr()?;
    let hosts = if options.host.is_empty() { http::loopback_hosts(address) } else { options.host };
    let site = http::Site { classroom: classroom.clone(), lessons: Vec::new(), code: Vec::new(), hosts };
    println!("Newroot is on http://{address} (Ctrl-C ends it, and the labs with it)");
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    http::serve(listener, Arc::new(site), stop).await?;
    classroom.end_all().await;
    Ok(())
}
