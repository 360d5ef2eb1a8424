//! What Rock Ridge says of a file, in the system use field of its record (RRIP 1.10, section 4; SUSP 1.10, section 5).

use super::continuation::{Continuation, POINTER};
use super::field::{both32, short_date};
use super::record::{self, Kind};
use crate::fs::Timestamp;

/// The length of an "NM" field beside the name in it, in bytes.
const NAME_FIELD: usize = 5;

/// What of a file does not depend on its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) kind: Kind,
    pub(super) links: u32,
    pub(super) time: Timestamp,
}

/// The field for a named entry: its attributes, and its name in as many pieces as it takes.
pub(super) fn of_entry(about: About, identifier: &[u8], name: &[u8], continuation: &mut Continuation) -> Vec<u8> {
    let mut field = attributes(about);
    let left = record::room(identifier) - field.len();
    if NAME_FIELD + name.len() <= left {
        field.extend(name_piece(name, 0));
    } else {
        let (here, there) = name.split_at(left - NAME_FIELD - POINTER);
        // 1: the name continues in the next such field.
        field.extend(name_piece(here, 1));
        field.extend(continuation.add(&name_piece(there, 0)));
    }
    field
}

/// The field for the directory itself, or for the one that holds it.
pub(super) fn of_directory(about: About) -> Vec<u8> {
    attributes(about)
}

/// The field for the root itself: it says that these fields are used, and by which specification.
pub(super) fn of_root(about: About, continuation: &mut Continuation) -> Vec<u8> {
    let mut field = vec![b'S', b'P', 7, 1, 0xbe, 0xef, 0];
    field.extend(attributes(about));
    field.extend(continuation.add(&extension()));
    field
}

/// "PX", mode, links, owner and group; "TF", the times of modification, access and change of attributes.
fn attributes(about: About) -> Vec<u8> {
    let mode: u32 = match about.kind {
        Kind::File => 0o100_444,
        Kind::Directory => 0o040_555,
    };
    let mut field = vec![b'P', b'X', 36, 1];
    for number in [mode, about.links, 0, 0] {
        field.extend(both32(number));
    }
    field.extend([b'T', b'F', 26, 1, 0x0e]);
    for _ in 0..3 {
        field.extend(short_date(about.time));
    }
    field
}

fn name_piece(name: &[u8], flags: u8) -> Vec<u8> {
    // At most 250 bytes: the record has taken the rest of the 255.
    let mut field = vec![b'N', b'M', (NAME_FIELD + name.len()) as u8, 1, flags];
    field.extend(name);
    field
}

/// "ER": the extension's identifier, which readers look for, with the texts that RRIP 1.10 (4.3) prescribes.
fn extension() -> Vec<u8> {
    let identifier = b"RRIP_1991A";
    let description = b"THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS";
    let source =
        b"PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN PRIMARY VOLUME \
                   DESCRIPTOR FOR CONTACT INFORMATION.";
    let length = 8 + identifier.len() + description.len() + source.len();
    let mut field = vec![b'E', b'R', length as u8, 1];
    field.extend([identifier.len() as u8, description.len() as u8, source.len() as u8, 1]);
    field.extend(identifier);
    field.extend(description);
    field.extend(source);
    field
}
