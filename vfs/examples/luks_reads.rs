//! Times how fast a LUKS volume is decrypted, for `make bench`: it is read through, round and round, in one thread.
//!
//! ```text
//! luks_reads RAW-IMAGE PARTITION PASSPHRASE-FILE BYTES    nanoseconds to read so many bytes, once the volume is open
//! ```

#![allow(clippy::print_stdout, reason = "its result is what it prints")]

use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::image::{self, Format};
use imgraft_vfs::transaction::{Access, Transaction};
use imgraft_vfs::volume::{Key, Keys, Selector, select_bytes};
use imgraft_vfs::{Error, ErrorKind, Layer};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

const PIECE: u64 = 1 << 20;

fn main() -> imgraft_vfs::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let usage =
        || Error::new(ErrorKind::Invalid, Layer::Host, "usage: luks_reads RAW-IMAGE PARTITION PASSPHRASE-FILE BYTES");
    let [image, partition, passphrase, bytes] = words.as_slice() else { return Err(usage()) };
    let (Ok(partition), Ok(bytes)) = (partition.parse(), bytes.parse()) else { return Err(usage()) };
    let read = std::fs::read(passphrase).map_err(|error| Error::io(Layer::Host, "read the passphrase", error))?;
    println!("{}", measure(Path::new(image), partition, Zeroizing::new(read), bytes)?);
    Ok(())
}

fn measure(
    image: &Path,
    partition: NonZeroU32,
    passphrase: Zeroizing<Vec<u8>>,
    bytes: u64,
) -> imgraft_vfs::Result<u128> {
    let txn = Transaction::begin(image, Access::Read)?;
    let disk: Arc<dyn BlockDevice> = image::open(txn.overlay(), Some(Format::Raw))?;
    let keys = Keys::new(vec![Key::new(None, passphrase)]);
    let (volume, _) = select_bytes(&disk, &Selector::Index(partition), &keys, &|_| Ok(false))?;
    let device = volume.device;
    let room = device.size() / PIECE * PIECE;
    let mut piece = vec![0; usize::try_from(PIECE).unwrap_or_default()];
    if room == 0 {
        return Err(Error::new(ErrorKind::Invalid, Layer::Volume, "the volume is smaller than a mebibyte"));
    }
    let start = Instant::now();
    let mut done = 0;
    while done < bytes {
        device.read_at(&mut piece, done % room)?;
        done += PIECE;
    }
    Ok(start.elapsed().as_nanos())
}
