//! Keys that are right to the program that a document is written for, and are not taken here.

use crate::config_drive::DocumentError;

/// The place of a key, without the numbers of lists, and the way out.
pub(super) type Untaken = (&'static str, &'static str);

/// Why a key of cloud-init is not taken.
pub(super) const NOT_HONOURED: &str =
    "the key is one of cloud-config, and it cannot be honoured while the guest does not run";

/// Why any other key is not.
pub(super) const NO_KEY: &str = "no key of cloud-config";

/// Whether what is wrong is a key that is not taken, whatever its value is.
pub(super) fn is_about_key(error: &DocumentError) -> bool {
    error.reason().starts_with("unknown field") || [NOT_HONOURED, NO_KEY].contains(&error.reason())
}

/// Whether a key that has this place, without the numbers of lists, is one of these.
pub(super) fn is_one(place: &str, untaken: &[Untaken]) -> bool {
    untaken.iter().any(|(key, _)| *key == place)
}

/// The same error; of a key that is right elsewhere it does not say that it is unknown.
pub(super) fn told(error: DocumentError, untaken: &[Untaken]) -> DocumentError {
    let place = without_numbers(error.at());
    match untaken.iter().find(|(key, _)| error.reason().starts_with("unknown field") && *key == place) {
        Some((_, way)) => {
            DocumentError::new(error.at(), "the key is a right one, and is not taken here").with_hint(*way)
        }
        None => error,
    }
}

fn without_numbers(at: &str) -> String {
    let mut parts = at.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |place, part| place + part.split_once(']').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (at, place) in [("", ""), ("a.b", "a.b"), ("a[0].b[12].c", "a.b.c"), ("a[7]", "a")] {
            assert_eq!(without_numbers(at), place);
        }
    }

    #[test]
    fn what_is_told() {
        let told = |at: &str, reason: &str| told(DocumentError::new(at, reason), &[("a.b", "way")]);
        assert_eq!(told("a[3].b", "unknown field `b`").hint(), Some("way"));
        assert_eq!(
            told("a[3].b", "unknown field `b`").to_string(),
            "a[3].b: the key is a right one, and is not taken here"
        );
        for (at, reason) in [("a.c", "unknown field `c`"), ("a.b", "invalid type")] {
            assert_eq!(told(at, reason), DocumentError::new(at, reason));
        }
    }
}
