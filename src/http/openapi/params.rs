//! Parameters and bodies of requests, as the description has them. The code that reads them is beside the handlers.

#![allow(dead_code)] // These types exist for their derives only.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::words::{End, MigrationState, NodeKind, NodeMethod, NodeTls};

/// `{id}` of a node.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct NodePath {
    /// The node's id (digits) or its name, percent-encoded.
    #[param(min_length = 1, max_length = 128, example = "main-node")]
    id: String,
}

/// `?method=`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MethodQuery {
    /// Check now, this way; any other word is a 400.
    #[param(inline)]
    method: Option<NodeMethod>,
}

/// `If-None-Match`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IfNoneMatch {
    /// Marks of bodies that the client has, or `*`.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// A page of a history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most this many; 100 if absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// The `next` of the page before.
    #[param(pattern = r"^([0-9]{1,18}\.[0-9]{1,18}\.([A-Za-z0-9]|%[0-9A-F]{2})*)?$")]
    before: Option<String>,
}

/// Which events are told.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// `observed`, `flip`, or both with a comma; any other word is a 400.
    #[param(example = "flip", pattern = "^(observed|flip)?(,(observed|flip)?)*$")]
    kinds: Option<String>,
    /// `node`, `migration`, or both with a comma; any other word is a 400.
    #[param(example = "node", pattern = "^(node|migration)?(,(node|migration)?)*$")]
    subjects: Option<String>,
    /// Only this node: its id (digits) or its name. With `migration` both are told.
    #[param(max_length = 128)]
    node: Option<String>,
    /// Only this `brz_project_id`.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    migration: Option<i64>,
}

/// `Last-Event-ID`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct LastEventId {
    /// The last `id:` that the client was told, as it was: what it missed since is told first.
    #[param(rename = "Last-Event-ID")]
    last_event_id: Option<String>,
}

/// `{id}` of a migration.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct MigrationPath {
    /// `brz_project_id`: a whole number from 1 to 2^53-1, in decimal digits; anything else is a 400.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 23_131_991)]
    id: i64,
}

/// `?mb_project_uuid=`, where the id alone is not enough.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UuidQuery {
    /// Which of several migrations with this id. A read without it takes the newest by `created_at`; a write is
    /// then 409 `ambiguous`.
    #[param(max_length = 64, pattern = r"^([!-.0-~]([ -.0-~]*[!-.0-~])?)?$")]
    mb_project_uuid: Option<String>,
}

/// `?force=`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ForceQuery {
    /// Remove the lock although its process lives.
    #[param(inline)]
    force: Option<Flag>,
}

/// What turns a flag on and off.
#[derive(Serialize, ToSchema)]
pub enum Flag {
    /// On.
    #[serde(rename = "true")]
    True,
    /// Off.
    #[serde(rename = "false")]
    False,
    /// On.
    #[serde(rename = "1")]
    One,
    /// Off.
    #[serde(rename = "0")]
    Zero,
}

/// Filters and pages of `GET /migrations`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MigrationFilters {
    /// A status; `success` also finds `completed`. An unknown word finds nothing.
    #[param(example = "in_progress")]
    status: Option<String>,
    /// A part of the uuid.
    mb_project_uuid: Option<String>,
    /// Exactly this id; anything but a whole number within the bounds is a 400.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    brz_project_id: Option<i64>,
    /// What is seen; an unknown word is a 400.
    #[param(inline)]
    state: Option<MigrationState>,
    /// At most this many; without it all.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<i64>,
    /// The `next` of the page before.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    after: Option<i64>,
}

