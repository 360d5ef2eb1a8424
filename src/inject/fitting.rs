//! Which optional items can be, where not all items can be made together: what a filesystem refuses only when it is written
//! to, room for the content above all.

use super::staging::is_fatal;
use super::{InjectError, Item, Request};
use crate::failure::Failure;
use imgraft_vfs::Error;
use std::collections::BTreeMap;

/// The optional items that are left out, and why each.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(BTreeMap<Item, Reason>);

/// Why an item is not made, and the way out.
#[derive(Clone, Debug, Default)]
pub struct Reason {
    /// Why, as the message of a failure.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        let Failure { message, hints, .. } = failure;
        Self { message, hint: Some(hints.join("; ")).filter(|hint| !hint.is_empty()) }
    }
}

impl LeftOut {
    /// Why an item is left out; `None` where it is not.
    pub fn reason(&self, item: Item) -> Option<&Reason> {
        self.0.get(&item)
    }

    /// The same and one more.
    pub fn with(&self, item: Item, reason: Reason) -> Self {
        let mut all = self.clone();
        all.0.insert(item, reason);
        all
    }
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub enum Unfit {
    /// The filesystem has refused the changes, none of which is in the image: fewer items may do. With the item whose change it was,
    /// where that is known.
    Refused(Option<Item>, Error),
    /// Anything else, which ends the run.
    Failed(Failure),
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Refused(Some(item), error) => Failure::item(item, &InjectError::Vfs(error)),
            Unfit::Refused(None, error) => error.into(),
            Unfit::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for Unfit {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Makes the changes of all items, or of as many as can be.
///
/// `attempt` makes them anew, from the image as it is, without those that are left out. Where all together are refused, the
/// optional ones are tried in their order, each together with the required ones and those that were found to go; what is
/// refused then is left out. So an item that needs too much takes nothing from the others. Errors: that of the required
/// items, where these are refused already, and any other failure.
pub fn fit<T>(requests: &[Request], mut attempt: impl FnMut(&LeftOut) -> Result<T, Unfit>) -> Result<T, Failure> {
    let mut optional: Vec<Item> = Vec::new();
    for item in requests.iter().filter(|request| !request.required).map(|request| request.injector.item()) {
        if !optional.contains(&item) {
            optional.push(item);
        }
    }
    match attempt(&LeftOut::default()) {
        Err(Unfit::Refused(_, error)) if !optional.is_empty() && !is_fatal(error.kind()) => {
            tracing::debug!(%error, "not all items can be made together: which of the optional ones can?");
        }
        made => return Ok(made?),
    }
    let mut left_out = LeftOut(optional.iter().map(|item| (*item, Reason::default())).collect());
    for item in optional {
        left_out.0.remove(&item);
        match attempt(&left_out) {
            Err(Unfit::Refused(_, error)) if !is_fatal(error.kind()) => {
                left_out.0.insert(item, Failure::item(item, &InjectError::Vfs(error)).into());
            }
            made => drop(made?),
        }
    }
    Ok(attempt(&left_out)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Guest;
    use crate::inject::{Injector, Outcome};
    use imgraft_vfs::stage::Stage;
    use imgraft_vfs::{ErrorKind, Layer};

    #[derive(Debug)]
    struct Of(Item);

    impl Injector for Of {
        fn item(&self) -> Item {
            self.0
        }

        fn stage(&self, _: &Guest, _: &mut Stage<'_>) -> Result<Outcome, InjectError> {
            Ok(Outcome::default())
        }
    }

    /// Fits items, each with its size and whether it is required, into so much room; gives those that are made, and how
    /// often that was tried.
    fn made(items: &[(Item, u32, bool)], room: u32, kind: ErrorKind) -> (Result<Vec<Item>, Failure>, usize) {
        let request = |&(item, _, required): &(Item, u32, bool)| Request { injector: Box::new(Of(item)), required };
        let requests: Vec<Request> = items.iter().map(request).collect();
        let mut attempts = 0;
        let fitted = fit(&requests, |left_out| {
            attempts += 1;
            let chosen: Vec<_> = items.iter().filter(|(item, ..)| left_out.reason(*item).is_none()).collect();
            match chosen.iter().map(|(_, size, _)| size).sum::<u32>() <= room {
                true => Ok(chosen.into_iter().map(|(item, ..)| *item).collect()),
                false => Err(Unfit::Refused(None, Error::new(kind, Layer::Filesystem, "full"))),
            }
        });
        (fitted, attempts)
    }

    #[test]
    fn what_does_not_fit_takes_nothing_from_the_others() {
        use Item::{Files, Key, Metadata, Password};
        let all = |room| {
            let items = [(Key, 2, false), (Metadata, 9, false), (Password, 3, true), (Files, 2, false)];
            made(&items, room, ErrorKind::NoSpace)
        };
        assert_eq!(all(16).0.unwrap(), [Key, Metadata, Password, Files]);
        assert_eq!(all(16).1, 1);
        assert_eq!(all(8).0.unwrap(), [Key, Password, Files]);
        assert_eq!(all(6).0.unwrap(), [Key, Password]);
        assert_eq!(all(3).0.unwrap(), [Password]);
        let (failed, attempts) = all(2);
        let failure = failed.unwrap_err();
        assert!(failure.message.contains("full") && failure.item.is_none(), "{failure:?}");
        assert_eq!(attempts, 5);
    }

    #[test]
    fn a_damaged_image_and_required_items_are_tried_once() {
        assert_eq!(made(&[(Item::Key, 2, false)], 1, ErrorKind::Corrupt).1, 1);
        assert_eq!(made(&[(Item::Key, 2, true)], 1, ErrorKind::NoSpace).1, 1);
    }
}
