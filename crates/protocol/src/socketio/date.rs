//! Dates as JavaScript writes them.

use std::fmt;

/// The farthest date of JavaScript, in milliseconds from 1970 in both directions.
const FARTHEST: i64 = 8_640_000_000_000_000;

/// A date as `Date.prototype.toISOString` of JavaScript writes it: `2024-02-29T12:00:00.000Z`. `millis`:
/// milliseconds since 1970. `None`: JavaScript has no date that is so far away.
pub fn iso_date(millis: i64) -> Option<String> {
    IsoDate::of(millis).map(|date| date.to_string())
}

/// The parts of a date.
struct IsoDate {
    year: i64,
    month: i64,
    day: i64,
    /// Milliseconds since midnight.
    millis: i64,
}

impl IsoDate {
    /// `None`: JavaScript has no date that is so far away.
    fn of(millis: i64) -> Option<Self> {
        if !(-FARTHEST..=FARTHEST).contains(&millis) {
            return None;
        }
        let (days, millis) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        // Years begin in March here, so that the day that only some years have is their last one. 400 years
        // have 146 097 days, and 719 468 days lie between 1 March of the year 0 and 1970.
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Five months from March on have 153 days, and so have the next five.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Some(Self { year: era * 400 + year + next, month, day, millis })
    }
}

impl fmt::Display for IsoDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, millis } = self;
        match year {
            0..=9999 => write!(f, "{year:04}")?,
            _ => write!(f, "{year:+07}")?,
        }
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}
