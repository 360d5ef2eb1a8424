//! Whether a guest runs SELinux, and by which policy: selinux_config(5).

use super::{Reader, Version, dpkg};
use imgraft_vfs::fs::GuestFs;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::{ErrorKind, Result};

const LIMIT: u64 = 256 * 1024;

/// The attribute that holds a file's label.
pub const LABEL: &[u8] = b"security.selinux";

/// The packages of Debian's and Ubuntu's that have libselinux.
const PACKAGES: [&[u8]; 2] = [b"libselinux1", b"libselinux1t64"];

/// The library, and where it is, one level deeper on Debian and its kin; the most of it that is read.
const LIBRARY: &str = "libselinux.so.1";
const LIBRARIES: [&str; 4] = ["/usr/lib64", "/lib64", "/usr/lib", "/lib"];
const LIBRARY_MAX: u64 = 4 * 1024 * 1024;
const DIRECTORIES_MAX: usize = 16;
/// The names by which the library tells which of its versions have an interface (libselinux.map), from the newest that matters on: what has the last one
/// only is older than 3.8.
const INTERFACES: [(&[u8], Version); 4] = [
    (b"\0LIBSELINUX_3.10\0", (3, 10)),
    (b"\0LIBSELINUX_3.9\0", (3, 9)),
    (b"\0LIBSELINUX_3.8\0", (3, 8)),
    (b"\0LIBSELINUX_1.0\0", (1, 0)),
];

/// What the guest's library says of its version.
fn library(reader: &Reader<'_>) -> Result<Option<Version>> {
    for directory in LIBRARIES {
        let deeper = reader.names(directory)?.into_iter().filter(|name| name.contains("-linux-"));
        let directories = std::iter::once(directory.to_owned()).chain(deeper.map(|name| format!("{directory}/{name}")));
        for directory in directories.take(DIRECTORIES_MAX) {
            let Some(library) = reader.file_lenient(&format!("{directory}/{LIBRARY}"), LIBRARY_MAX)? else { continue };
            let has = |name: &[u8]| library.windows(name.len()).any(|bytes| bytes == name);
            return Ok(INTERFACES.iter().find(|(name, _)| has(name)).map(|(_, version)| *version));
        }
    }
    Ok(None)
}

/// What `/etc/selinux/config` says, and what reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selinux {
    /// `SELINUX`.
    pub enforcement: Enforcement,
    /// `SELINUXTYPE`: the directory of the policy below `/etc/selinux`, `targeted` where it is missing as in libselinux;
    /// `None` where it is no name of a directory.
    pub policy: Option<String>,
    /// The version of libselinux, as dpkg or the library itself says, which names the first one of those with the same interfaces; `None` where
    /// it may be any.
    pub libselinux: Option<Version>,
}

/// The states of SELinux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Enforcement {
    Enforcing,
    Permissive,
    Disabled,
}

impl Enforcement {
    /// The word of selinux_config(5).
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforcing => "enforcing",
            Self::Permissive => "permissive",
            Self::Disabled => "disabled",
        }
    }
}

/// What minds labels, or gives them: of policycoreutils. No libselinux, which every Debian has, and no `/etc/selinux`, where libsemanage
/// has its own configuration there.
const PROGRAMS: [&str; 4] = ["restorecon", "setfiles", "fixfiles", "load_policy"];
/// Where the kernel's command line comes from.
const COMMAND_LINES: [&str; 2] = ["/etc/default/grub", "/etc/kernel/cmdline"];

