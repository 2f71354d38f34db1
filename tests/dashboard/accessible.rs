//! What a screen reader is told: the browser's accessibility tree.

use serde_json::{Value, json};

use super::{Page, chromium};
use crate::harness::World;

/// Roles that nobody can use without a name.
const NAMED: [&str; 16] = [
    "button",
    "link",
    "textbox",
    "searchbox",
    "combobox",
    "checkbox",
    "progressbar",
    "image",
    "table",
    "dialog",
    "heading",
    "columnheader",
    "rowheader",
    "navigation",
    "menuitem",
    "group",
];

#[test]
fn everything_has_a_name_and_a_place() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let page = Page::open(&installed, &world);
    world.redis::<()>(&["SET", "t:1", "x"]);
    world.sql("INSERT INTO t VALUES (1, 'v')");
    page.eventually("a letter", "all('#letters .action button').length === 1");
    page.click("#letters .action button");
    page.click("#verify");
    page.eventually("a difference", "!one('#differences').hidden");
    // As tables, and as cards.
    check(&page);
    page.size((320, 700), 1.0);
    check(&page);
    page.click("#purge");
    page.eventually("a dialog", "one('#ask').open");
    let tree = tree(&page);
    assert_eq!(count(&tree, "dialog"), 1);
    let nameless = nameless(&tree);
    assert!(nameless.is_empty(), "{nameless:#?}");
}

fn tree(page: &Page<'_>) -> Vec<Value> {
    let tree = page.chromium("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().unwrap().iter();
    nodes.filter(|node| node["ignored"] != json!(true)).cloned().collect()
}

fn role(node: &Value) -> &str {
    node["role"]["value"].as_str().unwrap_or_default()
}

fn count(tree: &[Value], wanted: &str) -> usize {
    tree.iter().filter(|node| role(node) == wanted).count()
}

fn nameless(tree: &[Value]) -> Vec<&Value> {
    tree.iter()
        .filter(|node| {
            NAMED.contains(&role(node))
                && node["name"]["value"].as_str().unwrap_or_default().trim().is_empty()
        })
        .collect()
}

#[track_caller]
fn check(page: &Page<'_>) {
    let tree = tree(page);
    let nameless = nameless(&tree);
    assert!(nameless.is_empty(), "{nameless:#?}");
    for landmark in ["banner", "main", "contentinfo", "navigation", "status"] {
        assert_eq!(count(&tree, landmark), 1, "{landmark}");
    }
    assert!(count(&tree, "region") >= 5, "sections have names");
    // Tables, letters, differences, events.
    assert_eq!(count(&tree, "table"), 4);
    assert_eq!(count(&tree, "columnheader"), 10 + 5 + 5 + 4);
    assert!(count(&tree, "cell") > 20, "{}", count(&tree, "cell"));
    assert_eq!(page.look("document.documentElement.lang"), "en");
    assert_eq!(page.look("all('h1').length"), 1);
    assert_eq!(page.look("all('table').every((table) => table.caption?.textContent)"), true);
    assert_eq!(page.look("all('th').every((head) => head.scope)"), true);
    let twice = "all('[id]').map(({ id }) => id).filter((id, at, ids) => ids.indexOf(id) !== at)";
    assert_eq!(page.look(twice), json!([]));
    // What comes once a second is not read aloud.
    assert_eq!(
        page.look(
            "all('[aria-live], [role=status], [role=alert], output').map((live) => live.id || live.className)"
        ),
        json!(["announce", "token-wrong"])
    );
}
