//! A column: its type, how that is spelled, and where its values come from.

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::random::{Rng, quoted};
use super::spelling::Spelling;

type Generator = Rc<dyn Fn(&mut Rng) -> String>;

#[derive(Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) sql_type: String,
    pub(super) spelling: Spelling,
    /// SQL expressions of values that every run must have.
    edges: Vec<String>,
    random: Generator,
    /// What must be created before the table.
    pub(super) before: String,
}

impl Column {
    /// Both `edges` and what `random` returns are the text of values.
    pub(super) fn new(
        sql_type: &str,
        spelling: Spelling,
        edges: &[&str],
        random: impl Fn(&mut Rng) -> String + 'static,
    ) -> Self {
        let edges: Vec<String> = edges.iter().map(|text| quoted(text)).collect();
        let edges: Vec<&str> = edges.iter().map(String::as_str).collect();
        Self::sql(sql_type, spelling, &edges, move |rng| quoted(&random(rng)))
    }

    /// Both are SQL.
    pub(super) fn sql(
        sql_type: &str,
        spelling: Spelling,
        edges: &[&str],
        random: impl Fn(&mut Rng) -> String + 'static,
    ) -> Self {
        Self {
            name: name_of(sql_type),
            sql_type: sql_type.to_owned(),
            spelling,
            edges: edges.iter().map(|&e| e.to_owned()).collect(),
            random: Rc::new(random),
            before: String::new(),
        }
    }

    /// The value of row number `row`: the edges first.
    pub(super) fn value(&self, row: usize, rng: &mut Rng) -> String {
        let sql = match self.edges.get(row) {
            Some(edge) => edge.clone(),
            None if rng.one_in(8) => "NULL".to_owned(),
            None => (self.random)(rng),
        };
        format!("({sql})::{}", self.sql_type)
    }

    fn any(&self, rng: &mut Rng) -> String {
        let row = usize::try_from(rng.below(1 + 2 * self.edges.len() as u64)).unwrap();
        self.value(row, rng)
    }

    /// A domain over this type.
    pub(super) fn domain(&self) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("domain_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let base = self.sql_type.clone();
        let before = format!("{} CREATE DOMAIN {name} AS {base};", self.before);
        let spelling = Spelling::Domain { base, of: Box::new(self.spelling.clone()) };
        Self { name: format!("{}_domain", self.name), sql_type: name, spelling, before, ..self.clone() }
    }

    /// An array of this type.
    pub(super) fn array(&self) -> Self {
        let sql_type = format!("{}[]", self.sql_type);
        let (element, of) = (self.clone(), sql_type.clone());
        let all = (0..self.edges.len()).map(|row| self.value(row, &mut Rng::new(0))).collect::<Vec<_>>();
        Self {
            name: format!("{}_array", self.name),
            edges: vec![
                "'{}'".to_owned(),
                format!("ARRAY[NULL]::{of}"),
                format!("ARRAY[{}]::{of}", all.join(",")),
            ],
            random: Rc::new(move |rng| random_array(&element, &of, rng)),
            spelling: Spelling::Array { element: Box::new(self.spelling.clone()) },
            sql_type,
            before: self.before.clone(),
        }
    }

    /// The type in many disguises.
    pub(super) fn disguised(&self) -> Vec<Self> {
        let nested = self.array().domain().array();
        vec![
            self.domain(),
            self.array(),
            self.domain().array(),
            self.domain().domain().array().domain(),
            nested,
        ]
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.sql_type)
    }
}

fn name_of(sql_type: &str) -> String {
    let word: String =
        sql_type.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("a_{}", word.trim_matches('_'))
}

/// Up to three dimensions, now and then with bounds that do not begin at 1.
fn random_array(element: &Column, of: &str, rng: &mut Rng) -> String {
    let dimensions = [1, 1, 1, 2, 3][usize::try_from(rng.below(5)).unwrap()];
    let lengths: Vec<i64> = (0..dimensions).map(|_| rng.between(1, 3)).collect();
    let array = format!("{}::{of}", nested(element, &lengths, rng));
    if rng.one_in(3) {
        let bound = |rng: &mut Rng, length: &i64| {
            let low = rng.between(-2, 3);
            format!("[{low}:{}]", low + length - 1)
        };
        let bounds: String = lengths.iter().map(|length| bound(rng, length)).collect();
        // PostgreSQL leaves out bounds that are all 1, and does not take them twice.
        return format!("('{bounds}=' || ({array})::text)::{of}");
    }
    array
}

fn nested(element: &Column, lengths: &[i64], rng: &mut Rng) -> String {
    let Some((&length, inner)) = lengths.split_first() else { return element.any(rng) };
    let elements: Vec<String> = (0..length).map(|_| nested(element, inner, rng)).collect();
    format!("ARRAY[{}]", elements.join(","))
}
