//! The locales that a guest has: directories of the C library's, and its archive (locale-archive, as localedef(1) writes it).

use super::super::InjectError;
use super::super::files::below::there;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

const DIRECTORY: &str = "/usr/lib/locale";
const ARCHIVE: &str = "/usr/lib/locale/locale-archive";
/// The mark at the beginning of an archive (glibc's locale/locarchive.h), and the sizes of its head and of an entry of its table.
const MAGIC: u32 = 0xde02_0109;
const HEAD: usize = 56;
const ENTRY: usize = 12;
/// How many entries of an archive's table are looked at; one with every locale there is has some 3000.
const ENTRIES_MAX: u32 = 16_384;
const NAME_MAX: usize = 64;

/// The names of a guest's locales, as the C library keeps them: `de_DE.utf8`.
pub(super) fn locales(stage: &Stage<'_>) -> Result<Vec<String>, InjectError> {
    // In every C library; the last one in glibc since 2.35, and before that in a directory of its distribution's.
    let mut names = vec!["C".to_owned(), "POSIX".to_owned(), "C.utf8".to_owned()];
    let directory = GuestPath::parse(DIRECTORY)?;
    if there(stage.metadata(&directory))? == Some(FileType::Directory) {
        let entries = stage.read_dir(&directory)?.unwrap_or_default().into_iter();
        let directories = entries.filter(|entry| entry.file_type == FileType::Directory);
        names.extend(directories.filter_map(|entry| String::from_utf8(entry.name).ok()));
    }
    names.extend(archived(stage)?);
    names.sort();
    names.dedup();
    Ok(names)
}

/// Whether a name is one of them, whatever its codeset is spelt like: `de_DE.UTF-8`.
pub(super) fn has(known: &[String], name: &str) -> bool {
    known.iter().any(|one| normal(one) == normal(name))
}

/// A name with its codeset as the C library compares it: letters in lower case and digits.
fn normal(name: &str) -> String {
    let Some((language, rest)) = name.split_once('.') else { return name.to_owned() };
    let (codeset, modifier) = rest.split_once('@').map_or((rest, None), |(codeset, rest)| (codeset, Some(rest)));
    let codeset: String =
        codeset.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_lowercase()).collect();
    let modifier = modifier.map(|modifier| format!("@{modifier}")).unwrap_or_default();
    format!("{language}.{codeset}{modifier}")
}

/// The names in the archive; none where it is missing, or is none.
fn archived(stage: &Stage<'_>) -> Result<Vec<String>, InjectError> {
    let path = GuestPath::parse(ARCHIVE)?;
    if there(stage.metadata(&path))? != Some(FileType::Regular) {
        return Ok(Vec::new());
    }
    let at = stage.resolve(&path)?;
    let mut head = [0; HEAD];
    if stage.base().read_at(&at, &mut head, 0)? < HEAD || number(&head, 0) != Some(MAGIC) {
        return Ok(Vec::new());
    }
    let (Some(table), Some(size)) = (number(&head, 8), number(&head, 16)) else { return Ok(Vec::new()) };
    let size = usize::try_from(size.min(ENTRIES_MAX)).unwrap_or(0);
    let mut entries = vec![0; size.saturating_mul(ENTRY)];
    let read = stage.base().read_at(&at, &mut entries, u64::from(table))?;
    entries.truncate(read);
    let mut names = Vec::new();
    for entry in entries.chunks_exact(ENTRY) {
        // A place that is free has no record of a locale.
        let (Some(name), Some(record)) = (number(entry, 4), number(entry, 8)) else { continue };
        if record == 0 {
            continue;
        }
        let mut text = [0; NAME_MAX];
        let read = stage.base().read_at(&at, &mut text, u64::from(name))?;
        let text = text.get(..read).unwrap_or_default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        names.extend(String::from_utf8(text.to_vec()).ok().filter(|name| !name.is_empty() && name.is_ascii()));
    }
    Ok(names)
}

/// A number of the archive. localedef(1) writes them as the guest's processor has them; nearly all are little-endian.
fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}
