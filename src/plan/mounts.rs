//! What is mounted in the guest: `VOLUME:PATH`, `none:PATH` and `none`.

use crate::failure::Failure;
use crate::guest::mounts::{By, Wanted};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::volume::Selector;

const FORMS: &str = "type --mount VOLUME:PATH, where VOLUME is a number, GROUP/VOLUME, label:NAME or uuid:UUID; --mount none:PATH \
                     where nothing is mounted; --mount none to leave the guest's own mounts out of account";

/// Reads what was typed; a place is given once.
pub(super) fn mounts(typed: &[String]) -> Result<Wanted, Failure> {
    let mut wanted = Wanted::default();
    for typed in typed {
        if typed == "none" {
            wanted.by = By::Nobody;
            continue;
        }
        let refuse = |why: &str| Failure::usage(format!("--mount {typed}: {why}")).with_hint(FORMS);
        // The volume may have colons in it, and slashes: the path is what is left of the last colon that a slash follows.
        let place = typed.rfind(":/").ok_or_else(|| refuse("no path"))?;
        let (volume, path) = typed.split_at(place);
        let path =
            GuestPath::parse(path.trim_start_matches(':')).map_err(|error| Failure::from(error).within("--mount"))?;
        if path == GuestPath::root() {
            return Err(refuse("the root is chosen with --partition"));
        }
        if wanted.places.iter().any(|(other, _)| *other == path) {
            return Err(refuse("something was said of this path already"));
        }
        let selector = match volume {
            "none" => None,
            volume => match super::volume(volume).map_err(|_| refuse("no volume is called so"))? {
                Selector::Auto => return Err(refuse("the volume has to be named")),
                selector => Some(selector),
            },
        };
        wanted.places.push((path, selector));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn every_form() {
        let typed = ["3:/home", "vg/lv:/srv/a:b", "label:a:/b:/c", "none:/tmp", "none", "/dev/mapper/v-l:/d/"];
        let wanted = mounts(&typed.map(str::to_owned)).unwrap();
        let path = |path: &str| GuestPath::parse(path).unwrap();
        let expected = [
            (path("/home"), Some(Selector::Index(NonZeroU32::new(3).unwrap()))),
            (path("/srv/a:b"), Some(Selector::Logical("vg/lv".into()))),
            (path("/c"), Some(Selector::Label("a:/b".into()))),
            (path("/tmp"), None),
            (path("/d"), Some(Selector::Logical("v/l".into()))),
        ];
        assert_eq!(wanted.places, expected);
        assert_eq!(wanted.by, By::Nobody);
        assert_eq!(mounts(&[]).unwrap().by, By::Guest);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for typed in [
            &["3"][..],
            &["/home"],
            &["3:home"],
            &["3:/"],
            &["auto:/x"],
            &["x:/y"],
            &["3:/a/../b"],
            &["3:/a", "none:/a/"],
        ] {
            let typed: Vec<String> = typed.iter().map(|typed| (*typed).to_owned()).collect();
            assert!(mounts(&typed).is_err(), "{typed:?}");
        }
    }
}
