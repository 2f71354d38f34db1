//! A small hash as Redis itself would dump it, for RESTORE: one argument instead of two for each field.
//!
//! ```text
//!   16 │ length │ listpack: size, count, field, value, …, 255 │ RDB version │ CRC-64
//!    1    1–5     4     2                              1            2           8   bytes
//! ```
//!
//! Redis makes a new hash of ten fields from that in little more than half the time that HSET takes, which
//! looks for each field among those before it and makes room for it. It costs what HSET does not ask for:
//! the right to RESTORE, a server that knows this format (7.0 and later), and a key that is not there yet.
//! So the first is tried out ([`Packing::probe`]), and where RESTORE is refused for a key (BUSYKEY), the row
//! is written by HSET (see [`crate::pipeline`]). Never with REPLACE: what is somebody else's stays.
//!
//! What comes of it can't be told from what HSET makes: the same encoding of every value, and only where the
//! server would keep the hash as a listpack.
//!
//! Sources: Redis' `rdb.h` (RDB_TYPE_HASH_LISTPACK), `listpack.c`, and the `DUMP` command's documentation.

use crc::{CRC_64_REDIS, Crc, Table};

use super::resp::{Commands, Reply};
use super::{Client, Error};

/// How the command begins, as an argument.
pub(crate) const RESTORE: &[u8] = b"$7\r\nRESTORE\r\n";

const CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// RDB_TYPE_HASH_LISTPACK.
const TYPE: u8 = 16;
/// Of Redis 7.0, the first with listpacks; every later one reads it.
const RDB_VERSION: u16 = 10;
/// The type and the longest length stand before a listpack.
const HEAD: usize = 6;
/// Bytes and entries of the listpack.
const LISTPACK_HEAD: usize = 6;
/// The length of an entry is written behind it, in one byte up to here.
pub(crate) const LONGEST: usize = 120;

/// Which hashes are restored: those that the server keeps as listpacks, or the wider ones of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Fewer fields are set.
    pub(crate) least: usize,
    /// Fields (`hash-max-listpack-entries`).
    pub(crate) fields: usize,
    /// Bytes of a name or a value (`hash-max-listpack-value`).
    pub(crate) value: usize,
}

impl Packing {
    /// Redis' defaults, where it does not tell.
    const DEFAULT: Packing = Packing { least: 0, fields: 128, value: 64 };

