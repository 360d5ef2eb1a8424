//! Values as the documents spell them: strictly, and with errors that say what was expected.

use crate::net::Cidr;
use crate::net::config::{AD_SELECTS, BOND_MODES, HASH_POLICIES, LACP_RATES, Mac};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

/// A MAC address.
#[derive(Clone, Copy, Debug)]
pub(super) struct MacText(pub Mac);

/// An address with the length of its prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddressText(pub Cidr);

/// Where a route leads: a range, or `default` of the version that its router has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Destination {
    Default,
    Range(Cidr),
}

/// A whole number, or one in quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub u32);

/// A time in milliseconds: a number, or one in quotes, with `ms` or `s` behind it or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Milliseconds(pub u32);

/// A time in whole seconds, in the same spellings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub u32);

/// A truth value; `on` and `off` are some, in quotes or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truth(pub bool);

/// The members of an object in their order.
#[derive(Clone, Debug)]
pub(super) struct Members<T>(pub Vec<(String, T)>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de> Deserialize<'de> for MacText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mac = Mac::parse(&text);
        mac.map(Self)
            .ok_or_else(|| D::Error::custom(format!("not a MAC address: {text:?}, expected 52:54:00:12:34:56")))
    }
}

impl<'de> Deserialize<'de> for AddressText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Cidr::parse(&text).map(Self).ok_or_else(|| {
                D::Error::custom(format!("not an address with a prefix: {text:?}, expected 192.0.2.10/24"))
            }),
            Value::Object(_) => Err(D::Error::custom("an address with options (label, lifetime) is not supported")),
            _ => Err(D::Error::custom("expected an address with its prefix, 192.0.2.10/24")),
        }
    }
}

impl Destination {
    /// The range.
    pub(super) fn range(self, router: Option<IpAddr>) -> Option<Cidr> {
        match (self, router) {
            (Self::Range(range), _) => Some(range),
            (Self::Default, Some(router)) => Some(crate::net::config::Route::default_via(router).to),
            (Self::Default, None) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "default" {
            return Ok(Self::Default);
        }
        let range = Cidr::parse(&text).or_else(|| text.parse().ok().map(Cidr::host));
        range.map(|range| Self::Range(range.lowest())).ok_or_else(|| {
            D::Error::custom(format!("not the destination of a route: {text:?}, expected 198.51.100.0/24, or default"))
        })
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            Value::String(text) => decimal(&text),
            _ => None,
        };
        number.map(Self).ok_or_else(|| D::Error::custom("expected a whole number"))
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let time = match &value {
            Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            Value::String(text) => match (text.strip_suffix("ms"), text.strip_suffix('s')) {
                (Some(milliseconds), _) => decimal(milliseconds.trim_end()),
                (None, Some(seconds)) => decimal(seconds.trim_end()).and_then(|seconds| seconds.checked_mul(1000)),
                (None, None) => decimal(text),
            },
            _ => None,
        };
        time.map(Self).ok_or_else(|| D::Error::custom("expected a time in milliseconds: 100, 100ms or 1s"))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let time = match &value {
            Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            Value::String(text) => decimal(text.strip_suffix('s').unwrap_or(text).trim_end()),
            _ => None,
        };
        time.map(Self).ok_or_else(|| D::Error::custom("expected a time in whole seconds: 15, or 15s"))
    }
}

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let truth = match Value::deserialize(deserializer)? {
            Value::Bool(truth) => Some(truth),
            Value::Number(number) => match number.as_u64() {
                Some(0) => Some(false),
                Some(1) => Some(true),
                _ => None,
            },
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(true),
                "false" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        truth.map(Self).ok_or_else(|| D::Error::custom("expected true or false"))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// A decimal number of digits only.
fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// One of these names, or the number of its place among them.
fn one_of(value: &Value, names: &'static [&'static str]) -> Result<&'static str, String> {
    let found = match value {
        Value::String(text) => names.iter().find(|name| *name == text).copied().or_else(|| {
            let place = decimal(text).and_then(|place| usize::try_from(place).ok())?;
            names.get(place).copied()
        }),
        Value::Number(number) => {
            number.as_u64().and_then(|place| usize::try_from(place).ok()).and_then(|place| names.get(place).copied())
        }
        _ => None,
    };
    found.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

macro_rules! choices {
    ($($name:ident: $doc:literal = $names:expr;)+) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name(pub &'static str);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                one_of(&Value::deserialize(deserializer)?, &$names).map(Self).map_err(D::Error::custom)
            }
        }
    )+};
}

choices! {
    BondMode: "The mode of a bond." = BOND_MODES;
    HashPolicy: "The hash policy of a bond." = HASH_POLICIES;
    LacpRate: "The rate of LACP packets." = LACP_RATES;
    AdSelect: "How 802.3ad chooses." = AD_SELECTS;
}
