//! A network configuration: in one of the guests' own spellings, or compiled into that of the program that the guest listens to.

mod backend;
mod cloud_init;
mod compiled;
mod defaults;
mod interfaces;
mod netconfig;
mod rivals;
mod spelling;
mod unmanaged;
mod unused;

pub use spelling::Spelling;
pub use unused::Unused;

use super::{Compat, InjectError, Injector, Item, Outcome, ROOT_DIR, ROOT_FILE, Reader, label};
use crate::config_drive::DocumentError;
use crate::guest::{self, Guest, NetworkStack, NoListener, systemd_version};
use crate::net::config::Config;
use crate::net::netplan::Newest;
use crate::net::render::Renderer;
use imgraft_vfs::fs::{Attrs, Content, FileType, SetAttrs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use rivals::devices::Own;

/// A network configuration.
#[derive(Clone, Debug)]
pub struct Net {
    /// What it is.
    pub network: Described,
    /// Which program it is for, where that was asked for; else the one that the guest listens to.
    pub renderer: Option<Choice>,
    /// Whose behaviour.
    pub compat: Compat,
}

/// How a network is described.
#[derive(Clone, Debug)]
pub enum Described {
    /// By a text in one of the guests' own spellings.
    Text(Vec<u8>),
    /// By the model.
    Config(Config),
    /// By a text for guests that listen to it, and by the model for all others.
    Either {
        /// The text.
        text: Vec<u8>,
        /// The same as the model has it, or why that cannot be.
        config: Result<Config, DocumentError>,
        /// What of the text only newer versions of netplan know.
        newest: Option<Newest>,
    },
}

/// A program that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One that configures the network itself.
    Stack(NetworkStack),
    /// cloud-init, which hands it on.
    CloudInit,
}

impl Choice {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stack(stack) => stack.name(),
            Self::CloudInit => "cloud-init",
        }
    }
}

