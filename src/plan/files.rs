//! What is to be done to files of the guest.

use super::copy_in::copy_in;
use super::faults::Faults;
use super::item_of;
use super::tar_in::tar_in;
use crate::cli::{self, Order, Ordered};
use crate::failure::Failure;
use crate::inject::{FileMode, FileOperation, Item, PathPattern, Substitution, alternatives};
use imgraft_vfs::fs::{Content, Timestamp};
use imgraft_vfs::path::GuestPath;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What makes operations of a text that was typed.
type Reader<'a> = &'a dyn Fn(&str) -> Result<Vec<FileOperation>, Failure>;

/// How many of the operations come before an item, where that has options.
pub(super) type Places = BTreeMap<Item, usize>;

/// The operations in the order of the command line, and the places of the items among them. `now` is the time of this run's changes.
pub(super) fn operations(
    typed: &cli::Inject,
    order: &Order,
    now: Timestamp,
    faults: &mut Faults,
) -> (Vec<FileOperation>, Places) {
    let result = typed.writing.output.as_deref().or(typed.writing.overlay.as_deref());
    let written: Vec<&Path> = typed.target.file.image.as_deref().into_iter().chain(result).collect();
    let files = &typed.files;
    let (mut operations, mut places) = (Vec::new(), Places::new());
    for &(ordered, number) in &order.values {
        let (option, texts, read): (&str, &[String], Reader<'_>) = match ordered {
            Ordered::Upload => ("--upload", &files.upload, &|typed| one(upload(typed, result))),
            Ordered::CopyIn => ("--copy-in", &files.copy_in, &|typed| one(copy_in(typed, &written))),
            Ordered::TarIn => ("--tar-in", &files.tar_in, &|typed| one(tar_in(typed, &written))),
            Ordered::Copy => ("--copy", &files.copy, &|typed| one(copied(typed))),
            Ordered::Move => ("--move", &files.moved, &|typed| one(moved(typed))),
            Ordered::Write => ("--write", &files.write, &|typed| one(write(typed))),
            Ordered::AppendLine => ("--append-line", &files.append_line, &|typed| one(append_line(typed))),
            Ordered::Edit => ("--edit", &files.edit, &|typed| one(edit(typed))),
            Ordered::Mkdir => {
                ("--mkdir", &files.mkdir, &|typed| one(at(typed).map(|path| FileOperation::MakeDirectory { path })))
            }
            Ordered::Link => ("--link", &files.link, &links),
            Ordered::Delete => ("--delete", &files.delete, &|typed| {
                deletions(typed).map_err(|failure| failure.within(&format!("--delete {typed}")))
            }),
            Ordered::Scrub => {
                ("--scrub", &files.scrub, &|typed| one(at(typed).map(|path| FileOperation::Scrub { path })))
            }
            Ordered::Touch => {
                ("--touch", &files.touch, &|typed| one(at(typed).map(|path| FileOperation::Touch { path, now })))
            }
            Ordered::Truncate => {
                ("--truncate", &files.truncate, &|typed| one(at(typed).map(|path| FileOperation::Truncate { path })))
            }
            Ordered::TruncateRecursive => ("--truncate-recursive", &files.truncate_recursive, &|typed| {
                one(at(typed).map(|path| FileOperation::TruncateBelow { path }))
            }),
            Ordered::Chown => ("--chown", &files.chown, &|typed| one(chown(typed))),
            Ordered::Chmod => ("--chmod", &files.chmod, &|typed| one(chmod(typed))),
            // Of these the last option counts.
            Ordered::Item(item @ (cli::ItemName::Hostname | cli::ItemName::Timezone)) => {
                places.insert(item_of(item), operations.len());
                continue;
            }
            Ordered::Item(item) => {
                places.entry(item_of(item)).or_insert(operations.len());
                continue;
            }
            Ordered::Firstboot | Ordered::FirstbootCommand | Ordered::FirstbootInstall => continue,
        };
        if let Some(typed) = texts.get(number) {
            operations.extend(faults.keep(&format!("{option}[{number}]"), read(typed)).into_iter().flatten());
        }
    }
    (operations, places)
}

fn one(operation: Result<FileOperation, Failure>) -> Result<Vec<FileOperation>, Failure> {
    operation.map(|operation| vec![operation])
}

fn at(typed: &str) -> Result<GuestPath, Failure> {
    Ok(GuestPath::parse(typed)?)
}

