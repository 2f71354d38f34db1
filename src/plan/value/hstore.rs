//! hstore as a JSON object.
//!
//! `hstore_out` writes `"key"=>"value", "other"=>NULL`: keys and values always quoted, a backslash
//! before `"` and `\`, a bare NULL for null, nothing at all for an hstore without keys. Keys are
//! unique. <https://www.postgresql.org/docs/current/hstore.html>

use super::quoted::Quoted;

/// Appends the object. None, with a part appended, when the text is not of that form.
pub(super) fn json(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.push(b'{');
    let mut rest = input;
    while !rest.is_empty() {
        let (key, after) = Quoted::read(rest.strip_prefix(b"\"")?)?;
        key.json(out);
        out.push(b':');
        rest = match after.strip_prefix(b"=>")? {
            [b'"', value @ ..] => {
                let (value, after) = Quoted::read(value)?;
                value.json(out);
                after
            }
            value => {
                out.extend_from_slice(b"null");
                value.strip_prefix(b"NULL")?
            }
        };
        if !rest.is_empty() {
            rest = rest.strip_prefix(b", ")?;
            // Nothing after a comma would be a comma too many.
            rest.first()?;
            out.push(b',');
        }
    }
    out.push(b'}');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, ValueOptions, check};

    #[test]
    fn objects() {
        let rows = [
            ["", "{}"],
            [r#""a"=>"1", "b"=>NULL"#, r#"{"a":"1","b":null}"#],
            [
                r#"""=>"", "e"=>"NULL", "c d"=>"x\"y\\z", "k=>"=>"a, b", "NULL"=>"NULL""#,
                r#"{"":"","e":"NULL","c d":"x\"y\\z","k=>":"a, b","NULL":"NULL"}"#,
            ],
            ["\"é\n\"=>\"\t\"", r#"{"é\n":"\t"}"#],
        ]
        .map(|[input, json]| [input, json, json]);
        check::table(&Kind::Hstore, ValueOptions::default(), &rows);
    }

    #[test]
    fn other_text_passes_through() {
        let rows = [
            ["a=>1", r#""a=>1""#],
            [r#""a"=>1"#, r#""\"a\"=>1""#],
            [r#""a"=>"1", "#, r#""\"a\"=>\"1\", ""#],
            [r#""a"=>"1"x"#, r#""\"a\"=>\"1\"x""#],
            [r#""a"=>""#, r#""\"a\"=>\"""#],
        ]
        .map(|[input, json]| [input, input, json]);
        check::table(&Kind::Hstore, ValueOptions::default(), &rows);
    }
}
