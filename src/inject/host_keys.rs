//! A guest's ssh host keys: what its sshd reads and is not there is made, as by `ssh-keygen -A` (sshd(8), ssh-keygen(1)).

mod certificate;

use super::cloud_config::{self, Rule, Wanted};
use super::staging::is_fatal;
use super::{InjectError, Injector, Item, Outcome, Premise, ROOT_DIR, ROOT_FILE, Reader, hostname, label, sshd};
use crate::guest::{Guest, host_keys as of_guest};
use imgraft_vfs::fs::{Attrs, Content, FileType, SetAttrs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, KeypairData};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey};
use std::fmt;
use zeroize::Zeroizing;

/// What sshd reads where its configuration names no key.
const USUAL: [&str; 3] = ["/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key"];
/// The largest key file that is read, in bytes.
const LIMIT: u64 = 64 * 1024;

/// The host keys of a guest that has an sshd.
#[derive(Clone, Copy, Debug)]
pub struct HostKeys {
    /// What becomes of the keys that are made.
    pub made: MadeKeys,
}

/// What becomes of the keys that a run makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeKeys {
    /// The guest has them from then on.
    Stay,
    /// They are gone with the run, a dry one: their fingerprints are nobody's, and not told.
    Go,
}

/// Why there are no host keys to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyError {
    /// The guest has no sshd.
    NoSshd,
    /// Its sshd_config names none that is there or can be made.
    NoneNamed,
    /// The host has no randomness.
    Random(getrandom::Error),
    /// A key that was made has no spelling.
    Spelling(ssh_key::Error),
}

impl HostKeyError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSshd => Some("leave it out, or have the guest get its openssh-server first".to_owned()),
            Self::NoneNamed => Some(
                "only ed25519 and ecdsa keys are made, told by the name of the file: a run before this one can have sshd_config name \
                 one, as HostKey /etc/ssh/ssh_host_ed25519_key"
                    .to_owned(),
            ),
            Self::Random(_) | Self::Spelling(_) => None,
        }
    }
}

impl fmt::Display for HostKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSshd => f.write_str("the guest has no OpenSSH server (sshd), which host keys are for"),
            Self::NoneNamed => f.write_str(
                "sshd_config names no host key (HostKey) that is there or can be made, and sshd does not start so",
            ),
            Self::Random(error) => write!(f, "no randomness for a key: {error}"),
            Self::Spelling(error) => write!(f, "a key that was made cannot be written: {error}"),
        }
    }
}

/// A type of keys that are made. Not RSA, whose crate lets its timing tell of the key (RUSTSEC-2023-0071).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ed25519,
    /// On the curve NIST P-256.
    Ecdsa,
}

impl Kind {
    /// What a file is for, by its name; `None` where that is no type that is made.
    fn of(path: &GuestPath) -> Option<Self> {
        let name = String::from_utf8_lossy(path.file_name().unwrap_or_default()).into_owned();
        match () {
            () if name.ends_with(".pub") => None,
            () if name.contains("ed25519") => Some(Self::Ed25519),
            () if name.contains("ecdsa") => Some(Self::Ecdsa),
            () => None,
        }
    }

    /// A new key.
    fn make(self) -> Result<KeypairData, HostKeyError> {
        loop {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(&mut bytes[..]).map_err(HostKeyError::Random)?;
            match self {
                Self::Ed25519 => {
                    let key = ed25519_dalek::SigningKey::from_bytes(&bytes);
                    return Ok(Ed25519Keypair::from(key).into());
                }
                // One number in 2^32 is none of the curve's.
                Self::Ecdsa => {
                    if let Ok(key) = p256::SecretKey::from_slice(&bytes[..]) {
                        let public = key.public_key().into();
                        return Ok(EcdsaKeypair::NistP256 { public, private: key.into() }.into());
                    }
                }
            }
        }
    }
}

