//! What two drives differ in, by document and by key.

use super::body::{is_private, is_secret};
use super::{Body, DOCUMENT_MAX, Existing, Secrets, text};
use crate::failure::{inert_json, printable};
use imgraft_vfs::Result;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::master::Entry;
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The largest text that is shown as a diff, in bytes.
const DIFF_MAX: u64 = 256 << 10;
/// The most pairs of lines of two texts that are shown as a diff: the work grows with them.
const DIFF_PAIRS: usize = 16 << 20;
/// The most bytes of all documents that are compared by key or line; of those after them it is said that they differ.
const DETAIL_MAX: u64 = 64 << 20;
/// How many changes are listed.
const CHANGES_MAX: usize = 10_000;
/// What is compared at once, in bytes.
const PIECE: u64 = 1 << 20;

/// What differs, by path. Format, modes and times do not count, and neither does the order of keys.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// The first drive.
    pub a: String,
    /// The second drive.
    pub b: String,
    /// Whether nothing differs.
    pub same: bool,
    /// The labels, where they differ.
    pub label: Option<[String; 2]>,
    /// What differs, by path and key: the first 10,000 changes.
    pub changes: Vec<Changed>,
    /// How many more there are.
    pub more: usize,
}

/// A file or a key that differs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Changed {
    /// The path.
    pub path: String,
    /// The key in a JSON document: `meta.role`, `files[0].path`; null for the whole file.
    pub key: Option<String>,
    /// `added`, `removed` or `changed`.
    pub what: &'static str,
    /// What the first drive has; null where it has nothing, where it is hidden, or where it is a whole file.
    pub before: Option<Value>,
    /// What the second drive has, likewise.
    pub after: Option<Value>,
    /// A unified diff of a text that may be shown.
    pub diff: Option<String>,
    /// Whether the values are hidden.
    pub hidden: bool,
}

impl Difference {
    /// Compares all files.
    pub fn new(a: &Existing, b: &Existing, secrets: Secrets) -> Result<Self> {
        let (one, other) = (&a.drive().about().label, &b.drive().about().label);
        let label = (one != other).then(|| [one.clone(), other.clone()]);
        let paths: BTreeSet<&[u8]> =
            [a, b].iter().flat_map(|drive| drive.drive().entries()).map(|entry| entry.path.as_slice()).collect();
        let mut changes = Changes::default();
        for path in paths {
            match (a.drive().find(path), b.drive().find(path)) {
                (Some(_), None) => changes.push(Changed::of_file(path, "removed")),
                (None, Some(_)) => changes.push(Changed::of_file(path, "added")),
                (Some(one), Some(other)) if one.file_type != other.file_type => {
                    changes.push(Changed::of_file(path, "changed"))
                }
                (Some(one), Some(other)) if one.file_type == FileType::Regular && !same(a, one, b, other)? => {
                    file(a, one, b, other, secrets, &mut changes)?;
                }
                (Some(one), Some(other)) if one.target != other.target => {
                    changes.push(Changed::of_file(path, "changed"))
                }
                _ => {}
            }
        }
        let Changes { list, more, .. } = changes;
        let same = label.is_none() && list.is_empty();
        Ok(Self { a: a.name(), b: b.name(), same, label, changes: list, more })
    }

    /// For people; nothing where nothing differs.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some([one, other]) = &self.label {
            let _ = writeln!(text, "label: {} -> {}", printable(one), printable(other));
        }
        for change in &self.changes {
            let _ = write!(text, "{}", printable(&change.path));
            if let Some(key) = &change.key {
                let _ = write!(text, ": {}", printable(key));
            }
            let value = |value: &Option<Value>| value.as_ref().map(|value| printable(&value.to_string()));
            let _ = match (value(&change.before), value(&change.after)) {
                _ if change.hidden => writeln!(text, ": {} (hidden; --show-secrets shows it)", change.what),
                (None, None) => writeln!(text, ": {}", change.what),
                (Some(before), None) => writeln!(text, ": removed, was {before}"),
                (None, Some(after)) => writeln!(text, ": added, {after}"),
                (Some(before), Some(after)) => writeln!(text, ": {before} -> {after}"),
            };
            for line in change.diff.iter().flat_map(|diff| diff.lines()) {
                let _ = writeln!(text, "  {}", printable(line));
            }
        }
        if self.more > 0 {
            let _ = writeln!(text, "and {} more", self.more);
        }
        text
    }

    /// For machines.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).map(|json| inert_json(&json) + "\n").unwrap_or_default()
    }
}

impl Changed {
    fn of_file(path: &[u8], what: &'static str) -> Self {
        Self { path: text(path), key: None, what, before: None, after: None, diff: None, hidden: false }
    }
}

/// The changes as they are found, within the limits.
#[derive(Debug, Default)]
struct Changes {
    list: Vec<Changed>,
    more: usize,
    /// How many bytes of documents have been compared by key or line.
    detailed: u64,
}

