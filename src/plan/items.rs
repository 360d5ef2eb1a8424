//! From the options typed to the injectors.

use super::firstboot;
use super::injected::Injected;
use super::network::network;
use super::selector;
use crate::cli::{self, Ordered};
use crate::failure::Failure;
use crate::inject::authorized_keys;
use crate::inject::{
    Compat, FileOperation, Files, Firstboot, HostName, Hostname, Injector, Keys, Metadata, Passwords, Selector,
    Timezone, Zone,
};
use imgraft_vfs::fs::Content;
use imgraft_vfs::path::GuestPath;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest key, network or metadata file that is read, in bytes.
const TEXT_MAX: u64 = 1 << 20;

/// The injectors that the options ask for, in the order of the items.
pub(super) fn injectors(
    typed: &cli::Inject,
    order: &[Ordered],
    compat: Compat,
) -> Result<Vec<Box<dyn Injector>>, Failure> {
    let instance = typed.instance.as_deref().map(|path| Injected::new(path, compat)).transpose()?.unwrap_or_default();
    let mut injectors: Vec<Box<dyn Injector>> = Vec::new();
    let mut keys: Vec<(String, String)> = instance.key.map(|key| ("root".to_owned(), key)).into_iter().collect();
    if !keys.is_empty() || !typed.ssh_inject.is_empty() {
        for value in &typed.ssh_inject {
            let (user, lines) = key(value)?;
            keys.extend(lines.into_iter().map(|line| (user.clone(), line)));
        }
        injectors.push(Box::new(Keys { keys, compat }));
    }
    if let Some(net) = network(&typed.network, instance.network, compat)? {
        injectors.push(Box::new(net));
    }
    if let Some(typed) = &typed.hostname {
        let name = HostName::parse(typed)
            .map_err(|reason| Failure::usage(format!("--hostname {}: {reason}", shorten(typed))))?;
        injectors.push(Box::new(Hostname { name }));
    }
    if let Some(typed) = &typed.timezone {
        let zone = Zone::parse(typed).ok_or_else(|| {
            Failure::usage(format!("--timezone {}: no name of a time zone", shorten(typed)))
                .with_hint("--timezone Europe/Berlin, say, or UTC")
        })?;
        injectors.push(Box::new(Timezone { zone }));
    }
    let mut pairs = instance.metadata;
    pairs.extend(metadata(typed)?);
    if !pairs.is_empty() {
        injectors.push(Box::new(Metadata { pairs, compat }));
    }
    let mut users: Vec<(String, Selector)> =
        instance.password.map(|password| ("root".to_owned(), Selector::Password(password))).into_iter().collect();
    if let Some(typed) = &typed.root_password {
        users.push(("root".to_owned(), selector::parse("--root-password", typed)?));
    }
    for typed in &typed.password {
        let (user, rest) = typed.split_once(':').filter(|(user, _)| !user.is_empty()).ok_or_else(|| {
            Failure::usage("--password: not USER:SELECTOR").with_hint("--password USER:file:PATH, or another selector")
        })?;
        users.push((user.to_owned(), selector::parse("--password", rest)?));
    }
    if !users.is_empty() {
        injectors.push(Box::new(Passwords { users, compat }));
    }
    let mut operations = instance.files;
    operations.extend(self::operations(typed, order)?);
    if !operations.is_empty() {
        injectors.push(Box::new(Files { operations, compat }));
    }
    let scripts = firstboot::scripts(typed, order)?;
    if !scripts.is_empty() {
        injectors.push(Box::new(Firstboot { scripts }));
    }
    Ok(injectors)
}

fn key(typed: &str) -> Result<(String, Vec<String>), Failure> {
    let usage = |reason: &str| Failure::usage(format!("--ssh-inject {}: {reason}", shorten(typed)));
    let (user, selector) = if typed.starts_with("file:") || typed.starts_with("string:") {
        ("root", Some(typed))
    } else {
        match typed.split_once(':') {
            Some((user, selector)) => (user, Some(selector)),
            None => (typed, None),
        }
    };
    if user.is_empty() {
        return Err(usage("the user is empty"));
    }
    let text = match selector {
        None => {
            let path = default_key().ok_or_else(|| {
                // The path of a key, typed where the user goes.
                let path = if user.contains('/') || user.ends_with(".pub") { user } else { "PATH" };
                let user = if path == user { "root" } else { user };
                usage("no key given, and none of ~/.ssh/id_ed25519.pub, id_ecdsa.pub, id_rsa.pub is there")
                    .with_hint(format!("--ssh-inject {user}:file:{path}"))
            })?;
            read("--ssh-inject", &path)?
        }
        Some(selector) => match selector.split_once(':') {
            Some(("file", path)) => read("--ssh-inject", Path::new(path))?,
            Some(("string", key)) => key.as_bytes().to_vec(),
            _ => {
                return Err(usage("after USER comes file:PATH or string:KEY")
                    .with_hint(format!("--ssh-inject {user}:file:PATH")));
            }
        },
    };
    let lines = authorized_keys::parse(&text)
        .map_err(|error| Failure { hints: error.hint().into_iter().collect(), ..usage(&error.to_string()) })?;
    Ok((user.to_owned(), lines))
}

/// What was typed, cut where a whole key would fill the line.
fn shorten(typed: &str) -> String {
    match typed.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &typed[..end]),
        None => typed.to_owned(),
    }
}

fn default_key() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME")?);
    ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"]
        .into_iter()
        .map(|name| home.join(".ssh").join(name))
        .find(|path| path.is_file())
}