impl Injector for HostKeys {
    fn item(&self) -> Item {
        Item::HostKeys
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        if of_guest::sshd(stage)?.is_none() {
            return Err(HostKeyError::NoSshd.into());
        }
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        let named = sshd::host_keys(stage)?;
        let usual = usual()?;
        let group = of_guest::group(stage)?.and_then(|name| guest.accounts.group(name)).map(|group| group.gid);
        let place = Place { group, comment: hostname::of(stage)?.map(|name| format!("root@{}", name.name())) };
        let (mut has_keys, mut has_agent) = (false, false);
        for path in named.as_ref().unwrap_or(&usual) {
            let content = stage.read(path, LIMIT)?.map(Zeroizing::new).filter(|content| !content.is_empty());
            match (content, Kind::of(path)) {
                // Of a public key an agent has the private one (HostKeyAgent).
                (Some(_), _) if is_public(path) => {
                    has_agent = true;
                    stage.confirm(path)?;
                    continue;
                }
                (Some(content), _) => keep(path, &content, stage, &mut outcome)?,
                (None, Some(kind)) => self.make(path, kind, &place, stage, &mut outcome)?,
                (None, None) => {
                    if named.is_some() {
                        outcome.notes.push(format!(
                            "{path}: sshd_config names this host key, it is not there, and it is not made: only ed25519 and \
                             ecdsa are, told by the name of the file"
                        ));
                    }
                    has_agent |= is_public(path);
                    continue;
                }
            }
            has_keys = true;
            let reader = Reader::HostKeys { group };
            // sshd looks at the bits of a key that is its own user's only (authfile.c of OpenSSH).
            if let Some(metadata) = stage.metadata(path)?.filter(|file| file.uid == 0 && !reader.takes(file)) {
                outcome.notes.push(format!(
                    "{path}: sshd ignores it, as others can read it (mode {:04o}): --chmod 0600:{path} has it used",
                    metadata.mode
                ));
            }
            outcome.readers.push((path.clone(), reader));
        }
        if !has_keys && !has_agent {
            return Err(HostKeyError::NoneNamed.into());
        }
        let named = named.unwrap_or(usual);
        remark_certificates(&named, stage, &mut outcome)?;
        outcome.notes.extend(sshd::logins::without_configuration(stage)?);
        outcome.premises.push(Premise::HostKeys(named.clone()));
        if has_keys {
            let why = "The host keys are those that the machine is known by.";
            let rules = vec![
                Rule { key: "ssh_deletekeys", wanted: Wanted::False },
                // It puts its own into the files of these names (CONFIG_KEY_TO_FILE of cc_ssh.py).
                Rule { key: "ssh_keys", wanted: Wanted::Without(named.iter().filter_map(of_cloud_init).collect()) },
            ];
            if let Some(path) = cloud_config::keep("host-keys", why, rules, stage, &mut outcome)? {
                outcome.notes.push(format!("{path}: cloud-init is told to keep the host keys"));
            }
        }
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

fn usual() -> Result<Vec<GuestPath>, InjectError> {
    Ok(USUAL.iter().map(|path| GuestPath::parse(*path)).collect::<Result<_, _>>()?)
}

/// What cloud-init's configuration calls the key of a file.
fn of_cloud_init(path: &GuestPath) -> Option<String> {
    let name = std::str::from_utf8(path.as_bytes()).ok()?.strip_prefix("/etc/ssh/ssh_host_")?;
    Some(format!("{}_private", name.strip_suffix("_key")?))
}

fn is_public(path: &GuestPath) -> bool {
    path.as_bytes().ends_with(b".pub")
}

/// Says which host certificates sshd leaves out, as they are of none of the host keys: those of keys that there were before.
fn remark_certificates(keys: &[GuestPath], stage: &Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let text = |path: &GuestPath| -> Result<String, InjectError> {
        // What cannot be read as one is none, and no more than a remark is lost.
        let read = match stage.read(path, LIMIT) {
            Err(error) if is_fatal(error.kind()) => return Err(error.into()),
            read => read.ok().flatten().unwrap_or_default(),
        };
        Ok(String::from_utf8(read).unwrap_or_default())
    };
    let mut publics = Vec::new();
    for key in keys {
        let path = if is_public(key) { key.clone() } else { beside(key)? };
        publics.extend(PublicKey::from_openssh(text(&path)?.trim_end()).ok());
    }
    for path in sshd::host_certificates(stage)? {
        if certificate::is_of_another(&text(&path)?, &publics) {
            outcome.notes.push(format!(
                "{path}: the certificate that sshd_config names (HostCertificate) is of none of the host keys, and sshd leaves it out: \
                 the authority that clients go by has to sign one of them anew"
            ));
        }
    }
    Ok(())
}

/// Why sshd has not the keys that were made, a clause: it looks for one that was not `known` as they were, and that
/// could have been made, or none that is there.
pub(super) fn missing(known: &[GuestPath], stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    let named = match sshd::host_keys(stage)? {
        Some(named) => named,
        None => usual()?,
    };
    let mut has_keys = named.iter().any(is_public);
    for path in &named {
        let is_there = stage.metadata(path)?.is_some();
        has_keys |= is_there;
        if !is_there && !known.contains(path) && Kind::of(path).is_some() {
            return Ok(Some(format!("sshd looks for the host key {path}, which is not there")));
        }
    }
    Ok((!has_keys).then(|| HostKeyError::NoneNamed.to_string()))
}

/// What new keys are given beside themselves.
struct Place {
    /// The group that may read them.
    group: Option<u32>,
    /// Whose they are.
    comment: Option<String>,
}

impl HostKeys {
    /// A new key, with its public half beside it.
    fn make(
        &self,
        path: &GuestPath,
        kind: Kind,
        place: &Place,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let comment = place.comment.as_deref().unwrap_or_default();
        let key = PrivateKey::new(kind.make()?, comment).map_err(HostKeyError::Spelling)?;
        let text = key.to_openssh(LineEnding::LF).map_err(HostKeyError::Spelling)?;
        if let Some(parent) = path.parent() {
            stage.create_dirs(&parent, ROOT_DIR)?;
        }
        let (mode, gid) = place.group.map_or((0o600, 0), |group| (0o640, group));
        unlink(path, stage)?;
        stage.write(path, Content::bytes(text.as_bytes()), Attrs { mode, uid: 0, gid })?;
        // An empty file that was there keeps its own.
        stage.set_attrs(path, SetAttrs { mode: Some(mode), uid: Some(0), gid: Some(gid), mtime: None })?;
        put_public(path, key.public_key(), stage)?;
        outcome.notes.push(match self.made {
            MadeKeys::Stay => format!("{path} is new: {}", told(key.public_key())),
            MadeKeys::Go => {
                format!(
                    "{path} is new: {}; its fingerprint is told by the run that is no dry one",
                    name(key.public_key())
                )
            }
        });
        Ok(())
    }
}

/// A key that is there stays; its public half is made where it is missing.
fn keep(path: &GuestPath, content: &[u8], stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    stage.confirm(path)?;
    // In OpenSSH's own spelling of private keys the public half is beside the other.
    let own = PrivateKey::from_openssh(content).ok().map(|key| key.public_key().clone());
    let beside = beside(path)?;
    let text = stage.read(&beside, LIMIT)?.filter(|text| !text.is_empty());
    let of_text = |text: &Vec<u8>| PublicKey::from_openssh(std::str::from_utf8(text).ok()?.trim_end()).ok();
    let public = text.as_ref().and_then(of_text);
    outcome.notes.push(match (own, public) {
        (Some(own), _) if text.is_none() => {
            put_public(path, &own, stage)?;
            format!("{path} stays: {}; {beside} was missing and is made", told(&own))
        }
        (Some(own), Some(public)) if own.key_data() == public.key_data() => {
            stage.confirm(&beside)?;
            format!("{path} stays: {}", told(&own))
        }
        (Some(own), _) => format!("{path} stays: {}; {beside} is not its public key", told(&own)),
        (None, Some(public)) => {
            stage.confirm(&beside)?;
            format!("{path} stays: {}, as {beside} says", told(&public))
        }
        (None, None) => format!(
            "{path} stays, and its fingerprint is not known: it is no private key in OpenSSH's own spelling, and {beside} has no \
             public key"
        ),
    });
    Ok(())
}

/// The file of a key's public half.
fn beside(path: &GuestPath) -> Result<GuestPath, InjectError> {
    Ok(GuestPath::parse([path.as_bytes(), b".pub"].concat())?)
}

/// Takes a symbolic link out of the way, as ssh-keygen's rename does: where it leads is another file's place.
fn unlink(path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if stage.symlink_metadata(path)?.is_some_and(|found| found.file_type == FileType::Symlink) {
        stage.remove(path)?;
    }
    Ok(())
}

fn put_public(path: &GuestPath, key: &PublicKey, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let text = key.to_openssh().map_err(HostKeyError::Spelling)?;
    unlink(&beside(path)?, stage)?;
    Ok(stage.write(&beside(path)?, Content::bytes(format!("{text}\n").into_bytes()), ROOT_FILE)?)
}

/// The type of a key, as ssh(1) asks about it.
fn name(key: &PublicKey) -> String {
    match key.algorithm() {
        Algorithm::Ed25519 => "ED25519".to_owned(),
        Algorithm::Ecdsa { .. } => "ECDSA".to_owned(),
        Algorithm::Rsa { .. } => "RSA".to_owned(),
        other => other.to_string(),
    }
}

/// The type and the fingerprint, as `ssh-keygen -lf` has them.
fn told(key: &PublicKey) -> String {
    format!("{} {}", name(key), key.fingerprint(HashAlg::Sha256))
}

#[cfg(test)]
mod tests;