impl Changes {
    fn push(&mut self, change: Changed) {
        if self.list.len() < CHANGES_MAX {
            self.list.push(change);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Whether documents of so many bytes may be compared by key or line; counts them.
    fn admit(&mut self, bytes: u64) -> bool {
        let total = self.detailed.saturating_add(bytes);
        let admitted = total <= DETAIL_MAX && self.list.len() < CHANGES_MAX;
        if admitted {
            self.detailed = total;
        }
        admitted
    }
}

/// Whether two files hold the same bytes.
fn same(a: &Existing, one: &Entry, b: &Existing, other: &Entry) -> Result<bool> {
    if one.size != other.size {
        return Ok(false);
    }
    let mut at = 0;
    while at < one.size {
        let len = (one.size - at).min(PIECE) as usize;
        let (mut here, mut there) = (vec![0; len], vec![0; len]);
        a.drive().read_at(one, &mut here, at)?;
        b.drive().read_at(other, &mut there, at)?;
        if here != there {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}

fn file(a: &Existing, one: &Entry, b: &Existing, other: &Entry, secrets: Secrets, changes: &mut Changes) -> Result<()> {
    let mut change = Changed::of_file(&one.path, "changed");
    change.hidden = secrets == Secrets::Hidden && is_private(&one.path);
    let is_large = one.size.max(other.size) > DOCUMENT_MAX;
    if change.hidden || is_large || !changes.admit(one.size.saturating_add(other.size)) {
        changes.push(change);
        return Ok(());
    }
    // Values that are hidden are compared all the same.
    match (a.body(one, Secrets::Shown)?, b.body(other, Secrets::Shown)?) {
        (Body::Json(before), Body::Json(after)) => {
            values(&text(&one.path), "", Some(&before), Some(&after), secrets, changes);
        }
        (Body::Text(before), Body::Text(after))
            if one.size.max(other.size) <= DIFF_MAX && is_short(&before, &after) =>
        {
            // A document that is damaged may hold anything.
            if secrets == Secrets::Hidden && one.path.ends_with(b".json") {
                change.hidden = true;
            } else {
                change.diff = Some(TextDiff::from_lines(&before, &after).unified_diff().context_radius(1).to_string());
            }
            changes.push(change);
        }
        _ => changes.push(change),
    }
    Ok(())
}

/// Whether two texts have few enough lines for a diff.
fn is_short(before: &str, after: &str) -> bool {
    before.lines().count().saturating_mul(after.lines().count()) <= DIFF_PAIRS
}

/// Compares two values key by key; the depth is bounded by that of serde_json's reader.
fn values(
    path: &str,
    key: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    secrets: Secrets,
    changes: &mut Changes,
) {
    if before == after {
        return;
    }
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let keys: Vec<&String> =
                before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))).collect();
            for name in keys {
                let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                values(path, &below, before.get(name), after.get(name), secrets, changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for place in 0..before.len().max(after.len()) {
                values(path, &format!("{key}[{place}]"), before.get(place), after.get(place), secrets, changes);
            }
        }
        _ => {
            let what = match (before, after) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            };
            let hidden = secrets == Secrets::Hidden
                && (key.split(['.', '[']).any(is_secret) || [before, after].into_iter().flatten().any(has_secret));
            let shown = |value: Option<&Value>| value.filter(|_| !hidden).cloned();
            changes.push(Changed {
                path: path.to_owned(),
                key: Some(key.to_owned()),
                what,
                before: shown(before),
                after: shown(after),
                diff: None,
                hidden,
            });
        }
    }
}

/// Whether there is something in it that is not shown.
fn has_secret(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(key, member)| is_secret(key) || has_secret(member)),
        Value::Array(members) => members.iter().any(has_secret),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_that_differ() {
        let before =
            json!({"uuid": "1", "meta": {"a": "x", "b": "y"}, "files": [{"path": "/a"}], "admin_pass": "old", "k": 1});
        let after = json!({"meta": {"b": "y", "a": "z"}, "uuid": "1", "files": [{"path": "/a"}, {"path": "/b"}], "admin_pass": "new"});
        let mut changes = Changes::default();
        values("m", "", Some(&before), Some(&after), Secrets::Hidden, &mut changes);
        let all = Difference { a: "a".into(), b: "b".into(), same: false, label: None, changes: changes.list, more: 0 };
        assert_eq!(
            all.to_text(),
            "m: meta.a: \"x\" -> \"z\"\nm: files[1]: added, {\"path\":\"/b\"}\nm: admin_pass: changed (hidden; --show-secrets shows it)\nm: k: removed, was 1\n"
        );
        assert!(!all.to_json().contains("old") && !all.to_json().contains("new"));
        let mut changes = Changes::default();
        values("m", "", Some(&json!([{"admin_pass": "old"}])), Some(&json!([])), Secrets::Hidden, &mut changes);
        assert!(changes.list.iter().all(|change| change.hidden && change.before.is_none()));
    }
}
