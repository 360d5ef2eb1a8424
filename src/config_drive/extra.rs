//! `extra_md`: what else goes into meta_data.json.

use super::document::Pairs;
use super::verbatim::{Twice, Verbatim};
use crate::object::objects;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;
use zeroize::Zeroize;

/// What else goes into meta_data.json. `Debug` gives the names only, and strings are zeroed when it is dropped.
///
/// Members that cloud-init knows have the types that it reads them with; it fails at others.
#[derive(Clone, Default)]
pub struct ExtraMetadata(pub Map<String, Value>);

/// An entry of the list of files.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct ContentFile {
    path: String,
    content_path: String,
}

objects!(ContentFile);

/// A text that is not empty.
struct NotEmpty(String);

impl fmt::Debug for ExtraMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Drop for ExtraMetadata {
    fn drop(&mut self) {
        for value in self.0.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl<'de> Deserialize<'de> for ExtraMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = ExtraMetadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ExtraMetadata, A::Error> {
                let mut extra = ExtraMetadata::default();
                while let Some(key) = map.next_key::<String>()? {
                    if extra.0.contains_key(&key) {
                        map.next_value_seed(Twice)?;
                    }
                    let value = match key.as_str() {
                        "admin_pass" | "random_seed" => map.next_value::<String>()?.into(),
                        "uuid" => map.next_value::<NotEmpty>()?.0.into(),
                        "meta" => map.next_value::<Pairs>()?.to_json(),
                        "files" => {
                            map.next_value::<Vec<ContentFile>>()?.into_iter().map(ContentFile::into_json).collect()
                        }
                        _ => map.next_value::<Verbatim>()?.0,
                    };
                    extra.0.insert(key, value);
                }
                Ok(extra)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl ContentFile {
    fn into_json(self) -> Value {
        json!({ "path": self.path, "content_path": self.content_path })
    }
}

impl<'de> Deserialize<'de> for NotEmpty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() { Err(D::Error::custom("expected a text that is not empty")) } else { Ok(Self(text)) }
    }
}

impl JsonSchema for ExtraMetadata {
    fn schema_name() -> Cow<'static, str> {
        "ExtraMetadata".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = |description: &str| json!({ "type": "string", "description": description });
        json_schema!({
            "description": "What else goes into meta_data.json. Members that cloud-init knows have the types that it reads \
                            them with.",
            "type": "object",
            "properties": {
                "admin_pass": text("The administrator's password. Default none."),
                "random_seed": text("A random seed, for the version that has none of its own. Default none."),
                "uuid": { "type": "string", "minLength": 1, "description": "Instead of `instance.uuid`. Default that." },
                "meta": {
                    "type": "object", "propertyNames": { "minLength": 1 }, "additionalProperties": { "type": "string" },
                    "description": "Instead of `instance.metadata`. Default that.",
                },
                "files": {
                    "type": "array", "description": "Instead of the list of `files`. Default that.",
                    "items": {
                        "type": "object",
                        "properties": {
                            "path": text("Where it goes in the guest."),
                            "content_path": text("Where it lies on the drive, below `openstack`."),
                        },
                        "required": ["path", "content_path"], "additionalProperties": false,
                    },
                },
            },
            "additionalProperties": true,
        })
    }
}
