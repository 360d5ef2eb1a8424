//! Config drives by the verdict of those who read them: cloud-init, its ds-identify, blkid.

use crate::support::drive::{FORMATS, cloud_init, create, goldens, names, read_by_cloud_init, scenario, unpack};
use crate::support::{Scratch, expect, oracle, root, text};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn base64(text: &Value) -> Option<Vec<u8>> {
    text.as_str().map(|text| Base64::decode_vec(text).expect("base64"))
}

/// What the scenario asks for is what cloud-init has read.
fn agrees(name: &str, asked: &Value, read: &Value) {
    let facts = &asked["instance"];
    assert_eq!(read["found"], true, "{name}");
    // The layout that cloud-init calls the second; the first has its files in the root.
    assert_eq!(read["version"], 2, "{name}");
    assert_eq!(read["instance_id"], facts["uuid"], "{name}");
    let hostname = format!("{}.novalocal", facts["hostname"].as_str().expect("a host name"));
    assert_eq!(read["hostname"], Value::from(hostname), "{name}");
    let has_key = !facts["key_name"].is_null();
    assert_eq!(read["keys"], if has_key { json!([facts["key_data"]]) } else { json!([]) }, "{name}");
    let user_data = facts["user_data"].as_str().map(|text| text.as_bytes().to_vec());
    assert_eq!(base64(&read["user_data"]).unwrap_or_default(), user_data.unwrap_or_default(), "{name}");
    assert_eq!(read["admin_pass"], asked["extra_md"]["admin_pass"], "{name}");
    assert_eq!(base64(&read["seed"]), Some(vec![0; 512]), "{name}");

    let files = asked["files"].as_array().expect("files");
    assert_eq!(read["files"].as_object().map(serde_json::Map::len), Some(files.len()), "{name}");
    for file in files {
        let path = file["path"].as_str().expect("a path");
        let content = match &file["contents_b64"] {
            Value::Null => file["contents"].as_str().expect("contents").as_bytes().to_vec(),
            encoded => base64(encoded).expect("base64"),
        };
        assert_eq!(base64(&read["files"][path][0]), Some(content), "{name}: {path}");
    }
    let vendor = if name.starts_with("vd_static") { json!("#cloud-config\n{}\n") } else { Value::Null };
    assert_eq!(read["vendor_data"][0], vendor, "{name}");
    assert_eq!(read["ec2"]["instance-id"], facts["ec2_ids"]["instance_id"], "{name}");
    network(name, asked, read);
}

/// Every interface with subnets, its MTU and the first address of each version that is not DHCP's.
fn network(name: &str, asked: &Value, read: &Value) {
    let config = read["network"]["config"].as_array().unwrap_or_else(|| panic!("{name}: no network in {read}"));
    let mut links = config.iter().filter(|link| link["type"] == "physical");
    for (number, vif) in asked["network_info"].as_array().expect("a list").iter().enumerate() {
        let subnets = vif["network"]["subnets"].as_array().expect("a list");
        if subnets.is_empty() {
            continue;
        }
        let link = links.next().unwrap_or_else(|| panic!("{name}: interface {number} is missing"));
        assert_eq!(link["mac_address"], vif["address"], "{name}");
        assert_eq!(link["name"], Value::from(format!("eth{number}")), "{name}");
        let found = link["subnets"].as_array().expect("subnets");
        assert_eq!(found.len(), subnets.len(), "{name}");
        for (subnet, found) in subnets.iter().zip(found) {
            let expected = match (&subnet["meta"]["ipv6_address_mode"], &subnet["meta"]["dhcp_server"]) {
                (Value::String(mode), _) => format!("ipv6_{mode}"),
                (_, Value::String(_)) => "dhcp4".to_owned(),
                _ if subnet["version"] == 6 => "static6".to_owned(),
                _ => "static".to_owned(),
            };
            assert_eq!(found["type"], Value::from(expected.clone()), "{name}");
            let is_static = expected.starts_with("static");
            if is_static {
                assert_eq!(found["address"], subnet["ips"][0]["address"], "{name}");
            }
            let eni = read["eni"].to_string();
            let address = subnet["ips"][0]["address"].as_str().expect("an address");
            assert!(!is_static || eni.contains(&format!("address {address}")), "{name}: {eni}");
        }
    }
    assert_eq!(links.next(), None, "{name}: more interfaces than were asked for");
}

