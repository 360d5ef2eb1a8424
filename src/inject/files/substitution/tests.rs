//! Expressions, each held against what perl makes of it.

use super::*;
use crate::oracle;
use std::io::Write;
use std::process::{Command, Stdio};

fn apply(expression: &str, text: &str) -> Option<String> {
    let changed = Substitution::parse(expression).expect(expression).apply(text.as_bytes())?;
    Some(String::from_utf8(changed).expect("text"))
}

#[test]
fn as_perl_does() {
    let has_perl = oracle::find("perl").is_some();
    for (expression, text, expected) in [
        ("s/a/b/", "aa\naa", Some("ba\nba")),
        ("s/a/b/g", "aa\ncc\n", Some("bb\ncc\n")),
        ("s/A/b/gi;", "aA\n", Some("bb\n")),
        ("s/a/b/g ; ", "aa\n", Some("bb\n")),
        (" s/a/b/ ;", "aa\n", Some("ba\n")),
        ("s/^#?(Port) .*/$1 2222/", "#Port 22\nPort 1\nX\n", Some("Port 2222\nPort 2222\nX\n")),
        ("s/^/# /g", "a\nb\n", Some("# a\n# b\n")),
        ("s/$/;/", "a\r\nb", Some("a\r;\nb;")),
        ("s/^gone.*\\n//", "gone 1\nstays\ngone 2\n", Some("stays\n")),
        ("s/\\s+$/\\n/", "a \t\nb\n", Some("a\nb\n")),
        ("s|/a/b|/c\\|d|", "/a/b\n", Some("/c|d\n")),
        ("s|a\\|b|x|", "a|b\n", Some("x|b\n")),
        ("s.a\\.b.x.", "acb\n", Some("x\n")),
        ("s/a\\/b/\\/\\$1\\@x/", "a/b\n", Some("/$1@x\n")),
        ("s,(a)(b),\\2${1}0<$&>,", "ab\n", Some("ba0<ab>\n")),
        ("s/(a)|(b)/[$2]/g", "ab\n", Some("[][b]\n")),
        ("s/no/yes/", "maybe\n", None),
        ("s#a#b#", "aa\n", Some("ba\n")),
        ("s#a\\#b#/#g", "a#ba#b\n", Some("//\n")),
        ("s!a!b!", "a\n", Some("b\n")),
        ("s~a~b~", "a\n", Some("b\n")),
        ("s;a;b;g;", "aa\n", Some("bb\n")),
        ("s{a{2}}{<$&>}", "aaa\n", Some("<aa>a\n")),
        ("s{/etc/(\\w+)} {/usr/$1}g;", "/etc/a /etc/b\n", Some("/usr/a /usr/b\n")),
        ("s(a(b))[$1]", "ab\n", Some("b\n")),
        ("s[a[bc]]\t/x{1}/i", "AB\n", Some("x{1}\n")),
        ("s<a> <b\\>>", "a\n", Some("b>\n")),
        ("s{a\\{b}{\\}}", "a{b\n", Some("}\n")),
        ("s(a\\(b)(x)", "a(b\n", Some("x\n")),
        ("s[a\\[b][x]", "a[b\n", Some("x\n")),
        ("s{a}#b#", "a\n", Some("b\n")),
        ("s/\\<Directory\\>/<Location>/", "<Directory>\n", Some("<Location>\n")),
        ("s/[a[b]]/x/", "a[b]c\n", Some("a[xc\n")),
        ("s/[[:digit:]&&~]+/x/", "a1&b\n", Some("axb\n")),
        ("s/[]^]/x/g", "a]^\n", Some("axx\n")),
        ("s/[^]]/x/", "]a\n", Some("]x\n")),
        ("s/a\\[b]/x/", "a[b]\n", Some("x\n")),
        ("s/u\\@a\\$b$|c[\\@\\$]\\{/v\\@c\\$0/", "u@a$b\nc@{\n", Some("v@c$0\nv@c$0\n")),
        ("s/(é)(?:é)+/${1}0$1\\[0]$1-\\>{/", "éé\n", Some("é0é[0]é->{\n")),
        ("s/\\n^|\\z/x/", "a\n", Some("a\nx")),
    ] {
        assert_eq!(apply(expression, text).as_deref(), expected, "{expression}");
        if has_perl {
            let mut perl = Command::new("perl")
                .args(["-pe", expression])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            perl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let said = perl.wait_with_output().unwrap().stdout;
            assert_eq!(String::from_utf8(said).unwrap(), expected.unwrap_or(text), "perl: {expression}");
        }
    }
    let bytes = Substitution::parse("s/b/\u{e4}/").unwrap().apply(b"\xff\xfeb\n").unwrap();
    assert_eq!(bytes, b"\xff\xfe\xc3\xa4\n");
}

