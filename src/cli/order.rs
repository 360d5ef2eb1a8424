//! Where on the command line options stand.

use super::ItemName;
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::collections::BTreeMap;

/// One of the options that apply in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Ordered {
    Upload,
    CopyIn,
    TarIn,
    Copy,
    Move,
    Write,
    AppendLine,
    Edit,
    Mkdir,
    Link,
    Delete,
    Scrub,
    Touch,
    Truncate,
    TruncateRecursive,
    Chown,
    Chmod,
    Firstboot,
    FirstbootCommand,
    FirstbootInstall,
    /// One that is about an item, of those before which files may be put in.
    Item(ItemName),
}

/// Where the options of `inject` stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The options that apply in the order given, as they were typed, each with the number of its value: which of the option's it is,
    /// from 0.
    pub values: Vec<(Ordered, usize)>,
    /// The lines of the values that stand in a file of `--commands-from-file`: by `--OPTION[NUMBER]`, as `--commands-from-file FILE: line N`.
    pub lines: BTreeMap<String, String>,
}

/// Where these options of `inject` stand.
pub fn order(matches: &ArgMatches) -> Order {
    Order { values: values(matches), lines: lines(matches) }
}

fn lines(matches: &ArgMatches) -> BTreeMap<String, String> {
    const LINES: &str = "commands_from_file";
    let all = matches.get_many::<String>(LINES).into_iter().flatten();
    let places = matches.indices_of(LINES).into_iter().flatten();
    let lines: BTreeMap<usize, &String> = places.zip(all).collect();
    let mut found = BTreeMap::new();
    for id in matches.ids().map(clap::Id::as_str) {
        for (number, place) in matches.indices_of(id).into_iter().flatten().enumerate() {
            // Between the two is the option's name.
            if let Some(line) = place.checked_sub(2).and_then(|before| lines.get(&before)) {
                let option = format!("--{}[{number}]", id.replace('_', "-"));
                found.insert(option, format!("--commands-from-file {line}"));
            }
        }
    }
    found
}

fn values(matches: &ArgMatches) -> Vec<(Ordered, usize)> {
    let options = [
        ("upload", Ordered::Upload),
        ("copy_in", Ordered::CopyIn),
        ("tar_in", Ordered::TarIn),
        ("copy", Ordered::Copy),
        ("move", Ordered::Move),
        ("write", Ordered::Write),
        ("append_line", Ordered::AppendLine),
        ("edit", Ordered::Edit),
        ("mkdir", Ordered::Mkdir),
        ("link", Ordered::Link),
        ("delete", Ordered::Delete),
        ("scrub", Ordered::Scrub),
        ("touch", Ordered::Touch),
        ("truncate", Ordered::Truncate),
        ("truncate_recursive", Ordered::TruncateRecursive),
        ("chown", Ordered::Chown),
        ("chmod", Ordered::Chmod),
        ("firstboot", Ordered::Firstboot),
        ("firstboot_command", Ordered::FirstbootCommand),
        ("firstboot_install", Ordered::FirstbootInstall),
    ];
    let of_items = [
        ("ssh_inject", ItemName::Key),
        ("network", ItemName::Net),
        ("ip", ItemName::Net),
        ("dns", ItemName::Net),
        ("dhcp", ItemName::Net),
        ("hostname", ItemName::Hostname),
        ("ssh_host_keys", ItemName::HostKeys),
        ("timezone", ItemName::Timezone),
        ("locale", ItemName::Locale),
        ("keymap", ItemName::Locale),
        ("machine_id", ItemName::MachineId),
        ("metadata", ItemName::Metadata),
        ("metadata_file", ItemName::Metadata),
    ];
    let places_of = |(id, option)| {
        let places = matches.indices_of(id).into_iter().flatten().enumerate();
        places.map(move |(number, place)| (place, (option, number)))
    };
    let all = options.into_iter().chain(of_items.map(|(id, item)| (id, Ordered::Item(item))));
    let typed = all.filter(|(id, _)| matches.value_source(id) == Some(ValueSource::CommandLine));
    let mut places: Vec<(usize, (Ordered, usize))> = typed.flat_map(places_of).collect();
    places.sort_by_key(|(place, _)| *place);
    places.into_iter().map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn order_is_that_of_the_command_line() {
        let words =
            ["imgraft", "inject", "x", "--chmod", "0600:/b", "--write", "/a:b", "--upload", "c:/d", "--write", "/e:f"];
        let words = [&words[..], &["--ssh-host-keys", "--touch", "/g", "--hostname", "h"]].concat();
        let matches = Cli::command().get_matches_from(words);
        let inject = matches.subcommand_matches("inject").expect("inject was typed");
        let expected = [
            (Ordered::Chmod, 0),
            (Ordered::Write, 0),
            (Ordered::Upload, 0),
            (Ordered::Write, 1),
            (Ordered::Item(ItemName::HostKeys), 0),
            (Ordered::Touch, 0),
            (Ordered::Item(ItemName::Hostname), 0),
        ];
        let order = order(inject);
        assert_eq!(order.values, expected);
        assert!(order.lines.is_empty(), "{order:?}");
    }

    #[test]
    fn values_of_files_have_lines() {
        let line = |number: u32| format!("--commands-from-file=f: line {number}");
        let told = |number: u32| format!("--commands-from-file f: line {number}");
        let (one, two, three, four) = (line(1), line(2), line(3), line(4));
        let words = ["--mkdir", "/a", &one, "--mkdir=/b", "--mkdir=/c", &two, "--no-logfile", "--hostname", "x"];
        let words = [&["imgraft", "inject"][..], &words, &[&three, "--move=/a:/b", &four, "--mkdir=/d", "x"]].concat();
        let matches = Cli::command().get_matches_from(words);
        let order = order(matches.subcommand_matches("inject").expect("inject was typed"));
        let lines: Vec<_> = order.lines.iter().map(|(option, line)| (&**option, &**line)).collect();
        let expected = [("--mkdir[1]", &*told(1)), ("--mkdir[3]", &told(4)), ("--move[0]", &told(3))];
        assert_eq!(lines, expected);
    }
}