/// What may be said of a node.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeFields {
    /// Unique; no `/`, no control characters, no space at the ends, not `.`, `..`, `status` or all digits.
    /// Required for a new node.
    #[schema(
        min_length = 1,
        max_length = 128,
        nullable = false,
        pattern = r"^(?!([0-9]+|\.{1,2}|status)$)[^\s/\x00-\x1f\x7f-\x9f]([^/\x00-\x1f\x7f-\x9f]*[^\s/\x00-\x1f\x7f-\x9f])?$"
    )]
    name: Option<String>,
    /// What people call it.
    #[schema(max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    title: Option<String>,
    /// Host name or address, without scheme or port; `127.0.0.1` for a new node.
    #[schema(
        min_length = 1,
        max_length = 255,
        nullable = false,
        pattern = r"^(?![\[\]]*$)[^ /@?#\x00-\x1f\x7f-\x9f]+$"
    )]
    host: Option<String>,
    /// Required for a new node.
    #[schema(minimum = 1, maximum = 65535, nullable = false)]
    port: Option<u16>,
    /// What it serves; `monero-wallet-rpc` for a new node. Another kind than before forgets the five fields below.
    #[schema(nullable = false, value_type = NodeKind, required = false)]
    kind: Option<String>,
    /// The JSON-RPC method that is called. Kind `json-rpc` needs it, no other takes it.
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    rpc_method: Option<String>,
    /// Path, and query, of the URL: `/json_rpc` for kind `json-rpc` and `/` for kind `http` if absent; no other takes it.
    /// Whoever may read sees it.
    #[schema(pattern = "^/[!-\"$-~]*$", max_length = 1024)]
    path: Option<String>,
    /// The HTTP statuses that are right, as codes and ranges of them; `200-299` if absent. Kind `http` only.
    #[schema(
        max_length = 255,
        example = "200-299,401",
        pattern = "^[2-5][0-9]{2}(-[2-5][0-9]{2})?(,[2-5][0-9]{2}(-[2-5][0-9]{2})?)*$"
    )]
    expect_status: Option<String>,
    /// A JSON pointer (RFC 6901) to what must be in the result (`json-rpc`) or in the body (`http`); no other kind takes it.
    #[schema(pattern = r"^/([^~\x00-\x1f\x7f-\x9f]|~[01])*$", max_length = 255)]
    expect_field: Option<String>,
    /// What must stand there: the text, or the number, true, false or null of that spelling. Needs `expect_field`.
    #[schema(max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    expect_value: Option<String>,
    /// Whether and how TLS is spoken; `off` for a new node.
    #[schema(nullable = false, value_type = NodeTls, required = false)]
    tls: Option<String>,
    /// User of the RPC login.
    #[schema(max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    username: Option<String>,
    /// Password of the RPC login; never given back. Or where it is to be found, looked up at each login: `env:NAME`, a
    /// variable of procwarden's environment, or `file:/PATH`, a file that it can read. A password that begins like that is
    /// written with `text:` before it.
    #[schema(
        max_length = 255,
        write_only,
        pattern = "^(env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\\x00-\\x1f\\x7f-\\x9f]*|(?!env:|file:)[^\\x00-\\x1f\\x7f-\\x9f]*)$"
    )]
    password: Option<String>,
    /// Address of the daemon it uses; shown only.
    #[schema(max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    daemon: Option<String>,
    /// Its PID; not together with `pid_file`.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    pid: Option<i64>,
    /// A file with its PID.
    #[schema(min_length = 1, max_length = 4096)]
    pid_file: Option<String>,
    /// File name of its program; null: any will do. A new node's is that of its kind: `monero-wallet-rpc`, `monerod`, any.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    process_name: Option<String>,
    /// Whether it is checked and counted.
    #[schema(nullable = false)]
    available: Option<bool>,
    /// The instance that answers for it, or `any`; null: where it was registered if it has a PID, a PID file or a
    /// loopback host, else any.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^(?!([0-9]+|\.{1,2}|status)$)[^\s/\x00-\x1f\x7f-\x9f]([^/\x00-\x1f\x7f-\x9f]*[^\s/\x00-\x1f\x7f-\x9f])?$"
    )]
    instance: Option<String>,
    /// Until then it makes no alerts; null ends the maintenance.
    #[schema(format = DateTime)]
    maintenance_until: Option<String>,
}

/// A node that is not there yet: as [`NodeFields`], name and port required.
#[derive(Serialize, ToSchema)]
pub struct NewNode {}

/// A runner's word about its end.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportFields {
    /// How the run ended.
    #[schema(value_type = End, example = "completed")]
    status: String,
    /// Why, for people; kept with `error` only.
    #[schema(max_length = 4096)]
    error: Option<String>,
    /// The run that is meant.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    run: Option<i64>,
    /// Which of several migrations with this id; also lets a run be reported that was never seen.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[!-.0-~]([ -.0-~]*[!-.0-~])?$")]
    mb_project_uuid: Option<String>,
}

/// What a session is made of.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionFields {
    /// `server.read_token` or `server.token`.
    #[schema(min_length = 1)]
    token: String,
}

/// `?scope=`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ScopeQuery {
    /// Which nodes count; `health.scope` of the configuration if absent.
    #[param(inline)]
    scope: Option<ScopeWord>,
}

/// `?scope=` of `/metrics`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MetricsQuery {
    /// Whose nodes and migrations are told; those of this instance if absent.
    #[param(inline)]
    scope: Option<ScopeWord>,
}

/// Whose nodes count.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopeWord {
    /// The ones that this instance answers for.
    Instance,
    /// Those of every instance.
    Fleet,
}

/// Parameters of `/readyz`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReadyQuery {
    /// List the components.
    #[param(inline)]
    verbose: Option<Flag>,
    /// Components that do not count, divided by commas.
    #[param(pattern = "^,*((nodes|migrations|database|server)(,+|$))*$")]
    exclude: Option<String>,
    /// Components that must be `ok`.
    #[param(pattern = "^,*(database(,+|$))*$")]
    require: Option<String>,
}