fn copied(typed: &str) -> Result<FileOperation, Failure> {
    let (source, destination) = inside("--copy", typed)?;
    Ok(FileOperation::Copy { source, destination })
}

fn moved(typed: &str) -> Result<FileOperation, Failure> {
    let (source, destination) = inside("--move", typed)?;
    Ok(FileOperation::Move { source, destination })
}

/// Two paths of the guest.
fn inside(option: &str, typed: &str) -> Result<(GuestPath, GuestPath), Failure> {
    let colon = typed.find(":/").filter(|_| typed.starts_with('/'));
    let colon = colon.ok_or_else(|| {
        Failure::usage(format!("{option} {typed}: not SOURCE:DEST, both absolute paths in the guest"))
    })?;
    Ok((at(&typed[..colon])?, at(&typed[colon + 1..])?))
}

fn append_line(typed: &str) -> Result<FileOperation, Failure> {
    // The typed text is not repeated: the line may be a secret.
    let (path, line) = typed.split_once(':').ok_or_else(|| Failure::usage("--append-line: not FILE:LINE"))?;
    appended("--append-line", path, line)
}

pub(super) fn appended(option: &str, path: &str, line: &str) -> Result<FileOperation, Failure> {
    if line.contains('\n') {
        return Err(Failure::usage(format!("{option} {path}: more than one line"))
            .with_hint("name the file once for each line"));
    }
    Ok(FileOperation::AppendLine { path: at(path)?, line: line.to_owned() })
}

fn edit(typed: &str) -> Result<FileOperation, Failure> {
    let (path, expression) = typed.split_once(':').ok_or_else(|| Failure::usage("--edit: not FILE:EXPR"))?;
    edited("--edit", path, expression)
}

pub(super) fn edited(option: &str, path: &str, expression: &str) -> Result<FileOperation, Failure> {
    let substitution = Substitution::parse(expression).map_err(|reason| {
        Failure::usage(format!("{option} {path}: {reason}"))
            .with_hint("no Perl runs here: `imgraft cat IMAGE FILE`, edit what it prints, and --upload that")
    })?;
    Ok(FileOperation::Edit { path: at(path)?, substitution })
}

fn links(typed: &str) -> Result<Vec<FileOperation>, Failure> {
    let usage = || Failure::usage(format!("--link {typed}: not TARGET:LINK[:LINK...]"));
    let (target, links) = typed.split_once(':').filter(|(target, _)| !target.is_empty()).ok_or_else(usage)?;
    links.split(':').map(|path| Ok(FileOperation::LinkInto { target: target.to_owned(), path: at(path)? })).collect()
}

/// The paths that a pattern with braces means; with a slash at its end the directories alone.
pub(super) fn deletions(typed: &str) -> Result<Vec<FileOperation>, Failure> {
    let wrong = |reason: &str| Failure::usage(format!("not a pattern: {reason}"));
    let texts = alternatives(typed).ok_or_else(|| wrong("its braces mean more than 256 paths"))?;
    let deletion = |text: &String| {
        let pattern = PathPattern::new(at(text)?).map_err(|reason| wrong(&reason))?;
        let pattern = if text.ends_with('/') { pattern.of_directories() } else { pattern };
        Ok(FileOperation::Delete { pattern })
    };
    texts.iter().map(deletion).collect()
}

fn upload(typed: &str, result: Option<&Path>) -> Result<FileOperation, Failure> {
    let (file, destination) = source_and_destination("--upload", typed)?;
    let name = Path::new(file).file_name().and_then(|name| name.to_str());
    Ok(match (uploaded("--upload", Path::new(file), &destination, result)?, name) {
        (FileOperation::Put { destination, content, mode }, Some(name)) => {
            FileOperation::Upload { name: name.to_owned(), destination, content, mode }
        }
        (put, _) => put,
    })
}

