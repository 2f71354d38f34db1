//! The proleptic Gregorian calendar, which PostgreSQL uses for all times
//! (<https://www.postgresql.org/docs/current/datetime-units-history.html>), with astronomical years:
//! 1 BC is the year 0. The algorithms are Howard Hinnant's,
//! <https://howardhinnant.github.io/date_algorithms.html>: years begin in March, so that the leap
//! day comes last, and 400 years have 146,097 days.

/// Days since 1970-01-01.
pub(super) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub(super) fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era;
    (if month > 2 { year } else { year + 1 }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (civil, number) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((0, 1, 1), -719_528),
            // PostgreSQL's ends: date '4713-01-01 BC' and '5874897-12-31', minus '1970-01-01'.
            ((-4712, 1, 1), -2_440_550),
            ((5_874_897, 12, 31), 2_145_042_905),
        ] {
            let (year, month, day) = civil;
            assert_eq!(days(year, month, day), number, "{civil:?}");
            assert_eq!(date(number), civil, "{number}");
        }
    }

    #[test]
    fn every_day_follows_the_last_one() {
        let mut before = date(-800_000);
        for number in -799_999..800_000 {
            let now = date(number);
            assert!(now > before, "{now:?}");
            let (year, month, day) = now;
            assert_eq!(days(year, month, day), number, "{now:?}");
            before = now;
        }
    }
}
