//! The manifests that were typed: from their documents to what is asked for.

mod source;
mod users;

pub(super) use source::is_stdin;

use super::accounts::Typed;
use super::faults::Faults;
use super::items::{Wanted, host_name, zone};
use super::setting::Settings;
use super::{copy_in, files, firstboot, network, sysprep, tar_in};
use crate::cli::{self, NetworkRenderer};
use crate::config_drive::{DocumentError, Spelling};
use crate::crypt::Method;
use crate::failure::Failure;
use crate::inject::{Accounts, Compat, Described, Expected, FileMode, FileOperation, Kind, Net, NewGroup, Script};
use crate::manifest::{self, Manifest, Operation, Renderer, Unused, Variables, Wrong};
use crate::net::netplan::Lines;
use imgraft_vfs::fs::{Content, Timestamp};
use imgraft_vfs::path::GuestPath;
use serde_json::Value;
use source::{Source, other_kind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What makes a manifest of a text.
type Parser<'a> = dyn FnMut(&[u8]) -> Result<Manifest, Wrong> + 'a;

/// What the manifests ask for, one after the other.
pub(super) fn all(typed: &cli::Inject, now: Timestamp) -> Result<Vec<Wanted>, Failure> {
    let cli::Manifests { manifest, cloud_config, ignition, set } = &typed.manifests;
    let mut variables = Variables::default();
    for typed in set {
        let (name, value) = typed.split_once('=').unwrap_or_default();
        if variables.holds(name) {
            return Err(
                Failure::usage(format!("--set {name}: it is given twice")).with_hint("give each variable one value")
            );
        }
        // What was typed is not repeated: it may be a value.
        if !variables.set(name, value) {
            return Err(Failure::usage("--set: not NAME=VALUE")
                .with_hint("a name has letters, digits and '_', and does not begin with a digit"));
        }
    }
    let result = typed.writing.output.as_deref().or(typed.writing.overlay.as_deref());
    let written: Vec<&Path> = typed.target.file.image.as_deref().into_iter().chain(result).collect();
    let mut wanted = Vec::new();
    let mut put = |option: &str, path: &Path, hint: &str, parse: &mut Parser<'_>| -> Result<(), Failure> {
        let mut source = Source::new(path);
        let text = source.read(option)?;
        let (mut manifest, wrong) = match parse(&text) {
            Ok(manifest) => (Some(manifest), Vec::new()),
            Err(Wrong { errors, rest }) => (rest.map(|rest| *rest), errors),
        };
        let mut failures = Vec::new();
        if !wrong.is_empty() {
            if let Some(way) = other_kind(option, &text) {
                // What is wrong of it is told by the option that takes it.
                let first: Vec<DocumentError> = wrong.into_iter().take(1).map(|error| error.with_hint(way)).collect();
                return Err(source.wrong(&first, way));
            }
            failures.push(source.wrong(&wrong, hint));
        }
        source.text = String::from_utf8(text).unwrap_or_default();
        source.origins = manifest.as_mut().map(|manifest| std::mem::take(&mut manifest.origins)).unwrap_or_default();
        let reader = Reader { source, now, result, written: &written };
        match manifest.map(|manifest| reader.wanted(manifest, &wrong)) {
            Some(Ok(asked)) => wanted.push(asked),
            Some(Err(failure)) => failures.push(failure),
            None => {}
        }
        Failure::together(failures).map_or(Ok(()), Err)
    };
    for path in manifest {
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let spelling = if is_json { Spelling::Json } else { Spelling::Yaml };
        let hint = "imgraft schema says what may be in a manifest";
        put("--manifest", path, hint, &mut |text| Manifest::read(text, spelling, &mut variables))?;
    }
    for path in cloud_config {
        let hint = "cloud-init schema --config-file says what may be in a cloud-config";
        put("--cloud-config", path, hint, &mut |text| Ok(Manifest::of_cloud_config(text)?))?;
    }
    for path in ignition {
        let hint = "ignition-validate says what may be in a configuration";
        put("--ignition", path, hint, &mut |text| Ok(Manifest::of_ignition(text)?))?;
    }
    match variables.unused() {
        None => Ok(wanted),
        Some(Unused(name)) => Err(Failure::usage(format!("--set {name}: no manifest has ${{{name}}} in it"))
            .with_hint("leave it out, or name the manifest with --manifest")),
    }
}

struct Reader<'a> {
    source: Source<'a>,
    now: Timestamp,
    result: Option<&'a Path>,
    written: &'a [&'a Path],
}