/// Whether a guest without a configuration of SELinux's minds labels all the same: it has some, and a program for them, or a kernel that is
/// told `selinux=1`. Labels alone may be those of the host that its tree was made on.
pub fn is_used(fs: &dyn GuestFs) -> Result<bool> {
    if !is_labelled(fs)? {
        return Ok(false);
    }
    let reader = Reader::new(fs);
    for program in PROGRAMS {
        for directory in ["/usr/sbin", "/sbin", "/usr/bin"] {
            if reader.exists(&format!("{directory}/{program}"))? {
                return Ok(true);
            }
        }
    }
    for path in COMMAND_LINES {
        if reader.file_lenient(path, LIMIT)?.is_some_and(|text| says_selinux(&text)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a command line of the kernel's says `selinux=1`, be it in a shell's variable.
fn says_selinux(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.any(|line| {
        line.split(|char: char| char.is_whitespace() || matches!(char, '"' | '\'')).any(|word| word == "selinux=1")
    })
}

/// Whether a guest's `/` or `/etc` has a label, whatever it is configured to do with that.
fn is_labelled(fs: &dyn GuestFs) -> Result<bool> {
    for path in ["/", "/etc"] {
        let at = match resolve(fs, &GuestPath::parse(path)?, Follow::All) {
            Err(error) if !matches!(error.kind(), ErrorKind::Io | ErrorKind::Corrupt) => continue,
            at => at?,
        };
        if fs.lookup(&at)?.is_some() && fs.xattrs(&at)?.iter().any(|xattr| xattr.name == LABEL) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Selinux {
    pub(super) fn inspect(reader: &Reader<'_>) -> Result<Option<Self>> {
        let Some(text) = reader.file_lenient("/etc/selinux/config", LIMIT)? else { return Ok(None) };
        let libselinux = match dpkg::version(reader, &PACKAGES)? {
            None => library(reader)?,
            version => version,
        };
        Ok(Some(Self { libselinux, ..Self::parse(&text) }))
    }

    /// Whether files need labels.
    pub fn is_active(&self) -> bool {
        self.enforcement != Enforcement::Disabled
    }

    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        // As in libselinux: a file that does not say `SELINUX=` leaves it to the kernel, which begins permissive.
        let mut selinux =
            Self { enforcement: Enforcement::Permissive, policy: Some("targeted".to_owned()), libselinux: None };
        for line in text.lines().map(str::trim) {
            if let Some(value) = line.strip_prefix("SELINUXTYPE=") {
                let value = value.trim();
                let is_name = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
                selinux.policy =
                    (is_name && !value.is_empty() && !value.starts_with('.')).then(|| value.chars().take(64).collect());
            } else if let Some(value) = line.strip_prefix("SELINUX=") {
                match value.trim().to_ascii_lowercase().as_str() {
                    "enforcing" => selinux.enforcement = Enforcement::Enforcing,
                    "permissive" => selinux.enforcement = Enforcement::Permissive,
                    "disabled" => selinux.enforcement = Enforcement::Disabled,
                    _ => {}
                }
            }
        }
        selinux
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::file_contexts::Release;
    use imgraft_vfs::fs::mem::MemFs;

    #[test]
    fn parse_reads_what_distributions_write() {
        let selinux = Selinux::parse(b"# SELINUX= can take\nSELINUX=enforcing\n# x\nSELINUXTYPE=targeted\n");
        let policy = Some("targeted".into());
        assert_eq!(selinux, Selinux { enforcement: Enforcement::Enforcing, policy, libselinux: None });
        assert!(!Selinux::parse(b"SELINUX=disabled").is_active());
        assert!(Selinux::parse(b"").is_active());
        assert_eq!(Selinux::parse(b"SELINUX=permissive").policy.as_deref(), Some("targeted"));
    }

    #[test]
    fn the_library_is_what_dpkg_has() {
        let libselinux = |status: &str| {
            let guest = MemFs::builder().file("/etc/selinux/config", "").file("/var/lib/dpkg/status", status);
            Selinux::inspect(&Reader::new(&guest.build().unwrap())).unwrap().unwrap().libselinux
        };
        let package = |name: &str| format!("Package: {name}\nStatus: install ok installed\nVersion: 3.8.1-1\n\n");
        assert_eq!(libselinux(&package("libselinux1")), Some((3, 8)));
        assert_eq!(libselinux(&package("libselinux1-dev")), None);
    }

    #[test]
    fn the_library_says_itself_what_it_is() {
        let libselinux = |path: &str, names: &[&str]| {
            let library = names.iter().map(|name| format!("\0LIBSELINUX_{name}\0")).collect::<String>();
            let guest = MemFs::builder().file("/etc/selinux/config", "").file(path, format!("\x7fELF{library}"));
            Selinux::inspect(&Reader::new(&guest.build().unwrap())).unwrap().unwrap().libselinux
        };
        let of_red_hat = "/usr/lib64/libselinux.so.1";
        assert_eq!(libselinux(of_red_hat, &["1.0", "3.4", "3.5"]), Some((1, 0)));
        assert_eq!(libselinux(of_red_hat, &["1.0", "3.4", "3.5", "3.8"]), Some((3, 8)));
        assert_eq!(libselinux("/usr/lib/libselinux.so.1", &["1.0", "3.5", "3.8", "3.9"]), Some((3, 9)));
        assert_eq!(
            libselinux("/usr/lib/aarch64-linux-gnu/libselinux.so.1", &["1.0", "3.8", "3.9", "3.10"]),
            Some((3, 10))
        );
        assert_eq!(libselinux(of_red_hat, &[]), None);
        assert_eq!(libselinux("/usr/lib64/libselinux.so", &["1.0"]), None);
    }

    /// Of this machine, by what dpkg has of it.
    #[test]
    fn a_library_of_debians_says_what_dpkg_says() {
        let Some(tool) = crate::oracle::find("dpkg-query") else { return };
        let output = std::process::Command::new(tool).args(["-W", "-f", "${Version}", "libselinux1"]).output().unwrap();
        let version = dpkg::parse(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
        let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let bytes = std::fs::read(format!("{multiarch}/{LIBRARY}")).unwrap();
        let guest = MemFs::builder().file("/etc/selinux/config", "").file(format!("{multiarch}/{LIBRARY}"), bytes);
        let found = Selinux::inspect(&Reader::new(&guest.build().unwrap())).unwrap().unwrap().libselinux.unwrap();
        assert_eq!(Release::of(found), Release::of(version));
    }

    #[test]
    fn a_policy_is_a_name_and_no_path() {
        for text in ["SELINUXTYPE=../../x", "SELINUXTYPE=", "SELINUXTYPE=..", "SELINUXTYPE=a/b", "SELINUXTYPE=\u{fffd}"]
        {
            assert_eq!(Selinux::parse(text.as_bytes()).policy, None, "{text}");
        }
    }
}
