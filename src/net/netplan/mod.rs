//! What netplan(5) takes: whether a text, which is handed on as it stands, is one that netplan reads.
//!
//! By its grammar up to version 1.2, of which each key is known with the version that was the first to have it. What needs the guest
//! itself (whether Open vSwitch is there) is not looked at.

mod keys;
mod outer;
mod sound;
mod tree;

use crate::config_drive::DocumentError;
use keys::{ADDRESS, Key, Labelled, RENDERER, ROOT, ROUTE, RULE, Shape, Since};
pub use outer::with_outer_key;
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
pub use tree::Lines;
use tree::{Node, Value};

/// What of a text only newer versions of netplan know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The path of the key, or of the value.
    pub at: String,
    /// The first two numbers of the version that was the first to know it.
    pub since: (u32, u32),
}

impl fmt::Display for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.since;
        write!(f, "{}: netplan knows it since version {major}.{minor}", self.at)
    }
}

/// Fails with the first thing that netplan would refuse, its path and its line; gives what only newer versions know, the newest of it.
///
/// A text without the key `network:` around it, as cloud-init takes it too, is looked at as if it had it.
pub fn check(text: &str, lines: Lines) -> Result<Option<Newest>, DocumentError> {
    let Some(root) = tree::read(text, lines)? else { return Ok(None) };
    // Refuses tags that mean something to others.
    super::read::check(text)?;
    if !outer::is_inner(&root) {
        return look(&root);
    }
    match look(&outer::around(root)) {
        Ok(newest) => Ok(newest.map(|newest| Newest { at: outer::inner_path(&newest.at).to_owned(), ..newest })),
        Err(error) => {
            let at = outer::inner_path(error.at()).to_owned();
            Err(error.with_place(&at))
        }
    }
}

fn look(root: &Node) -> Result<Option<Newest>, DocumentError> {
    let names = sound::names(root);
    let mut walk = Walk { names, is_nm: sound::is_network_managers(root), newest: None };
    walk.value(root, &ROOT, "")?;
    sound::check(root)?;
    for (at, since) in sound::needs(root) {
        walk.needs(&at, since);
    }
    Ok(walk.newest)
}

/// A look at every value.
struct Walk {
    /// The names of all definitions.
    names: HashSet<String>,
    /// Whether NetworkManager is the renderer of all; it knows devices that no file has.
    is_nm: bool,
    newest: Option<Newest>,
}

/// The same error for guests without netplan: a key that the reader of the model has not, and that netplan has, is netplan's alone.
pub fn only(error: DocumentError) -> DocumentError {
    let key = error.reason().strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')).map(|(key, _)| key);
    let Some(key) = key else { return error };
    let at = if error.at().rsplit('.').next() == Some(key) { error.at().to_owned() } else { member(error.at(), key) };
    DocumentError::new(at, "netplan has this, and imgraft does not compile it for other programs")
        .with_hint("leave it out, or inject it into a guest that listens to netplan")
}

impl Walk {
    fn value(&mut self, node: &Node, shape: &Shape, at: &str) -> Result<(), DocumentError> {
        match shape {
            Shape::ListOf(element) => {
                let list = list(node, at)?;
                for (index, node) in list.iter().enumerate() {
                    self.value(node, element, &format!("{at}[{index}]"))?;
                }
                Ok(())
            }
            Shape::TextOr(other) => match node.text() {
                Some(text) if text.contains(' ') && at.ends_with("driver") => Err(node.wrong(at, "it has a blank")),
                Some(_) => Ok(()),
                None => self.value(node, other, at),
            },
            Shape::Object(keys) => self.object(node, keys, at),
            Shape::Texts => self.members(node, &Shape::Text, at),
            Shape::ObjectOf(shape) => self.members(node, shape, at),
            Shape::References(shape) => {
                for (key, _) in object(node, at)? {
                    self.reference(key, at)?;
                }
                self.members(node, shape, at)
            }
            Shape::Reference => self.reference(node, at),
            Shape::Definitions(keys) => self.definitions(node, keys, at),
            Shape::Addresses(labelled) => self.addresses(node, *labelled, at),
            Shape::Route => {
                self.object(node, &[ROUTE], at)?;
                route(node, at)
            }
            Shape::Rule => {
                self.object(node, &[RULE], at)?;
                if node.get("from").is_none() && node.get("to").is_none() {
                    return Err(node.wrong(at, "a rule has a from or a to"));
                }
                same_family(node, &["from", "to"], at)
            }
            Shape::Ports => {
                let ports = list(node, at)?;
                match ports {
                    [one, other] if one.text().is_some() && one.text() != other.text() => text(other, at).map(drop),
                    _ => Err(node.wrong(at, "expected the names of two ports")),
                }
            }
            Shape::OneOfSince(names) => {
                let text = text(node, at)?;
                let Some((_, since)) = names.iter().find(|(name, _)| *name == text) else {
                    let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
                    return Err(node.wrong(at, format!("expected one of {}", names.join(", "))));
                };
                self.needs(at, *since);
                Ok(())
            }
            Shape::MacOr(others) => {
                let text = text(node, at)?;
                if others.contains(&text) {
                    self.needs(at, (1, 0));
                    return Ok(());
                }
                scalar(text, &Shape::Mac).map_err(|expected| node.wrong(at, expected))
            }
            shape => scalar(text(node, at)?, shape).map_err(|expected| node.wrong(at, expected)),
        }
    }

