//! Small screens, darkness, and names that want to be more than text.

use serde_json::json;

use super::{Page, chromium};
use crate::harness::World;

const HOSTILE: &str = "<img src=x onerror=window.hacked=1>";

/// A table, a row and a value with markup in their names, refused by Redis and different from it.
fn hostile(world: &World) {
    world.sql(&format!(
        "CREATE TABLE \"{HOSTILE}\" (\"<b>id</b>\" text PRIMARY KEY, v text); \
         CREATE TABLE with_quite_a_long_name_that_goes_on_until_postgresql_cuts_it_off (id int PRIMARY KEY);"
    ));
}

fn refuse(page: &Page<'_>) {
    let key = format!("{HOSTILE}:{HOSTILE}");
    page.world.redis::<()>(&["SET", &key, "x"]);
    page.world
        .sql(&format!("INSERT INTO \"{HOSTILE}\" VALUES ('{HOSTILE}', '<script>window.hacked=2</script>')"));
    page.eventually("it is a letter", "all('#letters .action button').length === 1");
    page.click("#letters .action button");
    page.eventually("it is open", "!one('#letters .details').hidden");
    page.click("#verify");
    page.eventually("it is compared", "!one('#differences').hidden");
}

#[test]
fn markup_from_the_database_is_text() {
    let (installed, world) = (chromium!(), World::new());
    hostile(&world);
    let page = Page::open(&installed, &world);
    refuse(&page);
    page.click("#tables .action button");
    page.eventually("a dialog with its name", "text('#ask-title').includes('onerror')");
    page.click("#ask-no");
    for place in ["#tables", "#letters", "#letters .details", "#differences", "#ask-title"] {
        let text = page.look(&format!("text('{place}')"));
        assert!(text.as_str().unwrap().contains(HOSTILE), "{place}: {text}");
    }
    page.eventually("the last error is shown", "text('#tables .last-error').includes('WRONGTYPE')");
    assert_eq!(page.look("all('img, b, body script').length"), 0);
    assert_eq!(page.look("window.hacked ?? 'not'"), "not");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn nothing_runs_over_on_a_phone() {
    let (installed, world) = (chromium!(), World::new());
    hostile(&world);
    let page = Page::open(&installed, &world);
    page.size((320, 700), 1.0);
    refuse(&page);
    page.eventually("the last error is shown", "text('#tables .last-error').includes('WRONGTYPE')");
    let over = "all('body *').filter((element) => element.checkVisibility() && !element.closest('.unseen, thead, .skip')) \
                .filter((element) => { const box = element.getBoundingClientRect(); \
                return box.width > 0 && (box.right > 320.5 || box.left < -0.5); }) \
                .map((element) => element.outerHTML.slice(0, 200))";
    for width in [320, 600, 1000, 1001, 1280] {
        page.size((width, 700), 1.0);
        let wide = page.look("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} at {width}");
    }
    page.size((320, 700), 1.0);
    assert_eq!(page.look(over), json!([]));
    page.click("#tables .action button");
    page.eventually("a dialog", "one('#ask').open");
    assert_eq!(page.look(over), json!([]));
}

#[test]
fn light_and_dark_can_be_read() {
    let (installed, world) = (chromium!(), World::new());
    hostile(&world);
    let page = Page::open(&installed, &world);
    refuse(&page);
    page.eventually("it needs a hand", "text('#health-word') === 'Needs a hand'");
    for (scheme, is_it) in [("light", "> 200"), ("dark", "< 50")] {
        page.scheme(scheme);
        page.eventually(
            scheme,
            &format!("Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]) {is_it}"),
        );
        let poor = page.run(CONTRAST, json!([]));
        assert_eq!(poor, json!([]), "{scheme}");
    }
}

/// Texts that have less than 4.5 : 1 against what is behind them, by the rule of WCAG.
const CONTRAST: &str = r"
    const numbers = (colour) => colour.match(/[0-9.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = numbers(colour).map((part) => part / 255)
            .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            const alpha = numbers(colour)[3];
            if (alpha === undefined || alpha === 1) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const poor = [];
    let looked = 0;
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== '');
        if (!own || !element.checkVisibility() || element.closest('.unseen, dialog, option')) continue;
        looked += 1;
        const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) poor.push(`${contrast.toFixed(2)}: ${element.outerHTML.slice(0, 120)}`);
    }
    return looked > 50 ? poor : [`only ${looked} texts`];
";
