//! The versions of the documents: one directory each, and each with what was known by then.

use super::Flavour;

/// A version's directory, and the date that says what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The directory: the date, or `latest`.
    pub directory: &'static str,
    /// The date; the last one for `latest`.
    pub date: &'static str,
}

impl Version {
    /// Whether it has what came with that date.
    pub(super) fn has(self, since: &str) -> bool {
        // Dates of one form sort as texts, and `1.0` sorts before all of them.
        self.date >= since
    }
}

/// OpenStack's versions of metadata by the release they came with.
pub(super) const FOLSOM: &str = "2012-08-10";
pub(super) const GRIZZLY: &str = "2013-04-04";
pub(super) const HAVANA: &str = "2013-10-17";
pub(super) const LIBERTY: &str = "2015-10-15";
pub(super) const NEWTON_ONE: &str = "2016-06-30";
pub(super) const NEWTON_TWO: &str = "2016-10-06";
pub(super) const OCATA: &str = "2017-02-22";
pub(super) const ROCKY: &str = "2018-08-27";
pub(super) const VICTORIA: &str = "2020-10-14";
pub(super) const EPOXY: &str = "2025-04-04";

const OPENSTACK: [&str; 10] = [FOLSOM, GRIZZLY, HAVANA, LIBERTY, NEWTON_ONE, NEWTON_TWO, OCATA, ROCKY, VICTORIA, EPOXY];

const EC2: [&str; 9] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
];

/// The EC2 versions that Nova leaves out unless told otherwise (`config_drive_skip_versions`).
pub(super) const SKIPPED: &str = "1.0 2007-01-19 2007-03-01 2007-08-29 2007-10-10 2007-12-15 2008-02-01 2008-09-01";

/// OpenStack's versions, oldest first, then `latest`.
pub(super) fn openstack(flavour: Flavour) -> Vec<Version> {
    let last = if flavour == Flavour::NovaGrizzly { GRIZZLY } else { EPOXY };
    with_latest(OPENSTACK.into_iter().filter(|date| *date <= last))
}

/// EC2's versions, oldest first, then `latest`, without those that `skip` has (words, with spaces between them).
pub(super) fn ec2(skip: &str) -> Vec<Version> {
    let mut versions = with_latest(EC2.into_iter());
    versions.retain(|version| !skip.split_whitespace().any(|word| word == version.directory));
    versions
}

/// The words of a list of versions to skip that skip nothing.
pub(super) fn unknown(skip: &str) -> impl Iterator<Item = &str> {
    skip.split_whitespace().filter(|word| *word != LATEST && !EC2.contains(word))
}

const LATEST: &str = "latest";

fn with_latest(dates: impl Iterator<Item = &'static str>) -> Vec<Version> {
    let mut versions: Vec<Version> = dates.map(|date| Version { directory: date, date }).collect();
    versions.extend(versions.last().copied().map(|last| Version { directory: LATEST, ..last }));
    versions
}
