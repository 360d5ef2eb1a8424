//! The schema of manifests: a validator and we agree on what is one.

use crate::config_drive_readers::pointers;
use crate::manifest::{MANIFEST, example};
use crate::support::drive::python;
use crate::support::{Scratch, expect, imgraft, oracle, text};
use imgraft::config_drive::Spelling;
use imgraft::manifest::{Manifest, Variables, schema};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_schema_and_we_agree() {
    if !Path::new("/usr/lib/python3/dist-packages/jsonschema").is_dir() {
        oracle::skip("python3-jsonschema is not installed");
        return;
    }
    assert_eq!(expect(0, &["schema"]).parse::<Value>().expect("the schema is JSON"), schema());
    let read = |text: &str| Manifest::read(text.as_bytes(), Spelling::Json, &mut variables());
    // One is no selector, which the test of manifests leaves out.
    let full = yaml(&MANIFEST.replace("locked:hash-is-not-locked", "locked:random"));
    let mut documents = vec![(full.clone(), true), (yaml(&example()), true), (json!({}), true)];
    for pointer in pointers(&full) {
        let mut changed = full.clone();
        match changed.pointer_mut(&pointer).expect("the pointer is of this document") {
            Value::Object(_) if pointer == "/metadata" => continue,
            Value::Object(members) => _ = members.insert("not-known".into(), Value::Null),
            other => *other = json!({ "not": "fitting" }),
        }
        documents.push((changed, false));
    }
    for (mode, expected) in [
        ("0644", true),
        ("7", true),
        ("7777", true),
        ("07777", true),
        ("17777", false),
        ("8", false),
        ("", false),
        ("+7", false),
        ("000644", false),
        ("${mode}", true),
        ("0${bits}", true),
        ("$${mode}", false),
        ("${0}", false),
        ("${mode", false),
    ] {
        documents.push((json!({ "files": [{ "chmod": { "path": "/a", "mode": mode } }] }), expected));
    }
    for (sudo, renderer, content, expected) in [
        ("${sudo}", "${renderer}", "${base64}", true),
        ("$${sudo}", "netplan", "YQ==", false),
        ("password", "$${renderer}", "YQ==", false),
        ("password", "netplan", "$${base64}", false),
    ] {
        let document = json!({ "users": [{ "name": "ann", "sudo": sudo }], "network": { "dhcp": true, "renderer": renderer },
            "files": [{ "write": { "path": "/a", "content_base64": content } }] });
        documents.push((document, expected));
    }
    assert!(documents.len() > 80, "{}", documents.len());
    let jobs =
        json!({ "schema": schema(), "documents": documents.iter().map(|(document, _)| document).collect::<Vec<_>>() });
    let verdicts = python("support/json_schema.py", &jobs, None);
    for (number, (document, expected)) in documents.iter().enumerate() {
        assert_eq!(verdicts[number], *expected, "the validator differs: {document}");
        let read = read(&document.to_string());
        assert_eq!(read.is_ok(), *expected, "we differ: {:?}\n{document}", read.err());
    }
}

