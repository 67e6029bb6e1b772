//! The description of this API, made from the handlers and the bodies themselves.

mod health;
mod params;
pub mod words;

use std::collections::BTreeMap;

use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Ref, RefOr, Required};
use utoipa::{Modify, OpenApi, ToResponse, ToSchema};

use super::error::ProblemBody;
use super::session;

pub use params::*;

macro_rules! problems {
    ($($(#[doc = $doc:literal])* $name:ident;)+) => {
        $(
            $(#[doc = $doc])*
            #[derive(Serialize, ToResponse, ToSchema)]
            #[response(content_type = "application/problem+json")]
            #[allow(dead_code)] // Read by the derive only.
            pub struct $name(ProblemBody);
        )+
    };
}

problems! {
    /// A parameter or the body is not as it must be: `invalid_parameter`, `invalid_field` or `invalid_body`; `detail`
    /// names it and what is allowed.
    BadRequest;
    /// `unauthorized`: no bearer token, or a wrong one; `detail` says where one is needed that was not before.
    Unauthorized;
    /// `writes_disabled`: no token is configured.
    WritesDisabled;
    /// `writes_disabled`, or `lock_denied`: the directory may not be written.
    LockDenied;
    /// `not_found`, `no_lock` or `migrations_off`.
    NotFound;
    /// `method_not_allowed`; `Allow` lists what is.
    MethodNotAllowed;
    /// `duplicate_name`: another node has this name; or `adopted`: the nodes are those of the table that `adopt.nodes`
    /// names, and what stands there is changed there.
    NodeConflict;
    /// `adopted`: the node is one of the table that `adopt.nodes` names; it is removed there.
    NodeAdopted;
    /// `ambiguous` (with `uuids`), `already_finished`, `run_mismatch`, `process_alive`, `lock_changed`, `not_here` (with
    /// `instance`), `migrations_off` or `shadow`.
    MigrationConflict;
    /// `body_too_large`: more than 64 KiB.
    TooLarge;
    /// `unsupported_media_type`: the body is not JSON.
    WrongType;
    /// `body_timeout`: the body did not come within five seconds.
    BodyTimeout;
    /// `rate_limited`: this client asks more often than `server.rate` allows; or `too_many_requests`: too many looks and
    /// questions to the database are under way, whoever asked for them. `Retry-After` says when to come back.
    TooManyRequests;
    /// `too_many_listeners`; `Retry-After` says when to come back.
    TooManyListeners;
    /// `database_unavailable`, `locks_unreadable` or `timeout`; `Retry-After` says when to come back.
    Unavailable;
}

/// Members that are left out where there is nothing to say; every other member of an answer is there, null at worst.
const LEFT_OUT: [(&str, &[&str]); 14] = [
    ("Changes", &["error", "status_updated_at", "monitor_updated"]),
    ("Components", &["migrations_trouble", "events_trouble", "alerts_trouble"]),
    ("EventData", &["name", "mb_project_uuid"]),
    ("Health", &["note"]),
    ("ExitBody", &["code", "signal"]),
    ("MigrationBody", &["live"]),
    ("MigrationList", &["next"]),
    ("MigrationRow", &["exit", "turns_at", "stalled_since", "live"]),
    ("MigrationStatus", &["exit", "turns_at", "stalled_since", "live"]),
    ("ProcessReport", &["live"]),
    ("MigrationTurn", &["exit"]),
    ("NodeBody", &["rpc_method", "path", "expect_status", "expect_field", "expect_value"]),
    ("PredicateBody", &["threshold"]),
    ("Readiness", &["components"]),
];

/// Bodies of requests, whose members are required as they say themselves.
const REQUESTS: [&str; 4] = ["NewNode", "NodeFields", "ReportFields", "SessionFields"];

/// The health routes, which know no limit.
const UNCOUNTED: [&str; 4] = ["/health", "/livez", "/readyz", "/nodes/{id}/health"];

/// What the layers before the handlers answer: who asks too often, or sends too slowly.
fn limited(item: &mut PathItem) {
    let all = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
    for operation in all.into_iter().flatten() {
        let responses = &mut operation.responses.responses;
        let named = |name: &str| RefOr::Ref(Ref::from_response_name(name));
        responses.insert("429".to_owned(), named("TooManyRequests"));
        if operation.request_body.is_some() {
            responses.insert("408".to_owned(), named("BodyTimeout"));
        }
    }
}

/// What the derives cannot say.
struct Finish;

impl Modify for Finish {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", scheme);
        let what = "What `POST /session` sets; lets read.";
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description(session::NAME, what));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
        for (path, item) in &mut openapi.paths.paths {
            if !UNCOUNTED.contains(&path.as_str()) {
                limited(item);
            }
        }
        for (name, schema) in &mut components.schemas {
            let RefOr::T(Schema::Object(object)) = schema else { continue };
            if REQUESTS.contains(&name.as_str()) {
                continue;
            }
            let left_out = LEFT_OUT.iter().find(|(it, _)| it == name).map_or(&[][..], |it| it.1);
            let members = object.properties.keys();
            object.required =
                members.filter(|it| !left_out.contains(&it.as_str())).cloned().collect();
        }
        new_node(&mut components.schemas);
        for (path, item) in &mut openapi.paths.paths {
            let operations = [&mut item.get, &mut item.options, &mut item.head, &mut item.delete];
            operations.into_iter().flatten().for_each(empty_words);
            if path == "/session"
                && let Some(RefOr::T(body)) =
                    item.post.as_mut().and_then(|it| it.request_body.as_mut())
            {
                body.required = Some(Required::False);
            }
        }
    }
}

/// A new node is said as any other, but has to have a name and a port.
fn new_node(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let Some(RefOr::T(Schema::Object(fields))) = schemas.get("NodeFields") else { return };
    let mut fields = fields.clone();
    fields.description = Some("A node that is not there yet.".to_owned());
    fields.required = vec!["name".to_owned(), "port".to_owned()];
    schemas.insert("NewNode".to_owned(), Schema::Object(fields).into());
}

/// Words that may be left empty, as a form sends what is not chosen; an empty `method` is a 400.
fn empty_words(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        if let ("scope" | "state" | "force" | "verbose", Some(RefOr::T(Schema::Object(word)))) =
            (parameter.name.as_str(), parameter.schema.as_mut())
        {
            word.enum_values.iter_mut().for_each(|words| words.push("".into()));
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "procwarden",
        description = "Whether nodes work and what became of migrations. A GET observes; it writes nothing and \
            removes nothing. Every error is an RFC 9457 problem. Every route is also served under each of \
            `server.base_paths`. Reads other than the health routes, this description and the dashboard's own files \
            need `server.read_token`, `server.token`, or the cookie that `POST /session` makes of one of them, \
            unless no read token is set and the request comes directly (without `Forwarded`, `X-Forwarded-*`, \
            `X-Real-IP`, `Via`) to a loopback address, or it comes from one of `server.trusted_proxies`, or \
            `server.open_reads` is true.",
    ),
    tags(
        (name = "health", description = "For load balancers and supervisors. GET, HEAD and OPTIONS give the same code."),
        (name = "nodes", description = "Long-running RPC processes."),
        (name = "migrations", description = "Batch jobs that announce themselves with a lock file."),
        (name = "events", description = "What happens, as it happens."),
        (name = "metrics", description = "Figures for Prometheus."),
        (name = "adoption", description = "What was there before, and is watched beside ours."),
        (name = "dashboard", description = "The page for people, and its session where reads need a token."),
        (name = "fleet", description = "The instances that share a database. Each answers for all of them."),
    ),
    paths(
        health::health, health::health_head, health::health_options,
        health::node_health, health::livez, health::readyz,
        super::nodes_status::get, super::node_status::get,
        super::nodes::list, super::nodes::create, super::nodes::get, super::nodes::update, super::nodes::remove,
        super::migrations::list, super::migrations::get, super::migrations::status,
        super::history::node, super::history::migration, super::events::get, super::metrics::get, super::adopt::get, super::instances::list, super::migration_process::get, super::migration_writes::report, super::migration_writes::take_lock,
        super::dashboard::page, super::dashboard::part, super::session::open, super::session::close,
        get,
    ),
    components(schemas(ProblemBody), responses(
        BadRequest, Unauthorized, WritesDisabled, LockDenied, NotFound, MethodNotAllowed, NodeConflict,
        NodeAdopted, MigrationConflict, TooLarge, WrongType, BodyTimeout, TooManyRequests, TooManyListeners,
        Unavailable,
    )),
    modifiers(&Finish),
)]
struct Api;

