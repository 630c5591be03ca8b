//! What else could be pulled or run: said with an error by which a pull has failed, where it helps.

use std::time::Duration;

use super::super::error::PullError;
use super::super::image::Image;
use super::super::nearest::nearest;
use super::super::options::PullOptions;
use super::connection::Connection;

/// How long a registry may think about what else it has. The error is more important than the hint.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many names are asked for: the nearest of very many is nothing to wait for.
const MAX_NAMES: usize = 1000;

/// Adds to an error which images there are, or which name is near the one that was asked for.
pub async fn add(error: PullError, connection: &Connection, options: &PullOptions) -> PullError {
    match error {
        PullError::NotFound { image, registry, .. } => {
            let near = tokio::time::timeout(PATIENCE, nearest_name(connection)).await.ok().flatten();
            // Or one that was pulled before, from wherever.
            let near = near.or_else(|| nearest(options.image.name(), Image::all(&options.fs)));
            let hint = match near {
                Some(name) => format!("did you mean {name}?"),
                None => "check the name and the tag".to_owned(),
            };
            PullError::NotFound { image, registry, hint }
        }
        // Docker Hub says the same of what is private and of what does not exist.
        PullError::Unauthorized { .. } => match nearest(options.image.name(), Image::all(&options.fs)) {
            Some(name) => PullError::DidYouMean { cause: Box::new(error), name },
            None => error,
        },
        error if error.is_out_of_reach() => match Image::all(&options.fs).as_slice() {
            [] => error,
            names => PullError::OnlyOthers { cause: Box::new(error), others: names.join(", ") },
        },
        error => error,
    }
}

/// The nearest tag of the same repository, or any; or if there is no such repository, the nearest other one.
async fn nearest_name(connection: &Connection) -> Option<String> {
    let Connection { client, reference, login } = connection;
    let repository = reference.repository();
    let short = |name: String| name.strip_prefix("library/").map(str::to_owned).unwrap_or(name);
    if let (Some(tag), Ok(tags)) = (reference.tag(), client.list_tags(reference, login, Some(MAX_NAMES), None).await) {
        let near = nearest(tag, tags.tags.iter().cloned()).or_else(|| tags.tags.iter().max().cloned());
        return near.map(|tag| format!("{}:{tag}", short(repository.to_owned())));
    }
    let catalog = client.catalog(reference, login, Some(MAX_NAMES), None).await.ok()?;
    nearest(&short(repository.to_owned()), catalog.repositories.into_iter().map(short))
}