impl Reader<'_> {
    fn at(&self, place: &str) -> String {
        format!("{}: {}", self.source.name, self.source.origins.of(place))
    }

    fn file(&self, path: &str) -> PathBuf {
        self.source.directory.join(path)
    }

    /// What a manifest asks for; else all that is wrong. `wrong` is what is wrong in the document itself, of which this is the rest.
    fn wanted(&self, manifest: Manifest, wrong: &[DocumentError]) -> Result<Wanted, Failure> {
        let mut faults = Faults::default();
        let hostname = manifest.hostname.map(|name| host_name(&self.at("hostname"), &name)).transpose();
        let zone = manifest.timezone.map(|name| zone(&self.at("timezone"), &name)).transpose();
        let network = manifest.network.map(|network| self.network(network)).transpose();
        let mut wanted = Wanted {
            hostname: faults.keep("hostname", hostname).flatten(),
            zone: faults.keep("timezone", zone).flatten(),
            network: faults.keep("network", network).flatten(),
            ..Wanted::default()
        };
        for (key, value) in manifest.metadata {
            let place = format!("metadata.{key}");
            let empty = || Failure::usage(format!("{}: a key is empty", self.at("metadata")));
            let pair = if key.is_empty() { Err(empty()) } else { Ok((key, value)) };
            wanted.metadata.extend(faults.keep(&place, pair));
        }
        wanted.sysprep =
            faults.keep("sysprep", sysprep::operations(&self.at("sysprep"), &manifest.sysprep)).unwrap_or_default();
        wanted.method = manifest.password_crypto.map(|method| match method {
            manifest::PasswordCrypto::Yescrypt => Method::Yescrypt,
            manifest::PasswordCrypto::Sha512 => Method::Sha512,
            manifest::PasswordCrypto::Sha256 => Method::Sha256,
        });
        let setting = cli::Setting {
            ssh_host_keys: manifest.ssh_host_keys,
            locale: manifest.locale,
            keymap: manifest.keymap,
            machine_id: manifest.machine_id,
            enable_unit: manifest.units.enable,
            disable_unit: manifest.units.disable,
            mask_unit: manifest.units.mask,
        };
        let member = |option: &str| {
            self.source.origins.of(match option {
                "machine-id" => "machine_id",
                "enable-unit" => "units.enable",
                "disable-unit" => "units.disable",
                "mask-unit" => "units.mask",
                other => other,
            })
        };
        let mut settings = Settings::new(&setting, member, &mut faults);
        faults.keep("units", settings.unmask(&self.at("units"), &manifest.units.unmask));
        wanted.settings = settings;
        let mut accounts = Accounts::none(self.now);
        for (index, group) in manifest.groups.into_iter().enumerate() {
            let place = format!("groups[{index}]");
            accounts.groups.extend(faults.keep(&place, self.group(&place, &group)));
        }
        for (index, group) in manifest.missing_groups.iter().enumerate() {
            let place = format!("missing_groups[{index}]");
            let name = Typed { option: &self.at(&place), typed: group }.name(group);
            accounts.missing_groups.extend(faults.keep(&place, name));
        }
        for (index, user) in manifest.users.into_iter().enumerate() {
            self.user(&format!("users[{index}]"), user, &mut accounts, &mut wanted, &mut faults);
        }
        wanted.accounts = Some(accounts).filter(|accounts| !accounts.is_empty());
        let mut told = BTreeSet::new();
        for (index, operation) in manifest.files.into_iter().enumerate() {
            let place = format!("files[{index}]");
            match self.operations(&place, operation) {
                Ok(operations) => wanted.operations.extend(operations),
                // What another document says in one element may be several operations here.
                Err((place, failure)) if told.insert(self.source.origins.of(&place)) => faults.tell(&place, failure),
                Err(_) => {}
            }
        }
        for (index, script) in manifest.firstboot.into_iter().enumerate() {
            let place = format!("firstboot[{index}]");
            wanted.scripts.extend(faults.keep(&place, self.script(&place, &script)));
        }
        faults.beside(wrong).together(|place, failure| self.source.placed(place, failure)).map_or(Ok(wanted), Err)
    }

    fn group(&self, place: &str, group: &manifest::Group) -> Result<NewGroup, Failure> {
        let place = self.at(place);
        let typed = Typed { option: &place, typed: &group.name };
        let (name, gid) = (typed.name(&group.name)?, number(typed, group.gid)?);
        Ok(NewGroup { name, gid, kind: kind(group.system) })
    }

    fn network(&self, network: manifest::Network) -> Result<Net, Failure> {
        let manifest::Network { file, config, ip, gateway, dns, dhcp, nic, renderer } = network;
        let wrong = |reason: &str| Failure::usage(format!("{}: {reason}", self.at("network")));
        let is_simple = !ip.is_empty() || !gateway.is_empty() || !dns.is_empty() || dhcp || nic.is_some();
        if usize::from(file.is_some()) + usize::from(config.is_some()) + usize::from(is_simple) != 1 {
            return Err(wrong("not one of file, config, and ip, gateway, dns, dhcp, nic")
                .with_hint("say what the network is in one way"));
        }
        if !gateway.is_empty() && ip.is_empty() {
            return Err(wrong("a gateway goes with an ip").with_hint("with dhcp the gateway is what the server says"));
        }
        if is_simple && ip.is_empty() && !dhcp {
            return Err(wrong("no address").with_hint("ip has one, or dhcp: true asks for one"));
        }
        let renderer = renderer.map(program);
        // What is said of an option is said of a member of the same name.
        let member = |mut failure: Failure| {
            let message = failure.message.trim_start_matches("--network: ").trim_start_matches("the network: ");
            failure.message = format!("{}: {}", self.at("network"), message.trim_start_matches("--"));
            failure.hints.iter_mut().for_each(|hint| *hint = hint.trim_start_matches("--").to_owned());
            failure
        };
        let net = match config {
            Some(config) => {
                let text = crate::yaml::block(&Value::Object(config));
                let described = network::text("config", text.as_bytes(), Lines::Untold).map_err(member)?;
                if let Described::Text(_) = described {
                    return Err(wrong("config: neither netplan, nor network-config, nor network_data.json"));
                }
                network::chosen(renderer, Some(described), Compat::Imgraft)
            }
            None => {
                let network = file.map(|file| self.file(&file));
                let typed = cli::Network {
                    network: network.map(Some),
                    network_renderer: renderer,
                    ip,
                    gateway,
                    dns,
                    dhcp,
                    nic,
                };
                network::network(&typed, None, Compat::Imgraft)
            }
        };
        net.map_err(member)?.ok_or_else(|| wrong("it is empty"))
    }

    /// What is done to files; else what is wrong, with the path of the member that it is about.
    fn operations(&self, place: &str, operation: Operation) -> Result<Vec<FileOperation>, (String, Failure)> {
        // The operation is named, and its member has the line.
        let name = |member: &str| self.at(&format!("{place}.{}", member.split('.').next().unwrap_or_default()));
        let wrong = |member: &str, failure: Failure| (format!("{place}.{member}"), failure.within(&name(member)));
        let at = |member: &str, path: &str| GuestPath::parse(path).map_err(|error| wrong(member, error.into()));
        let one = |operation: FileOperation| Ok(vec![operation]);
        match operation {
            Operation::Upload(manifest::Upload { from, to, mode, owner, group }) => {
                let to = files::file_destination(&from, &to);
                let path = at("upload.to", &to)?;
                let put = files::uploaded(&name("upload"), &self.file(&from), &to, self.result)
                    .map_err(|failure| wrong("upload.from", failure))?;
                Ok(with_attributes(put, &path, mode, owner, group))
            }
            Operation::CopyIn(manifest::Between { from, to }) => {
                let directory = at("copy_in.to", &to)?;
                let copy = copy_in::copied(&self.file(&from), directory, self.written);
                one(copy.map_err(|failure| wrong("copy_in.from", failure))?)
            }
            Operation::TarIn(manifest::Unpack { from, to }) => {
                let directory = at("tar_in.to", &to)?;
                let unpacked = tar_in::unpacked(&self.file(&from), directory, self.written);
                one(unpacked.map_err(|failure| wrong("tar_in.from", failure))?)
            }
            Operation::Copy(manifest::Inside { from, to }) => {
                one(FileOperation::Copy { source: at("copy.from", &from)?, destination: at("copy.to", &to)? })
            }
            Operation::Move(manifest::Inside { from, to }) => {
                one(FileOperation::Move { source: at("move.from", &from)?, destination: at("move.to", &to)? })
            }
            Operation::Write(manifest::Write { path, content, content_base64, mode, owner, group }) => {
                let path = at("write.path", &path)?;
                let bytes = match (content, content_base64) {
                    (Some(text), None) => text.0,
                    (None, Some(bytes)) => bytes.0,
                    _ => return Err(wrong("write", Failure::usage("not one of content and content_base64"))),
                };
                let content = Content::bytes(bytes.expose().to_vec());
                let put = FileOperation::Put { destination: path.clone(), content, mode: FileMode::WhereNew(0o644) };
                Ok(with_attributes(put, &path, mode, owner, group))
            }
            Operation::AppendLine(manifest::Append { path, line }) => {
                at("append_line.path", &path)?;
                let appended = files::appended(&name("append_line"), &path, &text(&line.0));
                one(appended.map_err(|failure| wrong("append_line.line", failure))?)
            }
            Operation::Edit(manifest::Edit { path, expression }) => {
                at("edit.path", &path)?;
                let edited = files::edited(&name("edit"), &path, &text(&expression.0));
                one(edited.map_err(|failure| wrong("edit.expression", failure))?)
            }
            Operation::Mkdir(path) => one(FileOperation::MakeDirectory { path: at("mkdir", &path)? }),
            Operation::EnsureFile(path) => one(FileOperation::EnsureFile { path: at("path", &path)? }),
            Operation::EnsureDirectory(path) => one(FileOperation::EnsureDirectory { path: at("path", &path)? }),
            Operation::EnsureAround(manifest::Owner { path, owner, group }) => {
                one(FileOperation::EnsureAround { user: owner, group, path: at("path", &path)? })
            }
            Operation::RemoveLink(path) => one(FileOperation::RemoveLink { path: at("path", &path)? }),
            Operation::ExpectFile(path, bytes) => {
                let expected = Expected::File(Content::bytes(bytes.0.expose().to_vec()));
                one(FileOperation::Expect { path: at("path", &path)?, expected })
            }
            Operation::ExpectLink(manifest::Link { target, path }) => {
                one(FileOperation::Expect { path: at("path", &path)?, expected: Expected::Link(target) })
            }
            Operation::Link(manifest::Link { target, path }) => match target.is_empty() {
                true => Err(wrong("link.target", Failure::usage("the target is empty"))),
                false => one(FileOperation::Link { target, path: at("link.path", &path)? }),
            },
            Operation::Delete(path) => files::deletions(&path).map_err(|failure| wrong("delete", failure)),
            Operation::Touch(path) => one(FileOperation::Touch { path: at("touch", &path)?, now: self.now }),
            Operation::Truncate(path) => one(FileOperation::Truncate { path: at("truncate", &path)? }),
            Operation::TruncateRecursive(path) => {
                one(FileOperation::TruncateBelow { path: at("truncate_recursive", &path)? })
            }
            Operation::Chown(manifest::Owner { path, owner, group }) => match (&owner, &group) {
                (None, None) => Err(wrong("chown", Failure::usage("neither owner nor group"))),
                _ => one(FileOperation::Chown { user: owner, group, path: at("chown.path", &path)? }),
            },
            Operation::Chmod(manifest::Mode { path, mode }) => {
                one(FileOperation::Chmod { mode: mode.0, path: at("chmod.path", &path)? })
            }
        }
    }

    fn script(&self, place: &str, script: &manifest::FirstBoot) -> Result<Script, Failure> {
        match script {
            manifest::FirstBoot::Script(path) => {
                firstboot::file(&self.at(&format!("{place}.script")), &self.file(path))
            }
            manifest::FirstBoot::Command(command) => {
                firstboot::command(&self.at(&format!("{place}.command")), &text(&command.0))
            }
            manifest::FirstBoot::Install(packages) => {
                firstboot::packages(&self.at(&format!("{place}.install")), packages.iter().map(String::as_str))
            }
        }
    }
}

