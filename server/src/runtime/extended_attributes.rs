//! Extended attributes (xattr(7)): names and values that the kernel keeps with a file, such as a program's capabilities.
//! In an archive they stand in a PAX header before the entry. The tar reader hands out the records of such a header line
//! by line, but a value is any bytes, line ends too; so they are read here.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{XattrFlags, lsetxattr};
use tar::{EntryType, Header};

use super::error::UnpackError;

/// A name, as `user.comment` or `security.capability`, and its value.
#[derive(Debug, PartialEq, Eq)]
pub struct ExtendedAttribute {
    name: OsString,
    value: Vec<u8>,
}

/// Gives a new file its extended attributes. Returns how many of them it may not have here.
pub fn set_extended_attributes(
    parent: &OwnedFd,
    name: &OsStr,
    attributes: &[ExtendedAttribute],
    path: &Path,
) -> Result<u64, UnpackError> {
    // The call takes a path, no directory and name like its kin. Through this link the path starts at the directory.
    let file = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name);
    let mut left_out = 0;
    for ExtendedAttribute { name, value } in attributes {
        // The notes of an overlay file system to itself. An image has none of its own; and were its rootfs ever a layer
        // of an overlay, they could lead anywhere.
        if name.as_bytes().starts_with(b"trusted.overlay.") || name.as_bytes().starts_with(b"user.overlay.") {
            left_out += 1;
            continue;
        }
        // The `l` is for links: the attribute is for the link itself, not for what it points to.
        match lsetxattr(&file, name.as_os_str(), value, XattrFlags::empty()) {
            Ok(()) => {}
            // PERM: most of `security.` and all of `trusted.` is for the root of a whole machine, not for that of a user
            // namespace. NOTSUP: this file system has no attributes of the kind.
            Err(rustix::io::Errno::PERM | rustix::io::Errno::NOTSUP) => left_out += 1,
            Err(error) => {
                let (path, attribute) = (path.to_owned(), name.to_string_lossy().into_owned());
                let errno = Errno::from_raw(error.raw_os_error());
                return Err(UnpackError::SetExtendedAttribute { path, attribute, errno });
            }
        }
    }
    Ok(left_out)
}

/// The extended attributes in the blocks of an archive that come before an entry's content: its own header is the last,
/// the PAX header (pax(1), "pax Interchange Format") one of those before it.
pub fn in_headers(mut blocks: &[u8]) -> io::Result<Vec<ExtendedAttribute>> {
    let mut attributes = Vec::new();
    while let Some((block, rest)) = blocks.split_at_checked(BLOCK) {
        let header = Header::from_byte_slice(block);
        if !matches!(header.entry_type(), EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink) {
            break;
        }
        let size = usize::try_from(header.entry_size()?).map_err(|_| malformed())?;
        let content = rest.get(..size).ok_or_else(malformed)?;
        if header.entry_type() == EntryType::XHeader {
            for_each_record(content, |key, value| {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    attributes.push(ExtendedAttribute { name: OsString::from_vec(name.into()), value: value.into() });
                }
            })?;
        }
        blocks = rest.get(size.next_multiple_of(BLOCK)..).ok_or_else(malformed)?;
    }
    Ok(attributes)
}

/// All of an archive is in blocks of as many bytes.
const BLOCK: usize = 512;

/// Takes records of the form `LENGTH KEY=VALUE\n` apart, where the length is that of the whole record.
fn for_each_record(mut records: &[u8], mut visit: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
    while !records.is_empty() {
        let space = records.iter().position(|&byte| byte == b' ').ok_or_else(malformed)?;
        let length = std::str::from_utf8(&records[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let (record, rest) = length.and_then(|length| records.split_at_checked(length)).ok_or_else(malformed)?;
        let text = record.get(space + 1..).and_then(|text| text.strip_suffix(b"\n")).ok_or_else(malformed)?;
        let equals = text.iter().position(|&byte| byte == b'=').ok_or_else(malformed)?;
        visit(&text[..equals], &text[equals + 1..]);
        records = rest;
    }
    Ok(())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a PAX header of the archive is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records_of(bytes: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut records = Vec::new();
        for_each_record(bytes, |key, value| records.push((key.to_vec(), value.to_vec())))?;
        Ok(records)
    }

    #[test]
    fn a_record_is_as_long_as_it_says() {
        let records = records_of(b"9 a=x\ny=\n5 b=\n").expect("well-formed");
        assert_eq!(records, [(b"a".to_vec(), b"x\ny=".to_vec()), (b"b".to_vec(), b"".to_vec())]);
        for bad in [
            "6 a=",
            "x",
            "0 a=1\n",
            "2 a=1\n",
            "6 a=12",
            "5 ab\n",
            "-6 a=1\n",
            "99999999999999999999 a=1\n",
            "999 a=1\n",
        ] {
            assert!(records_of(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn headers_that_end_early_or_lie_about_their_size_are_no_danger() {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(u64::from(u32::MAX));
        header.set_cksum();
        assert!(in_headers(header.as_bytes()).is_err());
        assert_eq!(in_headers(&header.as_bytes()[..511]).expect("no whole block"), []);
    }
}
