//! Where a document has what is in the manifest that was made of it.

use super::{Manifest, Operation, User};
use std::collections::BTreeMap;

/// The places of another document by those of the manifest; none where the manifest is the document.
#[derive(Debug, Default)]
pub struct Origins(BTreeMap<String, String>);

impl Origins {
    /// The place in the document of what is at a place in the manifest.
    pub(crate) fn of(&self, place: &str) -> String {
        let ends = place.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(end, _)| end);
        // What is known of the longest beginning counts.
        let mut known =
            ends.chain([place.len()]).filter_map(|end| Some((self.0.get(place.get(..end)?)?, place.get(end..)?)));
        known.next_back().map_or_else(|| place.to_owned(), |(at, rest)| format!("{at}{rest}"))
    }

    pub(super) fn set(&mut self, place: impl Into<String>, at: impl Into<String>) {
        self.0.insert(place.into(), at.into());
    }
}

impl Manifest {
    /// Adds operations that one element of the document asks for.
    pub(super) fn put_files(&mut self, at: &str, operations: impl IntoIterator<Item = Operation>) {
        for operation in operations {
            let place = format!("files[{}]", self.files.len());
            // A member of the operation is one of the element.
            for name in ["write", "append_line", "chown", "chmod", "link"] {
                self.origins.set(format!("{place}.{name}"), at);
            }
            self.origins.set(place, at);
            self.files.push(operation);
        }
    }

    /// Adds a user whom an element of the document asks for, some of whose members have other names there.
    pub(super) fn put_user(&mut self, at: &str, user: User, members: &[(&str, &str)]) {
        let place = format!("users[{}]", self.users.len());
        for (member, name) in members {
            self.origins.set(format!("{place}.{member}"), format!("{at}.{name}"));
        }
        self.origins.set(place, at);
        self.users.push(user);
    }

    /// Adds a group that is made where it is missing, for a place of the document.
    pub(super) fn put_missing_group(&mut self, at: &str, name: String) {
        self.origins.set(format!("missing_groups[{}]", self.missing_groups.len()), at);
        self.missing_groups.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_counts() {
        let mut origins = Origins::default();
        origins.set("users[1]", "passwd.users[0]");
        origins.set("users[1].password", "passwd.users[0].passwordHash");
        origins.set("users[1].ssh_keys", "passwd.users[0].sshAuthorizedKeys");
        for (place, at) in [
            ("users[1]", "passwd.users[0]"),
            ("users[1].uid", "passwd.users[0].uid"),
            ("users[1].password", "passwd.users[0].passwordHash"),
            ("users[1].passwords", "passwd.users[0].passwords"),
            ("users[1].ssh_keys[2]", "passwd.users[0].sshAuthorizedKeys[2]"),
            ("users[11]", "users[11]"),
            ("users", "users"),
            ("", ""),
        ] {
            assert_eq!(origins.of(place), at);
        }
    }
}
