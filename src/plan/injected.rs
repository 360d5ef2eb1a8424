//! What an instance document asks for in the instance's image, as Nova's file injection has it.

use super::instance::{beside, document, wrong};
use crate::config_drive::{Flavour, Instance, interfaces_text};
use crate::failure::Failure;
use crate::inject::{Compat, Described, FileMode, FileOperation, authorized_keys};
use crate::net::read::{self, network_info};
use crate::net::{Network, Vif};
use crate::secret::Secret;
use imgraft_vfs::path::GuestPath;
use std::path::Path;

/// What goes into the image.
#[derive(Debug, Default)]
pub(super) struct Injected {
    /// A key for root.
    pub key: Option<String>,
    /// The network: the interfaces text, and for guests that do not read it the same as the model has it.
    pub network: Option<Described>,
    /// Metadata.
    pub metadata: Vec<(String, String)>,
    /// root's password.
    pub password: Option<Secret>,
    /// Files.
    pub files: Vec<FileOperation>,
    /// The instance's UUID.
    pub uuid: Option<String>,
    /// Whether it has user data, which is for a drive.
    pub has_user_data: bool,
}

impl Injected {
    /// Reads the document.
    ///
    /// As Nova chooses between the two: an instance with a config drive is refused, since it gets nothing into its image. With Nova's behaviour
    /// key and password need its options, which are off by default.
    pub(super) fn new(path: &Path, compat: Compat) -> Result<Self, Failure> {
        let flavour = match compat {
            Compat::Imgraft => Flavour::Imgraft,
            Compat::Nova => Flavour::Nova,
        };
        let failed = |error| wrong(path, &error);
        let instance = Instance::new(document(path)?, flavour, &beside(path)).map_err(failed)?;
        let facts = &instance.document().instance;
        if facts.config_drive == Some(true) {
            let message = "instance.config_drive: the instance has a config drive, and then its image is left alone";
            return Err(Failure::usage(format!("{}: {message}", path.display()))
                .with_hint("imgraft config-drive create makes its drive; or say config_drive: false"));
        }
        let conf = &instance.document().conf;
        let wanted = |option: &str, set: Option<bool>| {
            let wanted = compat == Compat::Imgraft || set == Some(true);
            if !wanted {
                tracing::warn!("{option} is not set in the document: Nova does not inject it");
            }
            wanted
        };
        let key = instance.key_data().filter(|key| !key.is_empty());
        let key = key.filter(|_| wanted("libvirt.inject_key", conf.inject_key));
        let key = key.map(|key| checked_key(path, key)).transpose()?;
        let password = instance.admin_password().filter(|password| !password.is_empty());
        let password = password.filter(|_| wanted("libvirt.inject_password", conf.inject_password));
        let network = interfaces_text(&instance, flavour).map_err(failed)?;
        let files = instance.files.iter().map(|(to, content)| {
            let absolute = if to.starts_with('/') { to.clone() } else { format!("/{to}") };
            let destination = GuestPath::parse(absolute.as_bytes())?;
            Ok(FileOperation::Put { destination, content: content.clone(), mode: FileMode::WhereNew(0o644) })
        });
        Ok(Self {
            key,
            network: network.map(|text| described(&instance, text, compat)),
            metadata: facts.metadata.0.clone(),
            password: password.map(|password| Secret::new(password.as_bytes().to_vec())),
            files: files.collect::<Result<_, Failure>>()?,
            uuid: Some(facts.uuid.clone()),
            has_user_data: instance.user_data.is_some(),
        })
    }
}

fn described(instance: &Instance, text: String, compat: Compat) -> Described {
    let text = text.into_bytes();
    if compat == Compat::Nova {
        return Described::Text(text);
    }
    // The text is about these only.
    let is_injected = |vif: &&Vif| vif.network.as_ref().is_some_and(Network::is_injected);
    let vifs: Vec<_> = instance.vifs().iter().filter(is_injected).cloned().collect();
    Described::Either { text, newest: None, config: network_info::config(&vifs).and_then(read::checked) }
}

fn checked_key(path: &Path, key: &str) -> Result<String, Failure> {
    let keys = authorized_keys::parse(key.as_bytes()).map_err(|error| {
        let failure = Failure::usage(format!("{}: instance.key_data: {error}", path.display()));
        error.hint().into_iter().fold(failure, |failure, hint| failure.with_hint(hint))
    })?;
    match &keys[..] {
        [key] => Ok(key.clone()),
        _ => Err(Failure::usage(format!("{}: instance.key_data: expected one key", path.display()))),
    }
}