    fn needs(&mut self, at: &str, since: Since) {
        if since > self.newest.as_ref().map_or((0, 0), |newest| newest.since) {
            self.newest = Some(Newest { at: at.to_owned(), since });
        }
    }

    fn object(&mut self, node: &Node, keys: &'static [&'static [Key]], at: &str) -> Result<(), DocumentError> {
        for (name, value) in object(node, at)? {
            let member = member(at, text(name, at)?);
            let key = keys.iter().copied().flatten().find(|key| name.text() == Some(key.name));
            let key = key.ok_or_else(|| name.wrong(&member, "netplan has no such key here"))?;
            self.needs(&member, key.since);
            self.value(value, &key.shape, &member)?;
        }
        Ok(())
    }

    fn members(&mut self, node: &Node, shape: &Shape, at: &str) -> Result<(), DocumentError> {
        for (name, value) in object(node, at)? {
            self.value(value, shape, &member(at, text(name, at)?))?;
        }
        Ok(())
    }

    fn definitions(&mut self, node: &Node, keys: &'static [&'static [Key]], at: &str) -> Result<(), DocumentError> {
        for (name, value) in object(node, at)? {
            let id = text(name, at)?;
            let member = member(at, id);
            if scalar(id, &Shape::Name).is_err() {
                return Err(name.wrong(at, "a name of a definition is empty, or has a blank"));
            }
            if id.contains(['*', '?', '[', ']']) {
                return Err(name
                    .wrong(&member, "a name of a definition is no pattern")
                    .with_hint("match: has patterns"));
            }
            if id == "renderer" {
                self.value(value, &RENDERER, &member)?;
                continue;
            }
            self.object(value, keys, &member)?;
        }
        Ok(())
    }

    fn reference(&self, node: &Node, at: &str) -> Result<(), DocumentError> {
        let name = text(node, at)?;
        // NetworkManager may have what a VLAN or a pair lies on.
        if self.names.contains(name) || (self.is_nm && (at.ends_with(".link") || at.ends_with(".peer"))) {
            return Ok(());
        }
        Err(node.wrong(at, format!("nothing here is called {name:?}")))
    }

    fn addresses(&mut self, node: &Node, labelled: Labelled, at: &str) -> Result<(), DocumentError> {
        for (index, element) in list(node, at)?.iter().enumerate() {
            let at = format!("{at}[{index}]");
            let address = match &element.value {
                Value::Object(members) => match &members[..] {
                    [(address, options)] => {
                        self.object(options, &[ADDRESS], &at)?;
                        address
                    }
                    _ => return Err(element.wrong(&at, "expected one address")),
                },
                Value::Text(_) | Value::List(_) => element,
            };
            let text = text(address, &at)?;
            let expected = || address.wrong(&at, "expected an address with its prefix, 192.0.2.10/24");
            let (ip, prefix) = text.rsplit_once('/').ok_or_else(expected)?;
            let ip: IpAddr = ip.parse().map_err(|_| expected())?;
            let prefix: u32 = prefix.parse().map_err(|_| expected())?;
            let least = u32::from(labelled == Labelled::Device);
            let most = if ip.is_ipv4() { 32 } else { 128 };
            if !(least..=most).contains(&prefix) {
                return Err(address.wrong(&at, format!("its prefix is {least} to {most} bits long")));
            }
        }
        Ok(())
    }
}

/// A path one step further.
fn member(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn text<'a>(node: &'a Node, at: &str) -> Result<&'a str, DocumentError> {
    node.text().ok_or_else(|| node.wrong(at, "expected a text or a number"))
}

fn list<'a>(node: &'a Node, at: &str) -> Result<&'a [Node], DocumentError> {
    match &node.value {
        Value::List(elements) => Ok(elements),
        Value::Text(_) | Value::Object(_) => {
            Err(node.wrong(at, "expected a list").with_hint("[a, b], or lines with - "))
        }
    }
}

