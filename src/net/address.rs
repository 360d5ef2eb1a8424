//! Addresses as they were written.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    ip: IpAddr,
}

impl Address {
    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// 4 or 6.
    pub fn version(&self) -> u8 {
        version(self.ip)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(ip) => Ok(Self { text, ip }),
            Err(_) => Err(D::Error::custom(format!("invalid IP address {text:?}, expected 192.0.2.1 or 2001:db8::1"))),
        }
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// A range of addresses: an address in it and the length of the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    ip: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The range of this one address.
    pub fn host(ip: IpAddr) -> Self {
        Self { ip, prefix: width(ip) }
    }

    /// The same address with a prefix of so many bits, of at most as many as there are.
    #[must_use]
    pub fn with_prefix(self, prefix: u8) -> Self {
        Self { prefix: prefix.min(width(self.ip)), ..self }
    }

    /// Reads `ADDRESS/PREFIX`.
    pub fn parse(text: &str) -> Option<Self> {
        let (ip, prefix) = text.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|prefix| is_number && *prefix <= width(ip))?;
        Some(Self { ip, prefix })
    }

    /// The address.
    pub fn ip(self) -> IpAddr {
        self.ip
    }

    /// The range that begins with the lowest address.
    #[must_use]
    pub fn lowest(self) -> Self {
        Self { ip: self.network(), ..self }
    }

    /// 4 or 6.
    pub fn version(self) -> u8 {
        version(self.ip)
    }

    /// The length of the prefix in bits: 0 to 32, or to 128.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The address whose bits are ones in the prefix and zeros after it.
    pub fn netmask(self) -> IpAddr {
        match self.ip {
            IpAddr::V4(_) => Ipv4Addr::from_bits(ones(self.prefix, 32) as u32).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(ones(self.prefix, 128)).into(),
        }
    }

    /// The lowest address.
    pub fn network(self) -> IpAddr {
        match self.ip {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & ones(self.prefix, 32) as u32).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & ones(self.prefix, 128)).into(),
        }
    }

    /// Whether an address is one of the range.
    pub fn holds(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.ip.is_ipv4() && Self { ip, ..self }.network() == self.network()
    }

    /// Whether it is one address.
    pub fn is_host(self) -> bool {
        self.prefix == width(self.ip)
    }

    /// The highest address of an IPv4 range, which is that of all; a range of one or two addresses has none (RFC 3021).
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.ip {
            IpAddr::V4(ip) if self.prefix < 31 => {
                Some(Ipv4Addr::from_bits(ip.to_bits() | !(ones(self.prefix, 32) as u32)))
            }
            _ => None,
        }
    }
}

/// As many ones as `prefix` says at the high end of `width` bits.
fn ones(prefix: u8, width: u8) -> u128 {
    let zeros = u32::from(width.saturating_sub(prefix));
    let all = u128::MAX >> 128_u32.saturating_sub(u32::from(width));
    all & u128::MAX.checked_shl(zeros).unwrap_or(0)
}

fn version(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 4 } else { 6 }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("invalid range of addresses {text:?}, expected 192.0.2.0/24 or 2001:db8::/64"))
        })
    }
}

impl JsonSchema for Cidr {
    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        serde_json::from_value(text.into()).unwrap()
    }

    #[test]
    fn ranges() {
        let range = cidr("10.1.2.3/20");
        assert_eq!(range.network().to_string(), "10.1.0.0");
        assert_eq!(range.netmask().to_string(), "255.255.240.0");
        assert_eq!(range.broadcast().unwrap().to_string(), "10.1.15.255");
        assert_eq!(cidr("10.0.0.0/31").broadcast(), None);
        assert_eq!(cidr("0.0.0.0/0").netmask().to_string(), "0.0.0.0");
        assert_eq!(cidr("1.2.3.4/32").netmask().to_string(), "255.255.255.255");
        assert_eq!(cidr("fd00::1/64").netmask().to_string(), "ffff:ffff:ffff:ffff::");
        assert_eq!(cidr("fd00:1:2:3::1/56").network().to_string(), "fd00:1:2::");
        assert_eq!(cidr("::/0").netmask().to_string(), "::");
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/129", "x/1", "10.0.0.0/-1", "/8", ""] {
            assert!(serde_json::from_value::<Cidr>(text.into()).is_err(), "{text}");
        }
    }
}