/// Puts a host file where it was said to go. `result` is the file that this run makes.
pub(super) fn uploaded(
    option: &str,
    file: &Path,
    destination: &str,
    result: Option<&Path>,
) -> Result<FileOperation, Failure> {
    if let Some(result) = result.filter(|result| is_same_file(result, file)) {
        let (file, result) = (file.display(), result.display());
        return Err(Failure::usage(format!("{option} {file}: the result would replace it ({result})"))
            .with_hint("give the result another name"));
    }
    if file.is_dir() {
        return Err(Failure::usage(format!("{option} {}: it is a directory", file.display())).with_hint(
            "--copy-in copies a directory with all that is in it, below one of the guest; --upload takes each file",
        ));
    }
    let (content, metadata) = Content::open_with_metadata(file)?;
    // Set-user-ID and the like are not carried into a guest unasked; --chmod sets them.
    let mode = FileMode::Always((metadata.permissions().mode() & 0o777) as u16);
    Ok(FileOperation::Put { destination: GuestPath::parse(destination)?, content, mode })
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    identity(a).is_some_and(|a| Some(a) == identity(b))
}

/// A file of the host, and where it goes in the guest.
pub(super) fn source_and_destination<'a>(option: &str, typed: &'a str) -> Result<(&'a str, String), Failure> {
    // The last colon that is followed by a slash: host names with colons stay whole.
    typed
        .rfind(":/")
        .map(|colon| (&typed[..colon], &typed[colon + 1..]))
        .filter(|(file, _)| !file.is_empty())
        .map(|(file, destination)| (file, file_destination(file, destination)))
        .ok_or_else(|| Failure::usage(format!("{option} {typed}: not FILE:DEST with an absolute DEST")))
}

/// A destination that ends with a slash is the directory that the file goes into, as for cp(1).
pub(super) fn file_destination(file: &str, destination: &str) -> String {
    match Path::new(file).file_name().and_then(|name| name.to_str()) {
        Some(name) if destination.ends_with('/') => format!("{destination}{name}"),
        _ => destination.to_owned(),
    }
}

fn write(typed: &str) -> Result<FileOperation, Failure> {
    // The typed text is not repeated: the content may be a secret.
    let (destination, content) = typed.split_once(':').ok_or_else(|| Failure::usage("--write: not DEST:CONTENT"))?;
    Ok(FileOperation::Put {
        destination: GuestPath::parse(destination)?,
        content: Content::bytes(content.as_bytes()),
        mode: FileMode::WhereNew(0o644),
    })
}

fn chown(typed: &str) -> Result<FileOperation, Failure> {
    let mut parts = typed.splitn(3, ':');
    let (Some(user), Some(group), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Failure::usage(format!("--chown {typed}: not USER:GROUP:PATH")));
    };
    let named = |name: &str| if name.is_empty() { None } else { Some(name.to_owned()) };
    if user.is_empty() && group.is_empty() {
        return Err(Failure::usage(format!("--chown {typed}: neither user nor group given")));
    }
    Ok(FileOperation::Chown { user: named(user), group: named(group), path: GuestPath::parse(path)? })
}

fn chmod(typed: &str) -> Result<FileOperation, Failure> {
    let usage = |reason: &str| Failure::usage(format!("--chmod {typed}: {reason}"));
    let (digits, path) = typed.split_once(':').ok_or_else(|| usage("not MODE:PATH").with_hint(MODES))?;
    let mode = mode(digits).ok_or_else(|| usage("no mode, of which 07777 is the largest").with_hint(MODES))?;
    Ok(FileOperation::Chmod { mode, path: GuestPath::parse(path)? })
}

const MODES: &str =
    "--chmod 0644:/path gives rw-r--r--; a mode without the leading 0 is decimal, as for virt-customize";

/// Permission bits: octal digits after a 0, else decimal ones, as virt-customize reads them (`int_of_string` in customize_run.ml).
fn mode(digits: &str) -> Option<u16> {
    let radix = if digits.starts_with('0') { 8 } else { 10 };
    let mode = u16::from_str_radix(digits, radix).ok().filter(|mode| *mode <= 0o7777)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then_some(mode)
}

