//! What a manifest does to files.

use super::combined::given;
use super::pattern;
use super::variables::{VARIABLE, allowed};
use crate::config_drive::{Base64, Hidden};
use crate::object::objects;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::borrow::Cow;

/// What is done to a file: one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Operation")]
pub enum Operation {
    /// A host file is copied into the guest.
    Upload(Upload),
    /// A file or a whole directory of the host is copied below a directory of the guest, as tar copies.
    CopyIn(Between),
    /// A tar archive of the host is unpacked below a directory of the guest.
    TarIn(Unpack),
    /// A file of the guest, or a directory with all that is in it, is copied, as cp -a copies.
    Copy(Inside),
    /// A file or a directory of the guest gets another path.
    Move(Inside),
    /// A file gets a content.
    Write(Write),
    /// A line is added to the end of a file, by each run anew.
    AppendLine(Append),
    /// A substitution is done in each line of a file.
    Edit(Edit),
    /// A directory is made, with those before it.
    Mkdir(#[schemars(regex(pattern = pattern::PATH))] String),
    /// A symbolic link is made, or led elsewhere.
    Link(Link),
    /// A file, or a directory with all that is in it, is removed; names may have `*`, `?` and `[...]`.
    Delete(#[schemars(regex(pattern = pattern::PATH))] String),
    /// An empty file is made, or the time of one that is there set.
    Touch(#[schemars(regex(pattern = pattern::PATH))] String),
    /// A file is emptied.
    Truncate(#[schemars(regex(pattern = pattern::PATH))] String),
    /// All files below a directory are emptied.
    TruncateRecursive(#[schemars(regex(pattern = pattern::PATH))] String),
    /// A file gets another owner, group, or both.
    Chown(Owner),
    /// A file gets other permission bits.
    Chmod(Mode),
    /// An empty file is made where there is none; no key of a manifest, but what Ignition does.
    #[serde(skip)]
    EnsureFile(String),
    /// A directory is made where there is none; no key of a manifest.
    #[serde(skip)]
    EnsureDirectory(String),
    /// The directories around a file are made where there are none, and get an owner and a group; no key of a manifest.
    #[serde(skip)]
    EnsureAround(Owner),
    /// A symbolic link gives way to what is put in its place; no key of a manifest.
    #[serde(skip)]
    RemoveLink(String),
    /// Nothing is where a file with this content is put, or the same; no key of a manifest.
    #[serde(skip)]
    ExpectFile(String, Base64),
    /// Nothing is where a link is made, or the same; no key of a manifest.
    #[serde(skip)]
    ExpectLink(Link),
}

/// A host file and where it goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Upload")]
pub struct Upload {
    /// The host file.
    pub from: String,
    /// Where it goes; one that ends with a slash is a directory.
    #[schemars(regex(pattern = pattern::PATH))]
    pub to: String,
    /// The permission bits. Default: those of the host file, also where a file is there.
    #[serde(default)]
    pub mode: Option<Bits>,
    /// The owner, by name or number. Default: that of the directory, or the one that is there.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: that of the directory, or the one that is there.
    #[serde(default)]
    pub group: Option<String>,
}

/// A tree of the host and where it goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "CopyIn")]
pub struct Between {
    /// The file or directory of the host.
    pub from: String,
    /// The directory of the guest, which has to be there.
    #[schemars(regex(pattern = pattern::PATH))]
    pub to: String,
}

/// An archive of the host and where it is unpacked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "TarIn")]
pub struct Unpack {
    /// The archive, which is not compressed.
    pub from: String,
    /// The directory of the guest, which has to be there.
    #[schemars(regex(pattern = pattern::PATH))]
    pub to: String,
}

/// A file of the guest and where it goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "CopyOrMove")]
pub struct Inside {
    /// The file or directory.
    #[schemars(regex(pattern = pattern::PATH))]
    pub from: String,
    /// The path that it, or the copy, is to have, or the directory that it goes into.
    #[schemars(regex(pattern = pattern::PATH))]
    pub to: String,
}

/// A file and its content.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Write", extend("oneOf" = [given("content"), given("content_base64")]))]
pub struct Write {
    /// The file.
    #[schemars(regex(pattern = pattern::PATH))]
    pub path: String,
    /// The content, as text; this, or `content_base64`.
    #[serde(default)]
    pub content: Option<Hidden>,
    /// The content, in base64.
    #[serde(default)]
    #[schemars(transform = allowed)]
    pub content_base64: Option<Base64>,
    /// The permission bits. Default: `0644` for a new file, or those that are there.
    #[serde(default)]
    pub mode: Option<Bits>,
    /// The owner, by name or number. Default: that of the directory, or the one that is there.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: that of the directory, or the one that is there.
    #[serde(default)]
    pub group: Option<String>,
}

/// A file and a line for it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "AppendLine")]
pub struct Append {
    /// The file.
    #[schemars(regex(pattern = pattern::PATH))]
    pub path: String,
    /// The line, without its end.
    #[schemars(regex(pattern = pattern::LINE))]
    pub line: Hidden,
}

/// A file and what is replaced in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Edit")]
pub struct Edit {
    /// The file.
    #[schemars(regex(pattern = pattern::PATH))]
    pub path: String,
    /// `s/REGEX/TEXT/` with the flags g and i.
    #[schemars(regex(pattern = pattern::SUBSTITUTION))]
    pub expression: Hidden,
}

/// A symbolic link.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Link")]
pub struct Link {
    /// Where it leads.
    #[schemars(length(min = 1))]
    pub target: String,
    /// Where it is.
    #[schemars(regex(pattern = pattern::PATH))]
    pub path: String,
}

/// A file and whose it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Chown", extend("anyOf" = [given("owner"), given("group")]))]
pub struct Owner {
    /// The file.
    #[schemars(regex(pattern = pattern::PATH))]
    pub path: String,
    /// The owner, by name or number. Default: it stays.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: it stays.
    #[serde(default)]
    pub group: Option<String>,
}

/// A file and its permission bits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Chmod")]
pub struct Mode {
    /// The file.
    #[schemars(regex(pattern = pattern::PATH))]
    pub path: String,
    /// The permission bits.
    pub mode: Bits,
}

/// Permission bits: octal digits in quotes, at most 7777. What is no text is refused, as YAML's readers do not agree on `0644`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits(pub u16);

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_octal = (1..=5).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let bits = u16::from_str_radix(&text, 8).ok().filter(|bits| is_octal && *bits <= 0o7777);
        bits.map(Self).ok_or_else(|| D::Error::custom("not permission bits: octal digits, at most 7777"))
    }
}

impl JsonSchema for Bits {
    fn schema_name() -> Cow<'static, str> {
        "Bits".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": format!("^0?[0-7]{{1,4}}$|{VARIABLE}"),
            "description": "Permission bits, octal digits in quotes: \"0644\"."
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

objects!(Upload, Between, Unpack, Inside, Write, Append, Edit, Link, Owner, Mode);
