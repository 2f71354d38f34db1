//! The right name next to a mistyped one.

/// The name in `known` that was most likely meant by `typed`, if one is near enough: a few letters
/// wrong (about one in three), other case, `-` for `_`, or only its beginning.
pub fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // The distance costs the product of the lengths, and nothing that long is a mistyped name.
    if typed.len() > 128 {
        return None;
    }
    let typed = typed.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .filter_map(|name| {
            let folded = name.to_lowercase().replace('-', "_");
            let distance = strsim::osa_distance(&typed, &folded);
            let longest = typed.chars().count().max(folded.chars().count());
            let begins = typed.len() >= 3 && folded.starts_with(&typed);
            (distance <= (longest / 3).max(1) && distance < longest || begins).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How a message about an unknown name ends: with the nearest known one, else with all of them.
pub(super) fn advice(typed: &str, what: &str, known: &[&str]) -> String {
    match nearest(typed, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("{what}: {}", known.join(", ")),
    }
}

/// Whether a message may quote this. `{password:hunter2}` is one key for YAML, and such a key must
/// not be shown: only what is shaped like a name or a table pattern is.
pub(super) fn is_name(text: &str) -> bool {
    let shaped = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '*' | '?' | '"');
    !text.is_empty() && text.chars().count() <= 128 && text.chars().all(shaped)
}

#[cfg(test)]
mod tests {
    use super::{advice, is_name, nearest};

    const KNOWN: &[&str] = &["url", "password", "password_file", "slot", "publication"];

    #[test]
    fn the_nearest_name_is_found() {
        for (typed, name) in [
            ("pasword", "password"),
            ("PASSWORD", "password"),
            ("password-file", "password_file"),
            ("publicaton", "publication"),
            ("pub", "publication"),
            ("uri", "url"),
            ("solt", "slot"),
        ] {
            assert_eq!(nearest(typed, KNOWN.iter().copied()), Some(name), "{typed}");
        }
        for typed in ["", "x", "retention", &"a".repeat(100_000)] {
            assert_eq!(nearest(typed, KNOWN.iter().copied()), None);
        }
    }

    #[test]
    fn without_a_near_name_all_are_listed() {
        assert_eq!(advice("zzz", "known keys", &["a1", "b2"]), "known keys: a1, b2");
    }

    #[test]
    fn only_names_are_quoted() {
        assert!(is_name("public.emp") && is_name("*.\"T\"") && is_name("größe"));
        assert!(!is_name("password:hunter2") && !is_name("") && !is_name("a b"));
    }
}