fn object<'a>(node: &'a Node, at: &str) -> Result<&'a [(Node, Node)], DocumentError> {
    match &node.value {
        Value::Object(members) => Ok(members),
        Value::Text(_) | Value::List(_) => Err(node.wrong(at, "expected an object; is it indented?")),
    }
}

/// Whether a text is what a shape says; else what was expected. Texts are not repeated, which may be secret.
fn scalar(text: &str, shape: &Shape) -> Result<(), String> {
    let is = |right: bool, expected: &str| if right { Ok(()) } else { Err(format!("expected {expected}")) };
    let number = || number(text).ok_or_else(|| "expected a whole number".to_owned());
    match shape {
        Shape::Truth => is(truth(text), "true or false"),
        Shape::TruthOr(other) => {
            is(truth(text) || text.eq_ignore_ascii_case(other), &format!("true, false or {other}"))
        }
        Shape::Number => number().map(drop),
        Shape::NumberTo(most) => is(number()? <= *most, &format!("a number up to {most}")),
        Shape::Name => {
            is(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()), "a name without blanks")
        }
        Shape::Version => {
            let rest = text.trim_start().strip_prefix('2');
            is(
                rest.is_some_and(|rest| !rest.starts_with(|char: char| char.is_ascii_digit())),
                "2: netplan has no other",
            )
        }
        Shape::Mac => is(mac(text), "a MAC address, 52:54:00:12:34:56"),
        Shape::Ip4 => is(text.parse::<Ipv4Addr>().is_ok(), "an address of IPv4, 192.0.2.1"),
        Shape::Ip6 => is(text.parse::<Ipv6Addr>().is_ok(), "an address of IPv6, 2001:db8::1"),
        Shape::Ip => is(text.parse::<IpAddr>().is_ok(), "an address, 192.0.2.1 or 2001:db8::1"),
        Shape::OneOf(names) => is(names.contains(&text), &format!("one of {}", names.join(", "))),
        Shape::AnyCaseOf(names) => {
            is(names.iter().any(|name| name.eq_ignore_ascii_case(text)), &format!("one of {}", names.join(", ")))
        }
        _ => Ok(()),
    }
}

fn truth(text: &str) -> bool {
    ["true", "on", "yes", "y", "false", "off", "no", "n"].iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// A number as strtoull(3) reads it; nothing is 0.
fn number(text: &str) -> Option<u32> {
    let digits = text.trim_ascii_start();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    match digits {
        "" => text.is_empty().then_some(0),
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    }
}

fn mac(text: &str) -> bool {
    let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(':').all(is_byte) && matches!(text.split(':').count(), 6 | 20)
}

/// The address of what may have a prefix behind it.
fn address(text: &str) -> Option<IpAddr> {
    text.rsplit_once('/').map_or(text, |(ip, _)| ip).parse().ok()
}

/// Fails where members are no addresses, or of both versions of IP.
fn same_family(node: &Node, keys: &[&str], at: &str) -> Result<(), DocumentError> {
    let mut family = None;
    for key in keys {
        let Some(node) = node.get(key) else { continue };
        let at = member(at, key);
        let text = text(node, &at)?;
        if *key == "to" && text == "default" {
            continue;
        }
        let ip = address(text).ok_or_else(|| node.wrong(&at, "expected an address, or a range of them"))?;
        if *family.get_or_insert(ip.is_ipv4()) != ip.is_ipv4() {
            return Err(node.wrong(&at, "it is of the other version of IP"));
        }
    }
    Ok(())
}

fn route(node: &Node, at: &str) -> Result<(), DocumentError> {
    same_family(node, &["to", "via", "from"], at)?;
    let (to, via) = (node.get("to").and_then(Node::text), node.get("via"));
    let is =
        |key: &str, word: &str| node.get(key).and_then(Node::text).is_some_and(|text| text.eq_ignore_ascii_case(word));
    let is_unicast = node.get("type").is_none() || is("type", "unicast");
    let is_global = if node.get("scope").is_some() { is("scope", "global") } else { via.is_some() };
    if to.is_none() {
        return Err(node.wrong(at, "a route has a to"));
    }
    if is_unicast && is_global && via.is_none() {
        return Err(node.wrong(at, "a route of the global scope has a via"));
    }
    // netplan 0.106 ends with a failed assertion.
    if to == Some("default") && via.is_none() && node.get("from").is_none() {
        return Err(node
            .wrong(at, "a default route without a via: of which version of IP is it?")
            .with_hint("say to: 0.0.0.0/0, or to: ::/0"));
    }
    Ok(())
}