/// What is told of permission bits that are given as a decimal number, of those that are right.
pub(super) fn decimal_modes(typed: &cli::Files) -> Vec<String> {
    let told = |typed: &String| {
        let (digits, path) = typed.split_once(':').filter(|(digits, _)| !digits.starts_with('0'))?;
        let mode = mode(digits)?;
        Some(format!("--chmod {digits}:{path}: {digits} is decimal, as virt-customize reads it: mode {mode:04o}"))
    };
    typed.chmod.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn modes_are_octal_after_a_zero_and_decimal_else() {
        for (typed, bits) in
            [("0640", 0o640), ("416", 0o640), ("0", 0), ("4095", 0o7777), ("07777", 0o7777), ("644", 0o1204)]
        {
            let operation = chmod(&format!("{typed}:/a")).unwrap();
            assert!(matches!(operation, FileOperation::Chmod { mode, .. } if mode == bits), "{typed}: {operation:?}");
        }
        for typed in ["08:/a", "010000:/a", "4096:/a", "65536:/a", "+7:/a", "-1:/a", "0x1:/a", ":/a", "u+x:/a", "0640"]
        {
            let failure = chmod(typed).unwrap_err();
            assert!(failure.hints.join("").contains("--chmod 0644:/path"), "{typed}: {failure:?}");
        }
        assert!(chmod("0640:a").is_err());
    }

    #[test]
    fn owners_may_be_partial() {
        assert!(matches!(chown("www:data:/a").unwrap(), FileOperation::Chown { user: Some(_), group: Some(_), .. }));
        assert!(matches!(chown(":0:/a").unwrap(), FileOperation::Chown { user: None, group: Some(_), .. }));
        for typed in ["::/a", "a:b", "a:b:c"] {
            assert!(chown(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_destination_with_a_slash_is_a_directory() {
        assert_eq!(file_destination("a/b.conf", "/etc/"), "/etc/b.conf");
        assert_eq!(file_destination("a/b.conf", "/etc/c"), "/etc/c");
    }

    #[test]
    fn a_directory_is_no_file() {
        let failure = upload("/:/etc/x", None).unwrap_err();
        assert!(failure.message.contains("a directory"), "{}", failure.message);
        assert!(failure.hints.join("").contains("each file"), "{:?}", failure.hints);
    }

    #[test]
    fn in_the_order_typed() {
        use clap::{CommandFactory, FromArgMatches};
        let words = "imgraft inject x --mkdir /b --touch /c --hostname h --mkdir /a --ssh-inject a --root-password random --link t:/l:/m --delete /d* --append-line /e:f:g \
                     --edit /h:s/a:b/c/ --truncate /i --truncate-recursive /j --ssh-inject b --write /k:";
        let matches = cli::Cli::command().get_matches_from(words.split_whitespace());
        let order = cli::order(matches.subcommand_matches("inject").unwrap());
        let cli::Command::Inject(typed) = cli::Cli::from_arg_matches(&matches).unwrap().command else { panic!() };
        let now = Timestamp { seconds: 7, nanoseconds: 0 };
        let (operations, places) = operations(&typed, &order, now, &mut Faults::default());
        assert_eq!(places, [(Item::Hostname, 2), (Item::Key, 3)].into());
        let path = |path: &str| GuestPath::parse(path).unwrap();
        assert!(matches!(&operations[..], [
            FileOperation::MakeDirectory { path: b },
            FileOperation::Touch { now: time, .. },
            FileOperation::MakeDirectory { path: a },
            FileOperation::LinkInto { target, path: l },
            FileOperation::LinkInto { path: m, .. },
            FileOperation::Delete { .. },
            FileOperation::AppendLine { line, .. },
            FileOperation::Edit { .. },
            FileOperation::Truncate { .. },
            FileOperation::TruncateBelow { .. },
            FileOperation::Put { .. },
        ] if (b, a, l, m) == (&path("/b"), &path("/a"), &path("/l"), &path("/m")) && *time == now && target == "t" && line == "f:g"));
    }

    #[test]
    fn what_is_no_operation() {
        for typed in ["/a", "/a:", "/a:b", "a:/b", ":/b", "/a/../b:/c"] {
            assert!(moved(typed).is_err(), "{typed}");
        }
        let operation = moved("/a:b:/c:/d").unwrap();
        assert!(
            matches!(&operation, FileOperation::Move { source, destination }
            if (source, destination) == (&at("/a:b").unwrap(), &at("/c:/d").unwrap())),
            "{operation:?}"
        );
        for refused in [append_line("/a"), append_line("/a:b\nc"), edit("/a"), edit("/a:y/a/b/")] {
            assert_eq!(refused.unwrap_err().exit, Exit::Usage);
        }
        for refused in ["a", "/[z-a]", "/a/{b,[z-a]}", &format!("/{}", "{a,b}".repeat(9))] {
            assert_eq!(deletions(refused).unwrap_err().exit, Exit::Usage);
        }
        assert_eq!(deletions("/a{b,c*/}").unwrap().len(), 2);
        for typed in ["t", ":/l", "t:", "t:l"] {
            assert!(links(typed).is_err(), "{typed}");
        }
    }
}
