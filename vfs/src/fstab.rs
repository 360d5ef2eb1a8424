//! What a guest says of its filesystems: fstab(5).

use crate::path::GuestPath;

/// A line of fstab that is about something mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number of the line, from 1.
    pub line: usize,
    /// The first field, without escapes; bytes that are not UTF-8 are replaced.
    pub spec: String,
    /// Where.
    pub path: GuestPath,
    /// The filesystem's name, `auto` where it is not said.
    pub filesystem: String,
    options: String,
}

impl Entry {
    /// Whether it has this option.
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|word| word == option)
    }

    /// The value of this option; empty where it has none.
    pub fn value(&self, option: &str) -> Option<&str> {
        let named = |word: &'_ str| word.split_once('=').map_or(word == option, |(name, _)| name == option);
        self.options.split(',').find(|word| named(word)).map(|word| word.split_once('=').map_or("", |(_, value)| value))
    }
}

/// The value of a tag (`LABEL=…`) without the quotes of either kind around it; `None` where a quote has no end, or something
/// stands behind it.
///
/// As libblkid(3) and systemd take them: they differ in what is `None` here.
pub fn unquoted(value: &str) -> Option<&str> {
    match value.chars().next().filter(|quote| ['"', '\''].contains(quote)) {
        Some(quote) => value.strip_prefix(quote)?.strip_suffix(quote),
        None => Some(value),
    }
}

/// A line of fstab that is neither empty nor a comment, in fields as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'t> {
    /// Its number, from 1.
    pub number: usize,
    fields: Vec<&'t [u8]>,
}

/// The lines of an fstab that say something, in their order.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    (1..).zip(text.split(|byte| *byte == b'\n')).filter_map(|(number, text)| {
        let fields: Vec<&[u8]> = fields(text).collect();
        let says = fields.first().is_some_and(|field| !field.starts_with(b"#"));
        says.then_some(Line { number, fields })
    })
}

impl Line<'_> {
    /// What it mounts; `None` for swap space and for a place that is called `none`. The error is a clause that says why it is
    /// passed over.
    pub fn entry(&self) -> Result<Option<Entry>, String> {
        let [spec, filesystem] = [self.spec(), plain(self.field(2).unwrap_or(b"auto"))];
        // `none`, and `swap` of old.
        let path = unescape(self.field(1).ok_or("it has one field")?);
        if filesystem == "swap" || !path.starts_with(b"/") {
            return Ok(None);
        }
        let path = GuestPath::parse(&path).map_err(|error| error.to_string())?;
        Ok(Some(Entry { line: self.number, spec, path, filesystem, options: self.options() }))
    }

    /// What is swap space by it, and its options; `None` where it is about something else.
    pub fn swap(&self) -> Option<(String, Vec<String>)> {
        let options = || self.options().split(',').map(str::to_owned).collect();
        (self.field(2) == Some(b"swap")).then(|| (self.spec(), options()))
    }

    /// How many fields it has, at least one.
    pub fn count(&self) -> usize {
        self.fields.len()
    }

    /// The place as it is written, without escapes; bytes that are not UTF-8 are replaced.
    pub fn place(&self) -> Option<String> {
        self.field(1).map(plain)
    }

    /// The first of the last two fields, which say whether it is dumped and when it is checked, that is no number.
    pub fn misplaced(&self) -> Option<String> {
        let is_number = |field: &[u8]| std::str::from_utf8(field).is_ok_and(|digits| digits.parse::<i32>().is_ok());
        [4, 5].into_iter().filter_map(|at| self.field(at)).find(|field| !is_number(field)).map(plain)
    }

    fn spec(&self) -> String {
        self.field(0).map(plain).unwrap_or_default()
    }

    fn options(&self) -> String {
        plain(self.field(3).unwrap_or(b"defaults"))
    }

    fn field(&self, at: usize) -> Option<&[u8]> {
        self.fields.get(at).copied()
    }
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|field| !field.is_empty())
}

/// How many lines that are left out are told of one by one.
const NOTES_MAX: usize = 16;

/// The entries of an fstab, and what is odd and left out, a clause each.
pub fn parse(text: &[u8]) -> (Vec<Entry>, Vec<String>) {
    let mut entries = Vec::new();
    let mut notes = Notes::default();
    for line in lines(text) {
        match line.entry() {
            Ok(entry) => entries.extend(entry),
            Err(why) => notes.push(|| format!("line {} of /etc/fstab is left out: {why}", line.number)),
        }
    }
    (entries, notes.told())
}

/// The files that an fstab has for swap space, in its order.
pub fn swap_files(text: &[u8]) -> Vec<GuestPath> {
    let file = |line: Line<'_>| {
        line.swap()?;
        let spec = unescape(line.field(0)?);
        let is_file = spec.starts_with(b"/") && !spec.starts_with(b"/dev/");
        is_file.then(|| GuestPath::parse(&spec).ok()).flatten()
    };
    lines(text).filter_map(file).collect()
}

