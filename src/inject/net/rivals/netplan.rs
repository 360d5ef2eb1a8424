//! The guest's own files of netplan's, which merges all of them, and makes nothing where it refuses one.

use super::shadow::{NOTHING, Shadow, make_way};
use super::{check_total, file_type, read};
use crate::config_drive::{DocumentError, NODES_MAX, Spelling, value, yaml_of};
use crate::inject::net::unused::BEFORE;
use crate::inject::{InjectError, Outcome};
use imgraft_vfs::fs::{DirEntry, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::shell::word;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{Error, Layer};
use serde_json::Value;
use std::path::Path;

/// Where netplan's files are, the ones that win first.
pub(super) const NETPLAN: [&str; 3] = ["/etc/netplan", "/usr/lib/netplan", "/lib/netplan"];
/// The most of them.
const FILES_MAX: usize = 256;

/// Removes the files that speak of devices or that netplan would refuse, and puts empty ones in the place of those of packages.
pub(super) fn clear(new: &[&str], stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let mut left = NODES_MAX;
    for path in files(stage)? {
        if new.contains(&path.as_str()) || Shadow::Empty.is_over(&path, stage)? {
            continue;
        }
        let at = GuestPath::parse(path.as_str())?;
        let why = match file_type(&at, stage)? {
            // What we cannot read netplan may still read.
            Some(FileType::Regular) => {
                let role = match read(&at, stage)? {
                    Some(text) => role(&text, document(&at, &text, &mut left)?),
                    None => Role::Devices,
                };
                match role {
                    Role::Harmless => continue,
                    Role::Devices => "netplan would mix its devices with these",
                    Role::Refused => "netplan refuses it, and would make nothing of all files",
                }
            }
            _ => "no file is found there, and netplan would make nothing of all files",
        };
        if path.starts_with("/etc/") {
            make_way(&at, stage)?;
            outcome.notes.push(format!("{path}: removed, as {why}"));
        } else {
            Shadow::Empty.cast(&path, why, stage, outcome)?;
        }
    }
    Ok(())
}

/// The files that netplan looks at (`netplan_parser_load_yaml_hierarchy` of its sources), and what is no file there. Refuses a name that is
/// no text.
pub(in crate::inject::net) fn files(stage: &Stage<'_>) -> Result<Vec<String>, InjectError> {
    let mut paths = Vec::new();
    for directory in NETPLAN {
        let path = GuestPath::parse(directory)?;
        if file_type(&path, stage)? != Some(FileType::Directory) {
            continue;
        }
        let mut entries = stage.read_dir(&path)?.unwrap_or_default();
        // As glob(7) has `*.yaml`.
        entries.retain(|entry| entry.name.ends_with(b".yaml") && !entry.name.starts_with(b"."));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for DirEntry { name, .. } in entries {
            let at = path.join(&name)?;
            let Ok(name) = String::from_utf8(name) else { return Err(unnamed(&at)) };
            if stage.resolve(&at).is_ok_and(|place| place.as_bytes() == NOTHING) {
                continue;
            }
            paths.push(format!("{directory}/{name}"));
        }
        if paths.len() > FILES_MAX {
            let error = Error::unsupported(Layer::Filesystem, format!("more than {FILES_MAX} files of netplan's"));
            return Err(error.with_guest_path(directory).with_hint("remove those that nothing needs first").into());
        }
    }
    check_total(paths.iter(), stage)?;
    Ok(paths)
}

/// What a file of netplan's says, which is one of several that have `left` values together ([`NODES_MAX`] at first).
pub(in crate::inject::net) fn document(
    at: &GuestPath,
    text: &[u8],
    left: &mut usize,
) -> Result<Result<Value, DocumentError>, InjectError> {
    let document = yaml_of(text, left);
    if *left > 0 {
        return Ok(document);
    }
    let what = format!("with it netplan's files have {NODES_MAX} values or more (aliases are followed)");
    let error = Error::unsupported(Layer::Filesystem, what).with_guest_path(at.as_bytes());
    Err(error.with_hint("remove those that nothing needs first").into())
}

fn unnamed(at: &GuestPath) -> InjectError {
    // A pattern has a letter for what is none.
    let name = String::from_utf8_lossy(at.as_bytes()).replace(char::REPLACEMENT_CHARACTER, "?");
    let hint = format!("take it away by --delete {}, {BEFORE}", word(Path::new(&name)));
    let what = "netplan reads it, and its name is no text in UTF-8";
    Error::unsupported(Layer::Filesystem, what).with_guest_path(at.as_bytes()).with_hint(hint).into()
}

/// What a text of netplan's is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It says at most who sees to the devices.
    Harmless,
    /// It speaks of devices, or may do so.
    Devices,
    /// netplan refuses it.
    Refused,
}