/// Flags follow their mark at once.
#[test]
fn a_blank_before_a_flag_is_an_error_to_perl_too() {
    for expression in ["s/a/b/ g", "s{a}{b} g", "s/a/b/g i"] {
        assert!(Substitution::parse(expression).is_err_and(|reason| reason.contains("only the flags")), "{expression}");
        if oracle::find("perl").is_some() {
            let perl = Command::new("perl").args(["-ce", expression]).output().unwrap();
            assert!(!perl.status.success(), "perl: {expression}");
        }
    }
}

#[test]
fn what_is_not_taken_is_said() {
    for (expression, reason) in [
        ("", "only s/"),
        ("y/a/b/", "only s/"),
        ("s{a}", "only s/"),
        ("s{a", "no } for its {"),
        ("s{a{b}{c}", "no } for its {"),
        ("s{a}{b", "no } for its {"),
        ("s{a} #b#", "only s/"),
        ("s{a}'b'", "only s/"),
        ("s{a}{b}x", "only the flags"),
        ("s_a_b_", "only s/"),
        ("s\\a\\b\\", "only s/"),
        ("s a b ", "only s/"),
        ("s/a", "no second /"),
        ("s/a/b", "no third /"),
        ("s/a/b\\/", "no third /"),
        ("s/a/b/e", "only the flags"),
        ("s'a'b'", "only s/"),
        ("s/[a--]/b/", "two hyphens"),
        ("s/a/b/; s/c/d/", "only the flags"),
        ("s/(?=a)/b/", "look-around"),
        ("s/(/b/", "unclosed group"),
        ("s/a/$1/", "no group 1"),
        ("s/a/$x/", "a group's number"),
        ("s/a/\\U&/", "\\U"),
        ("s/a/$0/", "a group's number"),
        ("s/(a)/$01/", "a group's number"),
        ("s/(a)/$1[0]/", "a subscript"),
        ("s/(a)/\\1->{x}/", "a subscript"),
        ("s/(a)/\\10/", "${1} is the group"),
        ("s/x/user@foo/", "\\@ is the character"),
        ("s/x/@{[1]}/", "\\@ is the character"),
        ("s/user@foo/x/", "\\@ is the character"),
        ("s/[a@b]/x/", "\\@ is the character"),
        ("s/a$b/x/", "\\$ is the character"),
        ("s/[$]/x/", "\\$ is the character"),
        ("s/a*+/x/", "possessive"),
        ("s/a++/x/", "possessive"),
        ("s/a?+/x/", "possessive"),
        ("s/a{2}+/x/", "possessive"),
        ("s/a{,2}/x/", "\\{ is the character"),
        ("s/\\v/x/", "\\v"),
        ("s/\\x{61}/x/", "two hexadecimal digits"),
        ("s/\\b{wb}/x/", "\\b{"),
        ("s/é+/x/", "(?:é)"),
        ("s/(?x)a b/x/", "the flags i and s"),
        ("s/[[:x:]]/x/", "[:x:]"),
        ("s@a@b@", "only s/"),
        ("s$a$b$", "only s/"),
        ("s=>a=b=", "only s/"),
    ] {
        let refused = Substitution::parse(expression).unwrap_err();
        assert!(refused.contains(reason), "{expression}: {refused}");
    }
}

