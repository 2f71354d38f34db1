//! What the contract says of a type, as SQL that the test asks PostgreSQL for.

/// Creates the functions that the expressions here call.
pub(super) const FUNCTIONS: &str = include_str!("spelling.sql");

/// The value options of an output, as they stand in the configuration; empty for the default.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    pub(super) timestamps: &'static str,
    pub(super) binary: &'static str,
    pub(super) decimals: &'static str,
    pub(super) nulls: &'static str,
}

impl Options {
    pub(super) fn yaml(self) -> String {
        let Self { timestamps, binary, decimals, nulls } = self;
        [("timestamps", timestamps), ("binary", binary), ("decimals", decimals), ("nulls", nulls)]
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!(", {name}: {value}"))
            .collect()
    }
}

/// How a type is spelled.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Spelling {
    Boolean,
    Integer,
    Numeric,
    Float,
    /// `date`, `timestamp`, `timestamptz`.
    Moment,
    /// `time`, `timetz`, `interval`.
    Time,
    Bytea,
    Json,
    Hstore,
    /// The output function's text.
    Text,
    /// The same, but `unnest` would take it to pieces.
    Composite,
    Domain {
        base: String,
        of: Box<Spelling>,
    },
    Array {
        element: Box<Spelling>,
    },
}

impl Spelling {
    /// SQL for what stands in a hash. `raw` binary is asked for in hex.
    pub(super) fn field(&self, value: &str, options: Options) -> String {
        match self {
            Self::Boolean => format!("CASE WHEN {value} THEN 'true' WHEN NOT {value} THEN 'false' END"),
            // Has no cast to numeric or text but through bigint: PostgreSQL's cast to text is I/O.
            Self::Integer => format!("({value})::bigint::numeric::text"),
            Self::Moment => match options.timestamps {
                "" => format!("spell.iso({value})"),
                form => format!("spell.{form}({value})"),
            },
            Self::Time => format!("spell.iso({value})"),
            Self::Bytea => match options.binary {
                "" | "base64" => format!("spell.base64({value})"),
                _ => format!("encode({value}, 'hex')"),
            },
            Self::Domain { base, of } => of.field(&format!("(({value})::{base})"), options),
            Self::Hstore | Self::Array { .. } => self.json(value, options, 0),
            Self::Numeric | Self::Float | Self::Json | Self::Text | Self::Composite => {
                format!("format('%s', {value})")
            }
        }
    }

    /// SQL for what stands in a JSON text.
    fn json(&self, value: &str, options: Options, depth: u32) -> String {
        let string = || format!("to_json({})::text", self.field(value, options));
        match self {
            Self::Boolean | Self::Float => format!("to_json({value})::text"),
            Self::Integer => self.field(value, options),
            Self::Moment if options.timestamps.starts_with("epoch") => {
                let text = self.field(value, options);
                format!("CASE WHEN isfinite({value}) THEN {text} ELSE to_json({text})::text END")
            }
            // All but NaN and the infinities have digits.
            Self::Numeric if options.decimals == "number" => {
                let text = self.field(value, options);
                format!("CASE WHEN {text} ~ '[0-9]' THEN {text} ELSE to_json({text})::text END")
            }
            Self::Numeric | Self::Moment | Self::Time | Self::Text | Self::Composite => string(),
            // Bytes alone are no JSON.
            Self::Bytea if options.binary == "raw" => format!("to_json(spell.base64({value}))::text"),
            Self::Bytea => string(),
            Self::Json => format!("format('%s', {value})"),
            Self::Hstore => format!("hstore_to_json({value})::text"),
            Self::Domain { base, of } => of.json(&format!("(({value})::{base})"), options, depth),
            Self::Array { element } => {
                let texts = if element.is_composite() { "::text[]" } else { "" };
                let of = if texts.is_empty() { element } else { &Self::Text };
                let e = format!("e{depth}");
                let inner = of.json(&e, options, depth + 1);
                format!(
                    "spell.nest({value}, ARRAY(SELECT \
                     CASE WHEN {e} IS DISTINCT FROM NULL THEN {inner} ELSE 'null' END \
                     FROM unnest(({value}){texts}) WITH ORDINALITY AS u{depth}({e}, n{depth}) ORDER BY n{depth}))"
                )
            }
        }
    }

    fn is_composite(&self) -> bool {
        match self {
            Self::Domain { of, .. } => of.is_composite(),
            _ => *self == Self::Composite,
        }
    }

    /// JSON, whose blanks and escapes nobody promised.
    pub(super) fn is_json(&self) -> bool {
        match self {
            Self::Domain { of, .. } => of.is_json(),
            _ => matches!(self, Self::Hstore | Self::Array { .. }),
        }
    }

    pub(super) fn is_bytes(&self) -> bool {
        match self {
            Self::Domain { of, .. } => of.is_bytes(),
            _ => *self == Self::Bytea,
        }
    }
}
