//! From an instance document's file, and the options beside it, to the instance.

use super::{files, items, selector};
use crate::cli;
use crate::config_drive::{
    self, Document, DocumentError, Flavour, Instance, Place, Seed, Spelling, read, read_network,
};
use crate::crypt;
use crate::failure::Failure;
use crate::inject::{Revealed, Selector, authorized_keys};
use crate::secret::Secret;
use imgraft_vfs::fs::Content;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest instance document, and the largest file that an option puts into one, in bytes.
pub(super) const DOCUMENT_MAX: u64 = 16 << 20;

/// The largest random seed, in bytes; Nova's have 512.
const SEED_MAX: usize = 4096;

/// The document in a file; the file's name says how it is spelt.
pub(super) fn document(path: &Path) -> Result<Document, Failure> {
    let text = bounded("the instance document", path)?;
    read(&text, spelling(path)).map_err(|error| wrong(path, &error))
}

/// Where the files are that a document names: beside it.
pub(super) fn beside(path: &Path) -> Place {
    Place::Below(path.parent().unwrap_or(Path::new("")).to_path_buf())
}

/// What is wrong with a document, as a failure.
pub(super) fn wrong(path: &Path, error: &DocumentError) -> Failure {
    let failure = Failure::usage(format!("{}: {error}", path.display()));
    failure.with_hint(error.hint().unwrap_or("imgraft config-drive schema says what may be in an instance document"))
}

/// The instance of a document, where there is one, with the options over it; a password that was made up.
pub(super) fn instance(
    path: Option<&Path>,
    typed: cli::Facts,
    seed: Option<&str>,
    flavour: Flavour,
) -> Result<(Instance, Option<Revealed>), Failure> {
    let mut document = match (path, &typed.uuid, &typed.hostname) {
        (Some(path), _, _) => self::document(path)?,
        (None, Some(uuid), Some(hostname)) => Document::new(uuid.clone(), hostname.clone()),
        _ => {
            return Err(Failure::usage("an instance has a UUID and a host name")
                .with_hint("name an instance document, or say --uuid and --hostname"));
        }
    };
    let failed = |error: &DocumentError| match path {
        Some(path) => wrong(path, error),
        None => {
            let failure = Failure::usage(error.to_string());
            error.hint().into_iter().fold(failure, |failure, hint| failure.with_hint(hint))
        }
    };
    let files = typed.file.iter().map(|typed| file(typed)).collect::<Result<Vec<_>, _>>()?;
    let user_data = typed.user_data.as_deref().map(|path| bounded("--user-data", path)).transpose()?;
    let revealed = put(&mut document, typed)?;
    if user_data.is_some() {
        let facts = &mut document.instance;
        (facts.user_data, facts.user_data_b64, facts.user_data_file) = (None, None, None);
    }
    let place = path.map_or(Place::Nowhere, beside);
    let mut instance = Instance::new(document, flavour, &place).map_err(|error| failed(&error))?;
    if let Some(data) = user_data {
        instance.user_data = Some(Secret::new(data.to_vec()));
    }
    for (path, content) in files {
        instance.add_file(path, content).map_err(|error| failed(&error))?;
    }
    if let Some(typed) = seed {
        instance.seed = self::seed(typed)?;
    }
    Ok((instance, revealed))
}

/// Puts the options into the document, but for those that have files of any size.
fn put(document: &mut Document, typed: cli::Facts) -> Result<Option<Revealed>, Failure> {
    let facts = &mut document.instance;
    for (place, option) in [(&mut facts.uuid, typed.uuid), (&mut facts.hostname, typed.hostname)] {
        option.into_iter().for_each(|value| *place = value);
    }
    for (place, option) in [
        (&mut facts.display_name, typed.name),
        (&mut facts.availability_zone, typed.availability_zone),
        (&mut facts.project_id, typed.project_id),
    ] {
        *place = option.or_else(|| place.take());
    }
    facts.launch_index = typed.launch_index.unwrap_or(facts.launch_index);
    let mut seen = HashSet::new();
    for pair in &typed.meta {
        let (key, value) = items::pair("--meta", pair)?;
        if !seen.insert(key.clone()) {
            return Err(Failure::usage(format!("--meta: {key} is there twice; expected each key once")));
        }
        facts.metadata.0.retain(|(there, _)| *there != key);
        facts.metadata.0.push((key, value));
    }
    if let Some(typed) = &typed.ssh_key {
        let (name, key) = ssh_key(typed)?;
        (facts.key_name, facts.key_data, facts.keypairs) = (Some(name), Some(key), None);
    }
    if let Some(path) = &typed.network {
        document.network_info = Some(network(path)?);
    }
    if let Some(path) = &typed.vendor_data {
        document.conf.vendordata_jsonfile_path = None;
        document.vendor_data = Some(object("--vendor-data", path)?);
    }
    let Some(typed) = &typed.admin_password else { return Ok(None) };
    let (password, revealed) = admin_password(typed)?;
    let text = String::from_utf8(password.expose().to_vec())
        .map_err(|_| Failure::usage("--admin-password: the password is not a text in UTF-8"))?;
    document.extra_md.0.insert("admin_pass".to_owned(), Value::String(text));
    Ok(revealed)
}

