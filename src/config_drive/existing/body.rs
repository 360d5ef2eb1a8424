//! What a file of a drive holds, as it may be shown.

use super::{DOCUMENT_MAX, Existing};
use imgraft_vfs::Result;
use imgraft_vfs::master::Entry;
use serde_json::Value;

/// What stands for a value that is not shown.
const HIDDEN: &str = "(hidden)";

/// Whether what may be secret is shown: `admin_pass` and `random_seed` and `password` wherever they stand, user data,
/// vendor data (cloud-config as well), injected files, and documents that are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// By its size only.
    Hidden,
    /// As it is.
    Shown,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A JSON document.
    Json(Value),
    /// Any other text.
    Text(String),
    /// A file that is not shown.
    Hidden,
    /// Neither text nor small enough.
    Opaque,
}

impl Existing {
    /// The content of a file, as it may be shown.
    pub fn body(&self, entry: &Entry, secrets: Secrets) -> Result<Body> {
        if !is_read(entry, secrets) {
            return Ok(if entry.size > DOCUMENT_MAX { Body::Opaque } else { Body::Hidden });
        }
        let bytes = self.drive().read(entry, DOCUMENT_MAX)?;
        if entry.path.ends_with(b".json") {
            match serde_json::from_slice(&bytes) {
                Ok(mut value) => {
                    if secrets == Secrets::Hidden {
                        redact(&mut value);
                    }
                    return Ok(Body::Json(value));
                }
                Err(_) if secrets == Secrets::Hidden => return Ok(Body::Hidden),
                Err(_) => {}
            }
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Body::Text(text),
            _ => Body::Opaque,
        })
    }
}

/// Whether the content of a file is read at all.
pub(super) fn is_read(entry: &Entry, secrets: Secrets) -> bool {
    entry.size <= DOCUMENT_MAX && (secrets == Secrets::Shown || !is_private(&entry.path))
}

/// Whether a file is the user's own, which may have a password in it.
pub(super) fn is_private(path: &[u8]) -> bool {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    matches!(
        names.as_slice(),
        [b"user-data" | b"vendor-data"]
            | [b"openstack", b"content", ..]
            | [b"openstack", _, b"user_data" | b"vendor_data.json" | b"vendor_data2.json"]
            | [b"ec2", _, b"user-data"]
    )
}

/// Whether the value of this key is not shown.
pub(super) fn is_secret(key: &str) -> bool {
    matches!(key, "admin_pass" | "random_seed" | "password")
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                if is_secret(key) { *member = HIDDEN.into() } else { redact(member) }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(redact),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_hidden() {
        for path in [
            "user-data",
            "vendor-data",
            "openstack/latest/user_data",
            "ec2/1.0/user-data",
            "openstack/content/0000",
            "openstack/latest/vendor_data.json",
            "openstack/2016-10-06/vendor_data2.json",
        ] {
            assert!(is_private(path.as_bytes()), "{path}");
        }
        for path in
            ["meta-data", "openstack/latest/meta_data.json", "openstack/latest/network_data.json", "x/user-data"]
        {
            assert!(!is_private(path.as_bytes()), "{path}");
        }
        let mut value =
            json!({"uuid": "1", "admin_pass": "x", "password": "y", "meta": [{"random_seed": {"a": 1}, "b": "c"}]});
        redact(&mut value);
        assert_eq!(
            value,
            json!({"uuid": "1", "admin_pass": HIDDEN, "password": HIDDEN, "meta": [{"random_seed": HIDDEN, "b": "c"}]})
        );
    }
}
