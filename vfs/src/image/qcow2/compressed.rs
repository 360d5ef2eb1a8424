//! Compressed clusters: raw deflate (RFC 1951) or Zstandard, each cluster on its own.

use super::geometry::Geometry;
use super::layout::read_padded;
use super::mapping::Run;
use super::zstd::{Failure, Zstd};
use crate::error::{Error, Layer, Result};
use crate::transaction::Overlay;
use flate2::{Decompress, FlushDecompress};
use std::collections::VecDeque;

/// Bytes of inflated clusters that are kept; one cluster at least.
const LIMIT: usize = 768 << 10;

/// How the clusters of an image are compressed (header byte 104); all of them in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Raw deflate, which QEMU calls zlib.
    Deflate,
    /// Zstandard.
    Zstd,
}

impl Method {
    /// The name that QEMU gives it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deflate => "zlib",
            Self::Zstd => "zstd",
        }
    }
}

enum Decoder {
    Deflate(Box<Decompress>),
    Zstd(Box<Zstd>),
}

/// The clusters inflated last.
///
/// A guest filesystem reads a cluster in small blocks, and inflating it for each would dominate a run.
pub(super) struct Inflated {
    geometry: Geometry,
    capacity: usize,
    recent: VecDeque<(Run, Vec<u8>)>,
    decoder: Decoder,
}

impl std::fmt::Debug for Inflated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflated").field("clusters", &self.recent.len()).finish_non_exhaustive()
    }
}

impl Inflated {
    /// Nothing inflated yet.
    pub(super) fn new(geometry: Geometry, method: Method) -> Self {
        Self {
            geometry,
            capacity: LIMIT.checked_div(geometry.cluster_len()).unwrap_or(0).clamp(1, 64),
            recent: VecDeque::new(),
            decoder: match method {
                Method::Deflate => Decoder::Deflate(Box::new(Decompress::new(false))),
                Method::Zstd => Decoder::Zstd(Box::new(Zstd::new())),
            },
        }
    }

    /// The cluster that is compressed in `run`; `Corrupt` unless it inflates to exactly one cluster (what follows in the
    /// last sector is ignored).
    pub(super) fn read(&mut self, host: &Overlay, run: Run) -> Result<&[u8]> {
        if let Some(at) = self.recent.iter().position(|(known, _)| *known == run) {
            if let Some(hit) = self.recent.remove(at) {
                self.recent.push_front(hit);
            }
        } else {
            let mut bytes = match self.recent.len() >= self.capacity {
                true => self.recent.pop_back().map(|(_, bytes)| bytes).unwrap_or_default(),
                false => Vec::new(),
            };
            bytes.resize(self.geometry.cluster_len(), 0);
            self.inflate(host, run, &mut bytes)?;
            self.recent.push_front((run, bytes));
        }
        self.recent
            .front()
            .map(|(_, bytes)| bytes.as_slice())
            .ok_or_else(|| Error::corrupt(Layer::Image, "qcow2: a compressed cluster vanished"))
    }

    fn inflate(&mut self, host: &Overlay, run: Run, cluster: &mut [u8]) -> Result<()> {
        // At most two clusters long, by the bits of the descriptor.
        let mut data = vec![0; usize::try_from(run.len).unwrap_or(0)];
        read_padded(host, &mut data, run.offset)?;
        let bad = |how: &str| {
            Error::corrupt(Layer::Image, format!("qcow2: a compressed cluster {how}")).with_offset(run.offset)
        };
        match &mut self.decoder {
            Decoder::Deflate(inflate) => {
                inflate.reset(false);
                let status = inflate.decompress(&data, cluster, FlushDecompress::Finish);
                let produced = usize::try_from(inflate.total_out()).ok();
                match status {
                    // Whatever would follow a whole cluster is not part of it.
                    Ok(_) if produced == Some(cluster.len()) => Ok(()),
                    Ok(_) => Err(bad("is too short")),
                    Err(error) => Err(bad("cannot be inflated").with_source(error)),
                }
            }
            Decoder::Zstd(zstd) => zstd.inflate(&data, cluster).map_err(|failure| match failure {
                Failure::TooLong => bad("is too long"),
                Failure::Damaged(error) => bad("cannot be inflated").with_source(error),
            }),
        }
    }
}
