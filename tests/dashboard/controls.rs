//! The buttons.

use super::browser::{ENTER, ESCAPE, TAB};
use super::{Page, chromium};
use crate::harness::World;

/// While the history grows by two seconds of pause, nothing comes; all comes afterwards.
#[track_caller]
fn expect_a_real_pause(page: &Page<'_>) {
    let world = page.world;
    world.sql("INSERT INTO t VALUES (2)");
    let paused = "fetch('api/v1/history').then((answer) => answer.json()) \
                  .then((samples) => samples.filter(({ state }) => state === 'paused').length)";
    let before = page.look(paused).as_u64().unwrap();
    world.eventually("two more seconds of pause", || page.look(paused).as_u64().unwrap() >= before + 2);
    assert!(!world.redis::<bool>(&["EXISTS", "t:2"]), "{}", world.story());
    assert!(page.look("text('.notice.paused')").as_str().unwrap().starts_with("It is paused."));
}

#[test]
fn pause_and_resume() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let page = Page::open(&installed, &world);
    world.sql("INSERT INTO t VALUES (1)");
    world.eventually("rows come", || world.redis(&["EXISTS", "t:1"]));
    page.click("#pause");
    page.eventually("it is paused", "text('#health-word') === 'Paused' && text('#pause') === 'Resume'");
    page.eventually("and says so once", "text('#announce').startsWith('Paused.')");
    expect_a_real_pause(&page);
    page.click("#pause");
    page.eventually("it goes on", "text('#health-word') === 'Healthy' && text('#pause') === 'Pause'");
    world.eventually("what was written meanwhile comes", || world.redis(&["EXISTS", "t:2"]));
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn by_keyboard() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let page = Page::open(&installed, &world);
    let focused = "document.activeElement.id";
    page.press(TAB);
    assert_eq!(page.look("document.activeElement.className"), "skip");
    page.press(TAB);
    assert_eq!(page.look(focused), "pause");
    let ring = "getComputedStyle(document.activeElement).outlineStyle !== 'none' \
                && parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2";
    assert_eq!(page.look(ring), true);
    page.press(ENTER);
    page.eventually("it is paused", "text('#health-word') === 'Paused'");
    expect_a_real_pause(&page);
    // It stays where it was.
    assert_eq!(page.look(focused), "pause");
    page.eventually("the button is ready", "!one('#pause').ariaDisabled");
    page.press(" ");
    page.eventually("it goes on", "text('#health-word') === 'Healthy'");
    // Down the page in the order in which it is read, and into a dialog and out of it.
    let mut order = Vec::new();
    while order.last().is_none_or(|last| last != "Read public.t again") {
        page.press(TAB);
        let name = page.look("document.activeElement.ariaLabel || document.activeElement.id");
        order.push(name.as_str().unwrap().to_owned());
        assert!(order.len() < 10, "{order:?}");
    }
    assert_eq!(order, ["tables-find", "tables-which", "Read public.t again"]);
    page.press(ENTER);
    page.eventually("it asks", "one('#ask').open && one('#ask').contains(document.activeElement)");
    page.press(ESCAPE);
    page.eventually("it does not ask any more", "!one('#ask').open");
    assert_eq!(page.look("document.activeElement.ariaLabel"), "Read public.t again");
}

#[test]
fn reads_a_table_again() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
    let page = Page::open(&installed, &world);
    page.eventually("the table is there", "text('#tables td[data-label=Read]') === '2'");
    world.redis::<()>(&["DEL", "t:1"]);
    page.click("#tables .action button");
    page.click("#ask-no");
    page.eventually("the dialog is closed", "!one('#ask').open");
    page.click("#tables .action button");
    page.eventually("it says which", "text('#ask-title') === 'Read public.t again?'");
    page.click("#ask-yes");
    world.eventually("it is read again", || world.redis(&["EXISTS", "t:1"]));
    page.eventually(
        "and counted: once, as the first was not meant",
        "text('#tables td[data-label=Read]') === '4'",
    );
}

#[test]
fn log_level() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let page = Page::open(&installed, &world);
    page.eventually("it is known", "one('#level').value === 'info' && !one('#level').disabled");
    page.choose("#level", "debug");
    page.eventually("it is told", "text('#level-said').startsWith('Log level is debug')");
    page.eventually(
        "it is so",
        "fetch('api/v1/log-level').then((a) => a.json()).then(({ level }) => level === 'debug')",
    );
}

#[test]
fn verifies_and_mends() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 50) g");
    let page = Page::open(&installed, &world);
    page.click("#verify");
    page.eventually("all is equal", "text('#verify-said').endsWith('50 rows in 1 table compared: equal.')");
    world.redis::<()>(&["HSET", "t:7", "v", "another"]);
    world.redis::<()>(&["DEL", "t:8"]);
    page.eventually("the button is ready", "!one('#verify').ariaDisabled");
    page.click("#verify");
    page.eventually("two differ", "text('#verify-said').endsWith(': 2 different.')");
    let rows = "all('#differences tbody tr').map((row) => [...row.cells].map((cell) => cell.textContent).join('|')).sort()";
    assert_eq!(
        page.look(rows),
        serde_json::json!(["public.t|t:7|another value: v|v|another", "public.t|t:8|the key is missing|–|–"])
    );
    page.click("#repair");
    page.eventually("it asks", "one('#ask').open");
    page.click("#ask-yes");
    page.eventually("they are mended", "text('#verify-said').endsWith(': 2 different, 2 mended.')");
    assert_eq!(world.hash("t:7")["v"], "v");
    page.eventually("the button is ready", "!one('#repair').ariaDisabled && !one('#verify').ariaDisabled");
    page.click("#verify");
    page.eventually("all is equal", "text('#verify-said').endsWith('compared: equal.')");
    assert_eq!(page.look("one('#differences').hidden"), true);
}
