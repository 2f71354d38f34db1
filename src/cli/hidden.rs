//! Passwords on the command line, where everybody on the machine can read them (`ps`).
//!
//! The program can't keep them from being typed. But it begins anew as the same process at once, with the
//! URL in its environment, which only its own user can read.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The options that can have a password, and the variables that take their place.
const OPTIONS: [(&str, &str); 2] =
    [("--source", "REDIS_CONNECT_SOURCE"), ("--target", "REDIS_CONNECT_TARGET")];

/// Begins anew without passwords among the arguments, if there are any.
pub(super) fn hide() {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let Some((arguments, variables)) = hidden(arguments) else { return };
    let Ok(program) = std::env::current_exe() else { return };
    // It returns only when it can't be done, and then everything goes on as it was typed.
    let _ = Command::new(program).arg0(name).args(arguments).envs(variables).exec();
}

/// The value of an option, which may be in the environment.
pub(super) fn value(typed: &str) -> String {
    let of = |(_, variable): &(&str, &str)| {
        (typed == placeholder(variable)).then(|| std::env::var(variable).ok()).flatten()
    };
    OPTIONS.iter().find_map(of).unwrap_or_else(|| typed.to_owned())
}

fn placeholder(variable: &str) -> String {
    format!("(in {variable})")
}

type Variables = Vec<(&'static str, String)>;

fn hidden(typed: impl Iterator<Item = OsString>) -> Option<(Vec<OsString>, Variables)> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut variables = Variables::new();
    for argument in typed {
        let before = arguments.last().and_then(|last| last.to_str());
        let found = argument.to_str().and_then(|text| {
            OPTIONS.iter().find_map(|(option, variable)| {
                let alone = before == Some(*option);
                let value = if alone { text } else { text.strip_prefix(option)?.strip_prefix('=')? };
                let start = if alone { String::new() } else { format!("{option}=") };
                has_password(value).then(|| (format!("{start}{}", placeholder(variable)), variable, value))
            })
        });
        match found {
            Some((replacement, variable, value)) => {
                variables.push((variable, value.to_owned()));
                arguments.push(replacement.into());
            }
            None => arguments.push(argument),
        }
    }
    (!variables.is_empty()).then_some((arguments, variables))
}

/// A URL with a password, or what may be one. To hide more than is needed does no harm.
fn has_password(value: &str) -> bool {
    let user = value.split_once("://").map_or(value, |(_, rest)| rest).rsplit_once('@');
    user.is_some_and(|(user, _)| user.contains(':')) || value.contains("pass")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(typed: &[&str]) -> Option<(Vec<String>, Variables)> {
        let (arguments, variables) = hidden(typed.iter().map(OsString::from))?;
        Some((arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect(), variables))
    }

    #[test]
    fn passwords_move_to_the_environment() {
        let (arguments, variables) =
            after(&["run", "--source", "postgresql://u:pw@h/d", "--target=redis://:pw2@h", "--once"])
                .unwrap();
        assert_eq!(
            arguments,
            ["run", "--source", "(in REDIS_CONNECT_SOURCE)", "--target=(in REDIS_CONNECT_TARGET)", "--once"]
        );
        assert_eq!(
            variables,
            [
                ("REDIS_CONNECT_SOURCE", "postgresql://u:pw@h/d".to_owned()),
                ("REDIS_CONNECT_TARGET", "redis://:pw2@h".to_owned())
            ]
        );
        assert!(after(&["run", "--source", "postgresql://h/d?password=pw"]).is_some());
        assert!(after(&["check", "--target", "unix:///run/redis.sock?pass=pw"]).is_some());
    }

    #[test]
    fn nothing_to_hide() {
        assert_eq!(
            after(&["run", "--source", "postgresql://u@h:5432/d", "--target", "redis://h:6379"]),
            None
        );
        assert_eq!(after(&["run", "-c", "a:b@c"]), None);
        assert_eq!(after(&["run", "--source"]), None);
        assert_eq!(value("(in REDIS_CONNECT_NOTHING)"), "(in REDIS_CONNECT_NOTHING)");
    }
}
