//! What the rows become in Redis: one structure, or several at once.
//!
//! A structure is what the connector is configured with and what its references and checks follow, so
//! that every measurement is the same but for this.

/// An output of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Hash,
    String,
    Json,
    Set,
    SortedSet,
    Stream(Format),
}

/// How the entries of a stream look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Event,
    Flat,
    Debezium,
}

impl Output {
    /// As it stands in the configuration.
    fn yaml(self) -> &'static str {
        match self {
            Output::Hash => "{ type: hash }",
            Output::String => "{ type: string }",
            Output::Json => "{ type: json }",
            Output::Set => "{ type: set }",
            Output::SortedSet => r#"{ type: sorted_set, score: "{amount}" }"#,
            Output::Stream(Format::Event) => "{ type: stream, format: event }",
            Output::Stream(Format::Flat) => "{ type: stream, format: flat }",
            Output::Stream(Format::Debezium) => "{ type: stream, format: debezium }",
        }
    }

    /// The key of row `id`.
    pub(crate) fn key(self, id: u32) -> String {
        match self {
            Output::Hash | Output::String | Output::Json => format!("bench:{id}"),
            Output::Set | Output::SortedSet => "bench".to_owned(),
            Output::Stream(_) => "bench:events".to_owned(),
        }
    }

    /// How many keys `rows` rows have.
    fn keys(self, rows: u32) -> u64 {
        match self {
            Output::Hash | Output::String | Output::Json => rows.into(),
            Output::Set | Output::SortedSet | Output::Stream(_) => 1,
        }
    }
}

/// What the table becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Structure {
    pub(crate) name: &'static str,
    pub(crate) outputs: &'static [Output],
}

/// What is measured where nothing else is said.
pub(crate) const HASH: &Structure = &Structure { name: "hash", outputs: &[Output::Hash] };

pub(crate) const STREAM_EVENT: &Structure =
    &Structure { name: "stream_event", outputs: &[Output::Stream(Format::Event)] };

pub(crate) const ALL: [&Structure; 9] = [
    HASH,
    &Structure { name: "string", outputs: &[Output::String] },
    &Structure { name: "json", outputs: &[Output::Json] },
    &Structure { name: "set", outputs: &[Output::Set] },
    &Structure { name: "sorted_set", outputs: &[Output::SortedSet] },
    STREAM_EVENT,
    &Structure { name: "stream_flat", outputs: &[Output::Stream(Format::Flat)] },
    &Structure { name: "stream_debezium", outputs: &[Output::Stream(Format::Debezium)] },
    &Structure {
        name: "several",
        outputs: &[Output::Hash, Output::SortedSet, Output::Stream(Format::Event)],
    },
];

impl Structure {
    /// The value of the table in the configuration.
    pub(crate) fn yaml(&self) -> String {
        let outputs: Vec<&str> = self.outputs.iter().map(|output| output.yaml()).collect();
        format!("[{}]", outputs.join(", "))
    }

    /// Redis needs RedisJSON for it.
    pub(crate) fn needs_modules(&self) -> bool {
        self.outputs.contains(&Output::Json)
    }

    /// How many keys `rows` rows have.
    pub(crate) fn keys(&self, rows: u32) -> u64 {
        self.outputs.iter().map(|output| output.keys(rows)).sum()
    }
}

/// Where rows came from; events say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Snapshot,
    Stream,
}

/// What Redis must hold: rows 1 to `rows` in a structure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) structure: &'static Structure,
    pub(crate) origin: Origin,
    pub(crate) rows: u32,
}

impl Content {
    /// As hashes, which don't tell where they came from.
    pub(crate) fn hashes(rows: u32) -> Self {
        Self { structure: HASH, origin: Origin::Stream, rows }
    }
}
