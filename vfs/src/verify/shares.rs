//! Many changes, read back by several readers at once, each of which has a share of them.

use crate::error::Result;
use crate::stage::Change;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

/// So many changes are worth a reader of their own, which has to begin with the superblock.
const SHARE_MIN: usize = 64;
/// How many readers there are at most.
const READERS_MAX: usize = 4;

/// Has every share read, and gives what came of each, in the order of the changes; of several errors the first one.
pub(super) fn each<T: Send>(changes: &[Change], read: impl Fn(&[Change]) -> Result<T> + Sync) -> Result<Vec<T>> {
    let readers = thread::available_parallelism().map_or(1, NonZero::get).min(READERS_MAX);
    let (first, others) = changes.split_at(changes.len().div_ceil(readers).max(SHARE_MIN).min(changes.len()));
    let read = &read;
    thread::scope(|scope| {
        let begin = |share| (share, thread::Builder::new().spawn_scoped(scope, move || read(share)));
        let begun: Vec<_> = others.chunks(first.len().max(1)).map(begin).collect();
        let rest = begun.into_iter().map(|(share, reader)| match reader {
            Ok(reader) => reader.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The host gives no further thread.
            Err(_) => read(share),
        });
        std::iter::once_with(|| read(first)).chain(rest).collect()
    })
}
