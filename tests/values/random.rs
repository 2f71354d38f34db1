//! Where the values come from: a small generator, the same for the same seed on every machine.

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let size = high.wrapping_sub(low).cast_unsigned().wrapping_add(1);
        let offset = if size == 0 { self.next() } else { self.below(size) };
        low.wrapping_add(offset.cast_signed())
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    pub(super) fn repeat(
        &mut self,
        low: i64,
        high: i64,
        mut one: impl FnMut(&mut Self) -> String,
    ) -> Vec<String> {
        (0..self.between(low, high)).map(|_| one(self)).collect()
    }

    /// An integer of any magnitude, within these bounds.
    pub(super) fn integer(&mut self, low: i64, high: i64) -> i64 {
        let any = self.next().cast_signed() >> self.below(64);
        if (low..=high).contains(&any) { any } else { self.between(low, high) }
    }

    pub(super) fn digits(&mut self, low: i64, high: i64) -> String {
        self.repeat(low, high, |rng| rng.below(10).to_string()).concat()
    }

    pub(super) fn decimal(&mut self) -> String {
        let sign = if self.one_in(2) { "-" } else { "" };
        let long = if self.one_in(8) { 200 } else { 12 };
        let (whole, fraction) = (self.digits(1, long), self.digits(0, long));
        let dot = if fraction.is_empty() { "" } else { "." };
        let exponent = if self.one_in(5) { format!("e{}", self.between(-40, 40)) } else { String::new() };
        format!("{sign}{whole}{dot}{fraction}{exponent}")
    }

    pub(super) fn float4(&mut self) -> String {
        let any = f32::from_bits(u32::try_from(self.below(1 << 32)).unwrap());
        if self.one_in(3) {
            format!("{}.{}", self.integer(-99_999, 99_999), self.digits(1, 3))
        } else {
            spelled(any.into(), format!("{any:e}"))
        }
    }

    pub(super) fn float8(&mut self) -> String {
        let any = f64::from_bits(self.next());
        if self.one_in(3) {
            format!("{}.{}", self.integer(-99_999_999, 99_999_999), self.digits(1, 9))
        } else {
            spelled(any, format!("{any:e}"))
        }
    }

    /// Text with everything that some quoting, escaping or framing on the way could stumble over.
    pub(super) fn text(&mut self) -> String {
        let longest = match self.below(40) {
            0 => 3_000,
            1..4 => 300,
            _ => 12,
        };
        self.text_of(0, longest)
    }

    pub(super) fn text_of(&mut self, shortest: i64, longest: i64) -> String {
        const PIECES: &[&str] = &[
            "'",
            "\"",
            "\\",
            "\\\\",
            "\\n",
            "\\N",
            "\\.",
            "\\x41",
            "\\u0041",
            "\t",
            "\n",
            "\r",
            "\r\n",
            "\x08",
            "\x0b",
            "\x0c",
            "\x01",
            "\x1f",
            "\x7f",
            "\u{80}",
            "\u{9f}",
            " ",
            "  ",
            ",",
            ";",
            ":",
            "%",
            "{",
            "}",
            "(",
            ")",
            "[",
            "]",
            "<",
            ">",
            "&",
            "=>",
            "NULL",
            "null",
            "nul",
            "$",
            "*",
            "€",
            "ß",
            "é",
            "e\u{301}",
            "日本",
            "שלום",
            "🙂",
            "👩‍👩‍👧",
            "\u{2028}",
            "\u{feff}",
            "\u{fffd}",
            "\u{ffff}",
            "\u{10ffff}",
        ];
        let length = self.between(shortest, longest);
        (0..length)
            .map(|_| match self.below(3) {
                0 => self.pick(PIECES).to_owned(),
                1 => char::from(u8::try_from(self.between(0x20, 0x7e)).unwrap()).to_string(),
                _ => char::from(u8::try_from(self.between(0x61, 0x7a)).unwrap()).to_string(),
            })
            .collect()
    }

    pub(super) fn hex(&mut self, bytes: i64) -> String {
        self.repeat(bytes, bytes, |rng| format!("{:02x}", rng.below(256))).concat()
    }

    pub(super) fn bytes(&mut self) -> String {
        let longest = if self.one_in(20) { 3_000 } else { 24 };
        let length = self.between(0, longest);
        format!("\\x{}", self.hex(length))
    }

    pub(super) fn bits(&mut self, low: i64, high: i64) -> String {
        self.repeat(low, high, |rng| rng.below(2).to_string()).concat()
    }

    /// A date up to this year; the first one is that of PostgreSQL's timestamps.
    pub(super) fn date(&mut self, last: i64) -> (String, &'static str) {
        let (year, era) = match self.below(8) {
            0 => (self.between(1, 4713), " BC"),
            1 => (self.between(1, 9), " BC"),
            2 => (self.between(9_998, 10_001), ""),
            3 => (self.between(1, 9_999), ""),
            4 => (self.integer(1, last), ""),
            _ => (self.between(1900, 2100), ""),
        };
        (format!("{year:04}-{:02}-{:02}", self.between(1, 12), self.between(1, 28)), era)
    }

    pub(super) fn clock(&mut self) -> String {
        let (hour, minute, second) = (self.below(24), self.below(60), self.below(60));
        let fraction = if self.one_in(2) { format!(".{}", self.digits(1, 6)) } else { String::new() };
        format!("{hour:02}:{minute:02}:{second:02}{fraction}")
    }

    pub(super) fn offset(&mut self) -> String {
        let sign = self.pick(&["+", "-"]);
        let (hours, minutes, seconds) = (self.below(16), self.below(60), self.below(60));
        match self.below(4) {
            0 => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
            1 => format!("{sign}{hours:02}:{minutes:02}"),
            2 => "+00".to_owned(),
            _ => format!("{sign}{hours:02}"),
        }
    }

    pub(super) fn timestamp(&mut self) -> String {
        let (date, era) = self.date(294_275);
        format!("{date} {}{era}", self.clock())
    }

    pub(super) fn timestamptz(&mut self) -> String {
        let (date, era) = self.date(294_275);
        format!("{date} {}{}{era}", self.clock(), self.offset())
    }

    /// Each field with a sign of its own.
    pub(super) fn interval(&mut self) -> String {
        let mut parts = Vec::new();
        for (unit, most) in
            [("years", 170_000_000), ("months", 11), ("days", 2_000_000_000), ("hours", 9_000_000)]
        {
            if self.one_in(2) {
                parts.push(format!("{} {unit}", self.integer(-most, most)));
            }
        }
        if self.one_in(2) {
            parts.push(format!("{} minutes", self.between(-59, 59)));
        }
        if self.one_in(2) || parts.is_empty() {
            let sign = self.pick(&["", "-"]);
            parts.push(format!("{sign}{}.{} seconds", self.below(60), self.digits(1, 6)));
        }
        parts.join(" ")
    }

    /// A JSON document with blanks and spellings of numbers that nobody should tidy up.
    pub(super) fn json(&mut self, depth: u32) -> String {
        let blank = |rng: &mut Self| rng.pick(&["", "", "", " ", "\n", "\t ", "\r\n"]).to_owned();
        let (before, after) = (blank(self), blank(self));
        let value = match self.below(if depth == 0 { 5 } else { 8 }) {
            0 => self.pick(&["true", "false", "null"]).to_owned(),
            1 => {
                const NUMBERS: &[&str] =
                    &["0", "-0", "1.0", "1.50", "1e5", "1E+2", "0.1e-7", "12345678901234567890.10", "1e300"];
                self.pick(NUMBERS).to_owned()
            }
            2 => self.integer(i64::MIN, i64::MAX).to_string(),
            3 | 4 => self.json_string(),
            5 => format!("[{}]", self.repeat(0, 3, |rng| rng.json(depth - 1)).join(",")),
            _ => {
                let member = |rng: &mut Self| format!("{}:{}", rng.json_string(), rng.json(depth - 1));
                format!("{{{}}}", self.repeat(0, 3, member).join(","))
            }
        };
        format!("{before}{value}{after}")
    }

    fn json_string(&mut self) -> String {
        if self.one_in(4) {
            return self
                .pick(&[r#""\u00e9""#, r#""\ud83d\ude42""#, r#""\/""#, r#""\b\f\n\r\t\"\\""#, r#""""#])
                .to_owned();
        }
        serde_json::to_string(&self.text_of(0, 8)).unwrap()
    }

    /// Text that is allowed in XML.
    pub(super) fn xml(&mut self) -> String {
        let text = self.text().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        let text: String = text.chars().filter(|&c| allowed(c)).collect();
        match self.below(5) {
            0 => text,
            1 => format!("<a b=\"ü &quot;1&quot;\">{text}</a><!-- c -->"),
            2 => format!("<?xml version=\"1.0\" standalone=\"yes\"?><a>{text}</a>"),
            3 => format!("<?xml version='1.0' encoding='UTF-8'?>\n<a>{text}</a>"),
            _ => format!("<a>{text}<![CDATA[ <&> ]]></a>"),
        }
    }

    /// A word of `tsvector` and `tsquery`, quoted as they want it.
    fn lexeme(&mut self) -> String {
        format!("'{}'", self.text_of(1, 8).replace('\\', "\\\\").replace('\'', "''"))
    }

    pub(super) fn tsvector(&mut self) -> String {
        let word = |rng: &mut Self| {
            let position =
                |rng: &mut Self| format!("{}{}", rng.between(1, 16383), rng.pick(&["", "A", "B", "C", "D"]));
            let positions = rng.repeat(0, 3, position).join(",");
            let colon = if positions.is_empty() { "" } else { ":" };
            format!("{}{colon}{positions}", rng.lexeme())
        };
        self.repeat(0, 5, word).join(" ")
    }

    pub(super) fn tsquery(&mut self, depth: u32) -> String {
        match self.below(if depth == 0 { 2 } else { 5 }) {
            0 => self.lexeme(),
            1 => format!("{}:{}", self.lexeme(), self.pick(&["*", "A", "*AB", "BCD"])),
            2 => format!("!({})", self.tsquery(depth - 1)),
            _ => {
                let operator = self.pick(&["&", "|", "<->", "<2>"]);
                format!("({}) {operator} ({})", self.tsquery(depth - 1), self.tsquery(depth - 1))
            }
        }
    }
}

/// Rust's words for what is not a number are not all PostgreSQL's.
fn spelled(value: f64, digits: String) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        digits
    }
}

/// A string constant in SQL.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
