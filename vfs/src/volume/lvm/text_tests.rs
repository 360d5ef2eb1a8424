//! Texts that LVM2 writes, and texts that nobody does.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::{MAX_DEPTH, MAX_VALUES, Section, Value};
use crate::error::ErrorKind;

#[test]
fn what_lvm_writes_is_read() {
    let text = "# made by\nvg0 {\n\tid = \"a\\\"b\\\\c\"\t# 4 MiB\n\tseqno = 3\n\tflags = []\n\tshare = 0.5\n\
                \tnested {\n\t\tstripes = [\n\t\t\t\"pv0\", 0,\n\t\t\t\"pv1\", -7\n\t\t]\n\t}\n}\ncontents = \"x\"\n\n\0";
    let section = Section::parse(text).unwrap();
    assert_eq!(section.text("contents"), Some("x"));
    let group = section.section("vg0").unwrap();
    assert_eq!((group.text("id"), group.number("seqno")), (Some("a\"b\\c"), Some(3)));
    assert_eq!(group.list("flags"), Some(&[][..]));
    let stripes = group.section("nested").unwrap().list("stripes").unwrap();
    assert_eq!(stripes.len(), 4);
    assert_eq!(stripes.get(3), Some(&Value::Number(-7)));
    assert_eq!(group.section("nested").unwrap().number("stripes"), None);
    assert_eq!(section.sections().map(|(name, _)| name).collect::<Vec<_>>(), ["vg0"]);
}

#[test]
fn what_nobody_writes_is_refused_with_its_line() {
    let deep = "a { ".repeat(usize::try_from(MAX_DEPTH).unwrap() + 1);
    let lists = format!("a = {}", "[".repeat(100_000));
    let many = format!("a = [{}]", "1,".repeat(usize::try_from(MAX_VALUES).unwrap()));
    for (text, why) in [
        ("a = 1\nb { c = 1", "a brace is not closed, in line 2"),
        ("a = 1 }", "a brace closes"),
        ("a = \"x", "a text is not closed"),
        ("a = \"x\\", "a text is not closed"),
        ("a = [1, 2", "a list is not closed"),
        ("a = [1 2]", "a list is not closed"),
        ("a 1", "a name without a value"),
        ("a =", "a value is missing"),
        ("= 1", "a name is missing"),
        ("a = 1\na = 2\n", "there twice"),
        ("a = 99999999999999999999", "out of range"),
        ("a = -", "out of range"),
        (&deep, "levels deep"),
        (&lists, "levels deep"),
        (&many, "values"),
    ] {
        let error = Section::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(why), "{error}");
    }
}
