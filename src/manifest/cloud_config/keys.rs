//! The keys of a cloud-config: those that are taken, and the others that cloud-init knows.

use super::super::untaken::{NO_KEY, NOT_HONOURED};
use crate::config_drive::DocumentError;
use serde_json::Value;

/// The keys that are taken.
const TAKEN: &[&str] = &[
    "hostname",
    "fqdn",
    "prefer_fqdn_over_hostname",
    "preserve_hostname",
    "timezone",
    "locale",
    "keyboard",
    "groups",
    "users",
    "ssh_authorized_keys",
    "chpasswd",
    "write_files",
    "packages",
    "runcmd",
    "disable_root",
];

/// The other keys of cloud-init, by the schema of its cloud-configs, and those that its modules and networks read beside it.
const KNOWN: &[&str] = &[
    "allow_public_ssh_keys",
    "ansible",
    "apk_repos",
    "apt",
    "apt_pipelining",
    "apt_reboot_if_required",
    "apt_update",
    "apt_upgrade",
    "authkey_hash",
    "autoinstall",
    "bootcmd",
    "byobu_by_default",
    "ca-certs",
    "ca_certs",
    "chef",
    "cloud_config_modules",
    "cloud_final_modules",
    "cloud_init_modules",
    "create_hostname_file",
    "device_aliases",
    "disable_ec2_metadata",
    "disable_root_opts",
    "disk_setup",
    "drivers",
    "fan",
    "final_message",
    "fs_setup",
    "growpart",
    "grub-dpkg",
    "grub_dpkg",
    "landscape",
    "launch-index",
    "locale_configfile",
    "lxd",
    "manage_etc_hosts",
    "manage_resolv_conf",
    "mcollective",
    "merge_how",
    "merge_type",
    "migrate",
    "mount_default_fields",
    "mounts",
    "network",
    "no_ssh_fingerprints",
    "ntp",
    "output",
    "package_reboot_if_required",
    "package_update",
    "package_upgrade",
    "password",
    "phone_home",
    "power_state",
    "puppet",
    "random_seed",
    "reporting",
    "resize_rootfs",
    "resolv_conf",
    "rh_subscription",
    "rpi",
    "rsyslog",
    "salt_minion",
    "snap",
    "spacewalk",
    "ssh",
    "ssh_deletekeys",
    "ssh_fp_console_blacklist",
    "ssh_genkeytypes",
    "ssh_import_id",
    "ssh_key_console_blacklist",
    "ssh_keys",
    "ssh_publish_hostkeys",
    "ssh_pwauth",
    "ssh_quiet_keygen",
    "swap",
    "system_info",
    "ubuntu_advantage",
    "ubuntu_pro",
    "updates",
    "user",
    "vendor_data",
    "version",
    "wireguard",
    "yum_repo_dir",
    "yum_repos",
    "zypper",
];

/// Fails for a key that is not taken.
pub(super) fn check(config: &Value) -> Result<(), DocumentError> {
    let mut keys = config.as_object().into_iter().flat_map(|members| members.keys()).map(String::as_str);
    match keys.find(|key| !TAKEN.contains(key)) {
        None => Ok(()),
        Some(key) => {
            let reason = if KNOWN.contains(&key) { NOT_HONOURED } else { NO_KEY };
            Err(DocumentError::new(key, reason).with_hint(way_out(key)))
        }
    }
}

/// What can be done instead.
fn way_out(key: &str) -> String {
    let way = match key {
        "package_update"
        | "package_upgrade"
        | "package_reboot_if_required"
        | "apt"
        | "snap"
        | "yum_repos"
        | "apt_update"
        | "apt_upgrade"
        | "apt_reboot_if_required"
        | "zypper"
        | "apk_repos" => "runcmd with the guest's package manager installs at the first boot",
        "bootcmd" => "runcmd is run at the first boot; a systemd unit in write_files at each",
        "ssh_pwauth" => "write_files with /etc/ssh/sshd_config.d/50-password.conf says the same to sshd",
        "password" | "user" => "users with plain_text_passwd and lock_passwd: false, or chpasswd.users, names the user",
        "network" => "--network FILE takes the network",
        "mounts" | "swap" => "write_files with append adds a line to /etc/fstab",
        "ntp" => "write_files with the configuration of the guest's own time service says the same",
        "ca_certs" | "ca-certs" => "write_files puts certificates into the guest, and runcmd update-ca-certificates",
        "ssh_import_id" => "ssh_authorized_keys with the keys themselves: nothing is fetched",
        "power_state" => "leave it out, or runcmd with systemctl reboot at its end",
        key if KNOWN.contains(&key) => "leave it out, and the guest's own cloud-init does as without it",
        _ => return format!("leave it out, or spell it as one of {}", TAKEN.join(", ")),
    };
    way.to_owned()
}
