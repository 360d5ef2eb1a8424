//! Refcounts of every width in the bytes of a block.

/// The refcount at `index` of a block of refcounts `1 << order` bits wide (order 0 to 6); `None` past its end.
pub(super) fn get(block: &[u8], order: u32, index: u64) -> Option<u64> {
    if order < 3 {
        let (at, shift, mask) = sub_byte(order, index)?;
        return Some(u64::from(block.get(at)?.checked_shr(shift)? & mask));
    }
    let (at, len) = whole_bytes(order, index)?;
    let bytes = block.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

/// Stores a refcount; `None` past the block's end, or where the value does not fit into the width.
pub(super) fn set(block: &mut [u8], order: u32, index: u64, value: u64) -> Option<()> {
    let bits = 1u32.checked_shl(order)?;
    if bits < 64 && value.checked_shr(bits)? != 0 {
        return None;
    }
    if order < 3 {
        let (at, shift, mask) = sub_byte(order, index)?;
        let byte = block.get_mut(at)?;
        let value = u8::try_from(value).ok()?;
        *byte = (*byte & !mask.checked_shl(shift)?) | value.checked_shl(shift)?;
        return Some(());
    }
    let (at, len) = whole_bytes(order, index)?;
    let bytes = value.to_be_bytes();
    let low = bytes.get(bytes.len().checked_sub(len)?..)?;
    block.get_mut(at..at.checked_add(len)?)?.copy_from_slice(low);
    Some(())
}

/// The first refcount from `index` on that is not zero.
pub(super) fn first_used(block: &[u8], order: u32, index: u64) -> Option<u64> {
    let mut index = index;
    // Single entries up to a whole byte, whole bytes up to one that is not zero, and single entries in that.
    loop {
        if index.checked_shl(order)? & 7 == 0 {
            let at = usize::try_from(index.checked_shl(order)? >> 3).ok()?;
            let zeros = block.get(at..)?.iter().position(|byte| *byte != 0)?;
            let used = u64::try_from(at.checked_add(zeros)?).ok()?;
            index = index.max(used.checked_shl(3)?.checked_shr(order)?);
        }
        if get(block, order, index)? != 0 {
            return Some(index);
        }
        index = index.checked_add(1)?;
    }
}

fn sub_byte(order: u32, index: u64) -> Option<(usize, u32, u8)> {
    let bit = index.checked_shl(order)?;
    let mask = 1u8.checked_shl(1u32.checked_shl(order)?)?.checked_sub(1)?;
    Some((usize::try_from(bit >> 3).ok()?, u32::try_from(bit & 7).ok()?, mask))
}

fn whole_bytes(order: u32, index: u64) -> Option<(usize, usize)> {
    let shift = order.checked_sub(3)?;
    let at = usize::try_from(index).ok()?.checked_mul(1usize.checked_shl(shift)?)?;
    Some((at, 1usize.checked_shl(shift)?))
}

#[cfg(test)]
mod tests {
    use super::{first_used, get, set};

    #[test]
    fn every_width_keeps_its_neighbours() {
        for order in 0..=6 {
            let mut block = vec![0u8; 64];
            let entries = (64 * 8) >> order;
            let top = if order == 6 { u64::MAX } else { (1 << (1 << order)) - 1 };
            assert_eq!(first_used(&block, order, 0), None);
            set(&mut block, order, entries - 1, top).unwrap();
            assert_eq!(first_used(&block, order, 0), Some(entries - 1));
            assert_eq!(get(&block, order, entries - 2), Some(0));
            set(&mut block, order, 1, 1).unwrap();
            assert_eq!(
                (get(&block, order, 0), get(&block, order, 1), get(&block, order, 2)),
                (Some(0), Some(1), Some(0))
            );
            assert_eq!(get(&block, order, entries - 1), Some(top));
            assert_eq!((first_used(&block, order, 1), first_used(&block, order, 2)), (Some(1), Some(entries - 1)));
            assert_eq!(get(&block, order, entries), None);
            assert_eq!(set(&mut block, order, entries, 1), None);
            if order < 6 {
                assert_eq!(set(&mut block, order, 0, top + 1), None);
            }
        }
    }

    #[test]
    fn order_of_bits_and_bytes() {
        // Bit 0 is the least significant; wider refcounts are big-endian.
        assert_eq!(get(&[0b0000_0010], 0, 1), Some(1));
        assert_eq!(get(&[0b1110_0100], 1, 2), Some(2));
        assert_eq!(get(&[0xa5], 2, 1), Some(0xa));
        assert_eq!(get(&[0, 0, 1, 2], 4, 1), Some(0x102));
    }
}
