//! Netmasks, as the documents have them beside their addresses.

use crate::config_drive::DocumentError;
use crate::net::Cidr;
use serde::Deserialize;
use std::net::IpAddr;

/// A netmask, or the length of a prefix.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Netmask {
    Length(u8),
    Text(String),
}

impl Netmask {
    /// The length of the prefix for an address; `None` where it is no netmask of its version.
    pub(super) fn prefix(&self, ip: IpAddr) -> Option<u8> {
        let width: u8 = if ip.is_ipv4() { 32 } else { 128 };
        let length = match self {
            Self::Length(length) => Some(*length),
            Self::Text(text) => match text.parse::<IpAddr>() {
                Ok(IpAddr::V4(mask)) if ip.is_ipv4() => ones(u128::from(mask.to_bits()) << 96),
                Ok(IpAddr::V6(mask)) if ip.is_ipv6() => ones(mask.to_bits()),
                Ok(_) => None,
                Err(_) => text.parse().ok(),
            },
        };
        length.filter(|length| *length <= width)
    }
}

/// An address whose prefix stands behind it or is the netmask beside it.
pub(super) fn address(text: &str, netmask: Option<&Netmask>) -> Result<Cidr, DocumentError> {
    if let Some(address) = Cidr::parse(text) {
        return Ok(address);
    }
    let Ok(ip) = text.parse::<IpAddr>() else {
        return Err(DocumentError::new("", format!("{text:?} is no address, expected 192.0.2.10/24")));
    };
    let netmask =
        netmask.ok_or_else(|| DocumentError::new("netmask", "it is missing, and the address has no prefix"))?;
    let prefix =
        netmask.prefix(ip).ok_or_else(|| DocumentError::new("netmask", "it is no netmask of this version of IP"))?;
    Ok(Cidr::host(ip).with_prefix(prefix))
}

/// How many ones there are at the high end; `None` where there are some behind a zero.
fn ones(mask: u128) -> Option<u8> {
    let ones = mask.leading_ones();
    (mask.count_ones() == ones).then(|| u8::try_from(ones).ok()).flatten()
}
