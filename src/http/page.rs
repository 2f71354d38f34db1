//! The dashboard: three files inside the binary, which load nothing from elsewhere.

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

const ASSETS: [Asset; 3] = [
    Asset { path: "/", kind: "text/html; charset=utf-8", text: include_str!("dashboard/index.html") },
    Asset {
        path: "/dashboard.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("dashboard/dashboard.css"),
    },
    Asset {
        path: "/dashboard.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("dashboard/dashboard.js"),
    },
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
