//! Two thousand tables, told by a stand-in for the process: what matters is how much of the page is touched.

use serde_json::json;

use super::browser::Browser;
use super::{Page, chromium};
use crate::harness::World;

/// Answers the live stream from `window.tell(tick)`; everything else as ever.
const STAND_IN: &str = r"
    const real = window.fetch;
    const tables = Array.from({ length: 2000 }, (_, at) => ({
        name: `public.t${String(at).padStart(4, '0')}`,
        outputs: [{ type: 'hash', key: '{table}:{pk}' }],
        rows: { read: at, inserted: 0, updated: 0, deleted: 0, truncated: 0 },
        rows_per_second: 0,
        snapshot: { rows: at, expected: at, done: true },
        converging: false,
        dead_letters: 0,
    }));
    window.tables = tables;
    window.fetch = async (path, options) => {
        if (!String(path).endsWith('api/v1/live')) return real(path, options);
        const status = await (await real('api/v1/status')).json();
        const body = new ReadableStream({
            start(controller) {
                window.tell = (changed) => {
                    const tick = { status: { ...status, tables: changed }, gone: [], sample: null, events: [] };
                    controller.enqueue(new TextEncoder().encode(`event: tick\ndata: ${JSON.stringify(tick)}\n\n`));
                };
                window.tell(tables);
            },
        });
        return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
    };
";

#[test]
fn two_thousand_tables() {
    let (installed, world) = (chromium!(), World::new());
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let page = Page::open(&installed, &world);
    page.chromium("Page.enable", json!({}));
    page.chromium("Page.addScriptToEvaluateOnNewDocument", json!({ "source": STAND_IN }));
    Browser::open(&page, &page.url);
    page.eventually("they are counted", "text('#tables-count') === '2,000 tables, the first 100 shown'");
    assert_eq!(page.look("all('#tables tbody tr').length"), 100);
    page.look(
        "window.touched = [], new MutationObserver((records) => window.touched.push(...records.map(({ target }) => \
         (target.closest ? target : target.parentElement).closest('tr')?.querySelector('.name').textContent ?? 'all'))) \
         .observe(one('#tables tbody'), { childList: true, subtree: true, characterData: true, attributes: true })",
    );
    // One that is shown, and one that is not.
    page.look("tables[3].rows.inserted = 5, tables[1500].rows.inserted = 7, tell([tables[3], tables[1500]])");
    page.eventually("it is shown", "all('#tables td[data-label=Inserted]')[3].textContent === '5'");
    assert_eq!(page.look("[...new Set(touched)]"), json!(["public.t0003"]));
    page.fill("#tables-find", "T1500");
    page.eventually("it is found", "text('#tables-count') === '1 table of 2,000'");
    assert_eq!(page.look("text('#tables td[data-label=Inserted]')"), "7");
    page.fill("#tables-find", "t1");
    page.eventually(
        "a part of them",
        "text('#tables-count') === '1,000 tables of 2,000, the first 100 shown'",
    );
    page.click("#tables-more");
    page.eventually("more of them", "all('#tables tbody tr').length === 200");
    page.look("tables[2].last_error = { time: new Date().toISOString(), error: 'no' }, tell([tables[2]])");
    page.fill("#tables-find", "");
    page.choose("#tables-which", "errors");
    page.eventually(
        "those with errors",
        "text('#tables tbody') && text('#tables-count') === '1 table of 2,000'",
    );
    assert_eq!(page.look("text('#tables tbody .name')"), "public.t0002");
}
