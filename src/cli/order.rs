//! The options that apply in the order given.

use clap::ArgMatches;

/// One of the options that apply in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    Touch,
    Truncate,
    TruncateRecursive,
    Chown,
    Chmod,
    Firstboot,
    FirstbootCommand,
    FirstbootInstall,
}

/// The options of `inject` that depend on their order, as they were typed.
pub fn order(matches: &ArgMatches) -> Vec<Ordered> {
    let options = [
        ("upload", Ordered::Upload),
        ("copy_in", Ordered::CopyIn),
        ("tar_in", Ordered::TarIn),
        ("copy", Ordered::Copy),
        ("moved", Ordered::Move),
        ("write", Ordered::Write),
        ("append_line", Ordered::AppendLine),
        ("edit", Ordered::Edit),
        ("mkdir", Ordered::Mkdir),
        ("link", Ordered::Link),
        ("delete", Ordered::Delete),
        ("touch", Ordered::Touch),
        ("truncate", Ordered::Truncate),
        ("truncate_recursive", Ordered::TruncateRecursive),
        ("chown", Ordered::Chown),
        ("chmod", Ordered::Chmod),
        ("firstboot", Ordered::Firstboot),
        ("firstboot_command", Ordered::FirstbootCommand),
        ("firstboot_install", Ordered::FirstbootInstall),
    ];
    let mut places: Vec<(usize, Ordered)> = options
        .into_iter()
        .flat_map(|(id, option)| matches.indices_of(id).into_iter().flatten().map(move |place| (place, option)))
        .collect();
    places.sort_by_key(|(place, _)| *place);
    places.into_iter().map(|(_, option)| option).collect()
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
        let matches = Cli::command().get_matches_from(words);
        let inject = matches.subcommand_matches("inject").expect("inject was typed");
        assert_eq!(order(inject), [Ordered::Chmod, Ordered::Write, Ordered::Upload, Ordered::Write]);
    }
}
