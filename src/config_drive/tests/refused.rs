//! Documents that are not right.

use super::*;

fn refusal(document: &Value) -> String {
    from_json(document).map(|_| ()).unwrap_err().to_string()
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
        ("/instance/metadata", json!({ "a": "b", "": "hunter2" }), "instance.metadata: a key is empty"),
        ("/extra_md", json!({ "meta": { "": "hunter2" } }), "extra_md.meta: a key is empty"),
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
        ("/extra_md/admin_pass", json!(123), "extra_md.admin_pass: invalid type: integer, expected a string"),
        ("/extra_md/admin_pass", json!(null), "extra_md.admin_pass: invalid type: null, expected a string"),
        (
            "/extra_md/random_seed",
            json!(["hunter2"]),
            "extra_md.random_seed: invalid type: sequence, expected a string",
        ),
        ("/extra_md/uuid", json!(""), "extra_md.uuid: expected a text that is not empty"),
        ("/extra_md/uuid", json!(1), "extra_md.uuid: invalid type: integer, expected a string"),
        ("/extra_md/meta", json!({ "a": 1 }), "extra_md.meta.a: invalid type: integer, expected a string"),
        ("/extra_md/files", json!({}), "extra_md.files: invalid type: map, expected a sequence"),
        ("/extra_md/files", json!(["/etc/x"]), "extra_md.files[0]: invalid type: string, expected an object"),
        ("/extra_md/files", json!([{ "path": "/x" }]), "extra_md.files[0]: missing field `content_path`"),
        ("/instance", json!(["u", "h"]), "instance: invalid type: sequence, expected an object at"),
        ("/instance", json!(null), "instance: invalid type: null, expected an object at"),
        ("/conf", json!([]), "conf: invalid type: sequence, expected an object at"),
        ("/instance/ec2_ids", json!(["i"]), "instance.ec2_ids: invalid type: sequence, expected an object at"),
        ("/instance/devices/1", json!(["disk", {}]), "instance.devices[1]: invalid type: sequence, expected an object"),
        ("/files/1", json!(["/x", "y"]), "files[1]: invalid type: sequence, expected an object at"),
        ("/network_info/0", json!([]), "network_info[0]: invalid type: sequence, expected an object at"),
        (
            "/network_info/0/network/meta",
            json!([]),
            "network_info[0].network.meta: invalid type: sequence, expected an object at",
        ),
        ("/vendor_data", json!([]), "vendor_data: invalid type: sequence, expected an object at"),
        ("/extra_md", json!("hunter2"), "extra_md: invalid type: string, expected an object at"),
    ] {
        let message = refusal(&with(pointer, value));
        assert!(!message.contains("hunter2"), "{message}");
        if !message.starts_with(expected) {
            wrong.push(format!("{pointer}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refusal(&json!({ "instance": { "uuid": "x" } })).starts_with("instance: missing field `hostname`"));
    for text in ["[]", "null"] {
        for spelling in [Spelling::Json, Spelling::Yaml] {
            let error = read(text.as_bytes(), spelling).unwrap_err().to_string();
            assert!(error.contains("expected an object"), "{error}");
        }
    }
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
fn what_would_be_changed_on_the_way_is_refused() {
    let document = |rest: &str| format!("{{\"instance\": {{\"uuid\": \"u\", \"hostname\": \"h\"{rest}}}");
    for (rest, expected) in [
        (r#", "metadata": {"a": "1", "b": "2", "a": "3"}}"#, "instance.metadata.a: a duplicate key"),
        (r#"}, "extra_md": {"k": 1, "k": 2}"#, "extra_md.k: a duplicate key"),
        (r#"}, "extra_md": {"k": [{"x": 1, "x": 2}]}"#, "extra_md.k[0].x: a duplicate key"),
        (r#"}, "vendor_data": {"k": {"x": 1, "x": 1}}"#, "vendor_data.k.x: a duplicate key"),
        (r#"}, "vendor_data_dynamic": {"k": 1, "k": 1}"#, "vendor_data_dynamic.k: a duplicate key"),
        (r#"}, "vendor_data": {"k": [123456789012345678901234567890]}"#, "vendor_data.k[0]: expected a number that 64"),
        (r#"}, "extra_md": {"k": -9223372036854775809}"#, "extra_md.k: expected a number that 64"),
    ] {
        let text = document(rest);
        let error = read(text.as_bytes(), Spelling::Json).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        let error = match read(text.as_bytes(), Spelling::Yaml) {
            Ok(document) => panic!("{text}: {:?} {:?}", document.vendor_data, document.extra_md.0),
            Err(error) => error.to_string(),
        };
        let twice = error.starts_with("not YAML: ") && error.contains("duplicate") && !error.contains("Policy");
        assert!(twice == expected.contains("duplicate") && (twice || error.starts_with(expected)), "{error}");
    }
    let text = document(r#"}, "extra_md": {"k": [18446744073709551615, -9223372036854775808, 1.5, 1e3]}"#);
    for spelling in [Spelling::Json, Spelling::Yaml] {
        let extra = read(text.as_bytes(), spelling).unwrap().extra_md;
        assert_eq!(extra.0["k"], json!([u64::MAX, i64::MIN, 1.5, 1e3]), "{spelling:?}");
    }
    for (value, expected) in [
        (".inf", "not YAML: "),
        (".nan", "not YAML: "),
        ("123456789012345678901234567890", "extra_md.k[0]: expected a number"),
    ] {
        let text = format!("instance: {{uuid: u, hostname: h}}\nextra_md: {{k: [{value}]}}\n");
        let error = read(text.as_bytes(), Spelling::Yaml).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{value}: {error}");
    }
    let error = read(b"instance: {uuid: u, hostname: h}\nextra_md: {admin_pass: 0123}\n", Spelling::Yaml).unwrap_err();
    assert!(error.to_string().starts_with("extra_md.admin_pass: invalid type: "), "{error}");
    assert!(error.hint().unwrap().contains("quotes"));
}

#[test]
fn tags_of_other_programs_are_refused() {
    let document = |value: &str| format!("instance:\n  uuid: u\n  hostname: h\n  user_data: {value}\n");
    for value in ["!include /etc/passwd", "!!python/object:os.system x", "!<tag:example.com,2000:x> y", "!x\n    a: b"]
    {
        let error = read(document(value).as_bytes(), Spelling::Yaml).unwrap_err().to_string();
        assert!(
            error.starts_with("line ") && error.ends_with(": it has a tag (!…) that means nothing here"),
            "{error}"
        );
    }
    for value in ["!!str 5", "! x", "\"!include x\"", "|\n    !include x"] {
        assert!(read(document(value).as_bytes(), Spelling::Yaml).is_ok(), "{value}");
    }
    let marked = format!("\u{feff}{}", document("x"));
    assert!(read(marked.as_bytes(), Spelling::Yaml).is_ok());
    assert!(read("\u{feff}{\"instance\": {\"uuid\": \"u\", \"hostname\": \"h\"}}".as_bytes(), Spelling::Json).is_ok());
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

/// The pointers to all values below the root.
fn pointers(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(number, value)| (number.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let below = |(key, value): (String, &Value)| {
        let rest = pointers(value).into_iter().map(|rest| format!("/{key}{rest}")).collect::<Vec<_>>();
        std::iter::once(format!("/{key}")).chain(rest)
    };
    children.into_iter().flat_map(below).collect()
}

#[test]
fn whatever_a_document_says_a_drive_or_an_error_comes_of_it() {
    let text = std::fs::read_to_string(goldens().join("full/scenario.json")).unwrap();
    let full: Value = serde_json::from_str(&text).unwrap();
    let odd = [
        json!(null),
        json!(0),
        json!(4294967295_u32),
        json!(""),
        json!("::/0"),
        json!("255.255.255.255/32"),
        json!("\0\u{7f}\u{ffff}\u{1f600}"),
        json!([]),
        json!({}),
    ];
    let mut drives = 0;
    for pointer in pointers(&full) {
        for value in &odd {
            let mut document = full.clone();
            *document.pointer_mut(&pointer).unwrap() = value.clone();
            for flavour in [Flavour::Imgraft, Flavour::Nova, Flavour::NovaGrizzly] {
                let Ok(document) = read(document.to_string().as_bytes(), Spelling::Json) else { continue };
                let Ok(instance) = Instance::new(document, flavour, &Place::Nowhere) else { continue };
                let Ok(documents) = Documents::new(&instance, flavour, Layout::OpenStack) else { continue };
                drives += 1;
                let _ = Documents::new(&instance, flavour, Layout::NoCloud);
                for (path, content) in documents.files.iter().filter(|(path, _)| path.contains("latest")) {
                    let is_json = serde_json::from_slice::<Value>(&bytes_of(content)).is_ok();
                    assert!(is_json || !path.ends_with(".json"), "{pointer} {value}: {path}");
                }
            }
        }
    }
    assert!(drives > 1000, "{drives}");
}

#[test]
fn a_network_by_itself_is_read_as_in_a_document() {
    for (text, spelling) in [("[]", Spelling::Json), ("--- []\n", Spelling::Yaml), ("---\n[]\n", Spelling::Yaml)] {
        assert!(read_network(text.as_bytes(), spelling).unwrap().is_empty(), "{text}");
    }
    let error = read_network(b"---\n- id: a\n  colour: red\n", Spelling::Yaml).unwrap_err().to_string();
    assert!(error.starts_with("[0].colour: unknown field `colour`"), "{error}");
    let error = read_network(b"{}", Spelling::Json).unwrap_err().to_string();
    assert!(error.contains("expected a sequence"), "{error}");
}
