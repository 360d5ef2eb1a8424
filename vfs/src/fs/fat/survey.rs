//! A look at the whole table before anything is changed: which clusters others lead to, and how many are free.

use super::corrupt;
use super::layout::{FIRST_CLUSTER, Layout};
use super::table::{Next, Table};
use crate::block::BlockDevice;
use crate::error::Result;

/// The largest table that is looked at, in clusters: 16 MiB of FAT32. A larger one is read as it is needed.
pub(super) const CLUSTERS_MAX: u32 = 4 << 20;

/// The clusters that another one leads to: none is the first of a chain, and none has two before it.
#[derive(Debug)]
pub(super) struct Targets(Vec<u64>);

impl Targets {
    fn place(cluster: u32) -> (usize, u64) {
        (usize::try_from(cluster / 64).unwrap_or(usize::MAX), 1_u64.checked_shl(cluster % 64).unwrap_or_default())
    }

    /// Whether a cluster leads to this one.
    pub(super) fn has(&self, cluster: u32) -> bool {
        let (word, bit) = Self::place(cluster);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Notes that one leads there, or none any more.
    pub(super) fn note(&mut self, cluster: u32, next: Leads) {
        let (word, bit) = Self::place(cluster);
        if let Some(word) = self.0.get_mut(word) {
            *word = if next == Leads::There { *word | bit } else { *word & !bit };
        }
    }
}

/// Whether a cluster leads somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    There,
    Elsewhere,
}

/// The clusters that others lead to, and how many are free; `None` where the table is too large to be read whole.
///
/// `Corrupt` where two chains run into one, a chain leads out of the filesystem, or to a cluster that is free or bad.
pub(super) fn survey(device: &dyn BlockDevice, layout: &Layout, table: &Table) -> Result<Option<(Targets, u32)>> {
    if layout.clusters() > CLUSTERS_MAX {
        return Ok(None);
    }
    let words = usize::try_from(layout.end.div_ceil(64)).unwrap_or_default();
    let mut targets = Targets(vec![0; words]);
    let mut unused = Targets(vec![0; words]);
    let mut free = 0_u32;
    for cluster in FIRST_CLUSTER..layout.end {
        match table.next(device, cluster)? {
            Next::Cluster(next) if targets.has(next) => {
                return Err(corrupt(format!("two chains of clusters run into one (at cluster {next})")));
            }
            Next::Cluster(next) => targets.note(next, Leads::There),
            Next::Free => {
                unused.note(cluster, Leads::There);
                free = free.saturating_add(1);
            }
            Next::Bad => unused.note(cluster, Leads::There),
            Next::End => {}
            Next::Outside => {
                return Err(corrupt(format!("a chain of clusters leads out of the filesystem (at cluster {cluster})")));
            }
        }
    }
    if targets.0.iter().zip(&unused.0).any(|(target, unused)| target & unused != 0) {
        return Err(corrupt("a chain of clusters leads to one that is free or bad"));
    }
    Ok(Some((targets, free)))
}

/// How many clusters are free; `None` where the table is too large to be read whole.
pub(super) fn count_free(device: &dyn BlockDevice, layout: &Layout, table: &Table) -> Result<Option<u32>> {
    if layout.clusters() > CLUSTERS_MAX {
        return Ok(None);
    }
    let mut free = 0_u32;
    for cluster in FIRST_CLUSTER..layout.end {
        if table.next(device, cluster)? == Next::Free {
            free = free.saturating_add(1);
        }
    }
    Ok(Some(free))
}
