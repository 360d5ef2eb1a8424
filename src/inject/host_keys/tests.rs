use super::*;
use crate::inject::testing::{
    ECDSA, ED25519, RSA, assert_unchanged, describe, exists, fedora, inject, label, notes, phony, refusal, stage, text,
};
use crate::oracle;
use imgraft_vfs::fs::mem::{Builder, MemFs};

const ED25519_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
const ECDSA_KEY: &str = "/etc/ssh/ssh_host_ecdsa_key";
const RSA_KEY: &str = "/etc/ssh/ssh_host_rsa_key";
const STAY: HostKeys = HostKeys { made: MadeKeys::Stay };

fn guest() -> Builder {
    unconfigured().file("/etc/ssh/sshd_config", "")
}

fn unconfigured() -> Builder {
    phony().file("/usr/sbin/sshd", "").file("/etc/hostname", "web.example.org\n")
}

fn private(fs: &MemFs, path: &str) -> PrivateKey {
    PrivateKey::from_openssh(text(fs, path)).unwrap()
}

/// A private key as ssh-keygen would write it.
fn key(kind: Kind, comment: &str) -> String {
    PrivateKey::new(kind.make().unwrap(), comment).unwrap().to_openssh(LineEnding::LF).unwrap().to_string()
}

#[test]
fn what_is_missing_is_made_once() {
    let fs = guest().build().unwrap();
    let fs = inject(&STAY, fs);
    for (path, algorithm, name) in
        [(ED25519_KEY, "ssh-ed25519", "ED25519"), (ECDSA_KEY, "ecdsa-sha2-nistp256", "ECDSA")]
    {
        assert_eq!(
            (describe(&fs, path), describe(&fs, &format!("{path}.pub"))),
            ("0600 0:0".into(), "0644 0:0".into())
        );
        let (key, line) = (private(&fs, path), text(&fs, &format!("{path}.pub")));
        assert!(line.starts_with(&format!("{algorithm} ")) && line.ends_with(" root@web.example.org\n"), "{line}");
        assert_eq!(format!("{}\n", key.public_key().to_openssh().unwrap()), line);
        assert!(!key.is_encrypted());
        // The rerun tells the same.
        let told = format!("{path} stays: {name} {}", key.fingerprint(HashAlg::Sha256));
        assert!(notes(&STAY, &fs).lines().any(|note| note == told), "{}", notes(&STAY, &fs));
    }
    assert!(!exists(&fs, RSA_KEY) && !exists(&fs, "/etc/cloud"));
    assert_unchanged(&STAY, &fs);
    // Another guest gets others.
    let other = inject(&STAY, guest().build().unwrap());
    for path in [ED25519_KEY, ECDSA_KEY] {
        assert_ne!(text(&fs, path), text(&other, path));
    }
}

#[test]
fn what_is_told_is_what_is_made() {
    let fs = guest().build().unwrap();
    let (outcome, changes) = stage(&STAY, &fs).unwrap();
    assert_eq!(outcome.notes.len(), 2);
    for note in &outcome.notes {
        let (path, rest) = note.split_once(" is new: ").unwrap();
        let change = changes.iter().find(|change| change.path.as_bytes() == format!("{path}.pub").as_bytes()).unwrap();
        let line = String::from_utf8(change.new_content(&fs, LIMIT).unwrap().unwrap()).unwrap();
        let public = PublicKey::from_openssh(line.trim_end()).unwrap();
        assert_eq!(rest.split_once(' ').unwrap().1, public.fingerprint(HashAlg::Sha256).to_string());
    }
    let told = notes(&HostKeys { made: MadeKeys::Go }, &fs);
    assert!(told.contains("ed25519_key is new: ED25519; its fingerprint") && !told.contains("SHA256"), "{told}");
    assert!(!format!("{outcome:?}{changes:?}").contains("PRIVATE"));
}

