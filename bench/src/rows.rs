//! The one table of the benchmark, and every row of it as a function of its number.
//!
//! The same values are spelled out twice: as SQL expressions, so that the server can write millions
//! of rows without a client, and here, for the ready-made commands of the references and as what is
//! compared with what the connector wrote.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

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

/// Names and values of row `id`, in order.
pub(crate) fn columns(id: u32) -> impl Iterator<Item = (&'static str, String)> {
    COLUMNS.into_iter().zip(values(id))
}

/// The hash of row `id`.
pub(crate) fn hash(id: u32) -> BTreeMap<String, String> {
    columns(id).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What a sorted set has as the score of row `id`.
pub(crate) fn amount(id: u32) -> String {
    let [_, _, _, _, amount, ..] = values(id);
    amount
}

/// The JSON document of row `id`.
pub(crate) fn document(id: u32) -> String {
    // No value has a character that JSON would escape.
    let member = |(name, value)| match name {
        "id" | "customer" | "reference" | "quantity" | "active" => format!("\"{name}\":{value}"),
        _ => format!("\"{name}\":\"{value}\""),
    };
    let members: Vec<String> = columns(id).map(member).collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_json() {
        let document: serde_json::Value = serde_json::from_str(&document(7)).unwrap();
        assert_eq!(document["id"], 7);
        assert_eq!(document["amount"], amount(7).as_str());
        assert_eq!(document["active"], false);
        assert_eq!(document["created"], "2024-01-01T00:00:07.007Z");
        assert_eq!(document.as_object().unwrap().len(), COLUMNS.len());
    }
}
