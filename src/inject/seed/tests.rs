use super::*;
use crate::config_drive::{Spelling, value};
use crate::inject::testing::{ED25519, RSA, phony, refusal};
use crate::net::read;
use crate::secret::Secret;
use serde_json::{Value, json};

fn keys(users: &[(&str, &str)]) -> Vec<(String, String)> {
    users.iter().map(|(user, key)| ((*user).to_owned(), (*key).to_owned())).collect()
}

fn user_data(seed: &Seed, before: &str) -> String {
    seed.user_data(Some(before.as_bytes()), &mut Outcome::default()).unwrap().as_str().to_owned()
}

fn parsed(text: &str) -> Value {
    assert!(text.starts_with("#cloud-config\n"), "{text}");
    value(text.as_bytes(), Spelling::Yaml).unwrap()
}

fn password(text: &str) -> Selector {
    Selector::Password(Secret::new(text.as_bytes().to_vec()))
}

/// Why there is no user data.
fn refused(seed: &Seed) -> String {
    seed.user_data(None, &mut Outcome::default()).unwrap_err().to_string()
}

#[test]
fn keys_beside_the_default_user() {
    let seed = Seed { keys: keys(&[("pi", ED25519), ("root", RSA), ("pi", RSA), ("pi", ED25519)]), ..Seed::default() };
    assert_eq!(
        parsed(&user_data(&seed, "")),
        json!({ "disable_root": false, "users": ["default",
            { "name": "pi", "ssh_authorized_keys": [ED25519, RSA] }, { "name": "root", "ssh_authorized_keys": [RSA] }] })
    );
    let opened = vec!["pi".to_owned(), "root".to_owned()];
    let seed = Seed { keys: keys(&[("pi", ED25519)]), opened, ..Seed::default() };
    assert_eq!(
        parsed(&user_data(&seed, "")),
        json!({ "users": ["default", { "name": "pi", "ssh_authorized_keys": [ED25519], "lock_passwd": false },
            { "name": "root", "lock_passwd": false }] })
    );
    let seed = Seed { keys: keys(&[("pi", ED25519)]), ..Seed::default() };
    assert_eq!(parsed(&user_data(&seed, "")).get("disable_root"), None, "root is left as the guest has it");
}

#[test]
fn everything_else_that_is_done_once() {
    let scripts = vec![Script::of_command("a; exit 1"), Script::of_command("echo 'ü'")];
    let hostname = Some(HostName::parse("web.example.org").unwrap());
    let seed = Seed { scripts, hostname, zone: Zone::parse("Europe/Berlin"), ..Seed::default() };
    assert_eq!(
        parsed(&user_data(&seed, "")),
        json!({ "preserve_hostname": false, "manage_etc_hosts": "localhost", "timezone": "Europe/Berlin",
            "runcmd": [["sh", "-c", "a; exit 1"], ["sh", "-c", "echo 'ü'"]] })
    );
    assert_eq!(
        user_data(&Seed::default(), ""),
        "",
        "cloud-init takes an empty one, and complains of one without a value"
    );
}

#[test]
fn a_method_that_was_asked_for() {
    let seed = Seed { passwords: vec![("root".into(), password("geheim"))], ..Seed::default() };
    let first = user_data(&seed, "");
    assert!(first.contains("$6$"), "{first}");
    let seed = Seed { method: Some(Method::Sha256), ..seed };
    let second = user_data(&seed, &first);
    assert!(second.contains("$5$") && !second.contains("$6$"), "{second}");
    assert_eq!(user_data(&seed, &second), second);
}

#[test]
fn passwords_are_hashes_that_stay() {
    let seed = |text| Seed {
        passwords: vec![("root".into(), password(text)), ("ann".into(), Selector::Disabled)],
        ..Seed::default()
    };
    let first = user_data(&seed("geheim"), "");
    assert!(!first.contains("geheim"));
    let config = parsed(&first);
    assert_eq!(config["chpasswd"]["expire"], json!(false));
    assert_eq!(
        config["users"],
        json!(["default", { "name": "ann" }]),
        "who may not be there is made, and root is there"
    );
    let of = |config: &Value, index: usize| config["chpasswd"]["users"][index].clone();
    let hash = of(&config, 0)["password"].as_str().unwrap().to_owned();
    assert!(hash.starts_with("$6$") && crate::crypt::verify(b"geheim", hash.as_bytes()) == Some(true), "{hash}");
    assert_eq!((&of(&config, 0)["name"], &of(&config, 0)["type"]), (&json!("root"), &json!("hash")));
    assert_eq!(of(&config, 1), json!({ "name": "ann", "type": "hash", "password": "*" }));

    assert_eq!(user_data(&seed("geheim"), &first), first, "the salt stays");
    assert_ne!(user_data(&seed("anders"), &first), first);
    // Neither another's hash, nor one of another method.
    let other = first.replace("\"root\"", "\"ann\"");
    assert_ne!(of(&parsed(&user_data(&seed("geheim"), &other)), 0)["password"], json!(hash));
    let weak = first.replace(&hash, &crate::crypt::md5_crypt(b"geheim", b"saltsalt"));
    assert!(of(&parsed(&user_data(&seed("geheim"), &weak)), 0)["password"].as_str().unwrap().starts_with("$6$"));

    let locked = Selector::LockedPassword(Secret::new(b"geheim".to_vec()));
    let locked = Seed { passwords: vec![("root".into(), locked)], ..Seed::default() };
    let text = user_data(&locked, &first);
    assert_eq!(of(&parsed(&text), 0)["password"], json!(format!("!{hash}")));
    assert_eq!(user_data(&locked, &text), text);
}

