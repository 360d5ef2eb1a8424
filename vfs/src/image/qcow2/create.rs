//! A new qcow2 image that holds nothing of its own: everything is the backing file's.

use super::geometry::Geometry;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::image::Named;

/// The logarithm of the cluster size: 16 KiB.
///
/// Five items for a guest touch some dozen places of its disk, and each costs a cluster; smaller ones cost more tables.
const CLUSTER_BITS: u32 = 14;
/// 16-bit refcounts, QEMU's default.
const REFCOUNT_ORDER: u32 = 4;
/// The header of version 3 with the byte for the compression type, padded.
const HEADER_LEN: u32 = 112;
const BACKING_FORMAT: u32 = 0xe279_2aca;
/// The format's limit for the backing file's name, in bytes.
const MAX_BACKING_NAME: usize = 1023;
/// QEMU's limit for the L1 table, in bytes.
const L1_LIMIT: u64 = 32 << 20;

/// The bytes of an image of `size` bytes (a multiple of 512) over `backing`: header, refcount table, one refcount block
/// and the L1 table, a cluster or more each.
///
/// `Unsupported` past 128 TiB, `Invalid` where the name or the format does not fit.
pub(in crate::image) fn over(backing: &Named, size: u64) -> Result<Vec<u8>> {
    let geometry = Geometry::new(CLUSTER_BITS, REFCOUNT_ORDER)?;
    let cluster = geometry.cluster_size();
    let format = backing.format.as_deref().unwrap_or_default();
    if backing.name.is_empty() || backing.name.len() > MAX_BACKING_NAME || format.len() > 16 {
        let message =
            format!("the backing file's name is {} bytes long, and 1 to {MAX_BACKING_NAME} fit", backing.name.len());
        return Err(Error::new(ErrorKind::Invalid, Layer::Image, message));
    }
    let l1_entries = size.div_ceil(geometry.l2_reach());
    let l1_len = l1_entries.saturating_mul(8);
    if l1_len > L1_LIMIT {
        let message = format!("an overlay over a disk of {size} bytes would need a larger L1 table than QEMU takes");
        return Err(Error::unsupported(Layer::Image, message).with_hint("make a copy with --output instead"));
    }
    let l1_clusters = geometry.clusters_for(l1_len).max(1);
    let [table, block, l1] = [1, 2, 3_u64].map(|index| index.saturating_mul(cluster));
    let clusters = l1_clusters.saturating_add(3);

    let mut header = Vec::with_capacity(geometry.cluster_len());
    header.extend_from_slice(&super::MAGIC);
    let mut extension = Vec::new();
    extension.extend_from_slice(&BACKING_FORMAT.to_be_bytes());
    extension.extend_from_slice(&u32::try_from(format.len()).unwrap_or(0).to_be_bytes());
    extension.extend_from_slice(format);
    extension.resize(extension.len().next_multiple_of(8), 0);
    // The end of the extensions: type and length 0.
    extension.extend_from_slice(&[0; 8]);
    let name_at = u64::from(HEADER_LEN).saturating_add(u64::try_from(extension.len()).unwrap_or(0));
    let u32s = |header: &mut Vec<u8>, value: u32| header.extend_from_slice(&value.to_be_bytes());
    let u64s = |header: &mut Vec<u8>, value: u64| header.extend_from_slice(&value.to_be_bytes());
    u32s(&mut header, 3); // version
    u64s(&mut header, name_at); // backing_file_offset
    u32s(&mut header, u32::try_from(backing.name.len()).unwrap_or(0)); // backing_file_size
    u32s(&mut header, CLUSTER_BITS);
    u64s(&mut header, size);
    u32s(&mut header, 0); // crypt_method
    u32s(&mut header, u32::try_from(l1_entries).unwrap_or(u32::MAX)); // l1_size
    u64s(&mut header, l1); // l1_table_offset
    u64s(&mut header, table); // refcount_table_offset
    u32s(&mut header, 1); // refcount_table_clusters
    u32s(&mut header, 0); // nb_snapshots
    u64s(&mut header, 0); // snapshots_offset
    u64s(&mut header, 0); // incompatible_features
    u64s(&mut header, 0); // compatible_features
    u64s(&mut header, 0); // autoclear_features
    u32s(&mut header, REFCOUNT_ORDER);
    u32s(&mut header, HEADER_LEN);
    u64s(&mut header, 0); // compression_type, padding
    header.extend_from_slice(&extension);
    header.extend_from_slice(&backing.name);

    let mut bytes = header;
    bytes.resize(geometry.cluster_len(), 0);
    bytes.extend_from_slice(&block.to_be_bytes());
    bytes.resize(geometry.cluster_len().saturating_mul(2), 0);
    for _ in 0..clusters {
        bytes.extend_from_slice(&1_u16.to_be_bytes());
    }
    let len = geometry.cluster_len().saturating_mul(usize::try_from(clusters).unwrap_or(usize::MAX));
    bytes.resize(len, 0);
    Ok(bytes)
}
