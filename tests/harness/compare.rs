//! Every row of a table against every key of it, in both directions.
//!
//! The rows come through COPY, in whose text each type has its output function's spelling; where
//! the contract spells a type differently, a SQL expression says so. That is on purpose not the
//! program's own code: the two must agree.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;

use super::World;

/// A table and where its rows are expected: by default in hashes `{table}:{pk}` with all columns.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    schema: String,
    name: String,
    prefix: String,
    key: Option<Vec<String>>,
    columns: Option<Vec<(String, String)>>,
    excluded: Vec<String>,
}

impl Table {
    /// `schema.table`, without quotes, or a table of the schema `public`.
    pub(crate) fn new(name: &str) -> Self {
        let (schema, name) = name.split_once('.').unwrap_or(("public", name));
        let prefix = if schema == "public" { format!("{name}:") } else { format!("{schema}.{name}:") };
        let (schema, name) = (schema.to_owned(), name.to_owned());
        Self { schema, name, prefix, key: None, columns: None, excluded: Vec::new() }
    }

    /// What keys begin with instead of `{table}:`.
    pub(crate) fn prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    /// The columns of the key instead of the primary key's.
    pub(crate) fn key(self, columns: &[&str]) -> Self {
        Self { key: Some(columns.iter().map(|&c| c.to_owned()).collect()), ..self }
    }

    /// Only these columns, each with the name of its field.
    pub(crate) fn columns(self, columns: &[(&str, &str)]) -> Self {
        let columns = columns.iter().map(|&(c, field)| (c.to_owned(), field.to_owned())).collect();
        Self { columns: Some(columns), ..self }
    }

    /// All columns but these.
    pub(crate) fn exclude(self, columns: &[&str]) -> Self {
        Self { excluded: columns.iter().map(|&c| c.to_owned()).collect(), ..self }
    }
}

/// The first differences in words, and how many there are in all.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) rows: u64,
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl Differences {
    fn add(&mut self, words: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < 10 {
            self.first.push(words());
        }
    }
}

impl World {
    /// Fails unless Redis holds exactly what these tables hold, in the default layout.
    #[track_caller]
    pub(crate) fn assert_equal(&self, tables: &[&str]) {
        for table in tables {
            self.assert_table(&Table::new(table));
        }
    }

    /// The same for one table in any layout.
    #[track_caller]
    pub(crate) fn assert_table(&self, table: &Table) {
        let differences = self.differences(table);
        assert!(differences.count == 0, "{}\n{}", report(table, &differences), self.story());
    }

    /// Waits until Redis holds exactly what these tables hold; the tables must be at rest.
    #[track_caller]
    pub(crate) fn eventually_equal(&self, tables: &[&str]) {
        for table in tables {
            self.eventually_table(&Table::new(table), super::world::PATIENCE);
        }
    }

