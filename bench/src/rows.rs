//! The one table of the benchmark, and every row of it as a function of its number.
//!
//! The same values are spelled out twice: as SQL expressions, so that the server can write millions
//! of rows without a client, and here, for the ready-made HSETs of the references and as what the
//! connector's hashes are compared with.

use std::collections::BTreeMap;
use std::io::Write;

use jiff::{SignedDuration, Timestamp};

use crate::error::{Doing, Result};

/// Ten columns, about 160 bytes of values a row.
pub(crate) const CREATE_TABLE: &str = "CREATE TABLE bench (
    id        int PRIMARY KEY,
    customer  int NOT NULL,
    reference bigint NOT NULL,
    quantity  int NOT NULL,
    amount    numeric(12,2) NOT NULL,
    name      text NOT NULL,
    email     text NOT NULL,
    note      text NOT NULL,
    created   timestamptz NOT NULL,
    active    boolean NOT NULL)";

const COLUMNS: [&str; 10] =
    ["id", "customer", "reference", "quantity", "amount", "name", "email", "note", "created", "active"];

/// The columns of row `i`, as a select list.
pub(crate) fn select_list(i: &str) -> String {
    format!(
        "{i}, ({i}::bigint * 7919 % 1000003)::int, {i}::bigint * 1000003, {i} % 100, \
         (({i} % 1000000)::numeric / 100)::numeric(12,2), 'customer number ' || {i}, \
         'user' || {i} || '@shop' || {i} % 97 || '.example.com', \
         'order ' || {i} || ' is delivered by courier', \
         timestamptz '2024-01-01 00:00:00+00' + {i} * interval '1.001 second', {i} % 3 = 0"
    )
}

/// The columns of row `id` in order, as the connector spells them.
fn values(id: u32) -> [String; 10] {
    let n = u64::from(id);
    // 2024-01-01, and a thousandth more than a second for each row.
    let created = Timestamp::UNIX_EPOCH
        .saturating_add(SignedDuration::from_millis(1_704_067_200_000 + i64::from(id) * 1_001));
    [
        id.to_string(),
        (n * 7_919 % 1_000_003).to_string(),
        (n * 1_000_003).to_string(),
        (n % 100).to_string(),
        format!("{}.{:02}", n % 1_000_000 / 100, n % 100),
        format!("customer number {id}"),
        format!("user{id}@shop{}.example.com", n % 97),
        format!("order {id} is delivered by courier"),
        created.map(|created| created.to_string()).unwrap_or_default(),
        (n % 3 == 0).to_string(),
    ]
}

/// The hash of row `id`.
pub(crate) fn hash(id: u32) -> BTreeMap<String, String> {
    COLUMNS.iter().map(|name| (*name).to_owned()).zip(values(id)).collect()
}

pub(crate) fn key(id: u32) -> String {
    format!("bench:{id}")
}

/// Writes the HSETs of rows 1 to `rows`, as `redis-cli --pipe` takes them.
pub(crate) fn write_hsets(rows: u32, out: &mut impl Write) -> Result<()> {
    let mut command = Vec::new();
    for id in 1..=rows {
        command.clear();
        hset(id, &mut command);
        out.write_all(&command).doing(|| "write the ready-made HSETs".to_owned())?;
    }
    out.flush().doing(|| "write the ready-made HSETs".to_owned())
}

fn hset(id: u32, out: &mut Vec<u8>) {
    let mut argument = |text: &str| {
        out.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    };
    argument("HSET");
    argument(&key(id));
    for (name, value) in COLUMNS.iter().zip(values(id)) {
        argument(name);
        argument(&value);
    }
    let header = format!("*{}\r\n", 2 + 2 * COLUMNS.len());
    out.splice(0..0, header.into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_spelled_as_resp() {
        let mut command = Vec::new();
        hset(7, &mut command);
        let text = String::from_utf8_lossy(&command);
        assert!(text.starts_with("*22\r\n$4\r\nHSET\r\n$7\r\nbench:7\r\n$2\r\nid\r\n$1\r\n7\r\n"), "{text}");
        assert!(text.contains("\r\n2024-01-01T00:00:07.007Z\r\n"), "{text}");
        assert!(text.ends_with("$6\r\nactive\r\n$5\r\nfalse\r\n"), "{text}");
    }
}
