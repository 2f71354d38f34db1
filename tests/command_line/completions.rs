//! Completion scripts, as the shells read them.

use std::process::Command;

use super::help::{all, printed};
use crate::harness::skip;

#[test]
fn each_shell_has_a_script_with_every_command_and_option() {
    let help = all();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for (command, help) in &help {
            let name = command.rsplit(' ').next().unwrap();
            assert!(script.contains(name), "{shell}: {command}");
            for option in long_options(help) {
                // fish writes them as `-l option`.
                assert!(script.contains(option.trim_start_matches('-')), "{shell}: {command} {option}");
            }
        }
    }
}

/// `--config`, `--once` and so on, as the help lists them.
pub(super) fn long_options(help: &str) -> Vec<&str> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    lines.filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--"))).collect()
}

#[test]
fn bash_completes() {
    let directory = tempdir("bash-completions");
    let file = directory.join("script");
    std::fs::write(&file, printed(&["completions", "bash"])).unwrap();
    let bash = |line: &str| {
        let output = Command::new("bash").args(["--norc", "-c", line]).env("SCRIPT", &file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    bash("bash -n \"$SCRIPT\"");
    let complete = |words: &str| {
        bash(&format!(
            "source \"$SCRIPT\"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             script=$(complete -p redis-connect-postgres); script=${{script##*-F }}
             ${{script%% *}} redis-connect-postgres \"${{COMP_WORDS[COMP_CWORD]}}\" \
             \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[*]}}\""
        ))
    };
    assert_eq!(complete("redis-connect-postgres ver").trim(), "verify");
    assert_eq!(complete("redis-connect-postgres verify --rep").trim(), "--repair");
    assert_eq!(complete("redis-connect-postgres dlq li").trim(), "list");
    assert_eq!(complete("redis-connect-postgres run --log-format j").trim(), "json");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn zsh_and_fish_read_theirs() {
    let mut read = 0;
    for shell in ["zsh", "fish"] {
        let file = std::env::temp_dir().join(format!("rcp-completions-{}-{shell}", std::process::id()));
        std::fs::write(&file, printed(&["completions", shell])).unwrap();
        if let Ok(output) = Command::new(shell).arg("-n").arg(&file).output() {
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
            read += 1;
        }
        std::fs::remove_file(file).unwrap();
    }
    if read == 0 {
        skip!("neither zsh nor fish is installed");
    }
}

pub(crate) fn tempdir(name: &str) -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("rcp-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
