//! The token.

use super::browser::Browser;
use super::{Page, chromium};
use crate::harness::World;

#[test]
fn a_wrong_token_is_refused_and_the_right_one_taken() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let page = Page::with(&installed, &world, ", token: right-one");
    page.eventually("it asks", "one('#token').open && document.activeElement.id === 'token-input'");
    assert_eq!(page.look("one('#token-wrong').hidden"), true);
    assert_eq!(page.look("all('#tables tbody tr').length"), 0);
    for wrong in ["wrong-one", "schlüssel"] {
        page.fill("#token-input", wrong);
        page.click("#token button.main");
        page.eventually(
            "it says that it is wrong",
            "one('#token').open && !one('#token-wrong').hidden && one('#token-input').value === ''",
        );
        assert_eq!(page.look("sessionStorage.length"), 0);
        // The next one is told anew.
        page.look("one('#token-wrong').hidden = true");
    }
    page.fill("#token-input", "right-one");
    page.click("#token button.main");
    page.eventually("it is live", "!one('#token').open && text('#link-text') === 'Live'");
    page.eventually("with what there is", "text('#tables tbody th .name') === 'public.t'");
    // It is kept for the tab, and nowhere else.
    assert_eq!(page.look("Object.values(sessionStorage)"), serde_json::json!(["right-one"]));
    assert_eq!(page.look("localStorage.length + document.cookie.length"), 0);
    Browser::open(&page, &page.url);
    page.eventually("it is live at once", "text('#link-text') === 'Live'");
    assert_eq!(page.look("one('#token').open"), false);
}

#[test]
fn without_a_token_nothing_is_shown() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let page = Page::with(&installed, &world, ", token: right-one");
    page.eventually("it asks", "one('#token').open");
    page.click("#token-no");
    page.eventually("it says so", "text('#health-word') === 'Locked' && text('#link-text') === 'No token'");
    page.click("#notices button");
    page.eventually("it asks again", "one('#token').open");
    page.fill("#token-input", "right-one");
    page.click("#token button.main");
    page.eventually("it is live", "text('#link-text') === 'Live'");
    page.eventually("the lock is gone", "one('#hand').hidden");
}
