//! Points in time as calendar dates.

use crate::fs::Timestamp;

const SECONDS_OF_DAY: i64 = 86_400;
/// The days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const DAYS_BEFORE_1970: i64 = 719_468;
/// The days of 400 years.
const DAYS_OF_ERA: i64 = 146_097;

/// A date and a time of day, UTC, in the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: u8,
    /// 1 to 31.
    pub(crate) day: u8,
    /// 0 to 23.
    pub(crate) hour: u8,
    /// 0 to 59.
    pub(crate) minute: u8,
    /// 0 to 59.
    pub(crate) second: u8,
}

impl Civil {
    /// The date of a timestamp; nanoseconds are dropped. Times that four digits do not say become the nearest that they do.
    pub(crate) fn new(time: Timestamp) -> Self {
        // 0001-01-01 and 9999-12-31: the sums below stay small.
        let seconds = time.seconds.clamp(-62_135_596_800, 253_402_300_799);
        let of_day = seconds.rem_euclid(SECONDS_OF_DAY);
        // Years are counted from March, so that the day that is not always there is the last.
        let days = seconds.div_euclid(SECONDS_OF_DAY) + DAYS_BEFORE_1970;
        let era = days.div_euclid(DAYS_OF_ERA);
        let day_of_era = days.rem_euclid(DAYS_OF_ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let small = |number: i64| u8::try_from(number).unwrap_or_default();
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: small(month),
            day: small(day_of_year - (153 * march_month + 2) / 5 + 1),
            hour: small(of_day / 3600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
        }
    }

    /// The timestamp of a date; `None` where there is no such date or time.
    pub(crate) fn timestamp(self) -> Option<Timestamp> {
        let in_range = (1..=12).contains(&self.month) && (1..=31).contains(&self.day);
        if !in_range || !(0..=9999).contains(&self.year) || self.hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let month = i64::from(self.month);
        let year = self.year - i64::from(month <= 2);
        let march_month = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * march_month + 2) / 5 + i64::from(self.day) - 1;
        let year_of_era = year.rem_euclid(400);
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = year.div_euclid(400) * DAYS_OF_ERA + day_of_era - DAYS_BEFORE_1970;
        let of_day = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        Some(Timestamp { seconds: days * SECONDS_OF_DAY + of_day, nanoseconds: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_date_prints_them() {
        for (seconds, date) in [
            (0, (1970, 1, 1, 0, 0, 0)),
            (951_782_399, (2000, 2, 28, 23, 59, 59)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (1_709_251_199, (2024, 2, 29, 23, 59, 59)),
            (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
            (-1, (1969, 12, 31, 23, 59, 59)),
            (i64::MAX, (9999, 12, 31, 23, 59, 59)),
            (i64::MIN, (1, 1, 1, 0, 0, 0)),
        ] {
            let civil = Civil::new(Timestamp { seconds, nanoseconds: 7 });
            let Civil { year, month, day, hour, minute, second } = civil;
            assert_eq!((year, month, day, hour, minute, second), date, "{seconds}");
            let back = civil.timestamp().unwrap().seconds;
            assert!(back == seconds || seconds == i64::MAX || seconds == i64::MIN);
        }
    }
}
