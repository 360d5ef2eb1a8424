//! Options by less than their whole names, as getopt_long_only(3) reads them for the virt tools (`mltools/getopt-c.c` of
//! libguestfs-common).

use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The words of a command line, the first one being the program, with the options of `inject` and `sysprep` by their whole names.
///
/// A name that only one option begins with stands for that, and one dash before a name of more than one letter for two. What is
/// ambiguous, or of no option, stays as it is. No value is changed, and nothing behind `--`.
pub fn spelled_out(words: Vec<OsString>) -> Vec<OsString> {
    let mut command = super::command();
    command.build();
    let verb = words.iter().skip(1).find(|word| !word.as_bytes().starts_with(b"-")).and_then(|word| word.to_str());
    let Some(command) =
        verb.filter(|verb| ["inject", "sysprep"].contains(verb)).and_then(|verb| command.find_subcommand(verb))
    else {
        return words;
    };
    let mut out: Vec<OsString> = Vec::with_capacity(words.len());
    let mut are_over = false;
    for word in words {
        let is_value = out.last().is_some_and(|before| may_begin_with_dashes(before, command));
        are_over |= word == "--" && !is_value;
        let spelled = if is_value || are_over { None } else { whole(&word, command) };
        out.push(spelled.unwrap_or(word));
    }
    out
}

/// The options of `inject` or `sysprep` whose names begin with this, which has its dashes; of an option with several such names one.
/// Those that are refused are among them, as they are options of the virt tools.
pub fn beginning_with(beginning: &str, verb: &str) -> Vec<String> {
    let mut command = super::command();
    command.build();
    let found = command.find_subcommand(verb).into_iter().flat_map(|command| names(beginning, command));
    found.map(|name| format!("--{name}")).collect()
}

/// Whether the value of this option, which is in the word behind it, may begin with a dash.
fn may_begin_with_dashes(option: &OsStr, command: &Command) -> bool {
    let name = option.to_str().and_then(|option| option.strip_prefix("--"));
    name.is_some_and(|name| {
        command
            .get_arguments()
            .any(|argument| argument.is_allow_hyphen_values_set() && long(argument, name) == Some(name))
    })
}

/// A word with the whole name of its option.
fn whole(word: &OsStr, command: &Command) -> Option<OsString> {
    let bytes = word.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
    let (option, value) = bytes.split_at(end);
    let option = std::str::from_utf8(option).ok()?;
    let found = names(option, command);
    let [name] = found.as_slice() else { return None };
    Some(OsString::from_vec([b"--", name.as_bytes(), value].concat()))
}

/// The names that a name with its dashes may stand for: itself, or those that begin with it, one of each option.
fn names<'a>(option: &'a str, command: &'a Command) -> Vec<&'a str> {
    // One dash and one letter is a short option.
    let name = option.strip_prefix("--").or_else(|| option.strip_prefix('-').filter(|name| name.len() > 1));
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Vec::new() };
    let found: Vec<&str> = command.get_arguments().filter_map(|argument| long(argument, name)).collect();
    if found.contains(&name) { vec![name] } else { found }
}

/// The name of an option that is this one, else one that begins with it.
fn long<'a>(argument: &'a Arg, beginning: &str) -> Option<&'a str> {
    let aliases = argument.get_all_aliases().unwrap_or_default();
    let names = argument.get_long().into_iter().chain(aliases);
    let mut names: Vec<&str> = names.filter(|name| name.starts_with(beginning)).collect();
    names.sort_by_key(|name| name.len());
    names.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(words: &str) -> String {
        let words = spelled_out(words.split(' ').map(OsString::from).collect());
        words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn beginnings_of_one_name_stand_for_it() {
        for (typed, expected) in [
            ("inject -a x --root-pass password:a", "inject -a x --root-password password:a"),
            ("inject -add x -root-pass=file:a=b", "inject --add x --root-password=file:a=b"),
            ("-v inject -a x -password u:random", "-v inject -a x --password u:random"),
            ("inject -a x --comma=f -hostname y", "inject -a x --commands-from-file=f --hostname y"),
            ("inject x --colou --dryr -quiet", "inject x --colour --dryrun --quiet"),
            ("inject x -append /a:b -n -vx -m 5 -m5", "inject x --append-line /a:b -n -vx -m 5 -m5"),
            ("sysprep -a x --enab script --oper -script", "sysprep -a x --enable script --operation -script"),
            ("sysprep --list-op", "sysprep --list-operations"),
            ("inject x --chmod -1:/x --partition -hostname", "inject x --chmod -1:/x --partition -hostname"),
        ] {
            assert_eq!(spelled(&format!("imgraft {typed}")), format!("imgraft {expected}"));
        }
    }

    #[test]
    fn the_rest_stays_as_it_is() {
        for typed in [
            "inject x --password u:random --firstboot f --run r",
            "inject x --ssh u --first f --truncate-r",
            "inject x --ssh u --none -none -a x.img -ax.img - --= -=x",
            "inject x -- --root-pass a",
            "cat --part 1 x /a",
            "config-drive create --root-pass a",
        ] {
            let typed = typed.replace("--truncate-r", "--trunc");
            assert_eq!(spelled(&format!("imgraft {typed}")), format!("imgraft {typed}"));
        }
        let raw = OsString::from_vec(b"--root-pass=\xff".to_vec());
        let words = spelled_out(vec!["imgraft".into(), "inject".into(), raw]);
        assert_eq!(words[2].as_bytes(), b"--root-password=\xff");
        assert_eq!(spelled_out(Vec::new()), Vec::<OsString>::new());
    }

    #[test]
    fn what_is_ambiguous_has_its_names() {
        assert_eq!(beginning_with("--ssh", "inject"), ["--ssh-inject", "--ssh-host-keys"]);
        assert_eq!(beginning_with("-firstboot", "inject"), ["--firstboot"]);
        assert!(beginning_with("--none", "inject").is_empty() && beginning_with("-", "inject").is_empty());
        assert!(beginning_with("", "inject").is_empty() && beginning_with("--x", "cat").is_empty());
    }
}
