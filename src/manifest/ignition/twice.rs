//! What a configuration says of one thing in two places, of which one would undo the other.
//!
//! Source: Ignition's `config/validate/validate.go`, and `Validate` of `config/v3_6/types/config.go` and `storage.go`.

use super::super::faults::MOST;
use super::super::place::{Position, position};
use super::unsaid;
use crate::config_drive::DocumentError;
use serde_json::Value;
use std::collections::BTreeMap;

/// An element of a list.
struct Named<'a> {
    /// Where it is.
    element: String,
    /// Where it has its name.
    at: String,
    name: &'a str,
    value: &'a Value,
}

impl Named<'_> {
    fn has_contents(&self) -> bool {
        self.value.get("contents").is_some_and(|contents| !unsaid::is_empty(contents))
    }
}

/// One place too many: what is wrong at `at`, and the element that it clashes with.
struct Clash {
    at: String,
    why: &'static str,
    other: String,
}

/// Elements by what they are about.
type Seen = BTreeMap<String, String>;

/// The faults of this value of the document `text`, in its order; at most one more than is told.
pub(super) fn faults(config: &Value, text: &str) -> Vec<(Option<Position>, DocumentError)> {
    let place = |at: &str| position(text, at).map(|place| place.to_string()).unwrap_or_default();
    let clashes = clashes(config).into_iter().take(MOST + 1).map(|Clash { at, why, other }| {
        let error = DocumentError::new(&at, format!("{why} {other}{}{}", place(&other), place(&at)));
        (position(text, &at), error.with_hint("leave one of them out: Ignition does not take both"))
    });
    let mut faults: Vec<_> = clashes.collect();
    faults.sort_by_key(|(place, _)| place.map(|place| (place.line, place.column)));
    faults
}

fn clashes(config: &Value) -> Vec<Clash> {
    let list = |place: &str, member| named(config.pointer(&format!("/{}", place.replace('.', "/"))), place, member);
    let mut clashes = twice(&list("passwd.users", "name"), Seen::new());
    clashes.extend(twice(&list("passwd.groups", "name"), Seen::new()));
    let units = list("systemd.units", "name");
    clashes.extend(twice(&units, Seen::new()));
    let mut files = Seen::new();
    for unit in &units {
        let file = format!("/etc/systemd/system/{}", unit.name);
        let dropins = named(unit.value.get("dropins"), &format!("{}.dropins", unit.element), "name");
        clashes.extend(twice(&dropins, Seen::new()));
        for dropin in dropins.iter().filter(|dropin| dropin.has_contents()) {
            files.insert(format!("{file}.d/{}", dropin.name), dropin.element.clone());
        }
        if unit.has_contents() {
            files.insert(file, unit.element.clone());
        }
    }
    let links = list("storage.links", "path");
    let mut nodes = list("storage.directories", "path");
    nodes.extend(list("storage.files", "path"));
    nodes.extend(list("storage.links", "path"));
    clashes.extend(twice(&nodes, files));
    let links: BTreeMap<&str, &str> = links.iter().map(|link| (link.name, link.element.as_str())).collect();
    for node in nodes {
        let around = node.name.match_indices('/').filter_map(|(end, _)| links.get(node.name.get(..end)?));
        clashes.extend(around.take(1).map(|link| Clash {
            at: node.at.clone(),
            why: "it lies below the link of",
            other: (*link).to_owned(),
        }));
    }
    clashes
}

/// The elements of a list at `place` that have this member.
fn named<'a>(list: Option<&'a Value>, place: &str, member: &str) -> Vec<Named<'a>> {
    let elements = list.and_then(Value::as_array).into_iter().flatten().enumerate();
    let named = elements.filter_map(|(index, value)| {
        let element = format!("{place}[{index}]");
        Some(Named { at: format!("{element}.{member}"), name: value.get(member)?.as_str()?, element, value })
    });
    named.collect()
}

/// Those of the list whose names were seen before.
fn twice(list: &[Named<'_>], mut seen: Seen) -> Vec<Clash> {
    let mut clashes = Vec::new();
    for Named { element, at, name, .. } in list {
        match seen.get(*name) {
            Some(other) => clashes.push(Clash { at: at.clone(), why: "it is that of", other: other.clone() }),
            None => {
                seen.insert((*name).to_owned(), element.clone());
            }
        }
    }
    clashes
}
