//! Options of which the last one counts, as for virt-customize, and what is told of those before it.

use super::items::shorten;
use crate::cli::{self, Order};
use clap::ValueEnum;

/// What is told of the values that a later one of the same option takes the place of.
pub(super) fn of_inject(typed: &cli::Inject, order: &Order) -> Vec<String> {
    let names = |typed: &[String]| typed.iter().map(|typed| shorten(typed)).collect::<Vec<_>>();
    let methods: Vec<String> = typed.password_crypto.iter().map(value).collect();
    [("--hostname", names(&typed.hostname)), ("--timezone", names(&typed.timezone)), ("--password-crypto", methods)]
        .iter()
        .flat_map(|(option, values)| before(option, values, order))
        .collect()
}

/// The same of the image's format.
pub(super) fn of_format(typed: &cli::ImageFile) -> Vec<String> {
    let formats: Vec<String> = typed.format.iter().map(value).collect();
    before("--format", &formats, &Order::default())
}

/// A word for each value of an option before its last one that is another.
fn before(option: &str, values: &[String], order: &Order) -> Vec<String> {
    let Some((last, before)) = values.split_last() else { return Vec::new() };
    let others = before.iter().enumerate().filter(|(_, value)| *value != last);
    let told = |(number, value): (usize, &String)| {
        let line = order.lines.get(&format!("{option}[{number}]")).map(|line| format!("{line}: ")).unwrap_or_default();
        format!("{line}{option} {value}: of several the last one counts, which is {last}")
    };
    others.map(told).collect()
}

/// A value of a few, as it is typed.
fn value(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn those_that_do_not_count_are_told() {
        let told = |words: &str| match cli::parse(words.split(' ').map(OsString::from).collect()) {
            Ok((cli::Cli { command: cli::Command::Inject(typed), .. }, order)) => {
                [of_inject(&typed, &order), of_format(&typed.target.file)].concat()
            }
            other => panic!("{words}: {other:?}"),
        };
        let none: [&str; 0] = [];
        assert_eq!(told("imgraft inject x --hostname a --timezone UTC --format raw --password-crypto md5"), none);
        // The same again is not another.
        assert_eq!(told("imgraft inject x --hostname a --hostname a --format raw --format raw"), none);
        assert_eq!(
            told("imgraft inject x --hostname a --timezone UTC --hostname b --timezone=Asia/Tokyo --hostname=c"),
            [
                "--hostname a: of several the last one counts, which is c",
                "--hostname b: of several the last one counts, which is c",
                "--timezone UTC: of several the last one counts, which is Asia/Tokyo",
            ]
        );
        assert_eq!(
            told("imgraft inject x --format auto --password-crypto md5 --format=raw --password-crypto sha512"),
            [
                "--password-crypto md5: of several the last one counts, which is sha512",
                "--format auto: of several the last one counts, which is raw",
            ]
        );
        let words = ["imgraft", "inject", "x", "--hostname=a", "--commands-from-file=f: line 7", "--hostname=b"];
        let words = [&words[..], &["--hostname=c"]].concat().into_iter().map(OsString::from).collect();
        let Ok((cli::Cli { command: cli::Command::Inject(typed), .. }, order)) = cli::parse(words) else { panic!() };
        let line = "--commands-from-file f: line 7: --hostname b: of several the last one counts, which is c";
        assert_eq!(of_inject(&typed, &order)[1], line);
    }
}
