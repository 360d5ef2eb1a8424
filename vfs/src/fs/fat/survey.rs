//! A look at the whole table before anything is changed: which clusters others lead to, which are used, and how many are free.

use super::corrupt;
use super::layout::{FIRST_CLUSTER, Layout};
use super::table::{Next, Table};
use crate::block::BlockDevice;
use crate::error::Result;

/// The largest table whose free clusters are counted for a look only, in clusters: 16 MiB of FAT32.
const COUNTED_MAX: u32 = 4 << 20;

/// A bit for each cluster: 32 MiB for the largest FAT32 that there can be.
#[derive(Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(end: u32) -> Self {
        Self(vec![0; usize::try_from(end.div_ceil(64)).unwrap_or_default()])
    }

    fn place(cluster: u32) -> (usize, u64) {
        (usize::try_from(cluster / 64).unwrap_or(usize::MAX), 1_u64.checked_shl(cluster % 64).unwrap_or_default())
    }

    fn has(&self, cluster: u32) -> bool {
        let (word, bit) = Self::place(cluster);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, cluster: u32) {
        let (word, bit) = Self::place(cluster);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    fn clear(&mut self, cluster: u32) {
        let (word, bit) = Self::place(cluster);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }
}

/// What the table says of all clusters: no two lead to the same one, and none leads to one that is free or bad.
#[derive(Debug)]
pub(super) struct Survey {
    end: u32,
    /// Those that another one leads to, or that an entry of a directory begins with.
    targets: Bits,
    /// Those that are neither free nor bad. One that an entry begins with is taken out: it is a target and not used, as no other.
    used: Bits,
    /// How many are free.
    pub(super) free: u32,
}

impl Survey {
    /// Looks at the table.
    ///
    /// `Corrupt` where two chains run into one, a chain leads out of the filesystem, or to a cluster that is free or bad.
    pub(super) fn new(device: &dyn BlockDevice, layout: &Layout, table: &Table) -> Result<Self> {
        let end = layout.end;
        let mut survey = Self { end, targets: Bits::new(end), used: Bits::new(end), free: 0 };
        table.each(device, |cluster, next| {
            match next {
                Next::Cluster(next) if survey.targets.has(next) => {
                    return Err(corrupt(format!("two chains of clusters run into one (at cluster {next})")));
                }
                Next::Cluster(next) => {
                    survey.targets.set(next);
                    survey.used.set(cluster);
                }
                Next::End => survey.used.set(cluster),
                Next::Free => survey.free = survey.free.saturating_add(1),
                Next::Bad => {}
                Next::Outside => {
                    return Err(corrupt(format!(
                        "a chain of clusters leads out of the filesystem (at cluster {cluster})"
                    )));
                }
            }
            Ok(())
        })?;
        if survey.targets.0.iter().zip(&survey.used.0).any(|(target, used)| target & !used != 0) {
            return Err(corrupt("a chain of clusters leads to one that is free or bad"));
        }
        Ok(survey)
    }

    /// Notes that a file or directory begins with a cluster; otherwise why it cannot, a clause.
    pub(super) fn claim(&mut self, first: u32) -> Result<(), String> {
        if !(FIRST_CLUSTER..self.end).contains(&first) {
            return Err(format!("it begins where none can (at cluster {first})"));
        }
        match (self.targets.has(first), self.used.has(first)) {
            (false, true) => {
                self.targets.set(first);
                self.used.clear(first);
                Ok(())
            }
            (true, true) => Err(format!("it begins inside of a chain of clusters (at cluster {first})")),
            (true, false) => Err(format!("it begins where another file or directory does (at cluster {first})")),
            (false, false) => Err(format!("it begins with a cluster that is free or bad (cluster {first})")),
        }
    }
}

/// How many clusters are free; `None` where the table is too large to be read whole for a look.
pub(super) fn count_free(device: &dyn BlockDevice, layout: &Layout, table: &Table) -> Result<Option<u32>> {
    if layout.clusters() > COUNTED_MAX {
        return Ok(None);
    }
    let mut free = 0_u32;
    table.each(device, |_, next| {
        if next == Next::Free {
            free = free.saturating_add(1);
        }
        Ok(())
    })?;
    Ok(Some(free))
}