#[test]
fn what_is_there_stays() {
    let ed25519 = key(Kind::Ed25519, "me@there");
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIC\n-----END RSA PRIVATE KEY-----\n";
    let fs = guest()
        .file(ED25519_KEY, ed25519.clone())
        .mode(0o400)
        .file(RSA_KEY, pem)
        .mode(0o600)
        .file("/etc/ssh/ssh_host_rsa_key.pub", RSA)
        .file(ECDSA_KEY, "")
        .mode(0o666)
        .owner(7, 7)
        .file("/etc/ssh/ssh_host_ecdsa_key.pub", ECDSA)
        .build()
        .unwrap();
    let told = notes(&STAY, &fs);
    assert!(told.contains("ssh_host_ed25519_key.pub was missing and is made"), "{told}");
    let rsa = PublicKey::from_openssh(RSA).unwrap().fingerprint(HashAlg::Sha256);
    assert!(told.contains(&format!("{RSA_KEY} stays: RSA {rsa}, as {RSA_KEY}.pub says")), "{told}");
    let fs = inject(&STAY, fs);
    assert_eq!((text(&fs, ED25519_KEY), describe(&fs, ED25519_KEY)), (ed25519, "0400 0:0".into()));
    assert!(text(&fs, "/etc/ssh/ssh_host_ed25519_key.pub").ends_with(" me@there\n"));
    assert_eq!(text(&fs, RSA_KEY), pem);
    // An empty file is no key, as to ssh-keygen -A, and its public half is another one's.
    assert_eq!(describe(&fs, ECDSA_KEY), "0600 0:0");
    let line = text(&fs, "/etc/ssh/ssh_host_ecdsa_key.pub");
    let public = PublicKey::from_openssh(line.trim_end()).unwrap();
    assert_eq!(private(&fs, ECDSA_KEY).public_key().key_data(), public.key_data());
    assert_unchanged(&STAY, &fs);
}

#[test]
fn what_is_odd_of_a_key_that_is_there_is_told() {
    let fs = guest()
        .file(ED25519_KEY, key(Kind::Ed25519, ""))
        .mode(0o640)
        .file("/etc/ssh/ssh_host_ed25519_key.pub", ED25519)
        .file(ECDSA_KEY, b"\xff no key")
        .build()
        .unwrap();
    let told = notes(&STAY, &fs);
    assert!(told.contains("ssh_host_ed25519_key.pub is not its public key"), "{told}");
    assert!(told.contains(&format!("{ED25519_KEY}: sshd ignores it, as others can read it (mode 0640)")), "{told}");
    assert_eq!(told.matches("sshd ignores it").count(), 2, "{told}");
    assert!(told.contains(&format!("{ECDSA_KEY} stays, and its fingerprint is not known")), "{told}");
    assert_unchanged(&STAY, &fs);
}

#[test]
fn keys_are_where_sshd_reads_them() {
    let config = "Include /etc/ssh/sshd_config.d/*.conf\n#HostKey /x\nhostkey=\"/srv/keys/my_ed25519\"\nHostKey /etc/ssh/ssh_host_rsa_key\nHostKey agent\nMatch user ann\nHostKey /etc/ssh/never_ed25519\n";
    let fs = unconfigured()
        .file("/etc/ssh/sshd_config", config)
        .file("/etc/ssh/sshd_config.d/a.conf", "HostKey /srv/keys/my_ecdsa_key\nHostKey /srv/keys/my_ecdsa_key\n")
        .build()
        .unwrap();
    let told = notes(&STAY, &fs);
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(told.contains("/agent: sshd_config names this host key, it is not there"), "{told}");
    assert!(told.contains(&format!("{RSA_KEY}: sshd_config names this host key, it is not there")), "{told}");
    let fs = inject(&STAY, fs);
    assert_eq!(describe(&fs, "/srv/keys"), "0755 0:0");
    assert!(exists(&fs, "/srv/keys/my_ed25519.pub") && exists(&fs, "/srv/keys/my_ecdsa_key"));
    assert!(!exists(&fs, ED25519_KEY) && !exists(&fs, "/etc/ssh/never_ed25519"));
    assert_unchanged(&STAY, &fs);
    for config in ["HostKey none\n", "HostKey /etc/ssh/ssh_host_rsa_key\nHostKey /etc/ssh/a\n"] {
        let why = refusal(&STAY, unconfigured().file("/etc/ssh/sshd_config", config).build().unwrap());
        assert!(why.starts_with("sshd_config names no host key (HostKey) that is there or can be made"), "{why}");
        assert!(why.contains("(only ed25519 and ecdsa keys are made"), "{why}");
    }
    let rsa = unconfigured().file("/etc/ssh/sshd_config", "HostKey /etc/ssh/ssh_host_rsa_key\n").file(RSA_KEY, "key");
    assert_unchanged(&STAY, &rsa.build().unwrap());
    // One of which sshd is given the public half has its private one in an agent.
    let agent = unconfigured().file("/etc/ssh/sshd_config", "HostKey /etc/ssh/agent_ed25519.pub\n");
    let (outcome, changes) = stage(&STAY, &agent.dir("/etc/cloud/cloud.cfg.d").build().unwrap()).unwrap();
    assert!(changes.is_empty() && outcome.notes.len() == 1, "{outcome:?} {changes:?}");
}

