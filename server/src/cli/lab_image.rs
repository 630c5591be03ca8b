//! `--lab-image`: any image as the root of the labs' machines. It is pulled as learners pull, by the taught code from the
//! labs' mirror, so that whatever they can pull a lab can be made of, and it needs no network where they need none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use newroot::defence::Defences;
use newroot::registry::{Client, ManifestReference, RepositoryName, Store};
use newroot::runtime::{self, Image, Progress, PullOptions};
use newroot::user::ServerUser;
use newroot::{http, lab};

use super::mirror::MirrorOptions;

/// The directory with the image's root file system, below a state directory: pulled if it is not there yet. While root
/// puts it there, the mirror's files are written as `user`, whose they are. To be called by a process of one thread.
pub fn rootfs(mirror: &MirrorOptions, state: &Path, image: &Image, user: ServerUser) -> Result<PathBuf> {
    let upstreams = mirror.upstreams(Defences::default())?;
    user.write_files().context("cannot write files as the server's user")?;
    let pulled = || {
        let store = Arc::new(upstreams.open(state)?);
        // One thread, and those that it starts: all of them write files as that user.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start the event loop")?.block_on(pull(&store, state, image))
    };
    let pulled = pulled();
    ServerUser::write_files_as_root();
    pulled
}

async fn pull(store: &Arc<Store>, state: &Path, image: &Image) -> Result<PathBuf> {
    let (name, by) = reference(image)?;
    let client = Client::new();
    let manifest =
        store.manifest(&client, &name, &by).await.with_context(|| format!("cannot get the lab image {image}"))?;
    // A directory for each state of the image: labs of a former server go on with theirs.
    let images = state.join("images");
    let fs = images.join(&manifest.digest.hex()[..12]);
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
    let registry = format!("http://{}", listener.local_addr()?).parse()?;
    let mirror = tokio::spawn(http::serve_mirror(listener, http::mirror::router(store.clone(), client)));
    let options = PullOptions {
        registry: Some(registry),
        insecure: false,
        fs: fs.clone(),
        open: false,
        platform: None,
        mirror: None,
        image: image.clone(),
    };
    let (done, pulled) = oneshot::channel();
    // Not a thread of the runtime's, which would serve the mirror's files later.
    let root = std::thread::spawn(move || {
        ServerUser::write_files_as_root();
        // Nobody waits any more where the event loop is gone.
        let _ = done.send(unpack(&images, &options));
    });
    let pulled = pulled.await;
    mirror.abort();
    // It has sent its result, and is about to end; or it has panicked, and has said so.
    let _ = root.join();
    pulled.context("the pull was interrupted")?.with_context(|| format!("cannot pull the lab image {image}"))?;

    let rootfs = image.rootfs(&fs);
    ensure!(
        lab::shell::find(&rootfs).is_some(),
        "the image {image} has neither of {}, and a lab's terminals need a shell: choose another --lab-image",
        lab::shell::SHELLS.join(" and ")
    );
    Ok(rootfs)
}

/// What root does.
fn unpack(images: &Path, options: &PullOptions) -> Result<()> {
    fs::create_dir_all(&options.fs).with_context(|| format!("cannot make {}", options.fs.display()))?;
    // The image's set-user-ID programs and devices are nobody's on this machine.
    fs::set_permissions(images, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot close {} to others", images.display()))?;
    runtime::pull(options, &Progress::on_standard_error())?;
    Ok(())
}

/// The image as the mirror knows it.
fn reference(image: &Image) -> Result<(RepositoryName, ManifestReference)> {
    let (name, by) = match image.name().split_once('@') {
        Some((name, digest)) => (name, ManifestReference::Digest(digest.parse()?)),
        None => match image.name().rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, ManifestReference::Tag(tag.parse()?)),
            _ => (image.name(), ManifestReference::Tag("latest".parse()?)),
        },
    };
    let name: RepositoryName = name.parse()?;
    ensure!(
        name.host().is_none(),
        "a lab image comes through the labs' mirror: leave the host out of {image}, and name its registry by --upstream"
    );
    Ok((name, by))
}