/// What Perl makes of a line with each of the expressions; `None` where it is none to Perl.
fn by_perl(perl: &std::path::Path, expressions: &[String], line: &str) -> Vec<Option<String>> {
    // The loop is virt-edit's. Perl's warnings are of no interest, and what is in its own variables is nothing here.
    let program = r#"$/ = "\0"; my ($line, @expressions) = <STDIN>; chomp $line;
        for my $one (@expressions) { chomp $one; local $_ = $line; print eval("$one; 1") ? "+$_\0end\0" : "-\0end\0"; }"#;
    let mut child = Command::new(perl)
        .args(["-e", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("perl");
    let (mut stdin, input) = (child.stdin.take().expect("stdin"), format!("{line}\0{}", expressions.join("\0")));
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).expect("written"));
    let said = child.wait_with_output().expect("perl").stdout;
    writer.join().expect("written");
    let said = String::from_utf8_lossy(&said).into_owned();
    said.split_terminator("\0end\0").map(|said| said.strip_prefix('+').map(str::to_owned)).collect()
}

#[test]
fn every_expression_is_perls_or_refused() {
    let Some(perl) = oracle::find("perl") else { return };
    let of_regex = [
        "a",
        "b",
        ".",
        "-",
        " ",
        ",",
        "1",
        "2",
        "é",
        "\\",
        "\\\\",
        "^",
        "$",
        "|",
        "(",
        ")",
        "(a)",
        "(?:b)",
        "(?i)",
        "(?i:B)",
        "(?<n>a)",
        "(?P<n>b)",
        "(?m)",
        "(?x)",
        "(?U)",
        "(?R)",
        "(?s).",
        "(?=b)",
        "(?>a)",
        "(?|b)",
        "(?#b)",
        "[",
        "]",
        "[ab]",
        "[^a]",
        "[]a]",
        "[a",
        "b]",
        "[[:alpha:]]",
        "[[:^digit:]]",
        "[[:x:]]",
        "[[:]",
        "[[.a.]]",
        "[a-c]",
        "[c-]",
        "[\\w-]",
        "[$]",
        "[@]",
        "[a@b]",
        "[a$",
        "[\\$]",
        "[\\]]",
        "[&&b]",
        "[\\b]",
        "*",
        "+",
        "?",
        "{",
        "}",
        "{1}",
        "{1,}",
        "{,2}",
        "{ 1 }",
        "{a}",
        "$x",
        "${x}",
        "$a[0]",
        "$$",
        "$&",
        "@x",
        "@",
        "@{x}",
        "@$x",
        "@:x",
        "@-",
        "@+",
        "'",
        "\\$",
        "\\@",
        "\\^",
        "\\.",
        "\\n",
        "\\t",
        "\\s",
        "\\S",
        "\\w",
        "\\W",
        "\\d",
        "\\D",
        "\\b",
        "\\B",
        "\\b{wb}",
        "\\A",
        "\\z",
        "\\Z",
        "\\v",
        "\\h",
        "\\H",
        "\\R",
        "\\K",
        "\\N",
        "\\X",
        "\\G",
        "\\Q",
        "\\E",
        "\\U",
        "\\L",
        "\\u",
        "\\l",
        "\\u0061",
        "\\U00000061",
        "\\x61",
        "\\x{61}",
        "\\x{e9}",
        "\\x6",
        "\\xe9",
        "\\0",
        "\\1",
        "\\07",
        "\\e",
        "\\a",
        "\\f",
        "\\cA",
        "\\p{L}",
        "\\pL",
        "\\o{61}",
        "\\g1",
        "\\k<n>",
        "\\<",
        "\\>",
        "\\-",
        "\\ ",
        "\\é",
        "#",
        "\"",
        "~",
        "&&",
        "<",
        ">",
        "=",
        "!",
        ":",
        ";",
        "`",
        "%",
        "/",
        "\\/",
    ];
    let of_text = [
        "a",
        "é",
        " ",
        "0",
        "1",
        "\\",
        "\\\\",
        "$",
        "$0",
        "$1",
        "$01",
        "$2",
        "$3",
        "$10",
        "${1}",
        "${01}",
        "${ 1 }",
        "${+1}",
        "$+",
        "$+1",
        "$&",
        "${&}",
        "$x",
        "$_",
        "$$",
        "$-",
        "$.",
        "${x}",
        "\\0",
        "\\1",
        "\\2",
        "\\10",
        "\\12",
        "[0]",
        "{0}",
        "->",
        "->[0]",
        "->{a}",
        "->@*",
        "::a",
        "'a",
        "@",
        "@a",
        "@_",
        "@1",
        "@{a}",
        "@$a",
        "@-",
        "@+",
        "@:",
        "@.",
        "@ ",
        "@é",
        "@@",
        "\\@",
        "\\$",
        "\\n",
        "\\t",
        "\\r",
        "\\f",
        "\\e",
        "\\a",
        "\\b",
        "\\v",
        "\\x61",
        "\\x{61}",
        "\\U",
        "\\L",
        "\\u",
        "\\l",
        "\\Q",
        "\\E",
        "\\cA",
        "\\N{U+61}",
        "\\o{61}",
        "\\/",
        "/",
        "#",
        "\"",
        "&",
        "%",
        "%a",
        "~",
        "|",
        "(",
        ")",
        "*",
        "\\é",
        "\\[",
        "\\{",
        "-\\>",
        "\n",
    ];
    let mut expressions = Vec::new();
    for one in of_regex {
        for other in of_regex {
            for around in ["s/#/<$&>/", "s/#/<$&>/gi", "s/(a?)#(b)/<$1|$2>/"] {
                expressions.push(around.replace('#', &format!("{one}{other}")));
            }
        }
    }
    for one in of_text {
        for other in of_text {
            expressions.push(format!("s/(a)(b?)/{one}{other}/"));
            expressions.push(format!("s{{(a)(b?)}}{{{one}{other}}}"));
        }
    }
    for mark in (' '..='~').filter(|mark| !mark.is_ascii_alphanumeric()) {
        for inner in ["a#b", "a\\##b", "a\\#\\##\\#$1[\\#0]", "(a)#$1\\#[0]", ">a#b", "[a\\#z]#$&", "a#\\@b\\#"] {
            expressions.push(format!("s{mark}{}{mark}", inner.replace('#', &mark.to_string())));
        }
    }
    let read: Vec<_> = expressions.iter().map(|expression| Substitution::parse(expression).ok()).collect();
    let (mut taken, mut others) = (0, Vec::new());
    for line in ["xaab-b, $x @x 1é\\\n", "{a@b}[a]$a|aB/&\"\t\n", "bb a", "\n"] {
        let theirs = by_perl(&perl, &expressions, line);
        assert_eq!(theirs.len(), expressions.len());
        for ((expression, ours), theirs) in expressions.iter().zip(&read).zip(theirs) {
            let Some(ours) = ours else { continue };
            // What Perl's g does with empty matches, and what it has in a group that matched nothing at last, is told.
            let is_told = matches!(ours.reach, Reach::All) && ours.regex.is_match(b"")
                || ["*", "+", "{1,}"].iter().any(|repeated| expression.starts_with(&format!("s/(a?){repeated}")));
            if is_told {
                continue;
            }
            taken += 1;
            let ours = ours.apply(line.as_bytes()).unwrap_or(line.as_bytes().to_vec());
            let ours = String::from_utf8_lossy(&ours).into_owned();
            if theirs.as_ref() != Some(&ours) {
                others.push(format!("{expression} of {line:?}: {ours:?}, perl: {theirs:?}\n"));
            }
        }
    }
    assert!(others.is_empty(), "{}: {}", others.len(), others.concat());
    assert!(taken > 10_000, "{taken}");
}
