//! The dashboard: a page, its style and its scripts inside the binary, which load nothing from elsewhere.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;
use axum::routing::get;

struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! asset {
    ($kind:ident, $name:literal) => {
        Asset { path: concat!("/", $name), kind: $kind, text: include_str!(concat!("dashboard/", $name)) }
    };
}

const ASSETS: [Asset; 13] = [
    Asset { path: "/", kind: "text/html; charset=utf-8", text: include_str!("dashboard/index.html") },
    asset!(STYLE, "dashboard.css"),
    asset!(STYLE, "tables.css"),
    asset!(SCRIPT, "dashboard.js"),
    asset!(SCRIPT, "api.js"),
    asset!(SCRIPT, "chart.js"),
    asset!(SCRIPT, "dom.js"),
    asset!(SCRIPT, "events.js"),
    asset!(SCRIPT, "health.js"),
    asset!(SCRIPT, "letters.js"),
    asset!(SCRIPT, "tables.js"),
    asset!(SCRIPT, "verify.js"),
    asset!(SCRIPT, "words.js"),
];

/// Whether the path is one of the page's, which show nothing of the data.
pub(super) fn is_asset(path: &str) -> bool {
    ASSETS.iter().any(|asset| asset.path == path)
}

/// Nothing from elsewhere, no script but the file, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(asset.path, get(move || async move { answer(asset) }))
    })
}

fn answer(asset: &'static Asset) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, asset.kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // With another version of the program it is another page.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, asset.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_the_page_asks_for_is_there() {
        let mut asked = 0;
        for asset in &ASSETS {
            let after =
                |mark| asset.text.split(mark).skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
            let local = |name: &&str| name.ends_with(".js") || name.ends_with(".css");
            let names = after("from \"./").chain(after("src=\"")).chain(after("href=\"").filter(local));
            for name in names {
                assert!(is_asset(&format!("/{name}")), "{} asks for {name}", asset.path);
                asked += 1;
            }
        }
        assert!(asked >= ASSETS.len(), "{asked}");
    }

    /// The policy forbids it, so it would not work.
    #[test]
    fn nothing_is_inline_and_nothing_is_markup() {
        for asset in &ASSETS {
            for inline in [" style=", " onclick=", "<style", "innerHTML", "insertAdjacentHTML", "eval("] {
                assert!(!asset.text.contains(inline), "{}: {inline}", asset.path);
            }
        }
    }
}