#[test]
fn red_hats_group_and_label() {
    let own = "#!/bin/bash\n/usr/bin/chgrp ssh_keys $KEY\n/usr/bin/chmod 640 $KEY\n";
    let guest =
        |group: &str| MemFs::builder().file("/usr/sbin/sshd", "").file("/etc/group", format!("root:x:0:\n{group}"));
    let with_group = |builder: Builder| builder.file("/usr/libexec/openssh/sshd-keygen", own).build().unwrap();
    let fs = inject(&STAY, with_group(guest("ssh_keys:x:998:\n")));
    assert_eq!((describe(&fs, ED25519_KEY), describe(&fs, ECDSA_KEY)), ("0640 0:998".into(), "0640 0:998".into()));
    assert_unchanged(&STAY, &fs);
    let fs = inject(&STAY, with_group(guest("")));
    assert_eq!(describe(&fs, ED25519_KEY), "0600 0:0", "the group is not there");
    let fs = inject(&STAY, guest("ssh_keys:x:998:\n").build().unwrap());
    assert_eq!(describe(&fs, ED25519_KEY), "0600 0:0", "Fedora 38 and later give it to nobody");
    let fs = inject(&STAY, fedora().file("/usr/sbin/sshd", "").build().unwrap());
    for path in [ED25519_KEY, "/etc/ssh/ssh_host_ecdsa_key.pub"] {
        assert_eq!(label(&fs, path).unwrap(), "system_u:object_r:etc_t:s0");
    }
}

#[test]
fn those_that_cloud_init_brings_are_refused() {
    let with = |text: &str| guest().file("/usr/bin/cloud-init", "").file("/etc/cloud/cloud.cfg", text);
    for text in ["ssh_keys: {ed25519_private: secret}\n", "ssh_keys: {rsa_private: secret, ecdsa_private: x}\n"] {
        let error = stage(&STAY, &with(text).build().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the guest's cloud-init would undo it: /etc/cloud/cloud.cfg has the last word on ssh_keys, and says otherwise"
        );
        assert!(error.hint().unwrap().starts_with("take ssh_keys out of that file first"));
    }
    // Files of other names, and what is no key.
    assert!(stage(&STAY, &with("ssh_keys: {dsa_private: x, ed25519_certificate: y}\n").build().unwrap()).is_ok());
}

