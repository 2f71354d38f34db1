//! How a user wants values spelled. These are the value options of an output; the configuration
//! reads them and re-exports them.

/// How dates and timestamps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Timestamps {
    /// ISO 8601, `2018-08-09T19:50:13Z`.
    #[default]
    Iso,
    /// Milliseconds since 1970-01-01T00:00:00Z, rounded towards the past.
    EpochMs,
    /// Microseconds since 1970-01-01T00:00:00Z, PostgreSQL's full precision.
    EpochUs,
    /// Seconds since then, with a fraction where it is not zero: what a score is made of. Not to be
    /// configured.
    EpochSeconds,
}

/// How `bytea` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Binary {
    /// The standard alphabet with padding, RFC 4648 section 4.
    #[default]
    Base64,
    /// Two lower-case digits a byte, without prefix.
    Hex,
    /// The bytes themselves. JSON cannot hold them and gets base64.
    Raw,
}

/// How `numeric` is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Decimals {
    /// A string, because most JSON readers turn numbers into doubles and lose digits.
    #[default]
    String,
    /// A number with PostgreSQL's digits; NaN and the infinities remain strings.
    Number,
}

/// What becomes of NULL where an output can leave a value out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Nulls {
    /// The field is absent.
    #[default]
    Omit,
    /// The field is there and empty.
    Empty,
}

/// All the value options of one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ValueOptions {
    /// Applies to `date`, `timestamp` and `timestamptz`, also inside arrays.
    pub timestamps: Timestamps,
    /// Applies to `bytea`, also inside arrays.
    pub binary: Binary,
    /// Applies to `numeric` in JSON, also inside arrays.
    pub decimals: Decimals,
    /// Applies to whole columns; a converter never sees a NULL.
    pub nulls: Nulls,
}
