//! Which types of keys sshd takes: `PubkeyAcceptedAlgorithms` of sshd_config(5).

use super::blocks::list_means;

/// Whether a list leaves out every signature that a key of this type makes, whatever sshd itself takes where nothing is said. `+` and `^`
/// leave out nothing, `-` leaves out what it means (kex_assemble_names of OpenSSH's kex.c) of what is taken where nothing is said, among
/// which `ssh-rsa`, the signature by SHA-1, is no more since OpenSSH 8.8; nor has a client of that version one.
pub(super) fn leaves_out(list: &str, key_type: &str) -> bool {
    let signatures: &[&str] = match key_type {
        "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
        "sk-ecdsa-sha2-nistp256@openssh.com" => &[key_type, "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"],
        _ => &[key_type],
    };
    let all_are = |patterns: &str, expected: bool| {
        signatures.iter().all(|signature| (list_means(patterns, signature) == Some(true)) == expected)
    };
    match list.strip_prefix('-') {
        Some(without) => {
            let is_left = |signature: &&str| *signature != "ssh-rsa" && list_means(without, signature) != Some(true);
            !signatures.iter().any(is_left)
        }
        None => !list.starts_with(['+', '^']) && all_are(list, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let (ed25519, rsa) = ("ssh-ed25519", "ssh-rsa");
        for (list, key_type, expected) in [
            ("ssh-ed25519", ed25519, false),
            ("rsa-sha2-512,ssh-ed*", ed25519, false),
            ("rsa-sha2-*", ed25519, true),
            ("ssh-ed25519-cert-v01@openssh.com", ed25519, true),
            ("-ssh-ed25519", ed25519, true),
            ("-*", ed25519, true),
            ("-rsa-sha2-512", ed25519, false),
            ("+ssh-rsa", ed25519, false),
            ("^rsa-sha2-512", ed25519, false),
            ("rsa-sha2-512", rsa, false),
            ("ssh-rsa", rsa, false),
            ("ssh-ed25519,ecdsa-*", rsa, true),
            ("-rsa-sha2-512", rsa, false),
            ("-*rsa*", rsa, true),
            ("-rsa-sha2-*", rsa, true),
            ("-ssh-rsa", rsa, false),
            ("-rsa-sha2-512,rsa-sha2-256", rsa, true),
            ("-rsa-sha2-*", ed25519, false),
            ("webauthn-*", "sk-ecdsa-sha2-nistp256@openssh.com", false),
            ("ecdsa-*", "sk-ecdsa-sha2-nistp256@openssh.com", true),
        ] {
            assert_eq!(leaves_out(list, key_type), expected, "{list} {key_type}");
        }
    }
}
