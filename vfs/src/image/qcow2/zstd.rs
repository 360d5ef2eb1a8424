//! Clusters compressed by Zstandard (RFC 8878).

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::Read;

/// The largest window of a frame, in bytes: what RFC 8878 asks of every decoder. QEMU's frames need one cluster at most.
const WINDOW_LIMIT: u64 = 8 << 20;

/// A decoder, whose memory (a window and one block) is kept for the next cluster.
pub(super) struct Zstd(FrameDecoder);

impl Zstd {
    pub(super) fn new() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_LIMIT);
        Self(decoder)
    }

    /// Fills `cluster` from one frame or several; whatever follows the last one in `data` is ignored. Fails unless the
    /// frames fill it exactly, as QEMU does: a frame that has more to say is damaged.
    pub(super) fn inflate(&mut self, mut data: &[u8], cluster: &mut [u8]) -> Result<(), Failure> {
        let mut rest = cluster;
        while !rest.is_empty() {
            self.0.init(&mut data).map_err(Failure::new)?;
            while !self.0.is_finished() {
                // A block is 128 KiB long at most. What the window need not keep comes out at once, so that a frame's
                // length does not matter.
                self.0.decode_blocks(&mut data, BlockDecodingStrategy::UptoBlocks(1)).map_err(Failure::new)?;
                let ready = self.0.can_collect();
                let (now, later) = rest.split_at_mut_checked(ready).ok_or(Failure::TooLong)?;
                self.0.read_exact(now).map_err(Failure::new)?;
                rest = later;
            }
        }
        Ok(())
    }
}

/// Why a cluster could not be decoded.
#[derive(Debug)]
pub(super) enum Failure {
    /// It has more than one cluster's bytes.
    TooLong,
    /// What the decoder says.
    Damaged(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Damaged(Box::new(error))
    }
}