fn role(text: &[u8], document: Result<Value, DocumentError>) -> Role {
    let of = |is_harmless| if is_harmless { Role::Harmless } else { Role::Refused };
    let Ok(document) = document else {
        return if text.is_empty() { Role::Harmless } else { Role::Devices };
    };
    let Value::Object(keys) = document else {
        // Without any value there is no document, which is nothing.
        let is_nothing = |line: &[u8]| line.trim_ascii().is_empty() || line.trim_ascii_start().starts_with(b"#");
        return of(text.split(|byte| *byte == b'\n').all(is_nothing));
    };
    match keys.get("network") {
        Some(Value::Object(network)) if network.keys().any(|key| key != "version" && key != "renderer") => {
            Role::Devices
        }
        network if keys.len() > usize::from(network.is_some()) => Role::Refused,
        None => Role::Harmless,
        Some(Value::Object(network)) => {
            let is_second = |version: &Value| version.as_f64() == Some(2.0) || version.as_str() == Some("2");
            let is_known = |renderer: &Value| matches!(renderer.as_str(), Some("networkd" | "NetworkManager"));
            of(network.get("version").is_none_or(is_second) && network.get("renderer").is_none_or(is_known))
        }
        Some(_) => Role::Refused,
    }
}

/// Whether a text of netplan's is about devices, and not only about who sees to them.
pub(in crate::inject::net) fn has_devices(text: &[u8]) -> bool {
    role(text, value(text, Spelling::Yaml)) == Role::Devices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::phony;
    use imgraft_vfs::fs::mem::Builder;

    /// What is told, or why it is refused and the way out.
    fn of(guest: Builder) -> Result<Vec<String>, (String, String)> {
        let fs = guest.build().unwrap();
        let (mut stage, mut outcome) = (Stage::new(&fs), Outcome::default());
        match clear(&["/etc/netplan/50-imgraft.yaml"], &mut stage, &mut outcome) {
            Ok(()) => Ok(outcome.notes),
            Err(error) => Err((error.to_string(), error.hint().unwrap_or_default())),
        }
    }

    #[test]
    fn what_is_no_file() {
        let said = of(phony().symlink("/etc/netplan/zz.yaml", "/nowhere")).unwrap();
        assert!(
            said.len() == 1 && said[0].starts_with("/etc/netplan/zz.yaml: removed, as no file is found there"),
            "{said:?}"
        );
        let said = of(phony().symlink("/usr/lib/netplan/zz.yaml", "/nowhere")).unwrap();
        assert!(
            said.len() == 1 && said[0].starts_with("/etc/netplan/zz.yaml: an empty file, in the place of"),
            "{said:?}"
        );
        for kept in [
            phony().symlink("/etc/netplan/zz.yaml", "/dev/null"),
            phony().dir("/etc/netplan/.zz.yaml"),
            phony().dir("/etc/netplan/zz"),
        ] {
            assert_eq!(of(kept).unwrap(), Vec::<String>::new());
        }
        let said = of(phony().dir("/etc/netplan/zz.yaml")).unwrap();
        assert!(said.len() == 1 && said[0].starts_with("/etc/netplan/zz.yaml: removed"), "{said:?}");
        let (refused, hint) = of(phony().file("/etc/netplan/zz.yaml/x", "")).unwrap_err();
        assert!(refused.contains("/etc/netplan/zz.yaml") && refused.contains("not empty"), "{refused}");
        assert!(hint.contains("--delete /etc/netplan/zz.yaml, in a run of its own"), "{hint}");
        let name = b"/etc/netplan/99-\xff.yaml";
        let (refused, hint) = of(phony().file(name, "network: {version: 2}\n")).unwrap_err();
        assert!(refused.contains("is no text in UTF-8"), "{refused}");
        assert!(hint.contains("--delete '/etc/netplan/99-?.yaml', in a run of its own"), "{hint}");
    }

    /// Of all files, with aliases followed.
    #[test]
    fn many_values_are_bounded() {
        let aliases = |count: usize| format!("x: &x [{}]\ny: [{}]\n", "1, ".repeat(1000), "*x, ".repeat(count));
        let of_many =
            |count| of((0..count).fold(phony(), |guest, n| guest.file(format!("/etc/netplan/{n}.yaml"), aliases(100))));
        assert_eq!(of_many(2).unwrap().len(), 2);
        let (refused, hint) = of_many(3).unwrap_err();
        assert!(refused.contains("/etc/netplan/2.yaml") && refused.contains("250000 values or more"), "{refused}");
        assert!(hint.contains("remove those that nothing needs"), "{hint}");
        // One by itself, too, also where it repeats a long text.
        let (refused, _) = of(phony().file("/etc/netplan/a.yaml", aliases(250))).unwrap_err();
        assert!(refused.contains("/etc/netplan/a.yaml") && refused.contains("250000 values or more"), "{refused}");
        let long = format!("x: &x {}\ny: [{}]\n", "a".repeat(100_000), "*x, ".repeat(200));
        let (refused, _) = of(phony().file("/etc/netplan/a.yaml", long)).unwrap_err();
        assert!(refused.contains("250000 values or more"), "{refused}");
    }

    #[test]
    fn many_files_are_bounded() {
        let of_many = |count| of((0..count).fold(phony(), |guest, n| guest.file(format!("/etc/netplan/{n}.yaml"), "")));
        assert!(of_many(FILES_MAX).is_ok());
        let (refused, _) = of_many(FILES_MAX + 1).unwrap_err();
        assert!(refused.contains("/etc/netplan") && refused.contains("more than 256 files"), "{refused}");
    }
}
