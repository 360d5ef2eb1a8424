//! Bytes in a document: texts that may be secret, base64, hexadecimal.

use crate::secret::Secret;
use base64ct::{Base64 as Standard, Encoding};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// A text that may be a secret: never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden(pub Secret);

/// Bytes in base64, never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64(pub Secret);

/// Bytes in hexadecimal, one at least, never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hex(pub Secret);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Secret::new(String::deserialize(deserializer)?.into_bytes())))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Zeroizing::new(String::deserialize(deserializer)?);
        // Lines, as base64(1) makes them.
        text.retain(|char| !char.is_ascii_whitespace());
        let bytes = Standard::decode_vec(&text);
        bytes.map(|bytes| Self(Secret::new(bytes))).map_err(|_| D::Error::custom("not base64 (RFC 4648, with padding)"))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
        let bad = || D::Error::custom("not hexadecimal, two digits for each byte");
        let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0).ok_or_else(bad)?;
        Ok(Self(Secret::new(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d)).collect())))
    }
}

/// Standard base64 with padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    Standard::encode_string(bytes)
}

impl JsonSchema for Hidden {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }

    fn inline_schema() -> bool {
        true
    }
}

impl JsonSchema for Base64 {
    fn schema_name() -> Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "contentEncoding": "base64", "pattern": "^[A-Za-z0-9+/\\s]*={0,2}\\s*$" })
    }

    fn inline_schema() -> bool {
        true
    }
}

impl JsonSchema for Hex {
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9A-Fa-f]{2})+$" })
    }

    fn inline_schema() -> bool {
        true
    }
}
