//! Header extensions: typed pieces between the header and the end of its cluster.

use super::feature::Names;
use crate::error::{Error, Layer, Result};

const END: u32 = 0;
const FEATURE_NAMES: u32 = 0x6803_f857;
const DATA_FILE: u32 = 0x4441_5441;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const HEAD: usize = 8;

/// What the extensions say that matters here; unknown ones are ignored.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions {
    /// The names of feature bits.
    pub(super) names: Names,
    /// The name of the external data file, escaped.
    pub(super) data_file: Option<String>,
    /// The format of the backing file, as it stands there.
    pub(super) backing_format: Option<Vec<u8>>,
}

impl Extensions {
    /// Reads the extensions in `area`: what follows the header up to the backing file's name or the end of the header's
    /// cluster. `Corrupt` where one does not fit.
    pub(super) fn parse(area: &[u8]) -> Result<Self> {
        let mut found = Self::default();
        let mut rest = area;
        while let Some((head, data)) = rest.split_at_checked(HEAD) {
            let (kind, len) = head.split_at(4);
            let kind = number(kind);
            if kind == END {
                break;
            }
            let len = usize::try_from(number(len)).unwrap_or(usize::MAX);
            let body = data.get(..len).ok_or_else(|| {
                Error::corrupt(
                    Layer::Image,
                    format!(
                        "qcow2: header extension {kind:#010x} of {len} bytes does not fit into the header's cluster"
                    ),
                )
            })?;
            match kind {
                FEATURE_NAMES => found.names = Names::parse(body),
                DATA_FILE => {
                    // A file name is at most 1023 bytes; more is not worth showing.
                    found.data_file =
                        Some(body.iter().take(1023).copied().collect::<Vec<_>>().escape_ascii().to_string());
                }
                BACKING_FORMAT => found.backing_format = Some(body.to_vec()),
                _ => {}
            }
            let padded = len.checked_next_multiple_of(8).unwrap_or(usize::MAX);
            rest = data.get(padded..).unwrap_or_default();
        }
        Ok(found)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::Extensions;

    fn extension(kind: u32, len: u32, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &len.to_be_bytes(), body].concat()
    }

    #[test]
    fn unknown_ones_are_ignored_and_the_end_is_the_end() {
        let area = [
            extension(0x1234_5678, 3, b"abc\0\0\0\0\0"),
            extension(0x4441_5441, 3, b"a\nb\xff\xff\xff\xff\xff"),
            extension(0, 0, b""),
            extension(7, 99, b""),
        ]
        .concat();
        assert_eq!(Extensions::parse(&area).unwrap().data_file.as_deref(), Some("a\\nb"));
    }

    #[test]
    fn too_long_ones_are_corrupt() {
        assert!(Extensions::parse(&extension(7, 9, b"12345678")).is_err());
        assert!(Extensions::parse(&extension(7, u32::MAX, b"12345678")).is_err());
        // The last one needs no padding, and a piece too short for a head is none.
        Extensions::parse(&extension(7, 6, b"123456")).unwrap();
        Extensions::parse(b"1234567").unwrap();
    }
}
