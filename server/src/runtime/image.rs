//! What an image is called on the command line, and where its rootfs lives on disk. Knows nothing of registries'
//! protocols: `pull` turns the name into a reference of its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An image's name in its short form: `docker.io/library/alpine:latest` is `alpine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image(String);

/// The text is no name of an image.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an image's name; names look like `alpine`, `alpine:3.20` or `registry.example/team/app:1`")]
pub struct InvalidImage(String);

impl Image {
    /// The directory that holds the image's rootfs and what `pull` remembers of it: `/fs/alpine`.
    pub fn directory(&self, fs: &Path) -> PathBuf {
        fs.join(&self.0)
    }

    /// The directory that becomes `/` in a container: `/fs/alpine/rootfs`.
    pub fn rootfs(&self, fs: &Path) -> PathBuf {
        self.directory(fs).join("rootfs")
    }

    /// The file that says how the image wants to be run: `/fs/alpine/.config.json`. An image of a former `pull` has none.
    pub fn config(&self, fs: &Path) -> PathBuf {
        self.directory(fs).join(".config.json")
    }

    /// The names of the images below `fs`, sorted. What cannot be read is left out.
    pub fn all(fs: &Path) -> Vec<String> {
        let mut names = Vec::new();
        // A name has several parts (`team/app`); a part is a directory, and an image is one that has a rootfs.
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(fs.join(&directory)).into_iter().flatten().flatten() {
                let name = directory.join(entry.file_name());
                if name.file_name() == Some("rootfs".as_ref()) {
                    names.push(directory.display().to_string());
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    directories.push(name);
                }
            }
        }
        names.retain(|name| name.parse::<Image>().is_ok());
        names.sort();
        names
    }

    /// The name in its short form.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl FromStr for Image {
    type Err = InvalidImage;

    fn from_str(text: &str) -> Result<Image, InvalidImage> {
        let name = text.strip_prefix("docker.io/").unwrap_or(text);
        let name = name.strip_prefix("library/").unwrap_or(name);
        let name = name.strip_suffix(":latest").unwrap_or(name);
        // The name becomes a path, so each of its parts must be a plain file name. A leading dot is ours (`.pulling`),
        // and a part called `rootfs` would put one image inside another.
        let plain = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-:@".contains(c))
                && part != "rootfs"
        };
        if name.len() > 512 || !name.split('/').all(plain) {
            return Err(InvalidImage(text.to_owned()));
        }
        Ok(Image(name.to_owned()))
    }
}

impl fmt::Display for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_directory_below_fs() {
        let rootfs = |text: &str| text.parse::<Image>().expect(text).rootfs(Path::new("/fs"));
        assert_eq!(rootfs("alpine"), Path::new("/fs/alpine/rootfs"));
        assert_eq!(rootfs("docker.io/library/alpine:latest"), Path::new("/fs/alpine/rootfs"));
        assert_eq!(rootfs("alpine:3.20"), Path::new("/fs/alpine:3.20/rootfs"));
        assert_eq!(rootfs("127.0.0.1:5000/team/app"), Path::new("/fs/127.0.0.1:5000/team/app/rootfs"));
    }

    #[test]
    fn a_name_cannot_lead_out_of_fs() {
        for text in
            ["", "/", "..", "../etc", "a/../../etc", "/etc", "a//b", ".pulling", "a/.pulling", "a/rootfs", "a b"]
        {
            assert!(text.parse::<Image>().is_err(), "{text:?}");
        }
    }
}
