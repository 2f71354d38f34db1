//! `${NAME}` and `${NAME:-default}` in values.
//!
//! Variables are replaced in the text of a scalar, after YAML has found where it begins and ends
//! and before it becomes a number or a URL. What a variable holds can therefore never change the
//! structure of the document: a password with `: #{` or a newline is just text. As in the shell,
//! `:-` also stands in for a variable that is set but empty. `$${` is a literal `${`; any other
//! `$` is itself. The value of a variable is not looked at again.

/// Where variables come from: the environment, or a map in tests.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A scalar's text after replacement. `from_env` tells that messages must not quote it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replaced {
    pub(super) text: String,
    pub(super) from_env: bool,
}

/// Replaces the variables in `text`. `room` is how many bytes all values together may still take;
/// a short file that repeats a long variable must not fill the memory.
pub(super) fn replace(text: &str, env: Lookup<'_>, room: &mut usize) -> Result<Replaced, String> {
    let mut out = Replaced { text: String::with_capacity(text.len()), from_env: false };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        push(&mut out.text, before, room)?;
        if let Some(after) = tail.strip_prefix("$${") {
            push(&mut out.text, "${", room)?;
            rest = after;
        } else if let Some(after) = tail.strip_prefix("${") {
            let (body, after) = after.split_once('}').ok_or(MALFORMED)?;
            push(&mut out.text, &variable(body, env)?, room)?;
            out.from_env = true;
            rest = after;
        } else {
            push(&mut out.text, "$", room)?;
            rest = tail.strip_prefix('$').unwrap_or_default();
        }
    }
    push(&mut out.text, rest, room)?;
    Ok(out)
}

// The text after `${` is not quoted: it may be part of a password.
const MALFORMED: &str =
    "a variable must be written `${NAME}` or `${NAME:-default}`; write `$${` for a literal `${`";

fn variable(body: &str, env: Lookup<'_>) -> Result<String, String> {
    let (name, default) = match body.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (body, None),
    };
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(MALFORMED.to_owned());
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable `{name}` is not set; set it, or give a default: `${{{name}:-default}}`"
        )),
    }
}

fn push(out: &mut String, text: &str, room: &mut usize) -> Result<(), String> {
    *room = room
        .checked_sub(text.len())
        .ok_or("the values of this file, with their variables, are larger than 16 MiB")?;
    out.push_str(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::replace;

    fn run(text: &str) -> Result<(String, bool), String> {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}: #{\n".to_owned()),
            _ => None,
        };
        replace(text, &env, &mut 1000).map(|r| (r.text, r.from_env))
    }

    #[test]
    fn variables_are_replaced() {
        for (text, expected) in [
            ("${A}", "one"),
            ("x${A}y${A}", "xoneyone"),
            ("${B:-two}", "two"),
            ("${B:-}", ""),
            ("${EMPTY:-two}", "two"),
            ("${EMPTY}", ""),
            ("${A:-two}", "one"),
            ("${B:-a:-b}", "a:-b"),
            ("${NESTED}", "${A}: #{\n"),
        ] {
            assert_eq!(run(text), Ok((expected.to_owned(), true)), "{text}");
        }
    }

    #[test]
    fn other_dollars_are_themselves() {
        for (text, expected) in
            [("", ""), ("$A $ $$ a$", "$A $ $$ a$"), ("$${A}", "${A}"), ("$$${A}", "$${A}"), ("é$é", "é$é")]
        {
            assert_eq!(run(text), Ok((expected.to_owned(), false)), "{text}");
        }
    }

    #[test]
    fn errors_name_the_variable_but_no_other_text() {
        assert_eq!(
            run("${PGPASSWORD}").unwrap_err(),
            "the environment variable `PGPASSWORD` is not set; set it, or give a default: `${PGPASSWORD:-default}`"
        );
        for text in ["pa${hunter 2}", "${", "${hunter2", "${}", "${1A}", "${A-b}"] {
            let message = run(text).unwrap_err();
            assert!(!message.contains("hunter"), "{message}");
            assert!(message.starts_with("a variable must be written `${NAME}`"));
        }
    }

    #[test]
    fn repeated_variables_do_not_fill_the_memory() {
        let env = |_: &str| Some("x".repeat(1000));
        let message = replace(&"${A}".repeat(1000), &env, &mut 100_000).unwrap_err();
        assert!(message.contains("larger than 16 MiB"), "{message}");
    }
}
