//! All that is wrong in what was typed, told together.

use crate::config_drive::DocumentError;
use crate::failure::Failure;
use crate::manifest::MOST;

/// What is wrong, each with its place.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(String, Failure)>);

impl Faults {
    /// What there is; else what is wrong with it is kept.
    pub(super) fn keep<T>(&mut self, place: &str, result: Result<T, Failure>) -> Option<T> {
        result.map_err(|failure| self.tell(place, failure)).ok()
    }

    /// Keeps what is wrong.
    pub(super) fn tell(&mut self, place: &str, failure: Failure) {
        self.0.push((place.to_owned(), failure));
    }

    /// What each value of an option is, of those that are right. The place of one is `OPTION[NUMBER]`, from 0.
    pub(super) fn each<T>(
        &mut self,
        option: &str,
        typed: &[String],
        mut read: impl FnMut(&str) -> Result<T, Failure>,
    ) -> Vec<T> {
        let keep = |(number, typed): (usize, &String)| self.keep(&format!("{option}[{number}]"), read(typed));
        typed.iter().enumerate().filter_map(keep).collect()
    }

    /// What the last value of an option is, which alone counts, where it is right; its place is as for [`each`](Self::each).
    pub(super) fn last<T, R>(
        &mut self,
        option: &str,
        typed: &[T],
        read: impl FnOnce(&T) -> Result<R, Failure>,
    ) -> Option<R> {
        let (number, typed) = typed.iter().enumerate().next_back()?;
        self.keep(&format!("{option}[{number}]"), read(typed))
    }

    /// The same without what is in a member of the document in which something else is `wrong` already: it may follow from that, and the
    /// numbers of its elements may be others.
    pub(super) fn beside(mut self, wrong: &[DocumentError]) -> Self {
        let member = |place: &str| place.split(['.', '[']).next().unwrap_or_default().to_owned();
        self.0.retain(|(place, _)| wrong.iter().all(|error| member(error.at()) != member(place)));
        self
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is wrong as one failure, `None` where nothing is; `told` gives each with its place to the user. What is more than is
    /// told is counted.
    pub(super) fn together(self, mut told: impl FnMut(&str, Failure) -> Failure) -> Option<Failure> {
        let more = self.0.len().saturating_sub(MOST);
        let mut failures: Vec<Failure> =
            self.0.into_iter().take(MOST).map(|(place, failure)| told(&place, failure)).collect();
        if more > 0 {
            failures.push(told("", Failure::usage(format!("and {more} more"))));
        }
        Failure::together(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_is_counted() {
        let failure = |count: usize| {
            let mut faults = Faults::default();
            assert_eq!(faults.keep("a", Ok(7)), Some(7));
            for _ in 0..count {
                assert_eq!(faults.keep("a", Err::<(), _>(Failure::usage("wrong"))), None);
            }
            assert_eq!(faults.is_empty(), count == 0);
            faults.together(|place, failure| if place.is_empty() { failure } else { failure.within(place) })
        };
        assert!(failure(0).is_none());
        assert_eq!(failure(MOST).unwrap().render(), "imgraft: a: wrong\n".repeat(MOST));
        let mut faults = Faults::default();
        let read = |typed: &str| typed.parse::<u8>().map_err(|_| Failure::usage("wrong"));
        assert_eq!(faults.each("--a", &["1".into(), "x".into(), "2".into(), "y".into()], read), [1, 2]);
        let failure_of = |faults: Faults| faults.together(|place, failure| failure.within(place)).unwrap().render();
        assert_eq!(failure_of(faults), "imgraft: --a[1]: wrong\nimgraft: --a[3]: wrong\n");
        let mut faults = Faults::default();
        for place in ["a", "b.c", "b[1]", "d[0].e", "f"] {
            faults.tell(place, Failure::usage("wrong"));
        }
        let wrong = ["b[0].x", "f", "g"].map(|place| DocumentError::new(place, "wrong"));
        assert_eq!(failure_of(faults.beside(&wrong)), "imgraft: a: wrong\nimgraft: d[0].e: wrong\n");
        let shown = failure(MOST + 7).unwrap().render();
        assert_eq!(shown, format!("{}imgraft: and 7 more\n", "imgraft: a: wrong\n".repeat(MOST)));
    }
}
