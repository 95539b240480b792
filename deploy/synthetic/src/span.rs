//! Spans of days.

use chrono::{Datelike, Days, NaiveDate};

/// The first day that a record may hold.
pub(crate) const PERIOD: Span = Span {
    first: civil(2015, 1, 1),
    last: civil(2025, 12, 31),
};

/// Days from the first to the last, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// First day.
    pub(crate) first: NaiveDate,
    /// Last day; not before the first.
    pub(crate) last: NaiveDate,
}

impl Span {
    /// The days of both, if there are any.
    pub(crate) fn and(self, other: Self) -> Option<Self> {
        let first = self.first.max(other.first);
        let last = self.last.min(other.last);
        (first <= last).then_some(Self { first, last })
    }

    /// The days in this year, if there are any.
    pub(crate) fn in_year(self, year: i32) -> Option<Self> {
        self.and(Self {
            first: civil(year, 1, 1),
            last: civil(year, 12, 31),
        })
    }

    /// The days in this month of their first day's year, if there are any.
    pub(crate) fn in_month(self, month: u32) -> Option<Self> {
        let first = civil(self.first.year(), month, 1);
        let last = first + Days::new(u64::from(first.num_days_in_month()) - 1);
        self.and(Self { first, last })
    }

    /// How many days there are; at least one.
    pub(crate) fn days(self) -> i64 {
        (self.last - self.first).num_days() + 1
    }

    /// Its length in years.
    #[allow(clippy::cast_precision_loss)] // thousands of days
    pub(crate) fn years(self) -> f64 {
        self.days() as f64 / 365.25
    }

    /// Its day of this number, from 0; the last one where there are fewer.
    pub(crate) fn day(self, number: i64) -> NaiveDate {
        after(self.first, number).min(self.last)
    }

    /// Whether the day is one of them.
    pub(crate) fn contains(self, day: NaiveDate) -> bool {
        self.first <= day && day <= self.last
    }
}

/// The day so many days later, or earlier where negative.
pub(crate) fn after(day: NaiveDate, days: i64) -> NaiveDate {
    day + chrono::TimeDelta::days(days)
}

/// The whole years from one day to another.
pub(crate) fn years_between(from: NaiveDate, to: NaiveDate) -> i32 {
    let birthday = (to.month(), to.day()) >= (from.month(), from.day());
    to.year() - from.year() - i32::from(!birthday)
}

const fn civil(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("callers name days that exist")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_end_where_they_should() {
        let leap = PERIOD.in_year(2024).expect("inside");
        assert_eq!(leap.days(), 366);
        assert_eq!(leap.in_month(2).map(Span::days), Some(29));
        assert_eq!(leap.in_month(12).map(Span::days), Some(31));
        assert!(PERIOD.in_year(2026).is_none());
    }

    #[test]
    fn a_year_is_whole_on_the_birthday() {
        let birth = civil(2000, 6, 15);
        assert_eq!(years_between(birth, civil(2020, 6, 14)), 19);
        assert_eq!(years_between(birth, civil(2020, 6, 15)), 20);
    }
}
