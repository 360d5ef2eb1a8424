//! What is to be known where keys and certificates are gone.

use super::super::files::below::there;
use super::super::machine_id::is_first_boot;
use super::super::{InjectError, cloud_config, sshd};
use super::Site;
use super::rule::entries;
use crate::guest::Init;
use crate::guest::host_keys::{self, Maker};
use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;

/// Says who makes the host keys again, or that nobody does: sshd does not start without.
pub(super) fn who_makes_them(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    let ssh = entries(&GuestPath::parse("/etc/ssh")?, site.stage)?;
    let is_key = |name: &[u8]| name.starts_with(b"ssh_host_") && name.ends_with(b"_key");
    let Some(service) = host_keys::sshd(site.stage)? else { return Ok(()) };
    if ssh.iter().any(|entry| is_key(&entry.name)) {
        return Ok(());
    }
    let (mut stay, mut of_agent) = (Vec::new(), Vec::new());
    let has_agent = sshd::has_host_key_agent(site.stage);
    let named = match sshd::host_keys(site.stage) {
        Ok(named) => named.unwrap_or_default(),
        Err(InjectError::Vfs(error)) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Corrupt) => {
            return Err(error.into());
        }
        // The keys are gone all the same, and this is no more than what is to be known then.
        Err(error) => {
            site.outcome.notes.push(format!(
                "sshd's configuration cannot be read ({error}): host keys that it names elsewhere than in /etc/ssh stay, and every \
                 clone has them"
            ));
            Vec::new()
        }
    };
    for path in named {
        let is_there = there(site.stage.metadata(&path))? == Some(FileType::Regular);
        match path.as_bytes().ends_with(b".pub") {
            false if is_there => stay.push(path.to_string()),
            true if is_there && has_agent => of_agent.push(path.to_string()),
            _ => {}
        }
    }
    if !of_agent.is_empty() {
        site.outcome.notes.push(format!(
            "host keys of which an agent has the private halves (HostKeyAgent in sshd_config) stay, and every clone whose agent has them \
             is known by them: {}",
            of_agent.join(", ")
        ));
        if stay.is_empty() {
            return Ok(());
        }
    }
    if !stay.is_empty() {
        site.outcome.notes.push(format!(
            "host keys that sshd_config names elsewhere stay, and every clone has them: {}; imgraft inject --delete PATH takes one out of \
             the template, and --ssh-host-keys makes a new one in each clone",
            stay.join(", ")
        ));
        return Ok(());
    }
    let restart = restart(service, site)?;
    let ways_out = format!(
        "have them made with imgraft inject --ssh-host-keys, one run for each clone, or by the guest with imgraft inject \
         --firstboot-command 'ssh-keygen -A && {restart}', or whatever starts sshd there"
    );
    let is_first_boot = is_first_boot(site.stage)?;
    let keeps_cloud_init = match site.guest.network.cloud_init {
        None => None,
        Some(_) => match host_keys::masked_cloud_init(site.stage.base())? {
            Some(unit) => Some(format!("{unit} is masked")),
            None => cloud_config::makes_no_host_keys(site.stage)?,
        },
    };
    let note = match (host_keys::maker(site.stage.base())?, site.guest.network.cloud_init) {
        (Some(Maker::Boot(maker)), _) => format!("the guest makes host keys again at its next boot, as {maker} shows"),
        (Some(Maker::FirstBoot(maker)), _) if is_first_boot => {
            format!("the guest makes host keys again at its next boot, which is its first one, as {maker} shows")
        }
        (_, Some(evidence)) if keeps_cloud_init.is_none() => {
            format!("cloud-init ({evidence}) makes host keys again, as soon as it meets a new instance")
        }
        (Some(Maker::FirstBoot(maker)), _) => format!(
            "{maker} makes host keys again at a first boot only, which the next one is not without imgraft inject --machine-id \
             uninitialized, and the guest's sshd does not start without: use that, or {ways_out}"
        ),
        (None, _) => {
            let neither = keeps_cloud_init.map_or(String::new(), |why| format!(", cloud-init neither ({why})"));
            format!(
                "nothing in the guest makes host keys again{neither}, and its sshd does not start without: {ways_out}"
            )
        }
    };
    site.outcome.notes.push(note);
    if site.guest.network.cloud_init.is_some() {
        site.outcome.notes.extend(cloud_config::unread(site.stage)?);
    }
    for path in sshd::host_certificates(site.stage)? {
        site.outcome.notes.push(format!(
            "{path}: the certificate that sshd_config names (HostCertificate) stays, and fits no new host key: the authority that clients go \
             by has to sign that anew"
        ));
    }
    site.outcome.notes.extend(sshd::logins::without_configuration(site.stage)?);
    Ok(())
}

/// Says where sshd has keys of users that are in no home: these stay.
pub(super) fn of_users_elsewhere(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    let users = site.guest.accounts.users.as_deref().unwrap_or_default();
    if let Some((path, said)) = sshd::key_files::elsewhere(users, site.stage)? {
        site.outcome.notes.push(format!(
            "{path} has keys by which a user is let in, as {said}, and stays with all that is beside it: imgraft inject --delete PATH takes \
             that out of the template"
        ));
    }
    Ok(())
}

/// How the guest starts its sshd again.
fn restart(service: &str, site: &Site<'_, '_>) -> Result<String, InjectError> {
    let is_there = |path: &str| Ok::<_, InjectError>(site.stage.metadata(&GuestPath::parse(path)?)?.is_some());
    Ok(match site.guest.init {
        Init::Other if is_there("/sbin/openrc-run")? => format!("rc-service {service} restart"),
        Init::Other if is_there(&format!("/etc/init.d/{service}"))? => format!("/etc/init.d/{service} restart"),
        // One that has failed for want of keys, again and again, is not started any more until that is forgotten.
        _ => format!("systemctl reset-failed {service} && systemctl restart {service}"),
    })
}

/// Says that what a guest has made of its certificates is as it was: only its own programs make it anew.
pub(super) fn of_authorities(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    if site.removed == 0 {
        return Ok(());
    }
    let tools = [
        ("/usr/bin/update-ca-trust", "update-ca-trust"),
        ("/usr/sbin/update-ca-certificates", "update-ca-certificates"),
    ];
    for (path, tool) in tools {
        if site.stage.metadata(&GuestPath::parse(path)?)?.is_some() {
            site.outcome.notes.push(format!(
                "the bundles of certificates that the guest has made are as they were, until {tool} is run there: \
                 imgraft inject --firstboot-command {tool} has it run"
            ));
        }
    }
    Ok(())
}
