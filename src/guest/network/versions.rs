//! The version of cloud-init, by its own files.

use super::{LIMIT, Reader};
use imgraft_vfs::Result;

/// The first two numbers of a version.
pub type Version = (u32, u32);

/// Where distributions have cloud-init's modules; `python3` may have a number of its own behind it.
const LIBRARIES: [&str; 2] = ["/usr/lib", "/usr/local/lib"];
/// What is below a directory of Python's.
const MODULES: [&str; 2] = ["dist-packages/cloudinit/version.py", "site-packages/cloudinit/version.py"];

/// The version of a guest's cloud-init; `None` where nothing says which, or two files say different ones.
pub(super) fn cloud_init(reader: &Reader<'_>) -> Result<Option<Version>> {
    let mut found = None;
    for library in LIBRARIES {
        for python in reader.names(library)?.into_iter().filter(|name| name.starts_with("python3")) {
            for module in MODULES {
                let text = reader.file_lenient(&format!("{library}/{python}/{module}"), LIMIT)?;
                let Some(version) = text.as_deref().and_then(said) else { continue };
                if found.is_some_and(|other| other != version) {
                    return Ok(None);
                }
                found = Some(version);
            }
        }
    }
    Ok(found)
}

/// What `__VERSION__ = "24.1.3"` says.
fn said(text: &[u8]) -> Option<Version> {
    let text = std::str::from_utf8(text).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("__VERSION__")?.trim_start().strip_prefix('='))?;
    parse(value.trim().trim_matches(['"', '\'']))
}

/// The first two numbers of a version: of `1:24.1.3-0ubuntu1` 24 and 1.
fn parse(text: &str) -> Option<Version> {
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    let mut numbers = text.split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

    #[test]
    fn by_its_own_files() {
        let version = |files: &[(&str, &str)]| {
            let builder = files.iter().fold(MemFs::builder(), |builder, (path, text)| builder.file(*path, *text));
            let fs = builder.build().unwrap();
            cloud_init(&Reader::new(&fs)).unwrap()
        };
        let debian = "/usr/lib/python3/dist-packages/cloudinit/version.py";
        let fedora = "/usr/lib/python3.12/site-packages/cloudinit/version.py";
        let text = "from cloudinit import x\n\n__VERSION__ = \"24.1.3\"\n_PACKAGED_VERSION = \"24.1.3-0ubuntu3\"\n";
        assert_eq!(version(&[(debian, text)]), Some((24, 1)));
        assert_eq!(version(&[(fedora, text)]), Some((24, 1)));
        assert_eq!(version(&[(debian, "__VERSION__ = '22.4.2'\n")]), Some((22, 4)));
        assert_eq!(version(&[(debian, text), (fedora, "__VERSION__ = '22.4.2'\n")]), None);
        for other in
            ["", "__VERSION__ = VERSION\n", "__VERSION__ = \"24\"\n", "__VERSION__ = \"99999999999.1\"\n", "\u{0}"]
        {
            assert_eq!(version(&[(debian, other)]), None, "{other}");
        }
        assert_eq!(version(&[]), None);
        assert_eq!(parse("1:0.106.1-7ubuntu0.22.04.4"), Some((0, 106)));
    }
}
