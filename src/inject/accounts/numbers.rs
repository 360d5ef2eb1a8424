//! Numbers that are free: what useradd(8) and groupadd(8) choose.

use super::Kind;
use crate::guest::accounts::number;
use crate::guest::new_accounts::{Numbers, Subordinate};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The next number: above the highest of people, below the lowest of services, and where that is out of the range the first
/// that is free from that end on.
pub(super) fn free(numbers: &Numbers, kind: Kind, taken: &BTreeSet<u32>) -> Option<u32> {
    let range = range(numbers, kind);
    if range.is_empty() {
        return None;
    }
    let (start, end) = (*range.start(), *range.end());
    let mut inside = taken.range(range);
    match kind {
        Kind::Person => match inside.next_back() {
            None => Some(start),
            Some(highest) if *highest < end => highest.checked_add(1),
            Some(_) => gap(start, taken.range(start..=end), |next| next.checked_add(1)).filter(|number| *number <= end),
        },
        Kind::System => match inside.next() {
            None => Some(end),
            Some(lowest) if *lowest > start => lowest.checked_sub(1),
            Some(_) => {
                gap(end, taken.range(start..=end).rev(), |next| next.checked_sub(1)).filter(|number| *number >= start)
            }
        },
    }
}

/// The numbers that are given away by themselves.
pub(super) fn range(numbers: &Numbers, kind: Kind) -> RangeInclusive<u32> {
    match kind {
        Kind::Person => numbers.people.clone(),
        Kind::System => numbers.system.clone(),
    }
}

/// Whether the number of a user may be that of its own group.
pub(super) fn suits(number: u32, numbers: &Numbers, kind: Kind) -> bool {
    match kind {
        Kind::Person => numbers.people.contains(&number),
        Kind::System => (1..=*numbers.system.end()).contains(&number),
    }
}

fn gap<'a>(first: u32, taken: impl Iterator<Item = &'a u32>, next: impl Fn(u32) -> Option<u32>) -> Option<u32> {
    let mut candidate = first;
    for number in taken {
        if *number != candidate {
            break;
        }
        candidate = next(candidate)?;
    }
    Some(candidate)
}

/// The start of the first range of subordinate numbers that is free, among these lines of subuid(5).
pub(super) fn free_range(wanted: &Subordinate, text: &[u8]) -> Option<u32> {
    let (count, end) = (u64::from(wanted.count), u64::from(*wanted.within.end()));
    let mut ranges: Vec<(u64, u64)> = text.split(|byte| *byte == b'\n').filter_map(given).collect();
    ranges.sort_unstable();
    let mut low = u64::from(*wanted.within.start());
    for (start, length) in ranges {
        let high = start.min(end.saturating_add(1));
        if high.saturating_sub(low) >= count && high > low {
            break;
        }
        low = low.max(start.saturating_add(length));
    }
    let fits = low.saturating_add(count) <= end.saturating_add(1);
    u32::try_from(low).ok().filter(|_| fits)
}

/// Start and length of a line of subuid(5).
fn given(line: &[u8]) -> Option<(u64, u64)> {
    let mut fields = line.splitn(4, |byte| *byte == b':');
    fields.next()?;
    let (start, count) = (number(fields.next()?)?, number(fields.next()?)?);
    fields.next().is_none().then_some((start.into(), count.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Numbers {
        Numbers { people: 1000..=1003, system: 101..=104 }
    }

    #[test]
    fn upwards_for_people_and_downwards_for_services() {
        let free = |kind, taken: &[u32]| free(&numbers(), kind, &taken.iter().copied().collect());
        for (taken, person, system) in [
            (&[][..], Some(1000), Some(104)),
            (&[0, 100, 105, 999, 1004, 65534], Some(1000), Some(104)),
            (&[1000, 104], Some(1001), Some(103)),
            (&[1002, 102], Some(1003), Some(101)),
            (&[1000, 1003, 101, 104], Some(1001), Some(103)),
            (&[1003, 101], Some(1000), Some(104)),
            (&[1000, 1001, 1002, 1003, 101, 102, 103, 104], None, None),
        ] {
            assert_eq!((free(Kind::Person, taken), free(Kind::System, taken)), (person, system), "{taken:?}");
        }
        let hostile = Numbers { people: RangeInclusive::new(5, 4), system: u32::MAX - 1..=u32::MAX - 1 };
        let all: BTreeSet<u32> = [u32::MAX - 1].into();
        assert_eq!(super::free(&hostile, Kind::Person, &all), None);
        assert_eq!(super::free(&hostile, Kind::System, &all), None);
    }

    #[test]
    fn ranges_of_subordinate_numbers() {
        let wanted = |count| Subordinate { within: 100..=199, count };
        let free = |count, text: &str| free_range(&wanted(count), text.as_bytes());
        assert_eq!(free(50, ""), Some(100));
        assert_eq!(free(50, "a:100:50\n"), Some(150));
        assert_eq!(free(50, "a:100:51\n"), None);
        assert_eq!(free(10, "b:150:50\na:100:20\nc:0:5\n"), Some(120));
        assert_eq!(free(10, "a:105:5\nb:90:12\n"), Some(110));
        assert_eq!(free(10, "a:100:4294967294\n"), None);
        assert_eq!(free(10, "a:100:x\n:\n\nb:1\nc:100:1:1\n"), Some(100));
        assert_eq!(free(100, "a:200:100\n"), Some(100));
        assert_eq!(free(101, ""), None);
    }
}
