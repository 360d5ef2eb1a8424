//! Passphrases of encrypted volumes: `ID:file:PATH`, `ID:key:TEXT` and standard input, as virt-customize spells them.

use crate::cli;
use crate::failure::Failure;
use imgraft_vfs::volume::{Key, Keys, Selector};
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest key file that is taken, in bytes: that of cryptsetup.
const FILE_MAX: u64 = 8 << 20;
/// How much is read of standard input, in bytes.
const STDIN_MAX: u64 = 64 << 10;

const FORMS: &str =
    "type --key ID:file:PATH or --key ID:key:TEXT, where ID is a volume as --partition takes it, a LUKS UUID, or all";

/// Reads what was typed. Errors never repeat it, since it may hold the passphrase itself.
pub(super) fn keys(typed: &cli::Keys) -> Result<Keys, Failure> {
    let mut keys = typed.key.iter().map(|typed| key(typed)).collect::<Result<Vec<_>, _>>()?;
    if typed.keys_from_stdin {
        // Room for all of it at once, as below.
        let room = usize::try_from(STDIN_MAX).unwrap_or(0).saturating_add(4096);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        let read = std::io::stdin().lock().take(STDIN_MAX).read_to_end(&mut bytes);
        read.map_err(|error| Failure::usage(format!("--keys-from-stdin: cannot read standard input: {error}")))?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        // None is needed where nothing is locked.
        keys.extend(lines.map(|line| Key::new(None, Zeroizing::new(line.to_vec()))));
    }
    Ok(Keys::new(keys))
}

fn key(typed: &str) -> Result<Key, Failure> {
    let refuse = |why: &str| Failure::usage(format!("--key: {why}")).with_hint(FORMS);
    let places = [":file:", ":key:"].map(|word| typed.find(word).map(|place| (place, word)));
    let Some((place, word)) = places.into_iter().flatten().min() else {
        let why =
            if typed.ends_with(":clevis") { "clevis asks the network, and imgraft does not" } else { "not a key" };
        return Err(refuse(why));
    };
    let (id, value) = typed.split_at(place);
    let value = value.strip_prefix(word).unwrap_or_default();
    let passphrase = if word == ":key:" { Zeroizing::new(value.as_bytes().to_vec()) } else { file(Path::new(value))? };
    if passphrase.is_empty() {
        return Err(refuse("the passphrase is empty"));
    }
    let volume = match id {
        "all" => None,
        _ => Some(volume(id).ok_or_else(|| refuse("its ID names no volume"))?),
    };
    Ok(Key::new(volume, passphrase))
}

/// The volume that an ID names; the first disk's devices are taken for what they are on it.
fn volume(id: &str) -> Option<Selector> {
    let disks = ["/dev/sda", "/dev/vda", "/dev/hda"];
    if let Some(number) = disks.iter().find_map(|disk| id.strip_prefix(disk)) {
        return if number.is_empty() {
            Some(Selector::Whole)
        } else {
            number.parse::<NonZeroU32>().ok().map(Selector::Index)
        };
    }
    let is_uuid = id.len() == 36 && id.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-');
    if is_uuid {
        return Some(Selector::Uuid(id.to_owned()));
    }
    super::volume(id).ok().filter(|volume| *volume != Selector::Auto)
}

/// The first line of a text, without its end; what is no text is a key as a whole.
fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error| Failure::usage(format!("--key: cannot read {}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    // Room for all of it at once: what grows leaves copies behind.
    let room = usize::try_from(size.min(FILE_MAX)).unwrap_or(0).saturating_add(4096);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(FILE_MAX.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_MAX {
        return Err(Failure::usage(format!("--key: {} has more than {FILE_MAX} bytes", path.display())));
    }
    if bytes.contains(&0) || std::str::from_utf8(&bytes).is_err() {
        return Ok(bytes);
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_as_virt_customize_and_we_spell_them() {
        let index = |number| Some(Selector::Index(NonZeroU32::new(number).unwrap()));
        assert_eq!(volume("3"), index(3));
        assert_eq!(volume("/dev/sda3"), index(3));
        assert_eq!(volume("/dev/vda12"), index(12));
        assert_eq!(volume("/dev/sda"), Some(Selector::Whole));
        assert_eq!(volume("whole"), Some(Selector::Whole));
        assert_eq!(volume("/dev/mapper/vg-lv"), Some(Selector::Logical("vg/lv".into())));
        let uuid = "83679162-1378-4288-a2d4-70e13ec132aa";
        assert_eq!(volume(uuid), Some(Selector::Uuid(uuid.into())));
        assert_eq!(volume(&format!("uuid:{uuid}")), Some(Selector::Uuid(uuid.into())));
        for id in ["auto", "", "x", "/dev/sdb1", "/dev/sdax"] {
            assert_eq!(volume(id), None, "{id}");
        }
    }

    #[test]
    fn the_first_line_of_a_text_and_all_of_what_is_none() {
        let write = |bytes: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file, bytes).unwrap();
            super::file(file.path()).unwrap().to_vec()
        };
        assert_eq!(write(b"open sesame\nand more\n"), b"open sesame");
        assert_eq!(write(b"no end"), b"no end");
        assert_eq!(write(b"a\xff\nb"), b"a\xff\nb");
        assert_eq!(write(b"a\0\nb"), b"a\0\nb");
    }

    #[test]
    fn errors_do_not_repeat_what_was_typed() {
        for typed in ["hunter2", "3:hunter2", "3:kee:hunter2", "nowhere hunter2:key:hunter2", "3:key:", "all:clevis"] {
            let failure = key(typed).unwrap_err();
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
            assert_eq!(failure.exit, crate::failure::Exit::Usage);
        }
        let shown = format!("{:?}", key("all:key:hunter2").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
