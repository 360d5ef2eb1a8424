//! The versions of programs: of cloud-init by its own files, of netplan, which has none that say it, by dpkg's.

use super::{LIMIT, Reader};
use crate::guest::dpkg::{self, Version, parse};
use imgraft_vfs::Result;

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

/// The packages that have what reads the configuration, since 1.1 the second one.
const NETPLAN: [&[u8]; 2] = [b"netplan.io", b"netplan-generator"];

/// The version of a guest's netplan; `None` where dpkg does not say which, or two packages are of different ones.
pub(super) fn netplan(reader: &Reader<'_>) -> Result<Option<Version>> {
    dpkg::version(reader, &NETPLAN)
}

/// What `__VERSION__ = "24.1.3"` says.
fn said(text: &[u8]) -> Option<Version> {
    let text = std::str::from_utf8(text).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("__VERSION__")?.trim_start().strip_prefix('='))?;
    parse(value.trim().trim_matches(['"', '\'']))
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

    #[test]
    fn by_dpkgs() {
        let version = |text: &str| {
            let fs = MemFs::builder().file("/var/lib/dpkg/status", text).build().unwrap();
            netplan(&Reader::new(&fs)).unwrap()
        };
        let package = |name: &str, status: &str, version: &str| {
            format!("Package: {name}\nStatus: {status}\nDescription: x\n Package: netplan.io\nVersion: {version}\n\n")
        };
        let bash = package("bash", "install ok installed", "5.2.15-2");
        let of = |version: &str| package("netplan.io", "install ok installed", version);
        assert_eq!(version(&(bash.clone() + &of("0.106-2+deb12u1") + &bash)), Some((0, 106)));
        assert_eq!(version(of("1.1.2-2ubuntu1").trim_end()), Some((1, 1)));
        assert_eq!(version(&of("1:0.106.1-7").replace('\n', "\r\n")), Some((0, 106)));
        let generator = package("netplan-generator", "hold ok installed", "1.1.2-7");
        assert_eq!(version(&(generator.clone() + &of("1.1.2-7"))), Some((1, 1)));
        assert_eq!(version(&generator), Some((1, 1)));
        assert_eq!(version(&(generator + &of("0.106-2"))), None);
        for text in [
            String::new(),
            bash.clone(),
            package("netplan.io", "deinstall ok config-files", "0.106-2"),
            package("netplan.io-doc", "install ok installed", "0.106-2"),
            of("new"),
            "Package: netplan.io\nVersion: 0.106-2\n".to_owned(),
            "\u{0}".to_owned(),
        ] {
            assert_eq!(version(&text), None, "{text}");
        }
        assert_eq!(netplan(&Reader::new(&MemFs::new())).unwrap(), None);
    }
}