    /// Restores a hash under `key`, reads it and removes it. `None` when Redis does not do that, or when
    /// somebody listens for what is written: RESTORE is told differently from HSET.
    pub(crate) async fn probe(redis: &mut Client, key: &str) -> Result<Option<Packing>, Error> {
        let Some(packing) = Packing::read(redis).await? else { return Ok(None) };
        let mut body = Vec::new();
        begin(&mut body);
        entry(b"n", &mut body);
        entry(b"-70000", &mut body);
        let Some(dump) = finish(&mut body, 2) else { return Ok(None) };
        let key = key.as_bytes();
        let mut commands = Commands::default();
        commands.command(&[b"MULTI"]);
        commands.command(&[b"RESTORE", key, b"10000", dump]);
        commands.command(&[b"HGET", key, b"n"]);
        commands.command(&[b"UNLINK", key]);
        commands.command(&[b"EXEC"]);
        let replies = match redis.call_all(&commands).await {
            Ok(replies) => replies,
            Err(Error::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let restored = match replies.last() {
            Some(Reply::Array(all)) => all.get(1).and_then(Reply::text).as_deref() == Some("-70000"),
            _ => false,
        };
        Ok(restored.then_some(packing))
    }

    /// Only hashes of so many fields and more.
    pub(crate) fn of_at_least(self, least: usize) -> Packing {
        Packing { least, ..self }
    }

    /// Hashes of so many fields are restored, if their values are short enough.
    #[inline]
    pub(crate) fn takes(&self, fields: usize) -> bool {
        (self.least..=self.fields).contains(&fields)
    }

    async fn read(redis: &mut Client) -> Result<Option<Packing>, Error> {
        let mut numbers = [Packing::DEFAULT.fields, Packing::DEFAULT.value];
        let names: [&[u8]; 2] = [b"hash-max-listpack-entries", b"hash-max-listpack-value"];
        for (name, number) in names.into_iter().zip(&mut numbers) {
            if let Some(text) = super::limits::setting(redis, name).await? {
                *number = text.parse().unwrap_or(0);
            }
        }
        let told = super::limits::setting(redis, b"notify-keyspace-events").await?;
        let [fields, value] = numbers;
        let packing = Packing { least: 0, fields: fields.min(1000), value: value.min(LONGEST) };
        Ok(told.is_none_or(|classes| classes.is_empty()).then_some(packing))
    }
}

/// Begins a dump in `body`, whose entries follow: a name, its value, the next name.
#[inline]
pub(crate) fn begin(body: &mut Vec<u8>) {
    body.clear();
    body.resize(HEAD + LISTPACK_HEAD, 0);
}

/// Ends a dump with so many entries. `None` if it is too long, which [`Packing`] rules out.
#[inline]
pub(crate) fn finish(body: &mut Vec<u8>, entries: usize) -> Option<&[u8]> {
    body.push(0xFF);
    let size = u32::try_from(body.len() - HEAD).ok()?;
    let head = body.first_chunk_mut::<{ HEAD + LISTPACK_HEAD }>()?;
    let [_, _, _, _, _, _, listpack @ ..] = head;
    let [a, b, c, d] = size.to_le_bytes();
    let [e, f] = u16::try_from(entries).ok()?.to_le_bytes();
    *listpack = [a, b, c, d, e, f];
    let start = match size {
        0..64 => {
            [head[4], head[5]] = [TYPE, size as u8];
            4
        }
        64..16384 => {
            [head[3], head[4], head[5]] = [TYPE, 0x40 | (size >> 8) as u8, size as u8];
            3
        }
        _ => {
            let [a, b, c, d] = size.to_be_bytes();
            [head[0], head[1], head[2], head[3], head[4], head[5]] = [TYPE, 0x80, a, b, c, d];
            0
        }
    };
    body.extend_from_slice(&RDB_VERSION.to_le_bytes());
    let sum = CRC.checksum(body.get(start..)?);
    body.extend_from_slice(&sum.to_le_bytes());
    body.get(start..)
}

/// Appends a name or a value of at most [`Packing::value`] bytes.
#[inline]
pub(crate) fn entry(text: &[u8], body: &mut Vec<u8>) {
    let start = body.len();
    match integer(text) {
        Some(number) => push_integer(number, body),
        None => {
            let length = text.len();
            match length {
                0..64 => body.push(0x80 | length as u8),
                _ => body.extend_from_slice(&[0xE0 | (length >> 8) as u8, length as u8]),
            }
            body.extend_from_slice(text);
        }
    }
    body.push((body.len() - start) as u8);
}

fn push_integer(number: i64, body: &mut Vec<u8>) {
    let bytes = number.to_le_bytes();
    let mut push = |kind: u8, length: usize| {
        body.push(kind);
        body.extend_from_slice(bytes.get(..length).unwrap_or_default());
    };
    match number {
        0..=127 => push(bytes[0], 0),
        // 13 bits, the upper ones first.
        -4096..=4095 => {
            let bits = (number & 0x1FFF) as u16;
            push(0xC0 | (bits >> 8) as u8, 0);
            body.push(bits as u8);
        }
        -0x8000..=0x7FFF => push(0xF1, 2),
        -0x80_0000..=0x7F_FFFF => push(0xF2, 3),
        -0x8000_0000..=0x7FFF_FFFF => push(0xF3, 4),
        _ => push(0xF4, 8),
    }
}

/// The number, if Redis would take the text for one: as it would print it, and nothing else.
#[inline]
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut number = 0_u64;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        // 19 digits always fit.
        number = number * 10 + u64::from(value);
    }
    if negative { 0_i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_redis_would_print() {
        for text in ["0", "7", "-1", "127", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(integer(text.as_bytes()).map(|number| number.to_string()).as_deref(), Some(text));
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "07",
            "+1",
            "1.0",
            " 1",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
        ] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(integer(b"12345678901234567890"), None);
    }

    #[test]
    fn the_bytes_that_redis_dumps() {
        // HSET h n 1 s ab; CONFIG SET rdbcompression no; DUMP h, of Redis 7.0.15.
        let mut body = Vec::new();
        begin(&mut body);
        for text in [&b"n"[..], b"1", b"s", b"ab"] {
            entry(text, &mut body);
        }
        let dump = finish(&mut body, 4).unwrap();
        let (data, sum) = dump.split_at(dump.len() - 8);
        assert_eq!(data, b"\x10\x13\x13\0\0\0\x04\0\x81n\x02\x01\x01\x81s\x02\x82ab\x03\xff\x0a\0");
        assert_eq!(sum, CRC.checksum(data).to_le_bytes());
        // "123456789", as Redis' crc64.c has it.
        assert_eq!(CRC.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }
}
