//! Who may ask.
//!
//! ```text
//!   request ─> from a page of another site? ─> 403
//!           ─> a name that is not this machine's, and no token? ─> 403   (DNS rebinding)
//!           ─> /healthz, /readyz, the page itself ─> answered: they show nothing of the data
//!           ─> the token is wrong or missing ─> 401
//! ```
//!
//! A browser on this machine sends requests wherever a page that it shows asks it to. Without a token that
//! page must not be able to pause the pipeline, so requests that say that they come from another site
//! are refused, and so are those for a host name that only looks like ours.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::Watched;
use super::error::ApiError;
use crate::config::Secret;

/// What shows nothing but that we are there.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

pub(super) async fn check(State(watched): State<Arc<Watched>>, request: Request, next: Next) -> Response {
    match objection(&watched.http.token, request.method(), request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(refused) => refused.into_response(),
    }
}

fn objection(token: &Secret, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<ApiError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str())).unwrap_or_default();
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if !reads && is_foreign(headers, host) {
        return Some(ApiError::new(StatusCode::FORBIDDEN, "this request comes from another site"));
    }
    if OPEN.contains(&uri.path()) {
        return None;
    }
    let token = match token.read() {
        Ok(None) => {
            let words = "without http.token this is for localhost only: ask for it by its address";
            return (!is_this_machine(host)).then(|| ApiError::new(StatusCode::FORBIDDEN, words));
        }
        // Nothing of the data is in the page; it asks for the token.
        _ if reads && super::page::is_asset(uri.path()) => return None,
        Ok(Some(token)) => token,
        Err(error) => {
            return Some(ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("http.token_file: {error}"),
            ));
        }
    };
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let given = given
        .and_then(|value| value.split_at_checked(7))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    // Compared as digests: how long it takes says nothing about the token.
    let digest = |bytes: &[u8]| Sha256::digest(bytes);
    match given {
        Some((_, given)) if digest(given) == digest(token.expose_secret().as_bytes()) => None,
        Some(_) => Some(ApiError::new(StatusCode::UNAUTHORIZED, "the token is not the one in http.token")),
        None => Some(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "a token is needed: Authorization: Bearer TOKEN, with the one in http.token or http.token_file",
        )),
    }
}

/// A browser says for whose page it asks.
fn is_foreign(headers: &HeaderMap, host: &str) -> bool {
    let text = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or("?"));
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN) else { return false };
    let origin = origin.split_once("://").map_or(origin, |(_, host)| host);
    !origin.eq_ignore_ascii_case(host)
}

/// An address, or a name that always means this machine.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(token: Option<&str>, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut all = HeaderMap::new();
        for (name, value) in [("host", "127.0.0.1:8080")].iter().chain(headers) {
            let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            all.insert(name, value.parse().unwrap());
        }
        let secret = token.map_or(Secret::None, |token| Secret::Value(token.into()));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        objection(&secret, &method, &path.parse().unwrap(), &all)
            .map_or(200, |refused| refused.status().as_u16())
    }

    #[test]
    fn tokens() {
        let good = [("authorization", "Bearer secret")];
        assert_eq!(ask(Some("secret"), "GET", "/metrics", &good), 200);
        assert_eq!(ask(Some("secret"), "GET", "/metrics", &[("authorization", "bearer secret")]), 200);
        for wrong in ["Bearer secre", "Bearer secrets", "Basic secret", "secret", ""] {
            assert_eq!(ask(Some("secret"), "GET", "/metrics", &[("authorization", wrong)]), 401, "{wrong}");
        }
        assert_eq!(ask(Some("secret"), "GET", "/api/v1/status", &[]), 401);
        for open in ["/healthz", "/readyz", "/"] {
            assert_eq!(ask(Some("secret"), "GET", open, &[]), 200, "{open}");
        }
    }

    #[test]
    fn other_sites() {
        let post = |headers: &[(&str, &str)]| ask(None, "POST", "/api/v1/pause", headers);
        assert_eq!(post(&[]), 200);
        assert_eq!(post(&[("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(post(&[("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(post(&[("sec-fetch-site", "same-site")]), 403);
        assert_eq!(post(&[("origin", "http://127.0.0.1:8080")]), 200);
        assert_eq!(post(&[("origin", "http://127.0.0.1:9090")]), 403);
        assert_eq!(post(&[("origin", "null")]), 403);
        let with_token = [("origin", "https://evil.example"), ("authorization", "Bearer secret")];
        assert_eq!(ask(Some("secret"), "POST", "/api/v1/pause", &with_token), 403);
    }

    #[test]
    fn names_that_only_look_like_ours() {
        let host = |name| ask(None, "GET", "/api/v1/status", &[("host", name)]);
        for ours in ["localhost", "localhost:8080", "127.0.0.1", "[::1]:8080"] {
            assert_eq!(host(ours), 200, "{ours}");
        }
        for other in ["evil.example", "evil.example:8080", "localhost.evil.example", ""] {
            assert_eq!(host(other), 403, "{other}");
        }
        // With a token, a proxy may stand in front of us under its own name.
        let headers = [("host", "hr.example"), ("authorization", "Bearer secret")];
        assert_eq!(ask(Some("secret"), "GET", "/api/v1/status", &headers), 200);
    }
}
