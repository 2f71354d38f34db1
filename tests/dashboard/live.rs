//! What the page shows of what goes on.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Page, chromium};
use crate::harness::World;

#[test]
fn loads_from_here_alone_and_complains_of_nothing() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)");
    let page = Page::open(&installed, &world);
    page.eventually("it is healthy", "text('#health-word') === 'Healthy'");
    page.eventually("the table is there", "text('#tables tbody th .name') === 'public.t'");
    page.eventually("its snapshot is done", "text('#tables td[data-label=Snapshot]') === 'done'");
    page.eventually("its rows are counted", "text('#tables td[data-label=Read]') === '3'");
    page.eventually("a line is drawn", "one('#chart-rate .line').getAttribute('d').includes('L')");
    page.eventually("events are told", "text('#events tbody').includes('streaming')");
    page.eventually("the log level is known", "one('#level').value === 'info'");
    page.eventually("there are no letters", "text('#letters-none').startsWith('None.')");
    assert_eq!(page.complaints(), Vec::<String>::new());
    // Every request that the browser made; its own start page is of chrome:.
    let mut asked = BTreeSet::new();
    for entry in page.log("performance") {
        let entry: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
        if entry["message"]["method"] == "Network.requestWillBeSent" {
            asked.insert(entry["message"]["params"]["request"]["url"].as_str().unwrap().to_owned());
        }
    }
    assert!(asked.contains(&format!("{}dashboard.js", page.url)), "{asked:#?}");
    assert!(asked.contains(&format!("{}api/v1/live", page.url)), "{asked:#?}");
    let elsewhere: Vec<_> =
        asked.iter().filter(|url| !url.starts_with(&page.url)).filter(|url| !is_local(url)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

fn is_local(url: &str) -> bool {
    url.starts_with("data:") || url.starts_with("chrome:")
}

#[test]
fn counts_while_rows_arrive() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v int)");
    let page = Page::open(&installed, &world);
    world.sql("INSERT INTO t SELECT g, 0 FROM generate_series(1, 1234) g");
    page.eventually("the rows are counted", "text('#tables td[data-label=Inserted]') === '1,234'");
    page.eventually("there is a latency", "text('#latency').endsWith('s')");
    world.sql("UPDATE t SET v = 1 WHERE id <= 7; DELETE FROM t WHERE id > 1200");
    page.eventually("updates are counted", "text('#tables td[data-label=Updated]') === '7'");
    page.eventually("deletes are counted", "text('#tables td[data-label=Deleted] span') === '34'");
    page.eventually("the rate was drawn", "/[1-9][0-9,]* at most/.test(one('#chart-rate svg').ariaLabel)");
    page.eventually("all has come", "text('#rate-total').startsWith('1,275')");
}

/// What the page has is never shown as if it were so now.
#[test]
fn a_lost_connection_is_told() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let mut page = Page::open(&installed, &world);
    page.eventually("it is healthy", "text('#health-word') === 'Healthy'");
    page.connector.kill9();
    page.eventually(
        "it says so",
        "/^No connection for .*(next try in|trying again)/.test(text('#link-text'))",
    );
    assert_eq!(page.look("text('#health-word')"), "Not known");
    assert_eq!(page.look("text('#announce').startsWith('Not known')"), true);
    assert_eq!(page.look("text('#chart-rate .value').endsWith('when last heard of')"), true);
    page.eventually(
        "numbers are dimmed",
        "all('.fresh').every((part) => Number(getComputedStyle(part).opacity) < 0.5)",
    );
    world.sql("INSERT INTO t VALUES (1)");
    page.connector = world.run();
    page.eventually(
        "it is live again",
        "text('#link-text') === 'Live' && text('#health-word') === 'Healthy'",
    );
    page.eventually("of the new process", "text('#tables td[data-label=Inserted]') === '1'");
    page.eventually(
        "and undimmed",
        "all('.fresh').every((part) => Number(getComputedStyle(part).opacity) === 1)",
    );
}

/// A process that is there and says nothing: TCP would wait for a long time.
#[test]
fn a_silent_process_is_told() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let page = Page::open(&installed, &world);
    page.connector.stop();
    page.eventually("it says so", "text('#link-text').startsWith('No connection')");
    page.connector.cont();
    page.eventually("it is live again", "text('#link-text') === 'Live'");
}

#[test]
fn trouble_is_told_in_words() {
    let (installed, world) = (chromium!(), World::own());
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let page = Page::open(&installed, &world);
    world.redis_server().kill9();
    page.eventually("it is in trouble", "text('#health-word') === 'In trouble'");
    page.eventually("why, and when it tries", "/refused.*next try/is.test(text('.notice.bad'))");
    world.redis_server().start_again().unwrap();
    page.eventually("it is healthy again", "text('#health-word') === 'Healthy'");
    assert_eq!(page.look("one('#hand').hidden"), true);
    assert!(page.look("text('#announce')").as_str().unwrap().starts_with("Healthy"));
}