/// What is left out.
#[derive(Default)]
struct Notes {
    told: Vec<String>,
    others: usize,
}

impl Notes {
    fn push(&mut self, note: impl FnOnce() -> String) {
        if self.told.len() < NOTES_MAX {
            self.told.push(note());
        } else {
            self.others = self.others.saturating_add(1);
        }
    }

    fn told(mut self) -> Vec<String> {
        if self.others > 0 {
            self.told.push(format!("{} more lines of /etc/fstab are left out", self.others));
        }
        self.told
    }
}

fn plain(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// A field without its escapes: three octal digits after a backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let value = match (first, after.get(..3)) {
            (b'\\', Some(digits)) => std::str::from_utf8(digits).ok().and_then(octal),
            _ => None,
        };
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    bytes
}

fn octal(digits: &str) -> Option<u8> {
    digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)).then(|| u8::from_str_radix(digits, 8).ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_installers_write() {
        let text = b"# /etc/fstab: static file system information.\n\
            UUID=6d677261-6674-4000-8000-000000000001 /               ext4    errors=remount-ro 0       1\n\
            \n\
            PARTUUID=0000-01\t/boot/efi\tvfat\tumask=0077\t0\t1\n\
            \t/dev/mapper/vg-home  /home xfs\n\
            UUID=x none swap sw 0 0\n\
            /swapfile swap swap defaults 0 0\n\
            LABEL=a\\040b /srv/mit\\040Leerzeichen auto noauto,x-systemd.automount\n\
            /dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\r\n\
            lonely\n\
            UUID=y /a/../b ext4\n\
            UUID=z /data\n";
        let (entries, notes) = parse(text);
        let told: Vec<_> = entries.iter().map(|e| (e.line, &*e.spec, e.path.as_bytes(), &*e.filesystem)).collect();
        let expected: [(usize, &str, &[u8], &str); 6] = [
            (2, "UUID=6d677261-6674-4000-8000-000000000001", b"/", "ext4"),
            (4, "PARTUUID=0000-01", b"/boot/efi", "vfat"),
            (5, "/dev/mapper/vg-home", b"/home", "xfs"),
            (8, "LABEL=a b", b"/srv/mit Leerzeichen", "auto"),
            (9, "/dev/sr0", b"/media/cdrom0", "udf,iso9660"),
            (12, "UUID=z", b"/data", "auto"),
        ];
        assert_eq!(told, expected);
        assert!(entries[3].has("noauto") && entries[3].has("x-systemd.automount") && !entries[3].has("auto"));
        assert_eq!(entries[1].value("umask"), Some("0077"));
        assert_eq!((entries[3].value("noauto"), entries[3].value("subvol")), (Some(""), None));
        assert_eq!(notes.len(), 2);
        assert!(notes[0].contains("line 10") && notes[1].contains("line 11") && notes[1].contains("'..'"), "{notes:?}");
    }

    #[test]
    fn files_for_swap_space() {
        let text = b"# /no swap swap\n\
            /swap.img none swap sw 0 0\n\
            /dev/sda2 none swap sw\n\
            UUID=x none swap sw\n\
            /var/mit\\040Leerzeichen\tswap\tswap\r\n\
            /a/../b none swap\n\
            /image /mnt ext4 loop\n\
            /short none\n";
        let files = swap_files(text);
        assert_eq!(
            files.iter().map(GuestPath::as_bytes).collect::<Vec<_>>(),
            [&b"/swap.img"[..], b"/var/mit Leerzeichen"]
        );
    }

    #[test]
    fn lines_that_are_left_out_are_told_of_to_an_end() {
        let (entries, notes) = parse("x\n".repeat(NOTES_MAX + 3).as_bytes());
        assert_eq!((entries.len(), notes.len()), (0, NOTES_MAX + 1));
        assert_eq!(notes[NOTES_MAX], "3 more lines of /etc/fstab are left out");
    }

    #[test]
    fn escapes() {
        for (field, plain) in [
            (&b"\\040"[..], &b" "[..]),
            (b"a\\134040", b"a\\040"),
            (b"\\04", b"\\04"),
            (b"\\400", b"\\400"),
            (b"\\xyz\\011", b"\\xyz\t"),
            (b"\\", b"\\"),
            (b"\\377\\000", b"\xff\0"),
            (b"\\08 ", b"\\08 "),
        ] {
            assert_eq!(unescape(field), plain, "{}", field.escape_ascii());
        }
        // A NUL comes into no path.
        let (entries, notes) = parse(b"UUID=a /a\\000b ext4\n");
        assert_eq!((entries.len(), notes.len()), (0, 1));
    }
}
