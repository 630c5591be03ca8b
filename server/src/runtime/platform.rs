//! Kinds of machines that an image can be made for, as indexes name them: operating system, architecture, variant.

use std::env::consts;
use std::fmt;
use std::str::FromStr;

/// `linux/amd64`, `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// The text names no platform.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a platform; write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, as linux/amd64 or linux/arm/v7")]
pub struct InvalidPlatform(String);

impl Platform {
    /// A platform by its parts, under whichever of their names.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        // Registries follow Go's names (GOARCH); kernels and compilers have their own.
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" | "i386" | "i686" => "386",
            other => other,
        };
        // There is no other 64-bit Arm yet, so most images leave it out.
        let variant = variant.filter(|variant| !(variant.is_empty() || architecture == "arm64" && *variant == "v8"));
        Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// The same, in whichever variant.
    pub fn without_variant(&self) -> Platform {
        Platform { variant: None, ..self.clone() }
    }

    /// This machine's.
    pub fn here() -> Platform {
        Platform::new(consts::OS, consts::ARCH, None)
    }

    /// Whether an image for `offered` will do. One who names no variant takes any.
    pub fn accepts(&self, offered: &Platform) -> bool {
        let variant = self.variant.is_none() || self.variant == offered.variant;
        variant && self.os == offered.os && self.architecture == offered.architecture
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Platform, InvalidPlatform> {
        let plain =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [os, architecture] if parts.iter().all(|part| plain(part)) => Ok(Platform::new(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(|part| plain(part)) => {
                Ok(Platform::new(os, architecture, Some(variant)))
            }
            _ => Err(InvalidPlatform(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(formatter, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_accepted_under_each_of_its_names() {
        let accepts = |wanted: &str, offered: &str| {
            let platform = |text: &str| text.parse::<Platform>().expect(text);
            platform(wanted).accepts(&platform(offered))
        };
        assert!(accepts("linux/x86_64", "linux/amd64"));
        assert!(accepts("linux/arm64", "linux/arm64/v8"));
        assert!(accepts("linux/aarch64/v8", "linux/arm64"));
        assert!(accepts("linux/arm", "linux/arm/v6"));
        assert!(!accepts("linux/arm/v7", "linux/arm/v6"));
        assert!(!accepts("linux/arm/v7", "linux/arm"));
        assert!(!accepts("linux/amd64", "windows/amd64"));
        assert!(!accepts("linux/arm64", "linux/arm"));
    }

    #[test]
    fn a_platform_has_two_or_three_parts() {
        assert_eq!("linux/arm/v7".parse::<Platform>().expect("three").to_string(), "linux/arm/v7");
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/", "a/b/c/d", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
