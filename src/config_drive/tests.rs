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

fn refusal(document: &Value) -> String {
    from_json(document).map(|_| ()).unwrap_err().to_string()
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

fn with(pointer: &str, value: Value) -> Value {
    let text = std::fs::read_to_string(goldens().join("full/scenario.json")).unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(members) => _ = members.insert(key.to_owned(), value),
        Value::Array(values) => values[key.parse::<usize>().unwrap()] = value,
        other => panic!("{other}"),
    }
    document
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let mut wrong = Vec::new();
    for (pointer, value, expected) in [
        ("/unknown", json!(1), "unknown: unknown field `unknown`, expected one of `conf`, `instance`"),
        ("/conf/api.dhcp", json!("x"), "conf.api.dhcp: unknown field `api.dhcp`, expected one of"),
        (
            "/conf/config_drive_format",
            json!("udf"),
            "conf.config_drive_format: unknown variant `udf`, expected `iso9660` or `vfat`",
        ),
        ("/instance/flavour", json!("x"), "instance.flavour: unknown field `flavour`"),
        ("/instance/uuid", json!(5), "instance.uuid: invalid type: integer, expected a string at line"),
        ("/instance/uuid", json!(""), "instance.uuid: expected a text of one line"),
        ("/instance/launch_index", json!(-1), "instance.launch_index: invalid value: integer, expected u32"),
        ("/instance/metadata", json!({ "a": 1 }), "instance.metadata.a: invalid type: integer, expected a string"),
        (
            "/instance/metadata",
            json!("hunter2"),
            "instance.metadata: invalid type: string, expected an object of strings",
        ),
        ("/instance/user_data", json!(["hunter2"]), "instance.user_data: invalid type: sequence, expected a string"),
        ("/instance/user_data_b64", json!("hunter2"), "instance.user_data_b64: not base64"),
        ("/instance/user_data_b64", json!("aHVudGVyMg=="), "instance: expected one of user_data, user_data_b64"),
        (
            "/instance/keypairs/0/type",
            json!("pgp"),
            "instance.keypairs[0].type: unknown variant `pgp`, expected `ssh` or `x509`",
        ),
        ("/instance/devices/1/vlna", json!(1), "instance.devices[1]: unknown field `vlna`"),
        (
            "/instance/devices/1/bus",
            json!("virtio"),
            "instance.devices[1]: unknown variant `virtio`, expected one of `pci`",
        ),
        ("/files/1/contents_b64", json!("hunter2!"), "files[1].contents_b64: not base64"),
        ("/files/1/contents", json!("hunter2"), "files[1]: expected exactly one of contents"),
        ("/files/1/contents_file", json!("x"), "files[1]: expected exactly one of contents"),
        ("/files/1/path", json!("/etc/my.conf"), "files[1].path: a file before it has the same path"),
        ("/files/1/path", json!("etc//./my.conf"), "files[1].path: a file before it has the same path"),
        ("/files/1/path", json!("/etc/../my.conf"), "files[1].path: it leads up"),
        ("/files/1/path", json!("/etc/"), "files[1].path: expected the path of a file"),
        ("/files/1/path", json!(""), "files[1].path: expected the path of a file"),
        ("/files/1/path", json!("/a\0"), "files[1].path: no file can have this path"),
        (
            "/network_info/0/network/subnets/0/cidr",
            json!("10.0.0.0"),
            "network_info[0].network.subnets[0].cidr: invalid range",
        ),
        (
            "/network_info/0/network/subnets/0/version",
            json!(6),
            "network_info[0].network.subnets[0].version: expected 4, as cidr is",
        ),
        (
            "/network_info/0/network/subnets/0/ips/0/address",
            json!("fd00::9"),
            "network_info[0].network.subnets[0].ips[0].address: expected an IPv4",
        ),
        (
            "/network_info/0/network/subnets/0/dns/1/address",
            json!("1.2.3"),
            "network_info[0].network.subnets[0].dns[1].address: invalid IP address",
        ),
        ("/network_info/0/address", json!(null), "network_info[0].address: expected a MAC address"),
        ("/network_info/1/network/meta/mtu", json!("big"), "network_info[1].network.meta"),
        ("/random_seed_hex", json!("0"), "random_seed_hex: not hexadecimal"),
        ("/extra_md", json!("hunter2"), "extra_md: invalid type: string, expected a map"),
    ] {
        let message = refusal(&with(pointer, value));
        assert!(!message.contains("hunter2"), "{message}");
        if !message.starts_with(expected) {
            wrong.push(format!("{pointer}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refusal(&json!({ "instance": { "uuid": "x" } })).starts_with("instance: missing field `hostname`"));
    let error = read(b"{\"instance\": {\"uuid\": \"x\"", Spelling::Json).unwrap_err().to_string();
    assert!(error.contains("EOF while parsing"), "{error}");
    let error = read(b"{\"instance\": {\"uuid\": \"x\", \"hostname\": \"h\"}} {}", Spelling::Json).unwrap_err();
    assert!(error.to_string().starts_with("after the document: "), "{error}");
}

#[test]
fn files_that_a_document_names_lie_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Below(directory.path().to_path_buf());
    std::fs::write(directory.path().join("inside"), "hello").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", directory.path().join("link")).unwrap();
    let complete = |path: &str| {
        let mut document = Document::new("u".into(), "h".into());
        document.files.push(serde_json::from_value(json!({ "path": "/f", "contents_file": path })).unwrap());
        Instance::new(document, Flavour::Imgraft, &place)
    };
    assert_eq!(bytes_of(&complete("./inside").unwrap().files[0].1), b"hello");
    for (path, expected) in [
        ("/etc/passwd", "files[0].contents_file: \"/etc/passwd\": expected a relative path without '..'"),
        ("../x", "files[0].contents_file: \"../x\": expected a relative path"),
        ("", "files[0].contents_file: \"\": expected a relative path"),
        ("link", "a link leads out of the document's directory"),
        ("missing", "/missing: No such file or directory"),
        (".", "a directory"),
    ] {
        let message = complete(path).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(expected), "{path}: {message}");
    }
    let mut document = Document::new("u".into(), "h".into());
    document.conf.vendordata_jsonfile_path = Some("inside".into());
    let message = Instance::new(document, Flavour::Imgraft, &place).map(|_| ()).unwrap_err().to_string();
    assert_eq!(message, "conf.api.vendordata_jsonfile_path: expected a JSON object; it is none at line 1 column 1");
}

#[test]
fn yaml_is_as_good_and_bombs_are_not() {
    let text = "# an instance\ninstance:\n  uuid: &u 0b1c\n  hostname: web\n  display_name: *u\n  metadata: {role: web}\n\
                network_info:\n- address: 52:54:00:12:34:56\n  network:\n    subnets:\n    - {cidr: 10.0.0.0/8}\n";
    let document = read(text.as_bytes(), Spelling::Yaml).unwrap();
    assert_eq!(document.instance.display_name.as_deref(), Some("0b1c"));
    assert_eq!(document.network_info.unwrap()[0].address.as_deref(), Some("52:54:00:12:34:56"));
    let error = read(b"instance:\n  uuid: 12345\n  hostname: h\n", Spelling::Yaml).unwrap_err();
    assert!(error.to_string().starts_with("instance.uuid: invalid type: integer, expected a string"), "{error}");
    assert!(error.hint().unwrap().contains("quotes"));

    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", ")));
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = "instance: {uuid: a, uuid: b, hostname: h}\n".to_owned();
    for text in [bomb, deep, "a: *b\n".into(), twice, "a: [\n".into(), "\u{0}".into(), "&a [*a]".into()] {
        let error = read(text.as_bytes(), Spelling::Yaml).unwrap_err().to_string();
        assert!(error.starts_with("not YAML: "), "{error}");
    }
    let deep = format!("{{\"instance\": {}", "[".repeat(100_000));
    assert!(read(deep.as_bytes(), Spelling::Json).is_err());
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
fn what_is_no_yaml_is_named_without_a_line_of_it() {
    for rest in [
        "{admin_pass: hunter2",
        "\n  admin_pass: \"hunter2\n   x: [",
        "\n  admin_pass: !!int hunter2",
        "\n  hunter2\n  a: b",
    ] {
        let text = format!("instance: {{uuid: u, hostname: h}}\nextra_md: {rest}\n");
        let error = read(text.as_bytes(), Spelling::Yaml).unwrap_err().to_string();
        assert!(error.starts_with("not YAML: ") && !error.contains("hunter2") && !error.contains('\n'), "{error}");
    }
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
        let open = at.ends_with("Meta");
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