/// What goes together, which the types alone do not say.
#[test]
fn the_schema_and_we_agree_on_what_goes_together() {
    if !Path::new("/usr/lib/python3/dist-packages/jsonschema").is_dir() {
        oracle::skip("python3-jsonschema is not installed");
        return;
    }
    let user = |user: &str| json!({ "users": [user.parse::<Value>().expect("JSON")] });
    let network = |network: &str| json!({ "network": network.parse::<Value>().expect("JSON") });
    let file = |file: &str| json!({ "files": [file.parse::<Value>().expect("JSON")] });
    let whole = |document: &str| document.parse::<Value>().expect("JSON");
    let mut documents = vec![
        (whole(r#"{"hostname": "web", "metadata": {"": "a"}}"#), false),
        (whole(r#"{"hostname": "web", "metadata": {"a": ""}}"#), true),
        (user(r#"{"name": "a", "system": true, "create_home": true}"#), true),
        (user(r#"{"name": "a", "system": true, "create_home": false}"#), true),
        (user(r#"{"name": "a", "system": true, "create_home": null}"#), true),
        (user(r#"{"name": "a", "system": false, "create_home": true}"#), true),
        (user(r#"{"name": ""}"#), false),
        (user(r#"{"name": "a", "shell": ""}"#), false),
        (user(r#"{"name": "a", "home": ""}"#), false),
        (user(r#"{"name": "a", "password": "stdin"}"#), false),
        (user(r#"{"name": "a", "password": "locked:stdin"}"#), false),
        (user(r#"{"name": "a", "password": ""}"#), false),
        (user(r#"{"name": "a", "password": "random"}"#), true),
        (user(r#"{"name": "a", "existing": true, "uid": null, "system": false}"#), true),
        (user(r#"{"name": "a", "existing": false, "uid": 7}"#), true),
        (network("null"), true),
        (network("{}"), false),
        (network(r#"{"ip": [], "dhcp": false, "nic": null}"#), false),
        (network(r#"{"renderer": "netplan"}"#), false),
        (network(r#"{"dhcp": true}"#), true),
        (network(r#"{"dhcp": true, "file": null, "nic": "eth0", "dns": ["192.0.2.53"]}"#), true),
        (network(r#"{"nic": "eth0"}"#), false),
        (network(r#"{"dns": ["192.0.2.53"]}"#), false),
        (network(r#"{"gateway": ["192.0.2.1"]}"#), false),
        (network(r#"{"dhcp": true, "gateway": ["192.0.2.1"]}"#), false),
        (network(r#"{"ip": ["192.0.2.2/24"], "gateway": ["192.0.2.1"]}"#), true),
        (network(r#"{"file": "net", "config": {"version": 1, "config": []}}"#), false),
        (network(r#"{"file": "net", "dhcp": true}"#), false),
        (network(r#"{"file": "net", "nic": "eth0"}"#), false),
        (network(r#"{"file": "net", "dhcp": false, "ip": [], "renderer": "ifupdown"}"#), true),
        (file(r#"{"write": {"path": "/a"}}"#), false),
        (file(r#"{"write": {"path": "/a", "content": null}}"#), false),
        (file(r#"{"write": {"path": "/a", "content": "b", "content_base64": "Yg=="}}"#), false),
        (file(r#"{"write": {"path": "/a", "content": "b", "content_base64": null}}"#), true),
        (file(r#"{"write": {"path": "/a", "content_base64": "Yg=="}}"#), true),
        (file(r#"{"chown": {"path": "/a"}}"#), false),
        (file(r#"{"chown": {"path": "/a", "owner": null}}"#), false),
        (file(r#"{"chown": {"path": "/a", "owner": "b", "group": "c"}}"#), true),
        (file(r#"{"chown": {"path": "/a", "group": "c"}}"#), true),
        (file(r#"{"link": {"path": "/a", "target": ""}}"#), false),
        (whole(r#"{"groups": [{"name": ""}]}"#), false),
        (whole(r#"{"firstboot": [{"install": []}]}"#), false),
        (whole(r#"{"firstboot": [{"install": ["nginx"]}]}"#), true),
    ];
    for member in ["uid", "group", "shell", "home", "create_home", "comment", "system"] {
        let value = match member {
            "uid" => json!(7),
            "system" => json!(true),
            "create_home" => json!(false),
            _ => json!("/a"),
        };
        for user in [json!({ "name": "root" }), json!({ "name": "a", "existing": true })] {
            let mut user = user;
            user[member] = value.clone();
            documents.push((json!({ "users": [user] }), false));
        }
    }
    for member in ["hostname", "timezone", "locale", "keymap", "machine_id"] {
        documents.push((json!({ member: "" }), false));
    }
    documents.push((json!({ "ssh_host_keys": true }), true));
    documents.push((json!({ "ssh_host_keys": "true" }), false));
    for member in ["enable", "disable", "mask"] {
        documents.push((json!({ "units": { member: ["a.service", "a.service"] } }), false));
        documents.push((json!({ "units": { member: ["a.service", "b.service"] } }), true));
    }
    agree(&documents);
}

/// What texts look like.
#[test]
fn the_schema_and_we_agree_on_texts() {
    if !Path::new("/usr/lib/python3/dist-packages/jsonschema").is_dir() {
        oracle::skip("python3-jsonschema is not installed");
        return;
    }
    let mut documents = Vec::new();
    let mut put = |at: &str, right: &[&str], wrong: &[&str]| {
        for (texts, expected) in [(right, true), (wrong, false)] {
            for text in texts {
                let text = json!(text).to_string();
                documents.push((at.replace('@', &text).parse::<Value>().expect("JSON"), expected));
            }
        }
    };
    let zeros = "0".repeat(32);
    let name = "a".repeat(63);
    put(
        r#"{"hostname": @}"#,
        &["web", "web-1.example.org", &name],
        &["", "a_b!", "-a", "a-", "a..b", ".", "a b", &"a".repeat(64)],
    );
    put(r#"{"timezone": @}"#, &["UTC", "Etc/GMT+1", "America/Port-au-Prince"], &["", "/UTC", "a//b", "../x", "a b"]);
    put(r#"{"locale": @}"#, &["de_DE.UTF-8", "C", "ca_ES@valencia"], &["", "-x", "a/b", "a b"]);
    put(r#"{"keymap": @}"#, &["de-latin1", "us"], &["", ".x", "a b"]);
    put(
        r#"{"machine_id": @}"#,
        &["empty", "uninitialized", "0123456789abcdefABCDEF0123456789"],
        &["", "xx", "Empty", &zeros, "0123"],
    );
    put(
        r#"{"sysprep": [@]}"#,
        &["defaults", "all", "utmp", "user-account"],
        &["", "nosuch", "-nosuch", "fs-uuids", "utmp,tmp-files"],
    );
    put(r#"{"sysprep": ["defaults", @]}"#, &["-utmp", "-fs-uuids"], &["-", "--utmp"]);
    for object in ["groups", "users"] {
        let at = format!(r#"{{"{object}": [{{"name": @}}]}}"#);
        put(
            &at,
            &["ann", "_x", "a.b-c", "A1", "host$", "1a", &"a".repeat(32)],
            &["", "-a", "7", ".", "..", "a b", "a:b", "$", "a$b", &"a".repeat(33)],
        );
    }
    for member in ["shell", "home"] {
        let at = format!(r#"{{"users": [{{"name": "a", "{member}": @}}]}}"#);
        put(&at, &["/bin/sh", "/srv/..a/.b"], &["", "sh", "/a:b", "/a/../b"]);
    }
    put(r#"{"users": [{"name": "a", "comment": @}]}"#, &["", "Ann A., Berlin"], &["a:b", "a\nb"]);
    put(
        r#"{"users": [{"name": "a", "expire": @}]}"#,
        &["now", "never", "2031-01-02"],
        &["", "soon", "31-1-2", "2031-01-02 "],
    );
    put(
        r#"{"users": [{"name": "a", "password": @}]}"#,
        &[
            "random",
            "locked:random",
            "lock:random",
            "disabled",
            "disable",
            "lock",
            "locked",
            "password:a:b",
            "locked:password:x",
        ],
        &[
            "",
            "stdin",
            "locked:stdin",
            "lock:stdin",
            "x",
            "password:",
            "hash:",
            "locked:hash:x",
            "locked:locked",
            "Random",
        ],
    );
    put(
        r#"{"network": {"ip": [@]}}"#,
        &["192.0.2.10/24", "2001:db8::1/64"],
        &["", "192.0.2.10", "dhcp", "192.0.2.10/", "x/24"],
    );
    put(
        r#"{"network": {"dhcp": true, "dns": [@]}}"#,
        &["192.0.2.53", "2001:db8::53"],
        &["", "dns.example", "192.0.2.53/24"],
    );
    for member in ["enable", "disable", "mask"] {
        let at = format!(r#"{{"units": {{"{member}": [@]}}}}"#);
        put(&at, &["ssh", "ssh.service", "getty@tty1.service", "dev-disk\\x2da.mount"], &["", "a/b", "@a", "a b"]);
    }
    let (inside, outside) =
        (["/", "/a", "//a/./b/", "/...", "/.a/..b/c.."], ["", "a", "./a", "/..", "/a/../b", "/a/.."]);
    for operation in ["mkdir", "touch", "truncate", "truncate_recursive", "delete"] {
        put(&format!(r#"{{"files": [{{"{operation}": @}}]}}"#), &inside, &outside);
    }
    for (operation, rest) in [
        ("write", r#", "content": """#),
        ("append_line", r#", "line": """#),
        ("edit", r#", "expression": "s/a/b/""#),
        ("link", r#", "target": "a""#),
        ("chown", r#", "owner": "root""#),
        ("chmod", r#", "mode": "0644""#),
    ] {
        put(&format!(r#"{{"files": [{{"{operation}": {{"path": @{rest}}}}}]}}"#), &inside, &outside);
    }
    for operation in ["copy", "move"] {
        put(&format!(r#"{{"files": [{{"{operation}": {{"from": @, "to": "/b"}}}}]}}"#), &inside, &outside);
        put(&format!(r#"{{"files": [{{"{operation}": {{"from": "/b", "to": @}}}}]}}"#), &inside, &outside);
    }
    put(r#"{"files": [{"upload": {"from": "net", "to": @}}]}"#, &["/a", "/a/"], &outside);
    put(r#"{"files": [{"copy_in": {"from": "net", "to": @}}]}"#, &["/", "/a"], &outside);
    put(r#"{"files": [{"append_line": {"path": "/a", "line": @}}]}"#, &["", "b"], &["a\nb"]);
    put(
        r#"{"files": [{"edit": {"path": "/a", "expression": @}}]}"#,
        &["s/a/b/", " s{a}{b}gi"],
        &["", "s", "y/a/b/", "/a/b/"],
    );
    assert!(documents.len() > 250, "{}", documents.len());
    agree(&documents);
}

/// A validator and we say of each document what is expected.
#[track_caller]
fn agree(documents: &[(Value, bool)]) {
    let jobs =
        json!({ "schema": schema(), "documents": documents.iter().map(|(document, _)| document).collect::<Vec<_>>() });
    let verdicts = python("support/json_schema.py", &jobs, None);
    let scratch = Scratch::new();
    scratch.file("net", "auto eth0\niface eth0 inet dhcp\n");
    let none = scratch.path().join("none.raw");
    for (number, (document, expected)) in documents.iter().enumerate() {
        assert_eq!(verdicts[number], *expected, "the validator differs: {document}");
        // What is taken fails later, as there is no image.
        let plan = scratch.file("plan.json", document.to_string());
        let output = imgraft().args(["inject", text(&none), "-f", text(&plan)]).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        let of_plan = said.contains("plan.json: ");
        let of_image = said.contains("there is no such file") || said.contains("nothing to inject");
        assert!(of_plan != of_image && of_image == *expected, "we differ: {said}\n{document}");
    }
}

fn variables() -> Variables {
    let mut variables = Variables::default();
    assert!(variables.set("name", "web") && variables.set("place", "Berlin") && variables.set("site", "web1"));
    for (name, value) in
        [("mode", "0600"), ("bits", "750"), ("sudo", "nopasswd"), ("renderer", "netplan"), ("base64", "YQ==")]
    {
        assert!(variables.set(name, value));
    }
    variables
}

/// A document of YAML, by a reader that is not ours.
fn yaml(text: &str) -> Value {
    let program = "import json, sys, yaml; json.dump(yaml.load(sys.stdin, yaml.BaseLoader), sys.stdout)";
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    // All scalars are texts to this loader.
    typed(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The numbers and truth values of manifests.
fn typed(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(key, value)| match (key.as_str(), &value) {
                ("uid" | "gid", Value::String(text)) => (key, json!(text.parse::<u32>().expect("a number"))),
                ("system" | "existing" | "dhcp" | "create_home", Value::String(text)) => (key, json!(text == "true")),
                _ => (key, typed(value)),
            })
            .collect(),
        Value::Array(values) => values.into_iter().map(typed).collect(),
        other => other,
    }
}
