//! Braces in a path, as a shell has them.

/// How many texts one can mean, and how long it may be, in bytes: no path is longer (PATH_MAX).
const TEXTS_MAX: usize = 256;
const LENGTH_MAX: usize = 4096;

/// The texts that braces mean: `a{b,c{d,e}}` is `ab`, `acd` and `ace`. Braces without a comma, and those that are not closed or have a backslash
/// before them, mean themselves. `None` where that are more than 256.
pub fn alternatives(text: &str) -> Option<Vec<String>> {
    if text.len() > LENGTH_MAX {
        return Some(vec![text.to_owned()]);
    }
    let mut whole = Vec::new();
    let mut waiting = vec![(String::new(), text.to_owned())];
    while let Some((mut before, rest)) = waiting.pop() {
        let mut chars = rest.char_indices();
        let mut is_whole = true;
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => {
                    let next = chars.next().map(|(_, next)| next);
                    if !matches!(next, Some('{' | '}' | ',')) {
                        before.push(char);
                    }
                    before.extend(next);
                }
                '{' => match rest.get(at..).and_then(braces) {
                    Some((parts, after)) => {
                        // The first one is looked at first.
                        waiting.extend(parts.iter().rev().map(|part| (before.clone(), format!("{part}{after}"))));
                        is_whole = false;
                        break;
                    }
                    None => before.push(char),
                },
                char => before.push(char),
            }
        }
        if is_whole {
            whole.push(before);
        }
        if whole.len() + waiting.len() > TEXTS_MAX {
            return None;
        }
    }
    Some(whole)
}

/// What stands between the commas of braces that a text begins with, and what is behind them.
fn braces(text: &str) -> Option<(Vec<&str>, &str)> {
    let (mut parts, mut depth, mut from, mut is_escaped) = (Vec::new(), 0_usize, 1, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if is_escaped => {
                is_escaped = false;
                continue;
            }
            '\\' => is_escaped = true,
            '{' => depth += 1,
            ',' if depth == 1 => {
                parts.push(text.get(from..at)?);
                from = at + 1;
            }
            '}' if depth == 1 => {
                parts.push(text.get(from..at)?);
                return (parts.len() > 1).then_some((parts, text.get(at + 1..)?));
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::alternatives;

    #[test]
    fn braces_are_a_shells() {
        for text in [
            "/a",
            "/a{b,c}",
            "/a{b,c{d,e}}x{1,2}",
            "/{,a}b",
            "/{a}",
            "/{a,b",
            "/a,b}{c,d}",
            "/{{a,b}",
            "/{{a,b},c}",
            r"/\{a,b}",
            r"/{a\,b,c}",
            r"/{a,\}}x",
            "/ä{ö,ü}",
        ] {
            let script = format!("printf '%s\\n' {text}");
            let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            assert_eq!(alternatives(text).unwrap(), told.lines().collect::<Vec<_>>(), "{text}");
        }
        assert_eq!(alternatives(&"{a,b}".repeat(8)).unwrap().len(), 256);
        assert_eq!(alternatives(&"{a,b}".repeat(9)), None);
        assert_eq!(alternatives(r"/a\*{b,c}").unwrap(), [r"/a\*b", r"/a\*c"]);
    }
}
