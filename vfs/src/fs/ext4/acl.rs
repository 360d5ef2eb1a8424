//! POSIX access control lists: ext4 stores them in a shorter form than getxattr(2) gives.
//!
//! Both are a 32-bit version and entries of a tag, permissions and an id; ext4 leaves the id out where the tag needs
//! none. Source: acl(5) and kernel Documentation/filesystems/ext4/attributes.rst, "POSIX ACLs".

use super::le;
use crate::error::{Error, ErrorKind, Layer, Result};

/// The versions of the two forms.
const STORED: u32 = 1;
const GIVEN: u32 = 2;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The id of an entry that needs none.
const NO_ID: u32 = u32::MAX;

/// From ext4's form to getxattr's; `Corrupt` where it is neither whole nor of tags that are known.
pub(super) fn to_given(stored: &[u8]) -> Result<Vec<u8>> {
    let corrupt = || Error::corrupt(Layer::Filesystem, "a stored access control list is malformed");
    if le::u32_at(stored, 0) != Some(STORED) {
        return Err(corrupt());
    }
    let mut given = GIVEN.to_le_bytes().to_vec();
    let mut rest = stored.get(4..).unwrap_or_default();
    while !rest.is_empty() {
        let (Some(tag), Some(permissions)) = (le::u16_at(rest, 0), le::u16_at(rest, 2)) else { return Err(corrupt()) };
        let (id, length) = match tag {
            USER | GROUP => (le::u32_at(rest, 4).ok_or_else(corrupt)?, 8),
            USER_OBJ | GROUP_OBJ | MASK | OTHER => (NO_ID, 4),
            _ => return Err(corrupt()),
        };
        push(&mut given, tag, permissions);
        given.extend(id.to_le_bytes());
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(given)
}

/// From getxattr's form to ext4's; `Invalid` where the kernel would not take it: entries in the order of their tags,
/// one each for the owner, the group and the others, and a mask where users or groups are named.
pub(super) fn to_stored(given: &[u8]) -> Result<Vec<u8>> {
    let invalid =
        |what: &str| Error::new(ErrorKind::Invalid, Layer::Filesystem, format!("an access control list {what}"));
    let entries = given.get(4..).unwrap_or_default();
    if le::u32_at(given, 0) != Some(GIVEN) || entries.len() % 8 != 0 {
        return Err(invalid("is not of version 2"));
    }
    let mut stored = STORED.to_le_bytes().to_vec();
    let mut tags = Vec::new();
    for entry in entries.chunks_exact(8) {
        let fields = (le::u16_at(entry, 0), le::u16_at(entry, 2), le::u32_at(entry, 4));
        let (Some(tag), Some(permissions), Some(id)) = fields else { return Err(invalid("is cut short")) };
        if permissions & !7 != 0 {
            return Err(invalid("has unknown permissions"));
        }
        push(&mut stored, tag, permissions);
        match tag {
            USER | GROUP if id == NO_ID => return Err(invalid("names nobody")),
            USER | GROUP => stored.extend(id.to_le_bytes()),
            USER_OBJ | GROUP_OBJ | MASK | OTHER => {}
            _ => return Err(invalid("has an unknown tag")),
        }
        tags.push(tag);
    }
    let count = |wanted: u16| tags.iter().filter(|tag| **tag == wanted).count();
    let named = count(USER) > 0 || count(GROUP) > 0;
    let masks = count(MASK);
    if !tags.is_sorted()
        || [USER_OBJ, GROUP_OBJ, OTHER].into_iter().any(|tag| count(tag) != 1)
        || masks > 1
        || (named && masks == 0)
    {
        return Err(invalid("lacks an entry, or has them in disorder"));
    }
    Ok(stored)
}

fn push(list: &mut Vec<u8>, tag: u16, permissions: u16) {
    list.extend(tag.to_le_bytes());
    list.extend(permissions.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = GIVEN.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            push(&mut list, *tag, *permissions);
            list.extend(id.to_le_bytes());
        }
        list
    }

    #[test]
    fn there_and_back() {
        let full = given(&[
            (USER_OBJ, 7, NO_ID),
            (USER, 4, 1000),
            (USER, 6, 1001),
            (GROUP_OBJ, 5, NO_ID),
            (GROUP, 1, 50),
            (MASK, 7, NO_ID),
            (OTHER, 0, NO_ID),
        ]);
        let stored = to_stored(&full).unwrap();
        assert_eq!(stored.len(), 4 + 4 * 4 + 3 * 8);
        assert_eq!(to_given(&stored).unwrap(), full);
        let short = given(&[(USER_OBJ, 7, NO_ID), (GROUP_OBJ, 5, NO_ID), (OTHER, 0, NO_ID)]);
        assert_eq!(to_given(&to_stored(&short).unwrap()).unwrap(), short);
        for length in 0..stored.len() {
            if let Ok(list) = to_given(&stored[..length]) {
                assert!(list.len() < full.len());
            }
        }
    }

    #[test]
    fn bad_lists() {
        for bad in [
            &[][..],
            &[(USER_OBJ, 7, NO_ID), (GROUP_OBJ, 5, NO_ID)],
            &[(USER_OBJ, 8, NO_ID), (GROUP_OBJ, 5, NO_ID), (OTHER, 0, NO_ID)],
            &[(GROUP_OBJ, 5, NO_ID), (USER_OBJ, 7, NO_ID), (OTHER, 0, NO_ID)],
            &[(USER_OBJ, 7, NO_ID), (USER, 7, 5), (GROUP_OBJ, 5, NO_ID), (OTHER, 0, NO_ID)],
            &[(USER_OBJ, 7, NO_ID), (GROUP_OBJ, 5, NO_ID), (OTHER, 0, NO_ID), (0x40, 0, NO_ID)],
        ] {
            assert_eq!(to_stored(&given(bad)).unwrap_err().kind(), ErrorKind::Invalid);
        }
        assert!(to_stored(b"").is_err());
        assert!(to_given(b"\x02\0\0\0").is_err());
        assert!(to_given(b"\x01\0\0\0\x02\0\x07\0").is_err());
    }
}
