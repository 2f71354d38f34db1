//! The pictures of the documentation: with `TEST_DASHBOARD_IMAGES=docs/images`, they are written there.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::json;

use super::{Page, chromium};
use crate::harness::World;

/// A shop that is at work, with something in it to see. Draws for a while when the pictures are kept.
#[test]
fn shop() {
    let (installed, world) = (chromium!(), World::new());
    let kept = std::env::var_os("TEST_DASHBOARD_IMAGES");
    world.sql(
        "CREATE TABLE customers (id int PRIMARY KEY, name text); \
         CREATE TABLE orders (id int PRIMARY KEY, customer int, total numeric); \
         CREATE TABLE order_items (order_id int, line int, product text, PRIMARY KEY (order_id, line)); \
         CREATE TABLE products (id int PRIMARY KEY, title text, price numeric); \
         INSERT INTO customers SELECT g, 'Customer ' || g FROM generate_series(1, 500) g; \
         INSERT INTO products SELECT g, 'Product ' || g, g FROM generate_series(1, 200) g",
    );
    let page = Page::open(&installed, &world);
    let mut next = 0;
    let mut work = |rows: u32| {
        let (first, last) = (next + 1, next + rows);
        next = last;
        world.sql(&format!(
            "INSERT INTO orders SELECT g, g % 500, g FROM generate_series({first}, {last}) g; \
             INSERT INTO order_items SELECT g, 1, 'Product' FROM generate_series({first}, {last}) g; \
             UPDATE customers SET name = name || '.' WHERE id = {first} % 500"
        ));
    };
    // As long as there is a line to be seen.
    let long = Duration::from_secs(if kept.is_some() { 100 } else { 1 });
    let began = Instant::now();
    while began.elapsed() < long {
        let swell =
            (began.elapsed().as_secs_f64() / 9.0).sin() + (began.elapsed().as_secs_f64() / 3.1).sin() / 3.0;
        work((20.0 + 12.0 * swell) as u32);
        std::thread::sleep(Duration::from_millis(50));
    }
    for id in [17, 42] {
        world.redis::<()>(&["DEL", &format!("products:{id}")]);
        world.redis::<()>(&["SET", &format!("products:{id}"), "x"]);
    }
    world.sql("UPDATE products SET price = price + 1 WHERE id IN (17, 42)");
    page.eventually("two letters", "all('#letters .action button').length === 2");
    page.click("#verify");
    page.eventually("compared", "!one('#differences').hidden");
    page.eventually("ready", "!one('#verify').ariaDisabled");
    work(30);
    page.eventually("it works", "text('#health-word') === 'Needs a hand'");
    page.look("scrollTo(0, 0), document.activeElement.blur()");
    for (name, (width, height), scheme) in [
        ("dashboard-light", (1280, None), "light"),
        ("dashboard-dark", (1280, None), "dark"),
        ("dashboard-phone", (360, Some(780)), "light"),
    ] {
        page.scheme(scheme);
        page.size((width, 900), if width < 600 { 2.0 } else { 1.0 });
        // Two frames later it is drawn so.
        page.look("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))");
        let whole = page.look("document.documentElement.scrollHeight").as_u64().unwrap();
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height.unwrap_or(whole), "scale": 1 });
        let shot = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = page.chromium("Page.captureScreenshot", shot);
        let picture =
            base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{name}: {} bytes", picture.len());
        if let Some(directory) = &kept {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(format!("{name}.png")), picture).unwrap();
        }
    }
}