fn metadata(typed: &cli::Inject) -> Result<Vec<(String, String)>, Failure> {
    let Some(path) = &typed.metadata_file else {
        return typed.metadata.iter().map(|typed| pair("--metadata", typed)).collect();
    };
    let usage = |reason: String| Failure::usage(format!("--metadata-file {}: {reason}", path.display()));
    let bytes = read("--metadata-file", path)?;
    let object: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&bytes).map_err(|error| usage(format!("not a JSON object: {error}")))?;
    object
        .into_iter()
        .map(|(key, value)| match value {
            serde_json::Value::String(value) => Ok((key, value)),
            _ => Err(usage(format!("the member {key:?} is not a string"))
                .with_hint("instance metadata are strings; put the value into quotes")),
        })
        .collect()
}

/// A key and its value.
pub(super) fn pair(option: &str, typed: &str) -> Result<(String, String), Failure> {
    match typed.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        // What was typed is not repeated: it may be a value.
        _ => Err(Failure::usage(format!("{option}: not KEY=VALUE"))),
    }
}

fn operations(typed: &cli::Inject, order: &[Ordered]) -> Result<Vec<FileOperation>, Failure> {
    let (mut uploads, mut writes) = (typed.upload.iter(), typed.write.iter());
    let (mut chowns, mut chmods) = (typed.chown.iter(), typed.chmod.iter());
    let result = typed.output.as_deref().or(typed.overlay.as_deref());
    let next = |option| match option {
        Ordered::Upload => uploads.next().map(|typed| upload(typed, result)),
        Ordered::Write => writes.next().map(|typed| write(typed)),
        Ordered::Chown => chowns.next().map(|typed| chown(typed)),
        Ordered::Chmod => chmods.next().map(|typed| chmod(typed)),
        Ordered::Firstboot | Ordered::FirstbootCommand => None,
    };
    order.iter().copied().filter_map(next).collect()
}

/// `result` is the file that the edited image will be, if it is a new one.
fn upload(typed: &str, result: Option<&Path>) -> Result<FileOperation, Failure> {
    let (file, destination) = source_and_destination("--upload", typed)?;
    if let Some(result) = result.filter(|result| is_same_file(result, Path::new(file))) {
        return Err(Failure::usage(format!("--upload {file}: the result would replace it ({})", result.display()))
            .with_hint("give the result another name"));
    }
    let (content, metadata) = Content::open_with_metadata(Path::new(file))?;
    // Set-user-ID and the like are not carried into a guest unasked; --chmod sets them.
    let mode = (metadata.permissions().mode() & 0o777) as u16;
    Ok(FileOperation::Put { destination: guest_path(destination.as_bytes())?, content, mode })
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
fn file_destination(file: &str, destination: &str) -> String {
    match Path::new(file).file_name().and_then(|name| name.to_str()) {
        Some(name) if destination.ends_with('/') => format!("{destination}{name}"),
        _ => destination.to_owned(),
    }
}

fn write(typed: &str) -> Result<FileOperation, Failure> {
    // The typed text is not repeated: the content may be a secret.
    let (destination, content) = typed.split_once(':').ok_or_else(|| Failure::usage("--write: not DEST:CONTENT"))?;
    Ok(FileOperation::Put {
        destination: guest_path(destination.as_bytes())?,
        content: Content::bytes(content.as_bytes()),
        mode: 0o644,
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
    Ok(FileOperation::Chown { user: named(user), group: named(group), path: guest_path(path.as_bytes())? })
}

fn chmod(typed: &str) -> Result<FileOperation, Failure> {
    let usage = |reason: &str| Failure::usage(format!("--chmod {typed}: {reason}"));
    let (digits, path) = typed.split_once(':').ok_or_else(|| usage("not 0MODE:PATH"))?;
    if !digits.starts_with('0') {
        return Err(usage("the mode must begin with 0")
            .with_hint("virt-customize reads a mode without it as decimal; write 0644 for rw-r--r--"));
    }
    let mode = u16::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| usage("the mode is not octal, at most 07777"))?;
    Ok(FileOperation::Chmod { mode, path: guest_path(path.as_bytes())? })
}

fn guest_path(bytes: &[u8]) -> Result<GuestPath, Failure> {
    Ok(GuestPath::parse(bytes)?)
}

pub(super) fn read(option: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |reason: String| Failure::usage(format!("{option}: {}: {reason}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(TEXT_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > TEXT_MAX {
        return Err(failed("larger than 1 MiB".to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_say_so() {
        assert!(matches!(chmod("0640:/a").unwrap(), FileOperation::Chmod { mode: 0o640, .. }));
        for typed in ["640:/a", "08:/a", "010000:/a", "0640", "0640:a"] {
            assert!(chmod(typed).is_err(), "{typed}");
        }
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
    fn what_is_missing_is_shown_as_it_would_be_typed() {
        let hint = |typed| key(typed).unwrap_err().hints.join("; ");
        assert_eq!(hint("debian:id.pub"), "--ssh-inject debian:file:PATH");
        if default_key().is_none() {
            assert_eq!(hint("debian"), "--ssh-inject debian:file:PATH");
            assert_eq!(hint("./id.pub"), "--ssh-inject root:file:./id.pub");
        }
        let failure = upload("/:/etc/x", None).unwrap_err();
        assert!(failure.message.contains("a directory"), "{}", failure.message);
        assert!(failure.hints.join("").contains("each file"), "{:?}", failure.hints);
    }
}