#[test]
fn cloud_init_reads_what_was_asked_for() {
    let scratch = Scratch::new();
    let mut drives = Vec::new();
    for (name, instance) in goldens() {
        for compat in [&[][..], &["--compat", "nova"], &["--compat", "nova-grizzly"]] {
            // A FAT image takes longer, and its files are the same.
            let formats = if name == "full" || compat.is_empty() { &FORMATS[..] } else { &FORMATS[..1] };
            let is_grizzly = compat.contains(&"nova-grizzly");
            // Grizzly itself fails where an injected network has no IPv4 address, and without a gateway it writes a line
            // that cloud-init fails at.
            if is_grizzly && matches!(&*name, "net_v6_only" | "net_v4_nogw") {
                continue;
            }
            for format in formats {
                let name = format!("{name}.{}.{format}", compat.last().unwrap_or(&"ours"));
                let drive = create(&scratch, &instance, &name, &[compat, &["--format", format]].concat());
                let Some(files) = unpack(&drive, format) else { return };
                std::fs::remove_file(drive).expect("it was made");
                drives.push((name, scenario(&instance), files, is_grizzly));
            }
        }
    }
    let jobs: Vec<(&Path, &str, Value)> =
        drives.iter().map(|(_, asked, files, _)| (&**files, "openstack", names(asked))).collect();
    let Some(results) = read_by_cloud_init(&jobs) else { return };
    for ((name, asked, _, is_grizzly), read) in drives.iter().zip(&results) {
        if *is_grizzly {
            // No network_data.json, no vendor data; the interfaces text is what there is.
            assert_eq!(read["instance_id"], asked["instance"]["uuid"], "{name}");
            assert_eq!(read["network_data"], Value::Null, "{name}");
            assert_eq!(read["admin_pass"], asked["extra_md"]["admin_pass"], "{name}");
        } else {
            agrees(name, asked, read);
        }
    }
}

