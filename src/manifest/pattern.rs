//! What the texts of a manifest look like, for its schema: as the options of the same name are read, as far as a pattern can say it.
//! What a variable stands for is not known there.

use super::variables::VARIABLE;
use crate::inject::{Operation, Usage};
use schemars::Schema;
use serde_json::json;

/// A text of this form, or one with a variable in it.
macro_rules! form {
    ($pattern:literal) => {
        concat!("^(", $pattern, r")$|", r"(^|[^$])\$\{[A-Za-z_][A-Za-z0-9_]*\}")
    };
}

/// An absolute path in which no name is `..`.
pub(super) const PATH: &str = form!(r"(/([^/.][^/]*|\.[^/.][^/]*|\.\.[^/]+|\.)?)+");
/// The same as passwd(5) can hold it.
pub(super) const PATH_OF_USER: &str = form!(r"(/([^/.:][^/:]*|\.[^/.:][^/:]*|\.\.[^/:]+|\.)?)+");
/// A name as hostname(7) has it.
pub(super) const HOST_NAME: &str =
    form!(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*");
/// A name of the time zone database.
pub(super) const ZONE: &str = form!(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*");
/// A locale, or a keymap.
pub(super) const SETTING: &str = form!(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,126}");
/// A machine ID, or what becomes of it.
pub(super) const MACHINE_ID: &str = form!("empty|uninitialized|[0-9A-Fa-f]{32}");
/// A name that shadow-utils give; no number.
pub(super) const ACCOUNT: &str = form!(r"[A-Za-z0-9_.]([A-Za-z0-9_.-]{0,31}|[A-Za-z0-9_.-]{0,30}\$)");
/// What looks like one, and is none.
pub(super) const NO_ACCOUNT: &str = r"^([0-9]+|\.\.?)$";
/// A remark of passwd(5).
pub(super) const REMARK: &str = form!(r"[^:\u0000-\u001f\u007f]*");
/// A selector of a password.
pub(super) const PASSWORD: &str =
    form!(r"(lock:|locked:)?((file|env|password):[^\r\n]+|random|disable|disabled)|hash:.+|lock|locked");
/// A day, or a word for one.
pub(super) const EXPIRY: &str = form!("now|never|[0-9]{4}-[0-9]{2}-[0-9]{2}");
/// A name of a unit, with its type or without.
pub(super) const UNIT: &str = form!(r"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*");
/// An address with its prefix.
pub(super) const NETWORK: &str = form!("[0-9A-Fa-f:.]+/[0-9]{1,3}");
/// An address.
pub(super) const ADDRESS: &str = form!("[0-9A-Fa-f:.]+");
/// A line without its end.
pub(super) const LINE: &str = form!(r"[^\n]*");
/// A substitution.
pub(super) const SUBSTITUTION: &str = form!(r"\s*s[\s\S]+");

/// Has the texts of a list be operations of sysprep, or what is left out of them.
pub(super) fn operations(schema: &mut Schema) {
    let is_done = |operation: &Operation| !matches!(operation.usage(), Usage::Refused(_));
    let names = |operations: Vec<Operation>| operations.into_iter().map(Operation::name).collect::<Vec<_>>().join("|");
    let (done, all) = (names(Operation::all().filter(is_done).collect()), names(Operation::all().collect()));
    let pattern = format!("^(defaults|all|{done}|-(defaults|all|{all}))$|{VARIABLE}");
    schema.insert("items".to_owned(), json!({ "type": "string", "pattern": pattern }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_the_same_everywhere() {
        for form in [PATH, HOST_NAME, MACHINE_ID, SUBSTITUTION] {
            assert!(form.ends_with(&format!(")$|{VARIABLE}")), "{form}");
        }
    }
}
