//! The words by which NetworkManager.conf(5) says which devices it is about ("Device List Format").

use super::glob;
use super::key_file::SPACE;
use crate::net::config::Mac;

/// A device, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Device<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// The pattern of glob(7) that its name matches, where that is all that is known of it.
    pub pattern: Option<&'a str>,
    /// The MAC address of its maker.
    pub mac: Option<Mac>,
    /// Its type, as connections have it.
    pub kind: Option<&'a str>,
}

/// Whether a list of specs is about a device; `None` where that is not known.
pub(super) fn matches<'a>(specs: impl Iterator<Item = &'a str>, device: Device<'_>) -> Option<bool> {
    let (mut excepted, mut matched) = (Some(false), None);
    // What is true of one is true of all; what is not known of one is not known, unless another is true.
    let or = |all: Option<bool>, one: Option<bool>| match (all, one) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (None, _) | (_, None) => None,
        (Some(false), Some(false)) => Some(false),
    };
    let mut is_empty = true;
    for spec in specs {
        is_empty = false;
        match exception(spec) {
            // Without a tag it is none of a device (`match_device_eval` of its sources).
            Some(spec) => excepted = or(excepted, tagged(spec, device).unwrap_or(Some(false))),
            None => matched = Some(or(matched.unwrap_or(Some(false)), is_about(spec, device))),
        }
    }
    // Where there are exceptions only, all others match.
    let matched = matched.unwrap_or(Some(!is_empty));
    match (excepted, matched) {
        (Some(true), _) | (_, Some(false)) => Some(false),
        (Some(false), matched) => matched,
        (None, _) => None,
    }
}

/// What a spec excepts, if it does.
fn exception(spec: &str) -> Option<&str> {
    spec.split_once(':').filter(|(tag, _)| tag.eq_ignore_ascii_case("except")).map(|(_, spec)| spec)
}

/// Whether one spec is about a device, be it one of an exception; `None` where that is not known.
pub fn is_about(spec: &str, device: Device<'_>) -> Option<bool> {
    let spec = exception(spec).unwrap_or(spec);
    tagged(spec, device).unwrap_or_else(|| match Mac::parse(spec) {
        Some(mac) => Some(device.mac? == mac),
        None => is_named(device, spec, &|name| name == spec),
    })
}

/// Whether a device has a name that `is_it` tells, each of which matches a pattern of `*` and `?`.
fn is_named(device: Device<'_>, pattern: &str, is_it: &dyn Fn(&str) -> bool) -> Option<bool> {
    match (device.name, device.pattern) {
        (Some(name), _) => Some(is_it(name)),
        (None, Some(own)) if !may_meet(own, pattern.as_bytes()) => Some(false),
        (None, _) => None,
    }
}

/// Whether a name may match both patterns, of which that of ours may have brackets, which may match anything.
fn may_meet(ours: &str, theirs: &[u8]) -> bool {
    if !ours.is_ascii() {
        return true;
    }
    let mut own: Vec<u8> = Vec::new();
    let mut rest = ours;
    while let Some(letter) = rest.chars().next() {
        let is_open = matches!(letter, '[' | '\\');
        match rest.find(']').filter(|_| letter == '[') {
            None if is_open => return true,
            // One that is the first inside does not close them.
            Some(_) if rest.starts_with("[]") || rest.starts_with("[!]") || rest.starts_with("[^]") => return true,
            Some(end) => {
                own.push(b'?');
                rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
            }
            None => {
                own.extend(letter.encode_utf8(&mut [0; 4]).bytes());
                rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            }
        }
    }
    // Of each beginning of ours, whether a name may match it and what was seen of theirs.
    let own_star = |at: usize| own.get(at) == Some(&b'*');
    let mut may = vec![false; own.len().saturating_add(1)];
    let spread = |may: &mut Vec<bool>| {
        for at in 0..own.len() {
            let is_reached = may.get(at) == Some(&true) && own_star(at);
            if let Some(next) = may.get_mut(at.saturating_add(1)).filter(|_| is_reached) {
                *next = true;
            }
        }
    };
    if let Some(first) = may.first_mut() {
        *first = true;
    }
    spread(&mut may);
    for byte in theirs {
        let mut next = vec![false; may.len()];
        for at in (0..may.len()).filter(|at| may.get(*at) == Some(&true)) {
            let mut reach = |at: usize| {
                if let Some(place) = next.get_mut(at) {
                    *place = true;
                }
            };
            match (byte, own.get(at)) {
                // Theirs matches any number of what follows of ours.
                (b'*', _) => (at..=own.len()).for_each(reach),
                (_, Some(b'*')) => reach(at),
                (_, Some(own)) if own == byte || *own == b'?' || *byte == b'?' => reach(at.saturating_add(1)),
                _ => {}
            }
        }
        spread(&mut next);
        may = next;
    }
    may.last() == Some(&true)
}

/// The same of one that says what it goes by; `None` of a bare name or MAC address.
fn tagged(spec: &str, device: Device<'_>) -> Option<Option<bool>> {
    // An escape may be of anything.
    if spec.contains('\\') {
        return Some(None);
    }
    if spec == "*" {
        return Some(Some(true));
    }
    let (tag, value) = spec.split_once(':')?;
    Some(match tag.to_ascii_lowercase().as_str() {
        "interface-name" => match value.strip_prefix('=') {
            Some(name) => is_named(device, name, &|found| found == name),
            None => match value.strip_prefix('~').unwrap_or(value) {
                "*" => Some(true),
                pattern => is_named(device, pattern, &|found| glob(pattern.as_bytes(), found.as_bytes())),
            },
        },
        "mac" => match Mac::parse(value) {
            Some(mac) => device.mac.map(|found| found == mac),
            None => Some(false),
        },
        "type" => device.kind.map(|kind| kind == value),
        "driver" | "s390-subchannels" | "dhcp-plugin" => None,
        _ => return None,
    })
}

/// The specs of a list.
pub(super) fn specs(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ';']).map(|spec| spec.trim_matches(SPACE)).filter(|spec| !spec.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_meet() {
        for (ours, theirs, may) in [
            ("e*", "docker*", false),
            ("e*", "docker0", false),
            ("e*", "eth0", true),
            ("e*", "*", true),
            ("e*", "*0", true),
            ("e*0", "*1", false),
            ("e*0", "*1*", true),
            ("en??", "eth*", false),
            ("en??", "e*", true),
            ("en??", "en", false),
            ("en[ps]*", "enp1s0", true),
            ("en[ps]*", "eth0", false),
            ("en[]x]*", "eth0", true),
            ("en\\x*", "eth0", true),
            ("*a*", "?", true),
            ("*a*b", "?", false),
            ("eth", "eth", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(may_meet(ours, theirs.as_bytes()), may, "{ours} {theirs}");
        }
    }
}
