//! Compressed clusters: raw deflate (RFC 1951) or Zstandard, each cluster on its own.

use super::deflate::Deflate;
use super::geometry::Geometry;
use super::layout::read_padded;
use super::mapping::Run;
use super::zstd::Zstd;
use crate::error::{Error, Layer, Result};
use crate::transaction::Overlay;
use fdeflate::DecompressionError;
use std::collections::VecDeque;
use std::ops::Range;

/// Bytes of inflated clusters that are kept; one cluster at least.
const LIMIT: usize = 1 << 20;
/// How far past what is asked for a cluster is inflated: to the next multiple of this many bytes.
const STEP: usize = 4096;

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
    /// One for each cluster, to go on with.
    Deflate,
    Zstd(Box<Zstd>),
}

/// The clusters inflated last, each as far as it was read.
///
/// A guest filesystem reads a cluster in small blocks, and inflating all of it for each would dominate a run.
pub(super) struct Inflated {
    geometry: Geometry,
    decoder: Decoder,
    capacity: usize,
    recent: VecDeque<Cluster>,
    /// The buffer of the cluster that was dropped last.
    spare: Vec<u8>,
}

/// A cluster, as far as it has been inflated.
struct Cluster {
    run: Run,
    bytes: Vec<u8>,
    /// How long it is as a whole.
    len: usize,
    /// What the rest is inflated with; `None` once there is no rest.
    rest: Option<Deflate>,
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
            decoder: match method {
                Method::Deflate => Decoder::Deflate,
                Method::Zstd => Decoder::Zstd(Box::new(Zstd::new())),
            },
            capacity: LIMIT.checked_div(geometry.cluster_len()).unwrap_or(0).clamp(1, 64),
            recent: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// The most bytes that it comes to hold, with the cluster that was dropped last.
    pub(super) fn most(&self) -> usize {
        self.capacity.saturating_add(1).saturating_mul(self.geometry.cluster_len())
    }

    /// The bytes of a range of the cluster that is compressed in `run`; `Corrupt` unless it inflates to as many (what
    /// follows a whole cluster is ignored).
    pub(super) fn read(&mut self, host: &Overlay, run: Run, range: Range<usize>) -> Result<&[u8]> {
        let at = self.recent.iter().position(|cluster| cluster.run == run);
        let mut cluster = match at.and_then(|at| self.recent.remove(at)) {
            Some(cluster) => cluster,
            None => self.begin(host, run)?,
        };
        cluster.fill(range.end)?;
        self.recent.push_front(cluster);
        self.recent
            .front()
            .and_then(|cluster| cluster.bytes.get(range))
            .ok_or_else(|| Error::corrupt(Layer::Image, "qcow2: a range past the end of a compressed cluster"))
    }

    fn begin(&mut self, host: &Overlay, run: Run) -> Result<Cluster> {
        if self.recent.len() >= self.capacity {
            self.spare = self.recent.pop_back().map(|cluster| cluster.bytes).unwrap_or_default();
        }
        // At most two clusters long, by the bits of the descriptor.
        let mut data = vec![0; usize::try_from(run.len).unwrap_or(0)];
        read_padded(host, &mut data, run.offset)?;
        let len = self.geometry.cluster_len();
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        bytes.reserve_exact(len);
        match &mut self.decoder {
            Decoder::Deflate => Ok(Cluster { run, bytes, len, rest: Some(Deflate::new(data)) }),
            Decoder::Zstd(zstd) => {
                bytes.resize(len, 0);
                zstd.inflate(&data, &mut bytes)
                    .map_err(|why| bad(run, "cannot be inflated").with_source(format!("zstd: {why}")))?;
                Ok(Cluster { run, bytes, len, rest: None })
            }
        }
    }
}

impl Cluster {
    /// Inflates the first `until` bytes at least, as far as there are so many.
    fn fill(&mut self, until: usize) -> Result<()> {
        let until = until.checked_next_multiple_of(STEP).unwrap_or(usize::MAX).min(self.len);
        let filled = self.bytes.len();
        if let Some(rest) = self.rest.as_mut().filter(|_| filled < until) {
            self.bytes.resize(until, 0);
            rest.inflate(&mut self.bytes, filled).map_err(|error| match error {
                DecompressionError::InsufficientInput => bad(self.run, "is too short"),
                error => bad(self.run, "cannot be inflated").with_source(format!("deflate: {error:?}")),
            })?;
        }
        if self.bytes.len() == self.len {
            self.rest = None;
        }
        Ok(())
    }
}

fn bad(run: Run, how: &str) -> Error {
    Error::corrupt(Layer::Image, format!("qcow2: a compressed cluster {how}")).with_offset(run.offset)
}
