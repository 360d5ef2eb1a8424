//! JSON that goes onto a drive as it was given: what would be changed or dropped on the way is refused.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// A value in which no object has a key twice, and whose numbers are held exactly enough to be written again.
pub(super) struct Verbatim(pub Value);

/// An object of such values.
pub(super) struct Members(pub Map<String, Value>);

/// The place of a key that was there before: always an error, so that it has the key's path.
pub(super) struct Twice;

/// Whole numbers that 64 bits do not hold are read as rounded ones from here on, up and down; the least that they hold
/// is never read as a floating point number.
const ABOVE: f64 = 18_446_744_073_709_551_616.0;
const BELOW: f64 = -9_223_372_036_854_775_808.0;

/// What is said of a key that was there before.
pub(super) const TWICE: &str = "a duplicate key";

/// What is said of a number beyond, and of one that is none.
pub(super) const NUMBER: &str = "expected a number that 64 bits hold; a larger one goes into a text in quotes";

/// Such an object.
pub(super) fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Members::deserialize(deserializer).map(|members| members.0)
}

/// Such an object, or null.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Map<String, Value>>, D::Error> {
    Option::<Members>::deserialize(deserializer).map(|members| members.map(|members| members.0))
}

impl<'de> DeserializeSeed<'de> for Twice {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(D::Error::custom(TWICE))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Members, A::Error> {
                members(map).map(Members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn members<'de, A: MapAccess<'de>>(mut map: A) -> Result<Map<String, Value>, A::Error> {
    let mut members = Map::new();
    while let Some(key) = map.next_key::<String>()? {
        if members.contains_key(&key) {
            map.next_value_seed(Twice)?;
        }
        let Verbatim(value) = map.next_value()?;
        members.insert(key, value);
    }
    Ok(members)
}

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Verbatim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Verbatim, E> {
        Ok(Verbatim(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Verbatim, E> {
        Ok(Verbatim(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Verbatim, E> {
        Ok(Verbatim(value.into()))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Verbatim, E> {
        Err(too_large())
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Verbatim, E> {
        Err(too_large())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Verbatim, E> {
        if value > BELOW && value < ABOVE { Ok(Verbatim(value.into())) } else { Err(too_large()) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Verbatim, E> {
        Ok(Verbatim(text.into()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Verbatim, E> {
        Ok(Verbatim(text.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Verbatim, E> {
        Ok(Verbatim(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Verbatim, E> {
        Ok(Verbatim(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Verbatim, D::Error> {
        Verbatim::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Verbatim, A::Error> {
        let mut values = Vec::new();
        while let Some(Verbatim(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Verbatim(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Verbatim, A::Error> {
        members(map).map(|members| Verbatim(Value::Object(members)))
    }
}

fn too_large<E: Error>() -> E {
    E::custom(NUMBER)
}