/// The description as YAML: what `GET /openapi.yaml` and `procwarden openapi` give. It is the file at the top level, so
/// that the program carries a text instead of what makes it.
pub const OPENAPI: &str = include_str!("../../../openapi.yaml");

/// What [`OPENAPI`] must be, made from the handlers and the bodies.
#[must_use]
pub fn described() -> String {
    // The writer follows YAML 1.2; a reader of YAML 1.1 would take a bare `off` for false.
    Api::openapi().to_yaml().unwrap_or_default().replace(" off\n", " 'off'\n")
}

/// This description
#[utoipa::path(
    get, path = "/openapi.yaml", tag = "health", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/yaml")),
)]
pub async fn get() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"))], OPENAPI)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_reference_leads_somewhere() {
        let text = super::OPENAPI;
        let mut seen = 0;
        for (at, _) in text.match_indices("'#/components/") {
            let path = text[at + 1..].split('\'').next().unwrap_or_default();
            let name = path.rsplit('/').next().unwrap_or_default();
            assert!(text.contains(&format!("\n    {name}:\n")), "{path}");
            seen += 1;
        }
        assert!(seen > 50);
    }

    #[test]
    fn the_committed_description_is_the_one_that_is_served() {
        let described = super::described();
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml"), described)
                .unwrap();
            return;
        }
        let hint = "run `UPDATE_OPENAPI=1 cargo test --lib openapi`";
        assert!(super::OPENAPI == described, "openapi.yaml is not what the code says: {hint}");
    }
}
