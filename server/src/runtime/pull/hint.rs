//! What else could be pulled or run: said with an error by which a pull has failed, where it helps.

use std::path::Path;
use std::time::Duration;

use super::super::error::PullError;
use super::super::image::Image;
use super::super::nearest::nearest;
use super::connection::Connection;

/// How long a registry may think about what else it has. The error is more important than the hint.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many names are asked for: the nearest of very many is nothing to wait for.
const MAX_NAMES: usize = 1000;

/// Adds to an error which images there are, or which name is near the one that was asked for.
pub async fn add(error: PullError, connection: &Connection, fs: &Path) -> PullError {
    match error {
        PullError::NotFound { image, registry, .. } => {
            let near = tokio::time::timeout(PATIENCE, nearest_name(connection, fs)).await.ok().flatten();
            let hint = match near {
                Some(name) => format!("did you mean {name}?"),
                None => "check the name and the tag".to_owned(),
            };
            PullError::NotFound { image, registry, hint }
        }
        error if error.is_out_of_reach() => match Image::all(fs).as_slice() {
            [] => error,
            names => PullError::OnlyOthers { cause: Box::new(error), others: names.join(", ") },
        },
        error => error,
    }
}

/// The nearest tag of the same repository; if there is no such repository, the nearest other one; or else the nearest
/// image that was pulled before.
async fn nearest_name(connection: &Connection, fs: &Path) -> Option<String> {
    let Connection { client, reference, login } = connection;
    let repository = reference.repository();
    let short = |name: String| name.strip_prefix("library/").map(str::to_owned).unwrap_or(name);
    if let (Some(tag), Ok(tags)) = (reference.tag(), client.list_tags(reference, login, Some(MAX_NAMES), None).await) {
        let near = nearest(tag, tags.tags.iter().cloned()).or_else(|| tags.tags.first().cloned());
        return near.map(|tag| format!("{}:{tag}", short(repository.to_owned())));
    }
    let known = match client.catalog(reference, login, Some(MAX_NAMES), None).await {
        Ok(catalog) => catalog.repositories,
        Err(_) => Vec::new(),
    };
    let known = known.into_iter().map(short).chain(Image::all(fs));
    nearest(&short(repository.to_owned()), known)
}
