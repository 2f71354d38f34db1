//! Manual pages.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::completions::{long_options, tempdir};
use super::help::{all, printed};
use crate::harness::skip;

#[test]
fn every_command_and_option_has_its_place() {
    let directory = tempdir("man");
    assert_eq!(printed(&["man", &directory.to_string_lossy()]), "");
    let help = all();
    let mut expected = BTreeSet::new();
    for (command, help) in &help {
        let name = format!("redis-connect-postgres {command}").trim_end().replace(' ', "-");
        let page = fs::read_to_string(directory.join(format!("{name}.1"))).unwrap();
        let text = page.replace("\\-", "-");
        assert!(text.starts_with(".ie") && text.contains(&format!("\n.TH {name} 1")), "{text}");
        for option in long_options(help) {
            assert!(text.contains(option), "{name}: {option} is missing");
        }
        expected.insert(format!("{name}.1"));
    }
    let files: BTreeSet<String> =
        fs::read_dir(&directory).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, expected);
    let first = fs::read_to_string(directory.join("redis-connect-postgres.1")).unwrap();
    assert_eq!(printed(&["man"]), first);
    let text = first.replace("\\-", "-");
    for command in super::help::commands(&help[""]) {
        assert!(text.contains(&format!("redis-connect-postgres-{command}(1)")), "{command}");
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn pages_are_rendered_without_complaint() {
    let directory = tempdir("rendered");
    printed(&["man", &directory.to_string_lossy()]);
    let mut examples = 0;
    for file in fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        let groff = Command::new("groff").args(["-man", "-Tutf8", "-ww"]).arg(&path).output();
        let Ok(output) = groff else {
            fs::remove_dir_all(directory).unwrap();
            skip!("groff is not installed");
        };
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", path.display());
        // Bold and underlined letters are struck over.
        let text = String::from_utf8(output.stdout).unwrap();
        let letters: Vec<char> = text.chars().collect();
        let kept =
            letters.iter().enumerate().filter(|(i, c)| **c != '\x08' && letters.get(i + 1) != Some(&'\x08'));
        let text: String = kept.map(|(_, c)| c).collect();
        assert!(text.contains("NAME") && text.contains("SYNOPSIS") && text.contains("OPTIONS"), "{text}");
        examples += text.matches("\n       redis-connect-postgres ").count()
            + text.matches("\n         redis-connect-postgres ").count();
    }
    assert!(examples > 15, "{examples}");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_place_that_is_none() {
    let world = crate::harness::World::new();
    let (code, line) = super::failure(&world, &["man", "/dev/null/man"]);
    assert_eq!(code, 1);
    assert!(line.contains("/dev/null/man can't be written: "), "{line}");
}