#[test]
fn cloud_init_keeps_them_and_a_guest_without_sshd_gets_none() {
    let fs = guest().dir("/etc/cloud/cloud.cfg.d").build().unwrap();
    assert!(notes(&STAY, &fs).contains("99-imgraft-host-keys.cfg: cloud-init is told to keep the host keys"));
    let fs = inject(&STAY, fs);
    assert!(text(&fs, "/etc/cloud/cloud.cfg.d/99-imgraft-host-keys.cfg").ends_with("\nssh_deletekeys: false\n"));
    assert_unchanged(&STAY, &fs);
    let why = refusal(&STAY, phony().build().unwrap());
    assert!(why.starts_with("the guest has no OpenSSH server (sshd)") && why.contains("(leave it out"), "{why}");
    // A guest without a name of its own gives none to its keys.
    let fs = inject(&STAY, phony().file("/usr/sbin/sshd", "").build().unwrap());
    assert_eq!(text(&fs, "/etc/ssh/ssh_host_ed25519_key.pub").split_whitespace().count(), 2);
}

#[test]
fn nothing_is_written_where_links_lead() {
    let guest = guest()
        .symlink(format!("{ED25519_KEY}.pub"), "/etc/other")
        .file("/etc/other", "content\n")
        .file("/etc/empty", "")
        .symlink(ECDSA_KEY, "../empty")
        .symlink(format!("{ECDSA_KEY}.pub"), "/nowhere/at/all");
    let fs = inject(&STAY, guest.build().unwrap());
    assert_eq!((text(&fs, "/etc/other"), text(&fs, "/etc/empty")), ("content\n".into(), String::new()));
    for path in [ED25519_KEY, ECDSA_KEY] {
        let line = text(&fs, &format!("{path}.pub"));
        assert_eq!(format!("{}\n", private(&fs, path).public_key().to_openssh().unwrap()), line);
        assert_eq!(describe(&fs, path), "0600 0:0");
    }
    assert_unchanged(&STAY, &fs);
}

/// A public key is an agent's, and nobody is told to change its mode.
#[test]
fn keys_of_an_agent() {
    let of_agent = unconfigured()
        .file("/etc/ssh/sshd_config", "HostKey /etc/ssh/agents.pub\nHostKeyAgent /run/agent\n")
        .file("/etc/ssh/agents.pub", ED25519)
        .mode(0o644)
        .build()
        .unwrap();
    assert_eq!(notes(&STAY, &of_agent), "");
    assert_unchanged(&STAY, &of_agent);
}

#[test]
fn a_certificate_of_another_key_is_told_of() {
    let Some(keygen) = oracle::find("ssh-keygen") else { return };
    let dir = tempfile::tempdir().unwrap();
    let keygen = |words: &[&str]| {
        let done = std::process::Command::new(&keygen).args(words).current_dir(dir.path()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    for name in ["ca", "host"] {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", name]);
    }
    keygen(&["-q", "-s", "ca", "-h", "-I", "web", "-n", "web", "host.pub"]);
    let made = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let certified = || {
        let config = format!("HostKey {ED25519_KEY}\nHostCertificate /etc/ssh/host-cert.pub\n");
        unconfigured().file("/etc/ssh/sshd_config", config).file("/etc/ssh/host-cert.pub", made("host-cert.pub"))
    };
    let config = "HostCertificate /etc/ssh/large\n";
    let large = unconfigured().file("/etc/ssh/sshd_config", config).file("/etc/ssh/large", vec![b'\n'; 65 * 1024]);
    let told = notes(&STAY, &large.build().unwrap());
    assert!(
        told.contains("is new: ") && !told.contains("HostCertificate"),
        "what is no certificate is of no other key: {told}"
    );
    let told = notes(&STAY, &certified().build().unwrap());
    assert!(
        told.contains("/etc/ssh/host-cert.pub: the certificate that sshd_config names (HostCertificate) is of none"),
        "{told}"
    );
    let with_its_key = certified().file(ED25519_KEY, made("host")).mode(0o600).build().unwrap();
    let told = notes(&STAY, &with_its_key);
    assert!(told.starts_with(ED25519_KEY) && !told.contains("HostCertificate"), "{told}");
}

#[test]
fn an_sshd_without_configuration_is_told_of() {
    assert!(notes(&STAY, &unconfigured().build().unwrap()).ends_with(
        "without which that does not start, unless it is started with another one (-f) or something brings it"
    ));
}
