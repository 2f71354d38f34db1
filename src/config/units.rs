//! Durations and sizes as people write them.

use std::time::Duration;

/// Nothing here is meant to last longer (100 years), and sums with a clock cannot overflow.
const LONGEST_MS: u64 = 100 * 365 * 24 * 3600 * 1000;

/// Whole seconds, or a number with `ms`, `s`, `m` or `h`; at most 100 years.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let total = number.checked_mul(millis)?;
    (total <= LONGEST_MS).then(|| Duration::from_millis(total))
}

/// Bytes, or a number with `B`, `kB`, `KiB`, `MB`, `MiB`, `GB` or `GiB` in any case.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// Digits; `_` may group them.
pub(super) fn integer(text: &str) -> Option<u64> {
    let shaped = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    shaped.then(|| text.replace('_', "").parse().ok()).flatten()
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((integer(number)?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::{duration, integer, size};
    use std::time::Duration;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("60", 60_000),
            ("0", 0),
            ("500ms", 500),
            ("60s", 60_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1_000 ms", 1000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1.5s", "1d", "1 2", "18446744073709551615h", "1000000h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512KiB", 524_288),
            ("1MB", 1_000_000),
            ("4MiB", 4_194_304),
            ("4 mib", 4_194_304),
            ("1GiB", 1_073_741_824),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "1M", "99999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn integers() {
        assert_eq!(integer("10_000"), Some(10_000));
        for text in ["", "_1", "1_", "+1", "-1", "0x10", "1e3", "１", "99999999999999999999"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }
}
