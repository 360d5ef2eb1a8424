//! Clusters compressed by raw deflate (RFC 1951), inflated as far as they are read.

use fdeflate::{DecompressionError, Decompressor};

/// The header of a zlib stream (RFC 1950) without a dictionary, of which the crate wants to be told.
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];

/// A cluster of which only the beginning may have been inflated.
pub(super) struct Deflate {
    decoder: Decompressor,
    data: Vec<u8>,
    taken: usize,
}

impl Deflate {
    /// Begins with the compressed bytes of one cluster; what follows the end of the stream in them is ignored.
    pub(super) fn new(data: Vec<u8>) -> Self {
        let mut decoder = Decompressor::new();
        // A raw stream has no checksum at its end.
        decoder.ignore_adler32();
        Self { decoder, data, taken: 0 }
    }

    /// Fills `cluster` from its byte `filled` on; what is before is what was inflated last. Fails where the stream is
    /// damaged or ends too early.
    pub(super) fn inflate(&mut self, cluster: &mut [u8], filled: usize) -> Result<(), DecompressionError> {
        let mut filled = filled;
        if filled == 0 {
            self.decoder.read(&ZLIB_HEADER, cluster, 0, false)?;
        }
        while filled < cluster.len() {
            let rest = self.data.get(self.taken..).unwrap_or_default();
            let (taken, produced) = self.decoder.read(rest, cluster, filled, false)?;
            if taken == 0 && produced == 0 {
                return Err(DecompressionError::InsufficientInput);
            }
            self.taken = self.taken.saturating_add(taken);
            filled = filled.saturating_add(produced);
        }
        Ok(())
    }
}
