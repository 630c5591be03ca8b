//! What an archive says of an entry in a PAX header before it (pax(1), "pax Interchange Format"): extended attributes,
//! times finer than seconds, and where the holes of a sparse file are. The tar reader hands out the records of such a
//! header line by line, but a value is any bytes, line ends too; so they are read here.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;

use nix::sys::time::TimeSpec;
use tar::{EntryType, Header};

use super::extended_attributes::ExtendedAttribute;
use super::sparse::SparseMap;

/// What the PAX header before an entry adds to the entry's own header.
#[derive(Debug, Default)]
pub struct Extended {
    /// In the order of the archive.
    pub attributes: Vec<ExtendedAttribute>,
    /// When the file was last changed.
    pub modified: Option<TimeSpec>,
    /// There for sparse files in one of the PAX forms.
    pub sparse: Option<SparseMap>,
}

/// Reads the blocks of an archive that come before an entry's content: its own header is the last, the PAX header one
/// of those before it.
pub fn in_headers(mut blocks: &[u8]) -> io::Result<Extended> {
    let mut extended = Extended::default();
    while let Some((block, rest)) = blocks.split_at_checked(BLOCK) {
        let header = Header::from_byte_slice(block);
        if !matches!(header.entry_type(), EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink) {
            break;
        }
        let size = usize::try_from(header.entry_size()?).map_err(|_| malformed())?;
        let content = rest.get(..size).ok_or_else(malformed)?;
        if header.entry_type() == EntryType::XHeader {
            for_each_record(content, |key, value| extended.take(key, value))?;
        }
        blocks = size.checked_next_multiple_of(BLOCK).and_then(|size| rest.get(size..)).ok_or_else(malformed)?;
    }
    Ok(extended)
}

impl Extended {
    fn take(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.attributes.push(ExtendedAttribute { name: OsString::from_vec(name.into()), value: value.into() });
        } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            self.sparse.get_or_insert_default().take(key, value).ok_or_else(malformed)?;
        } else if key == b"mtime" {
            self.modified = Some(time(value).ok_or_else(malformed)?);
        }
        Ok(())
    }
}

/// All of an archive is in blocks of as many bytes.
pub const BLOCK: usize = 512;

/// Takes records of the form `LENGTH KEY=VALUE\n` apart, where the length is that of the whole record.
fn for_each_record(mut records: &[u8], mut visit: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
    while !records.is_empty() {
        let space = records.iter().position(|&byte| byte == b' ').ok_or_else(malformed)?;
        let length = std::str::from_utf8(&records[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let (record, rest) = length.and_then(|length| records.split_at_checked(length)).ok_or_else(malformed)?;
        let text = record.get(space + 1..).and_then(|text| text.strip_suffix(b"\n")).ok_or_else(malformed)?;
        let equals = text.iter().position(|&byte| byte == b'=').ok_or_else(malformed)?;
        visit(&text[..equals], &text[equals + 1..])?;
        records = rest;
    }
    Ok(())
}

/// Seconds since 1970, with a fraction or without, which may be negative: `1350244992.02396`, `-0.5`.
fn time(value: &[u8]) -> Option<TimeSpec> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let whole: i64 = seconds.parse().ok()?;
    // The kernel counts nanoseconds forwards, before 1970 too.
    Some(if seconds.starts_with('-') && nanoseconds > 0 {
        TimeSpec::new(whole.checked_sub(1)?, 1_000_000_000 - nanoseconds)
    } else {
        TimeSpec::new(whole, nanoseconds)
    })
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a PAX header of the archive is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records_of(bytes: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut records = Vec::new();
        for_each_record(bytes, |key, value| {
            records.push((key.to_vec(), value.to_vec()));
            Ok(())
        })?;
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
        for size in [u64::from(u32::MAX), u64::MAX] {
            header.set_size(size);
            header.set_cksum();
            assert!(in_headers(header.as_bytes()).is_err());
        }
        assert!(in_headers(&header.as_bytes()[..511]).expect("no whole block").attributes.is_empty());
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        let parts = |text: &str| time(text.as_bytes()).map(|time| (time.tv_sec(), time.tv_nsec()));
        assert_eq!(parts("12"), Some((12, 0)));
        assert_eq!(parts("12.5"), Some((12, 500_000_000)));
        assert_eq!(parts("12.0000000019"), Some((12, 1)), "there is nothing finer");
        assert_eq!(parts("-1"), Some((-1, 0)));
        assert_eq!(parts("-0.25"), Some((-1, 750_000_000)));
        assert_eq!(parts("-9223372036854775808.5"), None);
        for bad in ["", ".", "x", "1.x", "1.-5", "1.é23456789", "99999999999999999999"] {
            assert_eq!(parts(bad), None, "{bad:?}");
        }
    }
}
