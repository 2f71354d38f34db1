//! Dead letters: shown, replayed, purged.

use super::{Page, chromium};
use crate::harness::World;

/// So many rows whose keys are of another type.
fn refused(page: &Page<'_>, count: u32) {
    for id in 1..=count {
        page.world.redis::<()>(&["SET", &format!("t:{id}"), "x"]);
    }
    page.world.sql(&format!("INSERT INTO t SELECT g, 'v' FROM generate_series(1, {count}) g"));
    page.eventually("they are counted", &format!("text('#dead') === '{count}'"));
    page.eventually("they are listed", &format!("all('#letters tbody tr:not(.details)').length === {count}"));
}

#[test]
fn replays() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let page = Page::open(&installed, &world);
    refused(&page, 3);
    page.eventually("it needs a hand", "text('#health-word') === 'Needs a hand'");
    page.eventually("the newest is first", "text('#letters td[data-label=Row] .name') === '3'");
    assert!(page.look("text('#letters td[data-label=Reason]')").as_str().unwrap().contains("WRONGTYPE"));
    page.click("#letters .action button");
    page.eventually("the row is shown", "/\"v\": \"v\"/.test(text('#letters .details:not([hidden])'))");
    assert_eq!(page.look("one('#letters .action button').ariaExpanded"), "true");
    // Two can be written now.
    world.redis::<()>(&["DEL", "t:1", "t:3"]);
    page.click("#replay");
    page.eventually("what came of it", "/^2 letters replayed.* 1 letter stays/.test(text('#letters-said'))");
    page.eventually("and why", "/public.t 2: .*WRONGTYPE/.test(text('#letters-failed'))");
    assert_eq!(world.hash("t:3")["v"], "v");
    page.eventually("one is left", "all('#letters tbody tr:not(.details)').length === 1");
    world.redis::<()>(&["DEL", "t:2"]);
    page.eventually("the button is ready", "!one('#replay').ariaDisabled");
    page.click("#replay");
    page.eventually("what came of it", "text('#letters-said').startsWith('1 letter replayed')");
    assert_eq!(world.hash("t:2")["v"], "v");
    page.eventually("all is well", "text('#health-word') === 'Healthy' && one('#letters').hidden");
}

#[test]
fn purges() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let page = Page::open(&installed, &world);
    refused(&page, 3);
    page.click("#purge");
    page.eventually("it asks", "one('#ask').open");
    page.click("#ask-no");
    page.eventually("it does not ask any more", "!one('#ask').open && !one('#purge').ariaDisabled");
    assert_eq!(world.redis::<u64>(&["XLEN", &stream(&world)]), 3);
    page.click("#letters .action button");
    page.click("#letters .details .risky");
    page.click("#ask-yes");
    page.eventually("one is gone", "text('#letters-said') === '1 letter removed.'");
    page.eventually("two are left", "all('#letters tbody tr:not(.details)').length === 2");
    assert_eq!(world.redis::<u64>(&["XLEN", &stream(&world)]), 2);
    page.click("#purge");
    page.click("#ask-yes");
    page.eventually(
        "all are gone",
        "text('#letters-said') === '2 letters removed.' && one('#letters').hidden",
    );
    assert_eq!(world.redis::<u64>(&["XLEN", &stream(&world)]), 0);
    // The row was not written.
    assert_eq!(world.redis::<String>(&["GET", "t:3"]), "x");
}

#[test]
fn many_come_by_pages() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let page = Page::open(&installed, &world);
    for id in 1..=60 {
        world.redis::<()>(&["SET", &format!("t:{id}"), "x"]);
    }
    world.sql("INSERT INTO t SELECT g, 'v' FROM generate_series(1, 60) g");
    page.eventually("all are counted", "text('#letters-more') === 'Show older (10 more)'");
    page.click("#letters-more");
    page.eventually("all are shown", "all('#letters tbody tr:not(.details)').length === 60");
    assert_eq!(page.look("one('#letters-more').hidden"), true);
}

fn stream(world: &World) -> String {
    format!("redis-connect-postgres:{}:dlq", world.name)
}