#[test]
fn cloud_init_asks_for_an_address_where_nothing_is_known_of_the_network() {
    let scratch = Scratch::new();
    let instance = scratch.file("i.json", r#"{"instance": {"uuid": "u-1", "hostname": "h"}}"#);
    let none = scratch.file("n.json", r#"{"instance": {"uuid": "u-1", "hostname": "h"}, "network_info": []}"#);
    let drives = [
        create(&scratch, &instance, "a", &[]),
        create(&scratch, &instance, "b", &["--compat", "nova"]),
        create(&scratch, &none, "c", &[]),
    ];
    let mut files = Vec::new();
    for drive in &drives {
        let Some(unpacked) = unpack(drive, "iso9660") else { return };
        files.push(unpacked);
    }
    let jobs: Vec<(&Path, &str, Value)> = files.iter().map(|files| (&**files, "openstack", json!({}))).collect();
    let Some(results) = read_by_cloud_init(&jobs) else { return };
    // Null: it goes on to its own default, DHCP on the first interface. An empty list is taken at its word.
    assert_eq!(results[0]["network"], Value::Null);
    assert_eq!(results[1]["network"]["config"], json!([]));
    assert_eq!(results[2]["network"]["config"], json!([]));
}

/// The sample instance without files, for which NoCloud has no place.
fn without_files(scratch: &Scratch) -> (Value, std::path::PathBuf) {
    let mut asked = scenario(&root().join("testdata/goldens/full/scenario.json"));
    asked["files"] = json!([]);
    asked["vendor_data"] = json!({ "cloud-init": "#!/bin/sh\necho vendor\n" });
    let path = scratch.file("nocloud.json", asked.to_string());
    (asked, path)
}

#[test]
fn cloud_init_reads_nocloud_drives() {
    let scratch = Scratch::new();
    let (asked, instance) = without_files(&scratch);
    let mut files = Vec::new();
    for format in FORMATS {
        let drive = create(&scratch, &instance, format, &["--layout", "nocloud", "--format", format]);
        let Some(unpacked) = unpack(&drive, format) else { return };
        files.push(unpacked);
    }
    let jobs: Vec<(&Path, &str, Value)> = files.iter().map(|files| (&**files, "nocloud", names(&asked))).collect();
    let Some(results) = read_by_cloud_init(&jobs) else { return };
    for read in results {
        assert_eq!(read["found"], true);
        assert_eq!(read["instance_id"], asked["instance"]["uuid"]);
        assert_eq!(read["hostname"], "test.novalocal");
        assert_eq!(read["keys"], json!([asked["instance"]["key_data"]]));
        let user_data = asked["instance"]["user_data"].as_str().expect("a text").as_bytes().to_vec();
        assert_eq!(base64(&read["user_data"]), Some(user_data));
        assert_eq!(base64(&read["vendor_data"]), Some(b"#!/bin/sh\necho vendor\n".to_vec()));
        let expected = json!({
            "match": { "macaddress": "fa:16:3e:d1:28:e4" },
            "set-name": "eth0",
            "mtu": 1450,
            "accept-ra": true,
            "addresses": ["10.10.0.2/24"],
            "routes": [{ "to": "0.0.0.0/0", "via": "10.10.0.1" }, { "to": "10.20.0.0/16", "via": "10.10.0.254" }],
            "nameservers": { "addresses": ["1.2.3.4", "2.3.4.5", "2001:4860:4860::8888"] },
        });
        assert_eq!(read["network"]["ethernets"]["eth0"], expected);
        assert_eq!(read["network"]["ethernets"]["eth1"]["dhcp4"], true);
        let networkd = read["networkd"]["etc/systemd/network/10-cloud-init-eth0.network"].as_str().expect("a file");
        for line in ["Address=10.10.0.2/24", "MACAddress=fa:16:3e:d1:28:e4", "Gateway=10.10.0.1", "Name=eth0"] {
            assert!(networkd.lines().any(|found| found == line), "no {line} in:\n{networkd}");
        }
    }
}

#[test]
fn blkid_and_ds_identify_find_it() {
    let scratch = Scratch::new();
    let (_, instance) = without_files(&scratch);
    let layouts = [("openstack", "config-2", "ConfigDrive"), ("nocloud", "cidata", "NoCloud")];
    for ((layout, label, source), format) in
        layouts.into_iter().flat_map(|layout| FORMATS.map(|format| (layout, format)))
    {
        let name = format!("{layout}.{format}");
        let drive = create(&scratch, &instance, &name, &["--layout", layout, "--format", format]);
        if !oracle::have("blkid") {
            return;
        }
        let exported = oracle::succeed("blkid", &["-p", "-o", "export", text(&drive)]);
        for line in [format!("LABEL={label}"), format!("TYPE={format}")] {
            assert!(exported.lines().any(|found| found == line), "no {line} in:\n{exported}");
        }
        if let Some(package) = cloud_init() {
            let found = identify(&package.join("usr/lib/cloud-init/ds-identify"), &exported, &scratch, &name);
            assert!(found.starts_with(&format!("datasource_list: [ {source}, None ]")), "{name}: {found}");
        }
    }
}

/// What ds-identify writes on a machine with this one block device.
fn identify(program: &Path, exported: &str, scratch: &Scratch, name: &str) -> String {
    let machine = scratch.path().join(format!("{name}.machine"));
    for directory in ["bin", "run", "proc/1", "etc/cloud", "sys/class/dmi/id"] {
        std::fs::create_dir_all(machine.join(directory)).expect("it can be made");
    }
    let write = |path: &str, content: &str| std::fs::write(machine.join(path), content).expect("it can be written");
    write("device", exported);
    write("proc/cmdline", "root=/dev/vda1\n");
    write("proc/1/cmdline", "/sbin/init\0");
    write("proc/1/environ", "");
    write("proc/uptime", "1.0 1.0\n");
    write("bin/blkid", &format!("#!/bin/sh\ncat '{}'\n", text(&machine.join("device"))));
    write("bin/systemd-detect-virt", "#!/bin/sh\necho kvm\n");
    for tool in ["blkid", "systemd-detect-virt"] {
        oracle::succeed("chmod", &["+x", text(&machine.join("bin").join(tool))]);
    }
    let output = Command::new("sh")
        .arg(program)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", text(&machine.join("bin"))))
        .env("PATH_ROOT", &machine)
        .output()
        .expect("ds-identify starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(machine.join("run/cloud-init/cloud.cfg")).expect("ds-identify has written it")
}

#[test]
fn the_schema_and_a_validator_agree_with_us() {
    if !Path::new("/usr/lib/python3/dist-packages/jsonschema").is_dir() {
        oracle::skip("python3-jsonschema is not installed");
        return;
    }
    let schema: Value = serde_json::from_str(&expect(0, &["config-drive", "schema"])).expect("the schema is JSON");
    let full = scenario(&root().join("testdata/goldens/full/scenario.json"));
    let mut documents: Vec<(Value, bool)> = goldens().into_iter().map(|(_, path)| (scenario(&path), true)).collect();
    documents.push((json!({ "instance": { "uuid": "u", "hostname": "h" } }), true));
    // A member that is not known, in every object that is there; and values of a type that fits nowhere.
    for pointer in pointers(&full) {
        let mut changed = full.clone();
        let value = changed.pointer_mut(&pointer).expect("the pointer is of this document");
        // Names are free in these.
        let is_open = ["/metadata", "/extra_md"].iter().any(|end| pointer.ends_with(end));
        let is_open = is_open || (pointer.starts_with("/network_info") && pointer.ends_with("/meta"));
        match value {
            Value::Object(members) if !is_open => _ = members.insert("not-known".into(), Value::Null),
            Value::Object(_) => continue,
            other => *other = json!({ "not": "fitting" }),
        }
        documents.push((changed, false));
    }
    // What extra_md holds is anybody's, but for what cloud-init knows.
    for (extra, expected) in [
        (json!({ "rack": { "not": ["fitting"] }, "random_seed": "x", "uuid": "u", "meta": { "a": "b" } }), true),
        (json!({ "files": [{ "path": "/x", "content_path": "/content/0000" }] }), true),
        (json!({ "files": [{ "path": "/x" }] }), false),
        (json!({ "meta": { "a": 1 } }), false),
        (json!({ "meta": { "": "a" } }), false),
        (json!({ "uuid": "" }), false),
    ] {
        let mut changed = full.clone();
        changed["extra_md"] = extra;
        documents.push((changed, expected));
    }
    documents.push((json!({ "instance": { "uuid": "u", "hostname": "h", "metadata": { "": "a" } } }), false));
    assert!(documents.len() > 100);
    let jobs =
        json!({ "schema": schema, "documents": documents.iter().map(|(document, _)| document).collect::<Vec<_>>() });
    let verdicts = crate::support::drive::python("support/json_schema.py", &jobs, None);
    for (number, (document, expected)) in documents.iter().enumerate() {
        assert_eq!(verdicts[number], *expected, "the validator differs: {document}");
        let parsed =
            imgraft::config_drive::read(document.to_string().as_bytes(), imgraft::config_drive::Spelling::Json);
        assert_eq!(parsed.is_ok(), *expected, "we differ from the schema: {:?}\n{document}", parsed.err());
    }
}

/// The pointers to all values below the root.
pub fn pointers(value: &Value) -> Vec<String> {
    let below = |key: &str, value: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        let mut found = vec![format!("/{key}")];
        found.extend(pointers(value).into_iter().map(|rest| format!("/{key}{rest}")));
        found
    };
    match value {
        Value::Object(members) => members.iter().flat_map(|(key, value)| below(key, value)).collect(),
        Value::Array(values) => {
            values.iter().enumerate().flat_map(|(number, value)| below(&number.to_string(), value)).collect()
        }
        _ => Vec::new(),
    }
}