/// The last number is none: to the system it says that there is nobody.
fn number(typed: Typed<'_>, number: Option<u32>) -> Result<Option<u32>, Failure> {
    match number {
        Some(u32::MAX) => Err(typed.wrong(format!("'{}' is no number below 4294967295", u32::MAX))),
        number => Ok(number),
    }
}

/// A file that is put there, and then gets the attributes that were asked for.
fn with_attributes(
    put: FileOperation,
    path: &GuestPath,
    mode: Option<manifest::Bits>,
    owner: Option<String>,
    group: Option<String>,
) -> Vec<FileOperation> {
    let mut operations = vec![put];
    if owner.is_some() || group.is_some() {
        operations.push(FileOperation::Chown { user: owner, group, path: path.clone() });
    }
    // After the owner, whose change takes set-user-ID away.
    if let Some(manifest::Bits(mode)) = mode {
        operations.push(FileOperation::Chmod { mode, path: path.clone() });
    }
    operations
}

fn kind(is_system: bool) -> Kind {
    if is_system { Kind::System } else { Kind::Person }
}

fn program(renderer: Renderer) -> NetworkRenderer {
    match renderer {
        Renderer::Ifupdown => NetworkRenderer::Ifupdown,
        Renderer::Netplan => NetworkRenderer::Netplan,
        Renderer::Networkd => NetworkRenderer::Networkd,
        Renderer::NetworkManager => NetworkRenderer::NetworkManager,
        Renderer::Ifcfg => NetworkRenderer::Ifcfg,
        Renderer::Wicked => NetworkRenderer::Wicked,
        Renderer::CloudInit => NetworkRenderer::CloudInit,
    }
}

/// What was read as a text.
fn text(secret: &crate::secret::Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}
