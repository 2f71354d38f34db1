//! Dates and times, from PostgreSQL's ISO style to ISO 8601 or to the time since the epoch.
//!
//! With `DateStyle=ISO` PostgreSQL writes `2018-08-09 19:50:13.5+00`: a space where ISO 8601 has a
//! `T`, the year with at least four digits and no sign, ` BC` at the very end for the years before
//! 1, a fraction without trailing zeros, an offset of hours that goes on with minutes and seconds
//! only where they are not zero, and the words `infinity` and `-infinity`. The words, like all
//! other text, are not of the form that is read here and pass through.
//! <https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-DATETIME-OUTPUT>

use super::Timestamps;
use super::calendar;

/// Appends a `date`.
pub(super) fn date(timestamps: Timestamps, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (text, bc) = era(input);
    let (date, rest) = Date::read(text, bc)?;
    end(rest)?;
    match timestamps {
        Timestamps::Iso => date.write(out),
        epoch => write_epoch(epoch, date.days() * SECONDS_A_DAY, 0, out),
    }
    Some(())
}

/// Appends a `timestamp`.
pub(super) fn timestamp(timestamps: Timestamps, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (text, bc) = era(input);
    let (date, rest) = Date::read(text, bc)?;
    let (clock, rest) = Clock::read(rest.strip_prefix(b" ")?)?;
    end(rest)?;
    match timestamps {
        Timestamps::Iso => {
            date.write(out);
            out.push(b'T');
            out.extend_from_slice(clock.text);
        }
        epoch => {
            let seconds = date.days() * SECONDS_A_DAY + clock.seconds;
            write_epoch(epoch, seconds, clock.micros(), out);
        }
    }
    Some(())
}

/// Appends a `timestamptz`, in UTC.
pub(super) fn timestamptz(timestamps: Timestamps, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (text, bc) = era(input);
    let (date, rest) = Date::read(text, bc)?;
    let (clock, rest) = Clock::read(rest.strip_prefix(b" ")?)?;
    let offset = match rest {
        b"+00" => 0,
        offset => read_offset(offset)?,
    };
    let seconds = || date.days() * SECONDS_A_DAY + clock.seconds - offset;
    match timestamps {
        Timestamps::Iso if offset == 0 => {
            date.write(out);
            out.push(b'T');
            out.extend_from_slice(clock.text);
            out.push(b'Z');
        }
        Timestamps::Iso => {
            write_instant(seconds(), out);
            // Offsets are whole seconds and leave the fraction alone.
            out.extend_from_slice(clock.fraction);
            out.push(b'Z');
        }
        epoch => write_epoch(epoch, seconds(), clock.micros(), out),
    }
    Some(())
}

/// Appends a `timetz` with the minutes of its offset, which ISO 8601's extended form wants.
pub(super) fn timetz(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (_, offset) = Clock::read(input)?;
    read_offset(offset)?;
    out.extend_from_slice(input);
    if offset.len() == b"+00".len() {
        out.extend_from_slice(b":00");
    }
    Some(())
}

const SECONDS_A_DAY: i64 = 86_400;

/// A calendar day: as text what can be copied, as numbers what must be reckoned with.
struct Date<'a> {
    /// Astronomical.
    year: i64,
    month: i64,
    day: i64,
    /// `2018-08-09`, the year counted from 1 in both directions.
    text: &'a [u8],
    /// `-08-09`.
    month_day: &'a [u8],
}

impl<'a> Date<'a> {
    fn read(input: &'a [u8], bc: bool) -> Option<(Date<'a>, &'a [u8])> {
        // PostgreSQL's last year is 5874897.
        let length = (4..=7).find(|&length| input.get(length) == Some(&b'-'))?;
        let (text, rest) = input.split_at_checked(length + b"-08-09".len())?;
        let (year, month_day) = text.split_at_checked(length)?;
        let &[b'-', m1, m2, b'-', d1, d2] = month_day else {
            return None;
        };
        let year = number(year)?;
        let date = Date {
            year: if bc { 1 - year } else { year },
            month: two_digits(m1, m2)?,
            day: two_digits(d1, d2)?,
            text,
            month_day,
        };
        let sound = year > 0 && (1..=12).contains(&date.month) && (1..=31).contains(&date.day);
        sound.then_some((date, rest))
    }

    fn days(&self) -> i64 {
        calendar::days(self.year, self.month, self.day)
    }

    fn write(&self, out: &mut Vec<u8>) {
        if (1..=9999).contains(&self.year) {
            out.extend_from_slice(self.text);
        } else {
            write_year(self.year, out);
            out.extend_from_slice(self.month_day);
        }
    }
}

