mod refused;

use super::document::Provider;
use super::*;
use std::path::{Path, PathBuf};

/// A file of a drive that Nova wrote: its path, and its content as a text or in base64.
#[derive(serde::Deserialize)]
struct Line(String, Option<String>, #[serde(default)] Option<bytes::Base64>);

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/goldens")
}

fn instance(name: &str, flavour: Flavour) -> Instance {
    let directory = goldens().join(name);
    let text = std::fs::read(directory.join("scenario.json")).unwrap();
    Instance::new(read(&text, Spelling::Json).unwrap(), flavour, &Place::Below(directory)).unwrap()
}

fn from_json(document: &Value) -> Result<Instance, DocumentError> {
    let document = read(document.to_string().as_bytes(), Spelling::Json)?;
    Instance::new(document, Flavour::Imgraft, &Place::Nowhere)
}

fn bytes_of(content: &Content) -> Vec<u8> {
    let mut bytes = vec![0; content.len() as usize];
    content.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn paths(documents: &Documents) -> Vec<&str> {
    documents.files.iter().map(|(path, _)| path.as_str()).collect()
}

fn parsed(documents: &Documents, path: &str) -> Value {
    let (_, content) = documents.files.iter().find(|(name, _)| name == path).unwrap_or_else(|| panic!("no {path}"));
    serde_json::from_slice(&bytes_of(content)).unwrap()
}

#[test]
fn our_drives_are_novas() {
    let mut count = 0;
    for entry in std::fs::read_dir(goldens()).unwrap() {
        let entry = entry.unwrap();
        let Ok(drive) = std::fs::read_to_string(entry.path().join("drive.jsonl")) else { continue };
        let name = entry.file_name().into_string().unwrap();
        let ours = Documents::new(&instance(&name, Flavour::Nova), Flavour::Nova, Layout::OpenStack).unwrap();
        let theirs: Vec<Line> = drive.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expected: Vec<&str> = theirs.iter().map(|line| line.0.as_str()).collect();
        assert_eq!(paths(&ours), expected, "{name}");
        for (Line(path, text, encoded), (_, content)) in theirs.iter().zip(&ours.files) {
            let theirs = match (text, encoded) {
                (Some(text), _) => text.as_bytes(),
                (None, Some(bytes)) => bytes.0.expose(),
                (None, None) => panic!("{name}: {path} has no content"),
            };
            let ours = bytes_of(content);
            assert!(
                ours == theirs,
                "{name}: {path}\nours:   {}\ntheirs: {}",
                String::from_utf8_lossy(&ours),
                String::from_utf8_lossy(theirs)
            );
        }
        assert!(ours.notes.is_empty(), "{name}: {:?}", ours.notes);
        count += 1;
    }
    assert_eq!(count, 15, "every golden is there");
}

#[test]
fn ours_differs_from_novas_where_novas_harms() {
    let documents =
        |name| Documents::new(&instance(name, Flavour::Imgraft), Flavour::Imgraft, Layout::OpenStack).unwrap();
    // Everything but the network is the same.
    for name in ["full", "no_key", "skip_none", "vd_static", "net_v6_only"] {
        let nova = Documents::new(&instance(name, Flavour::Nova), Flavour::Nova, Layout::OpenStack).unwrap();
        let ours = documents(name);
        assert_eq!(paths(&ours), paths(&nova), "{name}");
        for ((path, ours), (_, nova)) in ours.files.iter().zip(&nova.files) {
            assert!(bytes_of(ours) == bytes_of(nova), "{name}: {path}");
        }
    }
    let lists = json!({ "links": [], "networks": [], "services": [] });
    assert_eq!(parsed(&documents("minimal"), "openstack/latest/network_data.json"), lists);

    let plain = json!({ "instance": { "uuid": "u-1", "hostname": "h" } });
    let ours = Documents::new(&from_json(&plain).unwrap(), Flavour::Imgraft, Layout::OpenStack).unwrap();
    assert!(!paths(&ours).iter().any(|path| path.ends_with("network_data.json")));
    let nova = Documents::new(&from_json(&plain).unwrap(), Flavour::Nova, Layout::OpenStack).unwrap();
    assert_eq!(parsed(&nova, "openstack/latest/network_data.json"), json!({}));

    // IPv6 is static although IPv4 is not, and the first file has the second number.
    let ours = documents("net_v4_dhcp_v6_static");
    let text = String::from_utf8(bytes_of(&ours.files.last().unwrap().1)).unwrap();
    assert!(text.ends_with(
        "auto eth0\niface eth0 inet dhcp\n    hwaddress ether aa:aa:aa:aa:aa:aa\niface eth0 inet6 static\n    \
         hwaddress ether aa:aa:aa:aa:aa:aa\n    address fd00::2\n    netmask 64\n    gateway fd00::1\n"
    ));
}

#[test]
fn vendor_data_without_the_static_part() {
    let document = |providers: Value| {
        json!({
            "conf": { "api.vendordata_providers": providers },
            "instance": { "uuid": "u-1", "hostname": "h" },
            "vendor_data": { "a": 1 },
            "vendor_data_dynamic": { "cmdb": { "rack": 7 }, "static": "hidden" },
        })
    };
    let instance = from_json(&document(json!(["DynamicJSON"]))).unwrap();
    let documents = Documents::new(&instance, Flavour::Imgraft, Layout::OpenStack).unwrap();
    assert_eq!(parsed(&documents, "openstack/latest/vendor_data.json"), json!({}));
    let expected = json!({ "cmdb": { "rack": 7 }, "static": "hidden" });
    assert_eq!(parsed(&documents, "openstack/latest/vendor_data2.json"), expected);
    let error = Documents::new(&instance, Flavour::Nova, Layout::OpenStack).unwrap_err();
    assert!(error.to_string().contains("Nova cannot make a drive"), "{error}");

    let instance = from_json(&document(json!(["StaticJSON", "DynamicJSON"]))).unwrap();
    let documents = Documents::new(&instance, Flavour::Nova, Layout::OpenStack).unwrap();
    let expected = json!({ "static": { "a": 1 }, "cmdb": { "rack": 7 } });
    assert_eq!(parsed(&documents, "openstack/latest/vendor_data2.json"), expected);
    assert_eq!(documents.notes, ["vendor_data_dynamic.static: left out, there is one of this name"]);
    assert_eq!(instance.document().conf.vendordata_providers, Some(vec![Provider::Static, Provider::Dynamic]));
}

#[test]
fn grizzly_has_two_versions_and_python_2s_order() {
    let instance = instance("full", Flavour::NovaGrizzly);
    let documents = Documents::new(&instance, Flavour::NovaGrizzly, Layout::OpenStack).unwrap();
    let expected = [
        "ec2/2009-04-04/user-data",
        "ec2/2009-04-04/meta-data.json",
        "ec2/latest/user-data",
        "ec2/latest/meta-data.json",
        "openstack/2012-08-10/meta_data.json",
        "openstack/2012-08-10/user_data",
        "openstack/2013-04-04/meta_data.json",
        "openstack/2013-04-04/user_data",
        "openstack/latest/meta_data.json",
        "openstack/latest/user_data",
        "openstack/content/0000",
        "openstack/content/0001",
        "openstack/content/0002",
    ];
    assert_eq!(paths(&documents), expected);
    let latest = parsed(&documents, "openstack/latest/meta_data.json");
    let keys: Vec<&String> = latest.as_object().unwrap().keys().collect();
    let mut sorted = keys.clone();
    sorted.sort();
    let expected = [
        "admin_pass",
        "availability_zone",
        "files",
        "hostname",
        "launch_index",
        "meta",
        "name",
        "network_config",
        "public_keys",
        "random_seed",
        "uuid",
    ];
    assert_eq!(sorted, expected);
    assert_ne!(keys, sorted);
    assert_eq!(parsed(&documents, "ec2/latest/meta-data.json")["local-ipv4"], Value::Null);
    let (_, text) = &documents.files[10];
    let text = String::from_utf8(bytes_of(text)).unwrap();
    assert!(text.starts_with("# Injected by Nova on instance boot\n# This file"));
    // DHCP is not known, gateways always have a line.
    assert!(text.ends_with(
        "\nauto eth1\niface eth1 inet static\n        address 192.168.9.7\n        netmask 255.255.255.0\n        \
         broadcast 192.168.9.255\n        gateway 192.168.9.1\n\n"
    ));
}

#[test]
fn nocloud_says_the_same_in_its_words() {
    let document = json!({
        "instance": {
            "uuid": "u-1", "hostname": "h", "user_data": "#cloud-config\n", "key_name": "k", "key_data": "ssh-x A",
            "metadata": { "ключ": "😀\u{7f}" },
        },
        "vendor_data": { "cloud-init": "#!/bin/sh\n" },
        "network_info": [],
    });
    let documents = Documents::new(&from_json(&document).unwrap(), Flavour::Imgraft, Layout::NoCloud).unwrap();
    assert_eq!(paths(&documents), ["user-data", "meta-data", "network-config", "vendor-data"]);
    let text = String::from_utf8(bytes_of(&documents.files[1].1)).unwrap();
    assert_eq!(
        text,
        "{\"instance-id\":\"u-1\",\"local-hostname\":\"h.novalocal\",\"public-keys\":[\"ssh-x A\"],\
         \"meta\":{\"ключ\":\"😀\\u007f\"}}\n"
    );
    let mut document = document;
    document["files"] = json!([{ "path": "/a", "contents": "" }]);
    let error = Documents::new(&from_json(&document).unwrap(), Flavour::Imgraft, Layout::NoCloud).unwrap_err();
    assert_eq!(error.to_string(), "files: a NoCloud drive has no place for files");
}

#[test]
fn nocloud_has_routers_in_words_of_every_cloud_init() {
    let network = |subnets: &[Value]| {
        let vif = json!({ "address": "52:54:00:12:34:56", "network": { "meta": { "mtu": 1400 }, "subnets": subnets } });
        let document = json!({ "instance": { "uuid": "u-1", "hostname": "h" }, "network_info": [vif] });
        let documents = Documents::new(&from_json(&document).unwrap(), Flavour::Imgraft, Layout::NoCloud).unwrap();
        parsed(&documents, "network-config")
    };
    let four = json!({
        "cidr": "192.0.2.0/24", "gateway": { "address": "192.0.2.1" }, "ips": [{ "address": "192.0.2.10" }],
        "dns": [{ "address": "192.0.2.53" }],
    });
    let six = json!({
        "cidr": "2001:db8::/64", "gateway": { "address": "fe80::1" }, "ips": [{ "address": "2001:db8::10" }],
        "dns": [{ "address": "2001:db8::53" }],
        "routes": [{ "cidr": "2001:db8:9::/48", "gateway": { "address": "2001:db8::2" } }],
    });
    assert_eq!(network(std::slice::from_ref(&four))["version"], 2);
    let subnets = json!([
        {
            "type": "static", "address": "192.0.2.10/24", "gateway": "192.0.2.1",
            "dns_nameservers": ["192.0.2.53", "2001:db8::53"],
        },
        {
            "type": "static", "address": "2001:db8::10/64", "gateway": "fe80::1",
            "routes": [{ "network": "2001:db8:9::/48", "gateway": "2001:db8::2" }],
        },
    ]);
    let device = json!({
        "type": "physical", "name": "eth0", "mac_address": "52:54:00:12:34:56", "mtu": 1400, "subnets": subnets,
    });
    assert_eq!(network(&[four.clone(), six]), json!({ "version": 1, "config": [device] }));
    // OpenStack allows a gateway outside of its subnet; netplan's word for it is none to cloud-init.
    let mut outside = four;
    outside["gateway"]["address"] = json!("198.51.100.1");
    let subnet = &network(&[outside])["config"][0]["subnets"][0];
    assert_eq!((&subnet["address"], &subnet["gateway"]), (&json!("192.0.2.10/24"), &json!("198.51.100.1")));
}

#[test]
fn a_drive_of_novas_says_what_nova_would_not_have_taken() {
    let file = |number: usize| json!({ "path": format!("/{number}"), "contents": "x".repeat(number) });
    let files: Vec<Value> = [1, 2, 3, 4, 7680, 7681].into_iter().map(file).collect();
    let document = json!({
        "instance": { "uuid": "u", "hostname": "h", "user_data": "x".repeat(49_150) }, "files": files,
    });
    let instance = from_json(&document).unwrap();
    assert!(Documents::new(&instance, Flavour::Imgraft, Layout::OpenStack).unwrap().notes.is_empty());
    let notes = Documents::new(&instance, Flavour::Nova, Layout::OpenStack).unwrap().notes;
    let expected = [
        "6 files: Nova's API takes 5 by default",
        "files[5] has 10244 characters in base64: Nova's API takes 10240 by default",
        "user data have 65536 characters in base64: Nova's API takes 65535 by default",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn an_x509_key_pair_keeps_its_kind() {
    let pair = json!({ "name": "k", "type": "x509", "data": "-----BEGIN CERTIFICATE-----" });
    let document = json!({ "instance": { "uuid": "u", "hostname": "h", "key_name": "k", "keypairs": [pair] } });
    let documents = Documents::new(&from_json(&document).unwrap(), Flavour::Nova, Layout::OpenStack).unwrap();
    let data = parsed(&documents, "openstack/2012-08-10/meta_data.json");
    assert_eq!((&data["keys"][0], &data["public_keys"]["k"]), (&pair, &pair["data"]));
    // The key pair is gone, its name is not: EC2's documents have the key nevertheless.
    let document =
        json!({ "instance": { "uuid": "u", "hostname": "h", "key_name": "k", "key_data": "x", "keypairs": [] } });
    let documents = Documents::new(&from_json(&document).unwrap(), Flavour::Nova, Layout::OpenStack).unwrap();
    assert_eq!(parsed(&documents, "openstack/latest/meta_data.json").get("keys"), None);
    assert_eq!(parsed(&documents, "ec2/latest/meta-data.json")["public-keys"]["0"]["openssh-key"], "x");
}

#[test]
fn secrets_do_not_show() {
    let document = json!({
        "instance": { "uuid": "u", "hostname": "h", "user_data": "hunter2" },
        "extra_md": { "admin_pass": "hunter2" },
        "files": [{ "path": "/f", "contents": "hunter2" }, { "path": "/g", "contents_b64": "aHVudGVyMg==" }],
        "random_seed_hex": "68756e74657232",
    });
    let parsed = read(document.to_string().as_bytes(), Spelling::Json).unwrap();
    let shown = format!("{parsed:?}");
    let instance = from_json(&document).unwrap();
    let documents = Documents::new(&instance, Flavour::Imgraft, Layout::OpenStack).unwrap();
    for shown in [shown, format!("{instance:?}"), format!("{documents:?}")] {
        for secret in ["hunter2", "aHVudGVyMg", "104, 117, 110", "68756e"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    assert_eq!(instance.admin_password(), Some("hunter2"));
}

/// Every object of the schema with the properties it has, by its JSON pointer in the schema.
fn objects<'a>(schema: &'a Value, at: &str, found: &mut Vec<(String, &'a Value)>) {
    if let Value::Object(members) = schema {
        if members.contains_key("properties") {
            found.push((at.to_owned(), schema));
        }
        for (key, member) in members {
            objects(member, &format!("{at}/{key}"), found);
        }
    } else if let Value::Array(values) = schema {
        for (number, value) in values.iter().enumerate() {
            objects(value, &format!("{at}/{number}"), found);
        }
    }
}

#[test]
fn the_schema_says_what_everything_means() {
    let schema = schema();
    let mut found = Vec::new();
    objects(&schema, "", &mut found);
    assert!(found.len() > 15, "{}", found.len());
    for (at, object) in found {
        // Nova folds what it does not know into these.
        let open = at.ends_with("Meta") || at.ends_with("/ExtraMetadata");
        assert_eq!(object["additionalProperties"] == json!(false), !open, "{at}");
        let required: Vec<&str> =
            object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in object["properties"].as_object().unwrap() {
            if name == "type" && property.get("const").is_some() {
                continue;
            }
            let description = property["description"].as_str().unwrap_or_else(|| panic!("{at}: {name} says nothing"));
            let has_default = description.contains("Default");
            assert_eq!(has_default, !required.contains(&name.as_str()), "{at}: {name}: {description}");
        }
    }
}
