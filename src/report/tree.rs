//! What a guest has mounted, for a report.

use crate::failure::{Failure, printable};
use crate::guest::mounts::{Mounts, Planned, What};
use imgraft_vfs::volume::{Survey, VolumeInfo};
use imgraft_vfs::{Error, ErrorKind};
use serde::Serialize;
use std::fmt::Write as _;

/// Something that is mounted in a guest, as text and JSON show it. Bytes that are not UTF-8 are escaped.
#[derive(Clone, Debug, Serialize)]
pub struct MountFacts {
    /// Where, as it is named.
    pub place: String,
    /// Who says so.
    pub origin: String,
    /// Whether the guest's start mounts it.
    pub mounted: bool,
    /// The volume that it is; null where there is none, none that is known without a key, or (without a problem) where it is a
    /// subvolume of the root's filesystem.
    pub volume: Option<String>,
    /// What is in it.
    pub filesystem: Option<&'static str>,
    /// Why a path that needs it is refused, or what is known of it only then; of one that cannot be mounted there, why.
    pub problem: Option<String>,
}

impl MountFacts {
    /// All of a guest. `places` has what is wrong with the place of each that is mounted, in their order.
    pub fn of_all(mounts: &Mounts, survey: &Survey, places: &[Option<Error>]) -> Vec<Self> {
        let places = places.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        let mounted = mounts.mounted.iter().zip(places).map(|(planned, place)| {
            // Of two at one place, one is mounted.
            let mounted = place.is_none_or(|error| error.kind() == ErrorKind::Ambiguous);
            Self { mounted, ..Self::of(planned, survey, place) }
        });
        let with_root = mounts.with_root.iter().map(Self::with_root);
        let left = mounts.left.iter().map(|planned| Self { mounted: false, ..Self::of(planned, survey, None) });
        mounted.chain(with_root).chain(left).collect()
    }

    fn of(planned: &Planned, survey: &Survey, place: Option<&Error>) -> Self {
        let (info, problem) = match &planned.what {
            What::Unusable { reason, .. } => (None, Some(reason.clone())),
            What::Volume(selector) => match survey.find(selector) {
                Ok(found) => {
                    let info = survey.inside(&found);
                    (Some(info.clone()), survey.locked(info).map(|error| error.to_string()))
                }
                Err(error) => (None, Some(error.message().to_owned())),
            },
        };
        let problem = place.map(|error| Failure::from(error).message).or(problem);
        Self {
            place: planned.path.to_string(),
            origin: printable(&planned.origin),
            mounted: true,
            volume: info.as_ref().map(VolumeInfo::name),
            filesystem: info.and_then(|info| info.signature).map(|signature| signature.name),
            problem: problem.map(|problem| printable(&problem)),
        }
    }

    fn with_root(Planned { path, origin, .. }: &Planned) -> Self {
        let (place, origin) = (path.to_string(), printable(origin));
        Self { place, origin, mounted: true, volume: None, filesystem: None, problem: None }
    }

    /// Adds the lines for people.
    pub fn to_text(&self, text: &mut String) {
        let Self { place, origin, mounted, volume, filesystem, problem } = self;
        let what = match volume {
            Some(volume) => format!("{volume} ({})", filesystem.unwrap_or("no known filesystem")),
            None if problem.is_none() => "a subvolume of the root's filesystem".to_owned(),
            None => "none that can be used".to_owned(),
        };
        let word = if *mounted { "mount" } else { "not mounted" };
        let _ = writeln!(text, "  {word:<14} {place}: {what}, by {origin}");
        if let Some(problem) = problem {
            let _ = writeln!(text, "                 {problem}");
        }
    }
}