/// A time of day.
struct Clock<'a> {
    /// `19:50:13.5`.
    text: &'a [u8],
    /// `.5`, or nothing.
    fraction: &'a [u8],
    seconds: i64,
}

impl<'a> Clock<'a> {
    fn read(input: &'a [u8]) -> Option<(Clock<'a>, &'a [u8])> {
        let (&[h1, h2, b':', m1, m2, b':', s1, s2], rest) = input.split_first_chunk()? else {
            return None;
        };
        let (hour, minute) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
        let second = two_digits(s1, s2)?;
        // 24:00:00 is a time of its own in PostgreSQL.
        if hour > 24 || minute > 59 || second > 59 {
            return None;
        }
        let length = fraction_length(rest)?;
        let (text, after) = input.split_at_checked(b"19:50:13".len() + length)?;
        let fraction = rest.get(..length)?;
        let seconds = (hour * 60 + minute) * 60 + second;
        Some((Clock { text, fraction, seconds }, after))
    }

    fn micros(&self) -> i64 {
        let digits = self.fraction.iter().skip(1).chain([b'0'; 6].iter());
        digits.take(6).fold(0, |micros, digit| micros * 10 + i64::from(digit.wrapping_sub(b'0')))
    }
}

/// How much of `rest` is a fraction of a second: none, or a dot and one to six digits.
fn fraction_length(rest: &[u8]) -> Option<usize> {
    let [b'.', digits @ ..] = rest else {
        return Some(0);
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=6).contains(&digits).then_some(1 + digits)
}

/// The text without its era, and whether the era is BC.
fn era(input: &[u8]) -> (&[u8], bool) {
    match input.strip_suffix(b" BC") {
        Some(text) => (text, true),
        None => (input, false),
    }
}

/// Seconds east of Greenwich: `+02`, `-05:30`, `+00:19:32`.
fn read_offset(text: &[u8]) -> Option<i64> {
    let (hours, minutes, seconds) = match *text {
        [_, h1, h2] => (two_digits(h1, h2)?, 0, 0),
        [_, h1, h2, b':', m1, m2] => (two_digits(h1, h2)?, two_digits(m1, m2)?, 0),
        [_, h1, h2, b':', m1, m2, b':', s1, s2] => {
            (two_digits(h1, h2)?, two_digits(m1, m2)?, two_digits(s1, s2)?)
        }
        _ => return None,
    };
    let offset = (hours * 60 + minutes) * 60 + seconds;
    match text.first()? {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

fn write_epoch(timestamps: Timestamps, seconds: i64, micros: i64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    // The last microseconds of PostgreSQL's year 294276 are beyond 64 bits from 1970.
    let total = i128::from(seconds) * 1_000_000 + i128::from(micros);
    let text = match timestamps {
        // The fraction counts upwards in any era, hence this is the floor.
        Timestamps::EpochMs => digits.format(seconds * 1_000 + micros / 1_000),
        Timestamps::EpochSeconds if micros == 0 => digits.format(seconds),
        Timestamps::EpochSeconds => return write_seconds(total, out),
        Timestamps::Iso | Timestamps::EpochUs => digits.format(total),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Microseconds as seconds with a fraction.
fn write_seconds(micros: i128, out: &mut Vec<u8>) {
    if micros < 0 {
        out.push(b'-');
    }
    let micros = micros.unsigned_abs();
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(micros / 1_000_000).as_bytes());
    out.push(b'.');
    let fraction = digits.format(1_000_000 + micros % 1_000_000);
    out.extend_from_slice(fraction[1..].trim_end_matches('0').as_bytes());
}

/// `2018-08-09T19:50:13` from seconds since the epoch.
fn write_instant(seconds: i64, out: &mut Vec<u8>) {
    let (year, month, day) = calendar::date(seconds.div_euclid(SECONDS_A_DAY));
    let second = seconds.rem_euclid(SECONDS_A_DAY);
    write_year(year, out);
    for (mark, part) in
        [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(mark);
        write_padded(part, 2, out);
    }
}

/// An astronomical year with at least four digits, and a sign where they are not enough: ISO 8601's
/// expanded representation.
fn write_year(year: i64, out: &mut Vec<u8>) {
    if year < 0 {
        out.push(b'-');
    } else if year > 9999 {
        out.push(b'+');
    }
    write_padded(year.abs(), 4, out);
}

fn write_padded(number: i64, width: usize, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    for _ in digits.len()..width {
        out.push(b'0');
    }
    out.extend_from_slice(digits.as_bytes());
}

fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    number(&[tens, ones])
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

/// Nothing must be left over.
fn end(rest: &[u8]) -> Option<()> {
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests;