#[test]
fn expired_by_every_cloud_init() {
    let script = Script::of_file("x", b"#!/bin/sh\ntrue\n".to_vec());
    let seed = |expiry| Seed {
        passwords: vec![("root".into(), password("geheim")), ("ann".into(), Selector::Disabled)],
        scripts: vec![script.clone()],
        expiry,
        ..Seed::default()
    };
    let config = parsed(&user_data(&seed(PasswordExpiry::AtOnce), ""));
    assert_eq!(config["chpasswd"]["expire"], json!(true));
    let run = json!([["passwd", "--expire", "root"], ["passwd", "--expire", "ann"], ["sh", "-c", "true"]]);
    assert_eq!(config["runcmd"], run);
    let config = parsed(&user_data(&seed(PasswordExpiry::Never), ""));
    assert_eq!(config["runcmd"], json!([["sh", "-c", "true"]]));
}

#[test]
fn what_a_seed_has_no_words_for() {
    let with = |selector| Seed { passwords: vec![("root".into(), selector)], ..Seed::default() };
    assert_eq!(refused(&with(Selector::Locked)), "a seed has no place for the lock of the password that 'root' has");
    assert!(refused(&with(Selector::Hash(Secret::new(b"x".to_vec())))).starts_with("not a password hash"));
    let twice =
        Seed { passwords: vec![("a".into(), Selector::Disabled), ("a".into(), Selector::Disabled)], ..Seed::default() };
    assert!(refused(&twice).contains("'a'"));
    for user in ["", "a:b", "a\nb", "a b", "-a", "default", "../a"] {
        let seed = Seed { keys: keys(&[(user, ED25519)]), ..Seed::default() };
        assert!(refused(&seed).starts_with("a seed has no place for a user called"), "{user}");
    }
    for script in
        [&b"#!/usr/bin/python3\n"[..], b"#!/bin/sh\n\xff", b"#!/bin/sh\n\0", &[SHELL, &[b'x'; 128 << 10]].concat()]
    {
        let seed = Seed { scripts: vec![Script::of_file("x", script.to_vec())], ..Seed::default() };
        assert!(refused(&seed).starts_with("a seed has no place for the script x"));
    }
    let text = Described::Text(b"auto lo\niface lo inet loopback\n".to_vec());
    assert!(network_config(&text).unwrap_err().to_string().contains("in the words of one program"));
}

#[test]
fn a_network_without_a_key_around_it() {
    let network = "network: {version: 2, ethernets: {eth0: {dhcp4: true, addresses: [192.0.2.10/24]}}}";
    let config = read::document(network).unwrap();
    let text = network_config(&Described::Config(config)).unwrap();
    assert_eq!(
        value(text.as_bytes(), Spelling::Yaml).unwrap(),
        json!({ "version": 2, "ethernets": { "eth0": { "dhcp4": true, "addresses": ["192.0.2.10/24"] } } })
    );
    // What cloud-inits before 23.1 would lose of version 2, and those since 23.4 call deprecated.
    let six = "{version: 2, ethernets: {eth0: {addresses: ['2001:db8::10/64'], gateway6: 'fe80::1'}}}";
    let text = network_config(&Described::Config(read::document(six).unwrap())).unwrap();
    let subnet = json!({ "type": "static", "address": "2001:db8::10/64", "gateway": "fe80::1" });
    let device = json!({ "type": "physical", "name": "eth0", "subnets": [subnet] });
    assert_eq!(value(text.as_bytes(), Spelling::Yaml).unwrap(), json!({ "version": 1, "config": [device] }));
    assert!(crate::net::render::is_ours(text.as_bytes()));
    let pattern = read::document("network: {version: 2, ethernets: {x: {match: {name: 'e*'}, dhcp4: true}}}").unwrap();
    let error = network_config(&Described::Config(pattern)).unwrap_err();
    assert!(error.to_string().contains("a pattern of names") && error.hint().unwrap().contains("--nic"), "{error}");
}

#[test]
fn another_seed_is_another_instance() {
    let seed = Seed { metadata: keys(&[("a", "1"), ("b", "x"), ("a", "2")]), ..Seed::default() };
    let parse = |text: &str| value(text.as_bytes(), Spelling::Yaml).unwrap();
    let data = parse(&seed.meta_data("u", "n"));
    assert_eq!(data["meta"], json!({ "a": "2", "b": "x" }));
    let id = data["instance-id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("imgraft-") && id.len() == 40, "{id}");
    assert_eq!(parse(&seed.meta_data("u", "n"))["instance-id"], json!(id));
    for (user_data, network) in [("u2", "n"), ("u", "n2"), ("un", "")] {
        assert_ne!(parse(&seed.meta_data(user_data, network))["instance-id"], json!(id));
    }
    let named = Seed { hostname: Some(HostName::parse("web").unwrap()), ..seed };
    let data = parse(&named.meta_data("u", "n"));
    assert_eq!(data["local-hostname"], json!("web"));
    assert_ne!(data["instance-id"], json!(id));
    let given = Seed { instance_id: Some("83679162".into()), ..Seed::default() };
    assert_eq!(parse(&given.meta_data("u", "n"))["instance-id"], json!("83679162"), "a text, whatever it looks like");
}

#[test]
fn only_where_cloud_init_looks() {
    let seed = Seed { keys: keys(&[("root", ED25519)]), ..Seed::default() };
    assert!(refusal(&seed, phony().build().unwrap()).starts_with("a seed lies on a FAT volume"));
}

#[test]
fn no_secret_in_passing() {
    let scripts = vec![Script::of_command("echo geheim")];
    let seed = Seed { passwords: vec![("root".into(), password("geheim"))], scripts, ..Seed::default() };
    assert!(!format!("{seed:?}").contains("geheim"));
}
