//! What startpar(8), which starts the scripts of Debian's runlevels, knows of them.

use crate::inject::{InjectError, READ_LIMIT, ROOT_FILE};
use imgraft_vfs::fs::Content;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::collections::BTreeSet;

/// Where insserv(8) writes which scripts there are, and after which others each is started.
const FILE: &str = ".depend.start";
/// What the list of all scripts begins with.
const TARGETS: &[u8] = b"TARGETS =";

/// Has startpar start a script of this directory (`init.d`), after all others: it starts none that its file has not, whatever links
/// there are. Where the file is missing or empty, the links alone count (`/lib/init/rc` of sysv-rc).
pub(super) fn add(directory: &GuestPath, script: &str, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let path = directory.join(FILE)?;
    let Some(mut text) = stage.read(&path, READ_LIMIT)?.filter(|text| !text.is_empty()) else { return Ok(()) };
    let others = scripts(&text);
    if others.contains(script.as_bytes()) {
        return Ok(());
    }
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let mut line = |name: &[u8]| {
        text.extend_from_slice(script.as_bytes());
        text.extend_from_slice(b":");
        text.extend_from_slice(name);
        text.push(b'\n');
    };
    // A line each: startpar reads no more than 2,048 bytes of one.
    for name in &others {
        line(&[b" ", name.as_slice()].concat());
    }
    if others.is_empty() {
        line(b"");
    }
    super::put(&path, Content::bytes(text), ROOT_FILE, stage)
}

/// The names of the scripts: the targets, and what has a line of its own.
fn scripts(text: &[u8]) -> BTreeSet<Vec<u8>> {
    let names = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start).filter(|line| !line.starts_with(b"#"));
    let names = names.flat_map(|line| match line.strip_prefix(TARGETS) {
        Some(targets) => targets.split(u8::is_ascii_whitespace).collect(),
        None => line
            .iter()
            .position(|byte| *byte == b':')
            .map(|end| line[..end].trim_ascii())
            .into_iter()
            .collect::<Vec<_>>(),
    });
    names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

    fn added(text: &str) -> String {
        let fs = MemFs::builder().file("/etc/init.d/.depend.start", text).build().unwrap();
        let mut stage = Stage::new(&fs);
        let directory = GuestPath::parse("/etc/init.d").unwrap();
        for _ in 0..2 {
            add(&directory, "ours", &mut stage).unwrap();
        }
        let path = GuestPath::parse("/etc/init.d/.depend.start").unwrap();
        String::from_utf8(stage.read(&path, READ_LIMIT).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn what_a_link_leads_to_stays() {
        let theirs = "TARGETS = ssh\n";
        let tree = MemFs::builder().file("/srv/depend", theirs).symlink("/etc/init.d/.depend.start", "/srv/depend");
        let fs = tree.build().unwrap();
        let mut stage = Stage::new(&fs);
        add(&GuestPath::parse("/etc/init.d").unwrap(), "ours", &mut stage).unwrap();
        let read = |path: &str| stage.read(&GuestPath::parse(path).unwrap(), READ_LIMIT).unwrap().unwrap();
        assert_eq!(read("/srv/depend"), theirs.as_bytes());
        assert_eq!(read("/etc/init.d/.depend.start"), b"TARGETS = ssh\nours: ssh\n");
    }

    #[test]
    fn after_all_others_and_once() {
        let theirs = "TARGETS = ssh rc.local\nINTERACTIVE =\nrc.local: ssh\nsingle:\n";
        let ours = "ours: rc.local\nours: single\nours: ssh\n";
        assert_eq!(added(theirs), format!("{theirs}{ours}"));
        assert_eq!(added("TARGETS = a"), "TARGETS = a\nours: a\n");
        assert_eq!(added("TARGETS =\n"), "TARGETS =\nours:\n");
        assert_eq!(added(""), "");
        // As insserv has it, once it has looked.
        let known = "TARGETS = ssh ours\nINTERACTIVE =\nours: ssh\n";
        assert_eq!(added(known), known);
    }
}
