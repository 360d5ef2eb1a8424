//! Clusters compressed by Zstandard (RFC 8878), inflated by libzstd, which QEMU inflates them by.
//!
//! Frames are decoded straight into the cluster: no window is allocated, whatever a frame's header asks for.

use zstd::zstd_safe::{self, DCtx};

/// A decoder, whose tables are kept for the next cluster.
pub(super) struct Zstd(DCtx<'static>);

impl Zstd {
    pub(super) fn new() -> Self {
        Self(DCtx::create())
    }

    /// Fills `cluster` from one frame or several; whatever follows the last one in `data` is ignored. Fails, with
    /// libzstd's reason, unless the frames fill it exactly: a frame that has more to say is damaged, to QEMU too.
    pub(super) fn inflate(&mut self, mut data: &[u8], cluster: &mut [u8]) -> Result<(), &'static str> {
        let mut filled = 0;
        while let Some(rest) = cluster.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            // At least a frame's header: the loop ends.
            let len = zstd_safe::find_frame_compressed_size(data).map_err(zstd_safe::get_error_name)?;
            let (frame, behind) = data.split_at_checked(len).ok_or("a frame ends too early")?;
            let count = self.0.decompress(rest, frame).map_err(zstd_safe::get_error_name)?;
            filled = filled.saturating_add(count);
            data = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Zstd;
    use zstd::zstd_safe::{CCtx, CParameter};

    /// A frame with a checksum.
    fn pack(plain: &[u8]) -> Vec<u8> {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
        let mut packed = Vec::with_capacity(plain.len() + 100);
        context.compress2(&mut packed, plain).unwrap();
        packed
    }

    fn inflate(data: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
        let mut out = vec![0xaa; len];
        Zstd::new().inflate(data, &mut out).map(|()| out)
    }

    #[test]
    fn frames_fill_a_cluster_exactly() {
        let plain: Vec<u8> = (0..70_000u32).flat_map(|n| n.to_string().into_bytes()).take(65_536).collect();
        let packed = pack(&plain);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], &packed[..]].concat();
        let garbage = [&packed[..], &[0xff; 300]].concat();
        for data in [&packed, &skipped, &garbage] {
            assert!(inflate(data, plain.len()).unwrap() == plain);
        }
        let halves = [pack(&plain[..30_000]), pack(&plain[30_000..]), vec![0; 512]].concat();
        assert!(inflate(&halves, plain.len()).unwrap() == plain);
        // Too long, too short, cut off, nothing.
        inflate(&packed, plain.len() - 1).unwrap_err();
        inflate(&garbage, plain.len() + 1).unwrap_err();
        inflate(&packed[..packed.len() - 1], plain.len()).unwrap_err();
        inflate(&[], 1).unwrap_err();
        inflate(&skipped[..11].repeat(1000), 1).unwrap_err();
    }

    #[test]
    fn damage_is_seen() {
        let plain = b"the quick brown fox jumps over the lazy dog. ".repeat(100);
        let packed = pack(&plain);
        for bit in 0..packed.len() * 8 {
            let mut bad = packed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(bytes) = inflate(&bad, plain.len()) {
                // The bits of the header that say how the frame is laid out, not what is in it.
                assert!(bytes == plain, "bit {bit}");
            }
        }
    }

    /// A window of 2 GiB is what a header may ask for.
    #[test]
    fn no_window_is_allocated() {
        // Magic, no single segment, the largest exponent that libzstd takes in one piece, one raw block of 3 bytes.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, (3 << 3) | 1, 0, 0, 7, 8, 9];
        assert_eq!(inflate(&frame, 3).unwrap(), [7, 8, 9]);
    }
}