    #[track_caller]
    pub(crate) fn eventually_table(&self, table: &Table, limit: Duration) {
        let began = Instant::now();
        loop {
            let differences = self.differences(table);
            if differences.count == 0 {
                return;
            }
            assert!(
                began.elapsed() < limit,
                "not within {limit:?}: {}\n{}",
                report(table, &differences),
                self.story()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn differences(&self, table: &Table) -> Differences {
        let mut hashes = Hashes::connect(self.redis_port());
        self.with_postgres(|client| self.with_redis(|redis| compare(table, client, &mut hashes, redis)))
    }
}

fn report(table: &Table, differences: &Differences) -> String {
    let Table { schema, name, .. } = table;
    let Differences { rows, count, first } = differences;
    let more = if *count > 10 { "\n  …" } else { "" };
    let list = first.iter().fold(String::new(), |list, d| list + "\n  " + d);
    format!("{schema}.{name} ({rows} rows) and Redis differ in {count} places:{list}{more}")
}

/// What HGETALL returns.
type Hash = Vec<(Vec<u8>, Vec<u8>)>;

/// What a row should be in Redis.
struct Expected {
    key: Vec<u8>,
    /// In the order of the shape's fields.
    values: Vec<Option<Vec<u8>>>,
}

fn compare(
    table: &Table,
    client: &mut Client,
    hashes: &mut Hashes,
    redis: &mut redis::Connection,
) -> Differences {
    let shape = Shape::read(table, client);
    let mut differences = Differences::default();
    let mut keys: HashSet<Vec<u8>> = HashSet::new();
    let (sender, batches) = sync_channel(4);
    thread::scope(|scope| {
        let shape = &shape;
        // PostgreSQL in a thread, so that it works while Redis does.
        scope.spawn(move || shape.read_rows(client, &sender));
        // Redis is asked for the next batch before the answers to this one are read, so that it has
        // always something to do.
        let mut batches = batches.into_iter();
        let mut asked = batches.next();
        asked.iter().for_each(|batch| hashes.ask(batch));
        while let Some(batch) = asked {
            asked = batches.next();
            asked.iter().for_each(|batch| hashes.ask(batch));
            differences.rows += batch.len() as u64;
            for row in batch {
                match hashes.next() {
                    Ok(hash) if same(&shape.fields, &row.values, &hash) => {}
                    Ok(hash) => explain(&shape.fields, &row, hash, &mut differences),
                    Err(e) => differences.add(|| format!("{}: {e}", lossy(&row.key))),
                }
                // A row without any value has no hash: a key of that name would be surplus.
                if row.values.iter().any(Option::is_some) && !keys.insert(row.key) {
                    differences.add(|| format!("a key of {} is shared by two rows", table.name));
                }
            }
        }
    });
    surplus(&table.prefix, &keys, redis, &mut differences);
    differences
}

/// HGETALL and nothing else: millions of replies, for which a general parser takes too long.
struct Hashes(BufReader<TcpStream>);

impl Hashes {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // A paused server is a mistake of the test, not a reason to hang.
        stream.set_read_timeout(Some(super::world::PATIENCE)).unwrap();
        Self(BufReader::with_capacity(1 << 18, stream))
    }

    /// The rows' keys; each must then be answered by `next`.
    fn ask(&mut self, rows: &[Expected]) {
        let mut commands = Vec::new();
        for Expected { key, .. } in rows {
            commands.extend_from_slice(format!("*2\r\n$7\r\nHGETALL\r\n${}\r\n", key.len()).as_bytes());
            commands.extend_from_slice(key);
            commands.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&commands).unwrap();
    }

    fn next(&mut self) -> Result<Hash, String> {
        let elements = self.header()?;
        (0..elements / 2).map(|_| Ok((self.bulk()?, self.bulk()?))).collect()
    }

    fn bulk(&mut self) -> Result<Vec<u8>, String> {
        let length = self.header()?;
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).unwrap();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// A line such as `*4` or `$11`, or an error reply.
    fn header(&mut self) -> Result<usize, String> {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        match line.trim_end().split_at_checked(1) {
            Some(("*" | "$", number)) => Ok(number.parse().unwrap()),
            Some(("-", error)) => Err(error.to_owned()),
            _ => panic!("not a reply to HGETALL: {line:?}"),
        }
    }
}

/// Without explanation, but fast, for the millions of rows that are as they should be.
fn same(fields: &[(String, String)], values: &[Option<Vec<u8>>], hash: &Hash) -> bool {
    let expected = values.iter().flatten().count();
    // Fields mostly come in the order of the columns, so the next column is the first guess.
    let mut guess = 0;
    expected == hash.len()
        && hash.iter().all(|(field, value)| {
            let is_it = |at: usize| fields.get(at).is_some_and(|(name, _)| name.as_bytes() == field);
            while values.get(guess).is_some_and(Option::is_none) {
                guess += 1;
            }
            let at = if is_it(guess) { Some(guess) } else { (0..fields.len()).find(|&at| is_it(at)) };
            let Some(at) = at else { return false };
            guess = at + 1;
            values[at].as_ref().is_some_and(|expected| value == expected || same_json(value, expected))
        })
}

fn explain(fields: &[(String, String)], row: &Expected, hash: Hash, differences: &mut Differences) {
    let key = lossy(&row.key);
    let names = fields.iter().map(|(name, _)| name.clone());
    let fields: BTreeMap<String, &Vec<u8>> =
        names.zip(&row.values).filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
    let hash: BTreeMap<String, Vec<u8>> = hash.into_iter().map(|(k, v)| (lossy(&k), v)).collect();
    if hash.is_empty() {
        differences.add(|| format!("{key}: not in Redis, a row in PostgreSQL: {}", show(&fields)));
        return;
    }
    for (field, &value) in &fields {
        match hash.get(field) {
            None => differences
                .add(|| format!("{key}: no field {field:?} in Redis, {:?} in PostgreSQL", lossy(value))),
            Some(found) if found != value && !same_json(found, value) => differences.add(|| {
                let (found, value) = (lossy(found), lossy(value));
                format!("{key}: {field} is {found:?} in Redis, {value:?} in PostgreSQL")
            }),
            Some(_) => {}
        }
    }
    for (field, value) in hash.iter().filter(|(field, _)| !fields.contains_key(*field)) {
        differences
            .add(|| format!("{key}: field {field:?} is {:?} in Redis, null in PostgreSQL", lossy(value)));
    }
}

/// Looks through all keys with the prefix for those that no row has.
fn surplus(
    prefix: &str,
    keys: &HashSet<Vec<u8>>,
    redis: &mut redis::Connection,
    differences: &mut Differences,
) {
    let mut pattern = String::new();
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    // SCAN may return a key twice.
    let mut reported = HashSet::new();
    let mut cursor = 0_u64;
    loop {
        let (next, found): (u64, Vec<Vec<u8>>) =
            redis::cmd("SCAN").arg(cursor).arg(&["MATCH", &pattern, "COUNT", "5000"]).query(redis).unwrap();
        for key in found {
            if !keys.contains(&key) && reported.insert(key.clone()) {
                differences.add(|| format!("{}: in Redis, no such row in PostgreSQL", lossy(&key)));
            }
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
}

/// The columns to compare and how the contract spells them.
struct Shape {
    schema: String,
    name: String,
    prefix: String,
    /// SQL for each part of the key.
    key: Vec<String>,
    /// Field name and SQL.
    fields: Vec<(String, String)>,
}

impl Shape {
    fn read(table: &Table, client: &mut Client) -> Self {
        let Table { schema, name, prefix, .. } = table.clone();
        // A domain is spelled like the type below it. Generated columns are not replicated.
        let columns = client
            .query(
                "WITH RECURSIVE column_type AS (
                     SELECT a.attnum, a.attname, a.atttypid AS type
                     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                     JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0
                       AND NOT a.attisdropped AND (a.attgenerated = '' OR a.attgenerated = 's'
                             AND current_setting('server_version_num')::int >= 180000)
                     UNION ALL
                     SELECT attnum, attname, typbasetype FROM column_type
                     JOIN pg_type t ON t.oid = type AND t.typtype = 'd'
                 )
                 SELECT attname::text, t.typname::text,
                        CASE WHEN t.typlen = -1 AND t.typcategory = 'A' THEN e.typname::text END
                 FROM column_type JOIN pg_type t ON t.oid = type LEFT JOIN pg_type e ON e.oid = t.typelem
                 WHERE t.typtype <> 'd' ORDER BY attnum",
                &[&schema, &name],
            )
            .unwrap();
        assert!(!columns.is_empty(), "there is no table {schema}.{name}");
        let spelled: BTreeMap<String, String> = columns
            .iter()
            .map(|row| {
                let column: String = row.get(0);
                let sql = spelling(&quoted(&column), row.get(1), row.get(2));
                (column, sql)
            })
            .collect();
        let sql = |column: &String| {
            spelled.get(column).unwrap_or_else(|| panic!("{schema}.{name} has no column {column}")).clone()
        };
        let key = table.key.clone().unwrap_or_else(|| identity(&schema, &name, client));
        let fields = match &table.columns {
            Some(chosen) => chosen.iter().map(|(c, field)| (field.clone(), sql(c))).collect(),
            None => columns
                .iter()
                .map(|row| row.get::<_, String>(0))
                .filter(|column| !table.excluded.contains(column))
                .map(|column| (column.clone(), sql(&column)))
                .collect(),
        };
        let key = key.iter().map(sql).collect();
        Self { schema, name, prefix, key, fields }
    }

    fn copy(&self) -> String {
        let expressions: Vec<&str> =
            self.key.iter().chain(self.fields.iter().map(|(_, sql)| sql)).map(String::as_str).collect();
        let table = format!("{}.{}", quoted(&self.schema), quoted(&self.name));
        format!("COPY (SELECT {} FROM {table}) TO STDOUT", expressions.join(", "))
    }

    /// Sends all rows in batches.
    fn read_rows(&self, client: &mut Client, to: &SyncSender<Vec<Expected>>) {
        let mut rows = client.copy_out(&self.copy()).unwrap();
        let mut line = Vec::new();
        let mut batch = Vec::new();
        while rows.read_until(b'\n', &mut line).unwrap() > 0 {
            batch.push(self.expected(&line));
            line.clear();
            if batch.len() == 500 {
                to.send(std::mem::take(&mut batch)).unwrap();
            }
        }
        to.send(batch).unwrap();
    }

    fn expected(&self, line: &[u8]) -> Expected {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut values = line.split(|&b| b == b'\t').map(unescaped);
        let mut key = self.prefix.clone().into_bytes();
        for part in 0..self.key.len() {
            let value = values.next().unwrap().unwrap_or_default();
            if part > 0 {
                key.push(b':');
            }
            for byte in value {
                match byte {
                    b'%' if self.key.len() > 1 => key.extend_from_slice(b"%25"),
                    b':' if self.key.len() > 1 => key.extend_from_slice(b"%3A"),
                    _ => key.push(byte),
                }
            }
        }
        Expected { key, values: values.collect() }
    }
}

/// The columns of the primary key in its order, else of the replica identity's index, else all.
fn identity(schema: &str, name: &str, client: &mut Client) -> Vec<String> {
    let rows = client
        .query(
            "SELECT a.attname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             JOIN LATERAL (
                 SELECT indkey, indnkeyatts FROM pg_index
                 WHERE indrelid = c.oid AND (indisprimary OR indisreplident)
                 ORDER BY indisprimary DESC LIMIT 1
             ) i ON true
             CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, place)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
             WHERE n.nspname = $1 AND c.relname = $2 AND k.place <= i.indnkeyatts
             ORDER BY k.place",
            &[&schema, &name],
        )
        .unwrap();
    if !rows.is_empty() {
        return rows.iter().map(|row| row.get(0)).collect();
    }
    let all = client
        .query(
            "SELECT attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = $2 AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            &[&schema, &name],
        )
        .unwrap();
    all.iter().map(|row| row.get(0)).collect()
}

/// SQL whose COPY text is the contract's spelling of a column.
fn spelling(c: &str, type_name: &str, element: Option<&str>) -> String {
    match (type_name, element) {
        ("bool", _) => format!("{c}::text"),
        ("bytea", _) => base64(c),
        ("date" | "timestamp", _) => iso(c),
        ("timestamptz", _) => {
            let utc = format!("({c} AT TIME ZONE 'UTC')");
            format!("{} || CASE WHEN isfinite({c}) THEN 'Z' ELSE '' END", iso(&utc))
        }
        ("timetz", _) => format!(r"regexp_replace({c}::text, '([+-]\d\d)$', '\1:00')"),
        ("hstore", _) => format!("hstore_to_json({c})::text"),
        (_, Some(element)) => array(c, element),
        _ => c.to_owned(),
    }
}

fn base64(c: &str) -> String {
    format!(r"translate(encode({c}, 'base64'), E'\n', '')")
}

/// ISO 8601: a T between date and time, and a signed year beyond the four digits of common ones.
fn iso(c: &str) -> String {
    let year = format!("extract(year FROM {c})::int");
    format!(
        "CASE WHEN NOT isfinite({c}) THEN {c}::text
              WHEN {year} BETWEEN 1 AND 9999 THEN replace({c}::text, ' ', 'T')
              ELSE CASE WHEN {year} > 9999 THEN '+' || {year}
                        WHEN {year} = -1 THEN '0000'
                        ELSE '-' || lpad((-{year} - 1)::text, greatest(4, length((-{year} - 1)::text)), '0') END
                   || replace(regexp_replace(replace({c}::text, ' BC', ''), '^[0-9]+', ''), ' ', 'T') END"
    )
}

/// A JSON array whose elements are spelled as in JSON documents.
fn array(c: &str, element: &str) -> String {
    match element {
        "int2" | "int4" | "int8" | "float4" | "float8" | "bool" | "json" | "jsonb" | "timestamp" | "date" => {
            format!("array_to_json({c})::text")
        }
        "oid" => format!("array_to_json({c}::bigint[])::text"),
        "timestamptz" => format!(r#"replace(array_to_json({c})::text, '+00:00"', 'Z"')"#),
        "timetz" => {
            format!(r#"regexp_replace(array_to_json({c}::text[])::text, '([+-]\d\d)"', '\1:00"', 'g')"#)
        }
        // One dimension only: there is no function that maps over more.
        "bytea" => format!(
            "CASE WHEN {c} IS NOT NULL THEN coalesce((SELECT json_agg({} ORDER BY n)::text \
             FROM unnest({c}) WITH ORDINALITY AS u(e, n)), '[]') END",
            base64("e")
        ),
        _ => format!("array_to_json({c}::text[])::text"),
    }
}

/// JSON texts of arrays and hstore may differ in blanks.
fn same_json(a: &[u8], b: &[u8]) -> bool {
    if !matches!((a.first(), b.first()), (Some(b'['), Some(b'[')) | (Some(b'{'), Some(b'{'))) {
        return false;
    }
    let parse = |text| serde_json::from_slice::<serde_json::Value>(text).ok();
    parse(a).is_some_and(|a| Some(a) == parse(b))
}

/// A field of COPY's text format.
fn unescaped(field: &[u8]) -> Option<Vec<u8>> {
    if field == b"\\N" {
        return None;
    }
    let mut bytes = field.iter();
    let mut value = Vec::with_capacity(field.len());
    while let Some(&byte) = bytes.next() {
        value.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(&other) => other,
                None => byte,
            },
            _ => byte,
        });
    }
    Some(value)
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn show(fields: &BTreeMap<String, &Vec<u8>>) -> String {
    let mut words = String::new();
    for (field, value) in fields.iter().take(5) {
        let _ = write!(words, "{field}={:?} ", lossy(value));
    }
    words.trim_end().to_owned()
}
