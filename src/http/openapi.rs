//! Everything that can be asked, and its description, which is made from the same list.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use axum::{Router, middleware};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::{Watched, access, comparing, control, health, letters, live, page};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "redis-connect-postgres",
        description = "What a running pipeline does, and what it can be asked for. Times are RFC 3339 in UTC."
    ),
    modifiers(&Bearer),
    security(("token" = []), ()),
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

fn described() -> OpenApiRouter<Arc<Watched>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::scrape))
        .routes(routes!(live::status))
        .routes(routes!(live::events))
        .routes(routes!(live::history))
        .routes(routes!(live::live))
        .routes(routes!(control::configuration))
        .routes(routes!(control::pause))
        .routes(routes!(control::resume))
        .routes(routes!(control::read_again))
        .routes(routes!(control::log_level, control::set_log_level))
        .routes(routes!(letters::list))
        .routes(routes!(letters::replay))
        .routes(routes!(letters::purge))
        .routes(routes!(comparing::begin, comparing::show))
}

pub(super) fn router(watched: Arc<Watched>) -> Router {
    let (router, description) = described().split_for_parts();
    let description = description.to_json().unwrap_or_default();
    router
        .merge(page::routes())
        .route(
            "/api/openapi.json",
            get(move || async move { ([(CONTENT_TYPE, "application/json")], description) }),
        )
        .fallback(|uri: Uri| async move {
            let words = format!("there is nothing at {}; /api/openapi.json lists everything", uri.path());
            ApiError::new(StatusCode::NOT_FOUND, words)
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&watched), access::check))
        .with_state(watched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_described() {
        let (_, description) = described().split_for_parts();
        let json = serde_json::to_value(&description).unwrap();
        for (path, item) in json["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let summary = operation["summary"].as_str().unwrap_or_default();
                assert!(!summary.is_empty(), "{method} {path} says nothing");
            }
        }
        assert!(json["paths"]["/api/v1/status"]["get"].is_object());
        assert_eq!(json["components"]["securitySchemes"]["token"]["scheme"], "bearer");
        // Every schema that is referred to is there.
        let text = json.to_string();
        for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(json["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
