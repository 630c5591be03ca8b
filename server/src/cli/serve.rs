//! `newroot serve`: its flags, and the parts of the server put together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use newroot::classroom::{Classroom, Learners, ProgressStore, Room, Time};
use newroot::defence::{Defence, Defences};
use newroot::doctor::{self, Plan, Verdict};
use newroot::user::ServerUser;
use newroot::{http, lab, lessons, registry, runtime};

use super::http_options::HttpOptions;
use super::lab_image;
use super::lab_options::LabOptions;
use super::log;
use super::mirror::{MirrorOptions, Upstreams};

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
    /// Who the server is when it has started, by number or name: a user with a group that is nobody else's
    #[arg(long, value_name = "USER", default_value_t)]
    user: ServerUser,
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
    log::start(true);
    // First, in a container: the doctor would find what the engine has put in the way.
    lab::uncover::uncover().context("cannot make this container fit for labs")?;
    lab::pressure::keep_for_root(&options.lab.defences())?;
    // While this process has one thread, as the doctor wants it.
    let lacking: Vec<_> =
        doctor::examine(&options.plan()).into_iter().filter(|finding| finding.verdict == Verdict::Lacking).collect();
    if !lacking.is_empty() {
        lacking.iter().for_each(|finding| eprintln!("{}", runtime::printable_lines(finding)));
        anyhow::bail!("no lab would work here; `newroot doctor` says more");
    }
    // Before there are threads: it may have to change the environment.
    runtime::ensure_certificates().context("cannot prepare TLS")?;
    let prepared = prepare(options)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the event loop")?;
    runtime.block_on(serve_until_signal(prepared))?;
    Ok(ExitCode::SUCCESS)
}

/// What root has prepared.
struct Prepared {
    helper: lab::keeper::Started,
    listener: std::net::TcpListener,
    upstreams: Upstreams,
    state: PathBuf,
    lessons: Option<PathBuf>,
    learners: Learners,
    room: Room,
    limits: http::Limits,
    time: Option<Time>,
    hosts: Vec<String>,
    proxies: http::Proxies,
    contact: Option<http::Contact>,
    user: ServerUser,
    defences: Defences,
}

/// All that takes root: it is done here, and this process is root no more afterwards. What takes root later, the helper does.
fn prepare(options: Options) -> Result<Prepared> {
    for off in options.lab.defences().off() {
        tracing::warn!("this server is NOT SAFE: a test has turned off the defence {off:?}");
    }
    let time = options.lab.time();
    let defences = options.lab.defences();
    let stays_root = !options.lab.defences().stand(Defence::ServerUser);
    let user = if stays_root { ServerUser::ourselves() } else { options.user };
    let state = whole(&options.state)?;
    let labs = whole(&options.run)?.join("labs");
    let lessons = options.lessons.as_deref().map(whole).transpose()?;

    let listener = std::net::TcpListener::bind(options.listen)
        .with_context(|| format!("cannot listen on {}; is another one running there?", options.listen))?;
    listener.set_nonblocking(true)?;
    // Passwords may be root's alone to read.
    let upstreams = options.mirror.upstreams(options.lab.defences())?;
    let mut own = registry::directories(&state);
    own.push(progress(&state));
    own.iter().try_for_each(|directory| user.own(directory))?;
    // The key is root's alone: a server that is taken over cannot put another in its place.
    let learners = Learners::open(&state, defences.clone())?;
    let rootfs = match options.lab.image() {
        Some(image) => lab_image::rootfs(&options.mirror, &state, image, user)?,
        None => registry::lab_rootfs(&state)?,
    };
    let settings = options.lab.settings(labs.clone(), rootfs, options.labs, user);
    lab::keeper::make_directory(&settings).with_context(|| format!("cannot make {}", labs.display()))?;
    let helper = lab::keeper::start_helper(&settings).context("cannot start the helper that starts labs")?;
    if !stays_root {
        let needed: Vec<PathBuf> =
            own.into_iter().chain([labs]).chain(lessons.clone().filter(|directory| directory.is_dir())).collect();
        let hint = || format!("the server cannot give up root and become user {user}; --user takes another");
        user.become_it(&needed).with_context(hint)?;
    }
    Ok(Prepared {
        helper,
        listener,
        upstreams,
        state,
        lessons,
        learners,
        room: options.http.room(options.labs, &defences),
        limits: options.http.limits(defences.clone()),
        time,
        hosts: options.host,
        proxies: options.http.proxies(),
        contact: options.http.contact(),
        user,
        defences,
    })
}

/// A path from the root, without links: what it leads to stays what it is.
fn whole(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| format!("cannot tell where {} is", path.display()))?;
    // What is not there yet will be made.
    let there = absolute.ancestors().find_map(|above| {
        let rest = absolute.strip_prefix(above).ok()?;
        above.canonicalize().ok().map(|above| if rest.as_os_str().is_empty() { above } else { above.join(rest) })
    });
    Ok(there.unwrap_or(absolute))
}

/// Where below the state directory learners' progress is kept.
fn progress(state: &Path) -> PathBuf {
    state.join("progress")
}

async fn serve_until_signal(prepared: Prepared) -> Result<()> {
    let Prepared {
        helper,
        listener,
        upstreams,
        state,
        lessons,
        learners,
        room,
        limits,
        time,
        hosts,
        proxies,
        contact,
        user,
        defences,
    } = prepared;
    let (lessons, keep_lessons) = match &lessons {
        None => (lessons::fixed(lessons::Choice::embedded()?), None),
        Some(directory) => {
            let readable = || format!("the server runs as user {user}, who must be able to read the lessons");
            let (lessons, keeping) = lessons::watched(directory).map_err(|error| match error.is_refused() {
                true => anyhow::Error::from(error).context(readable()),
                false => error.into(),
            })?;
            (lessons, Some(tokio::spawn(async move { tracing::error!("{}", keeping.await) })))
        }
    };
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let store = Arc::new(upstreams.open(&state)?);
    let progress = progress(&state);
    let progress = ProgressStore::open(progress.clone())
        .with_context(|| format!("cannot keep learners' progress in {}", progress.display()))?;
    let (keeper, talk, mut helper) = helper.talk()?;
    let mut talk = tokio::spawn(talk);
    let (classroom, arrivals) = Classroom::new(keeper.clone(), room, progress, time);
    tokio::spawn(http::serve_mirrors(arrivals, store.clone(), limits.clone()));
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
        hosts: if hosts.is_empty() { http::loopback_hosts(address) } else { hosts },
        proxies,
        contact,
        defences,
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
    tokio::select! {
        () = http::serve(listener, Arc::new(site), limits, stop) => {}
        // Labs go on, and the next server finds them; this one could only look on.
        _ended = &mut talk => anyhow::bail!("the helper that does what takes root has ended; start the server again"),
    }
    if asked.await.unwrap_or(true) {
        classroom.end_all().await;
    }
    keeper.dismiss();
    // It has removed the labs' cgroup when it has ended.
    let _ = talk.await;
    helper.wait().context("cannot wait for the helper")?;
    Ok(())
}