fn admin_password(typed: &str) -> Result<(Secret, Option<Revealed>), Failure> {
    let other = || {
        Failure::usage("--admin-password: a drive holds the password itself, not a hash or the state of an account")
            .with_hint("a selector here is file:PATH, env:NAME, stdin, password:TEXT or random")
    };
    // Whatever hash it is.
    if typed.starts_with("hash:") {
        return Err(other());
    }
    match selector::parse("--admin-password", typed)? {
        Selector::Password(password) => Ok((password, None)),
        Selector::Random => {
            let made = crypt::random_password().map_err(|error| Failure::usage(error.to_string()))?;
            let password = Secret::new(made.to_vec());
            let revealed = Revealed { user: "the administrator".to_owned(), password: password.clone() };
            Ok((password, Some(revealed)))
        }
        _ => Err(other()),
    }
}

fn ssh_key(typed: &str) -> Result<(String, String), Failure> {
    let (name, path) = typed
        .split_once('=')
        .filter(|(name, path)| !name.is_empty() && !path.is_empty())
        .ok_or_else(|| Failure::usage("--ssh-key: not NAME=FILE").with_hint("--ssh-key mykey=id_ed25519.pub"))?;
    let text = bounded("--ssh-key", Path::new(path))?;
    let keys = authorized_keys::parse(&text).map_err(|error| {
        let failure = Failure::usage(format!("--ssh-key: {path}: {error}"));
        error.hint().into_iter().fold(failure, |failure, hint| failure.with_hint(hint))
    })?;
    match &keys[..] {
        [key] => Ok((name.to_owned(), key.clone())),
        _ => Err(Failure::usage(format!("--ssh-key: {path}: {} keys, and an instance has one", keys.len()))),
    }
}

fn network(path: &Path) -> Result<Vec<crate::net::Vif>, Failure> {
    let list = bounded("--network", path)?;
    read_network(&list, spelling(path))
        .map_err(|error| Failure::usage(format!("--network: {}: {error}", path.display())))
}

fn object(option: &str, path: &Path) -> Result<Map<String, Value>, Failure> {
    let text = bounded(option, path)?;
    config_drive::object(&path.display().to_string(), &text)
        .map_err(|error| Failure::usage(format!("{option}: {error}")))
}

fn file(typed: &str) -> Result<(String, Content), Failure> {
    let (source, destination) = files::source_and_destination("--file", typed)?;
    Ok((destination, Content::open(Path::new(source))?))
}

fn seed(typed: &str) -> Result<Seed, Failure> {
    let Some(path) = typed.strip_prefix("file:") else {
        return Err(Failure::usage("--random-seed: not file:PATH").with_hint("head -c 512 /dev/urandom >seed, say"));
    };
    let bytes = bounded("--random-seed", Path::new(path))?;
    if bytes.is_empty() || bytes.len() > SEED_MAX {
        return Err(Failure::usage(format!("--random-seed: {path}: expected 1 to {SEED_MAX} bytes (Nova has 512)")));
    }
    Ok(Seed::Given(Secret::new(bytes.to_vec())))
}

fn spelling(path: &Path) -> Spelling {
    let is_yaml = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"));
    if is_yaml { Spelling::Yaml } else { Spelling::Json }
}

/// The bytes of a host file of bounded size.
fn bounded(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |reason: String| Failure::usage(format!("{what}: {}: {reason}", path.display()));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > DOCUMENT_MAX {
        return Err(failed("larger than 16 MiB".to_owned()));
    }
    Ok(bytes)
}