impl Injector for Net {
    fn item(&self) -> Item {
        Item::Net
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        if self.compat == Compat::Nova {
            self.stage_as_nova(stage)?;
            return Ok(outcome);
        }
        match &self.network {
            Described::Text(text) => self.stage_text(text, guest, stage, &mut outcome)?,
            Described::Config(config) => self.compile(config, guest, stage, &mut outcome)?,
            Described::Either { text, newest, config } if self.is_for_text(text, guest) => {
                match (newest, guest.network.netplan_version) {
                    (Some(newest), Some(version)) if newest.since > version => {
                        return Err(InjectError::NetplanTooOld { newest: newest.clone(), version });
                    }
                    (Some(newest), None) => outcome.notes.push(newest.to_string()),
                    _ => {}
                }
                self.stage_text(text, guest, stage, &mut outcome)?;
                if let Ok(config) = config {
                    defaults::tell(config, Renderer::Netplan, &mut outcome);
                }
            }
            Described::Either { config: Ok(config), .. } => self.compile(config, guest, stage, &mut outcome)?,
            Described::Either { config: Err(error), .. } => {
                return Err(InjectError::BadDescription(error.clone()));
            }
        }
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

impl Net {
    /// Whether the guest, or whoever chose, wants a text as it stands.
    fn is_for_text(&self, text: &[u8], guest: &Guest) -> bool {
        let Some(spelling) = std::str::from_utf8(text).ok().and_then(Spelling::detect) else { return false };
        match (self.renderer, guest.network.listener()) {
            (Some(choice), _) => choice == Choice::Stack(spelling.0),
            (None, Ok(state)) => state.stack == spelling.0,
            (None, Err(NoListener::NoneEnabled)) => guest.network.state(spelling.0).is_some(),
            (None, Err(NoListener::Several(several))) => several.iter().any(|(stack, _)| *stack == spelling.0),
        }
    }

    /// Puts a text where the program looks whose spelling it has.
    fn stage_text(
        &self,
        bytes: &[u8],
        guest: &Guest,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let text = text.ok_or(InjectError::BadNetwork { spelling: None, reason: "it is not a text in UTF-8" })?;
        let spelling = Spelling::detect(text).ok_or(InjectError::UnknownNetwork)?;
        if let Some(choice) = self.renderer.filter(|choice| *choice != Choice::Stack(spelling.0)) {
            return Err(InjectError::OtherRenderer { spelling, chosen: choice.name() });
        }
        let (path, mode) = spelling.destination(text)?;
        let plugin = plugin(guest).filter(|_| spelling.0 == NetworkStack::Ifcfg);
        match (guest.network.state(spelling.0), plugin) {
            (_, Some(plugin)) => {
                outcome.notes.push(format!("{path}: for NetworkManager, whose plugin {plugin} reads it"));
            }
            (Some(state), None) if self.renderer.is_none() && state.enabled_by.is_none() => {
                let listening = listening(spelling, guest);
                if !listening.is_empty() {
                    return Err(InjectError::NotStarted { spelling, evidence: state.evidence, listening });
                }
                outcome.notes.push(format!("{path}: for {}, {}", state.stack.name(), state.shown_by()));
            }
            (Some(state), None) => {
                outcome.notes.push(format!("{path}: for {}, {}", state.stack.name(), state.shown_by()));
            }
            (None, None) if self.renderer.is_some() => outcome.notes.push(not_there(&path.to_string(), spelling.0)),
            (None, None) => {
                let found = guest.network.stacks.iter().map(|state| state.stack.name()).collect();
                return Err(InjectError::NoNetworkStack { spelling, found });
            }
        }
        let new: &[&str] = &[&path.to_string()];
        match spelling.0 {
            NetworkStack::Netplan if rivals::netplan::has_devices(bytes) => {
                rivals::clear(Renderer::Netplan, new, &Own::default(), stage, outcome)?;
            }
            NetworkStack::Networkd => {
                let version = systemd_version(&guest::Reader::new(stage.base()))?;
                let own = Own::of_network(text, version).ok_or_else(|| spelling.bad(NO_MATCH))?;
                if rivals::devices::is_unknown(text, version) {
                    outcome.notes.push(format!("{path}: {STRANGE_MATCH}"));
                }
                rivals::clear(Renderer::Networkd, new, &own, stage, outcome)?;
            }
            NetworkStack::NetworkManager => {
                rivals::clear(Renderer::NetworkManager, new, &Own::of_keyfile(text), stage, outcome)?;
            }
            stack => {
                rivals::forget(new, stage, outcome)?;
                if stack == NetworkStack::Ifupdown {
                    rivals::sourced::clear(text, stage, outcome)?;
                    interfaces::check(text, guest, stage, outcome)?;
                }
            }
        }
        match spelling.0 {
            NetworkStack::Netplan => backend::check(&path.to_string(), bytes, guest, stage, outcome)?,
            NetworkStack::NetworkManager => {
                unmanaged::Manager::new(guest, new, stage)?.check_keyfile(text, outcome)?;
            }
            NetworkStack::Ifcfg if plugin.is_some() => {
                unmanaged::Manager::new(guest, new, stage)?.check_ifcfg(text, outcome)?;
            }
            _ => {}
        }
        put(&path, mode, bytes, stage, outcome)?;
        cloud_init::stand_aside(guest, stage, outcome)
    }

    /// As `_inject_net_into_fs` of Nova, with the mode that keeps everybody but root out of the directory.
    fn stage_as_nova(&self, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        let (Described::Text(text) | Described::Either { text, .. }) = &self.network else {
            return Err(InjectError::NotInNova { what: "a network that is not a text" });
        };
        let directory = GuestPath::parse("/etc/network")?;
        stage.create_dirs(&directory, ROOT_DIR)?;
        stage.set_attrs(&directory, SetAttrs { mode: Some(0o744), uid: Some(0), gid: Some(0), mtime: None })?;
        Ok(stage.write(&directory.join("interfaces")?, Content::bytes(&text[..]), ROOT_FILE)?)
    }
}

/// The plugin by which a NetworkManager that is started reads ifcfg files, where no other program does.
fn plugin(guest: &Guest) -> Option<&str> {
    let is_started = |stack| guest.network.state(stack).is_some_and(|state| state.enabled_by.is_some());
    let is_its = is_started(NetworkStack::NetworkManager) && !is_started(NetworkStack::Ifcfg);
    guest.network.ifcfg_plugin.as_deref().filter(|_| is_its)
}

/// What the guest starts that configures the network, each with what shows it; nothing where that may start the reader of a spelling.
fn listening(spelling: Spelling, guest: &Guest) -> Vec<String> {
    let started = guest.network.stacks.iter().filter_map(|state| Some((state.stack, state.enabled_by.as_ref()?)));
    let started: Vec<_> = started.collect();
    // netplan's generator starts networkd where it has work for it.
    let is_behind = spelling.0 == NetworkStack::Networkd;
    if is_behind && started.iter().any(|(stack, _)| *stack == NetworkStack::Netplan) {
        return Vec::new();
    }
    started.into_iter().map(|(stack, shown_by)| format!("{} ({shown_by})", stack.name())).collect()
}

/// What NetworkManager and systemd-networkd read by its owner and mode.
const KEYFILES: &[u8] = b"/etc/NetworkManager/system-connections/";
const NETWORKD: &[u8] = b"/etc/systemd/network/";

/// What all names have in them that are only ours.
const OWN: &[u8] = b"imgraft";

/// Writes a file of a network configuration; its directory is made. A link that has one of our names goes first: where it leads, others may
/// read the file, and one to `/dev/null` switches it off. Names that are the distribution's are followed.
fn put(
    path: &GuestPath,
    mode: u16,
    content: &[u8],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    if let Some(parent) = path.parent() {
        stage.create_dirs(&parent, ROOT_DIR)?;
    }
    let is_own = path.file_name().is_some_and(|name| name.windows(OWN.len()).any(|part| part == OWN));
    if is_own && stage.symlink_metadata(path)?.is_some_and(|there| there.file_type == FileType::Symlink) {
        let target = stage.symlink_target(path)?.unwrap_or_default();
        stage.remove(path)?;
        outcome.notes.push(format!("{path}: the link to {} gives way to a file", String::from_utf8_lossy(&target)));
    }
    stage.write(path, Content::bytes(content), Attrs { mode, uid: 0, gid: 0 })?;
    let reader = [(KEYFILES, Reader::NetworkManager), (NETWORKD, Reader::Networkd)]
        .into_iter()
        .find(|(directory, _)| path.as_bytes().starts_with(directory));
    outcome.readers.extend(reader.map(|(_, reader)| (path.clone(), reader)));
    // A file that was there keeps its mode.
    if path.as_bytes().starts_with(b"/etc/NetworkManager/")
        && let Some(metadata) = stage.metadata(path)?
        && (metadata.mode & 0o077 != 0 || metadata.uid != 0)
    {
        outcome.notes.push(format!("{path}: NetworkManager ignores a file that others than root can read"));
    }
    Ok(())
}

/// What is wrong with a text for systemd-networkd that is for no device.
const NO_MATCH: &str = "nothing in its [Match] says which devices it is for, and systemd-networkd ignores such a file (Name=* there is for all of them)";

/// What is said of one for devices that are told by nothing that is known.
const STRANGE_MATCH: &str = "systemd-networkd knows none of the keys of its [Match], as far as these are known here, and ignores a file \
                             with no others (they are in systemd.network(5): Name=, MACAddress=, and case counts)";

/// What is said of a program that was chosen and that the guest does not have.
fn not_there(path: &str, stack: NetworkStack) -> String {
    format!("{path}: for {}, as asked, though nothing shows that the guest has it", stack.name())
}

#[cfg(test)]
mod tests;
