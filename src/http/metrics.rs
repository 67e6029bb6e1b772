//! `GET /metrics`: figures for Prometheus, in the format and packing that it takes best.

use std::io::Write as _;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::AppState;
use super::auth::MayRead;
use super::encodings::{Encoding, weight};
use super::error::Problem;
use super::health::SCOPES;
use super::lists::heavy;
use super::query::Params;
use crate::clock;
use crate::events::{Source, Watch};
use crate::metrics::Format;
use crate::metrics::collect::{Facts, WATCHES, collect};
use crate::process::Usage;
use crate::snapshot::Snapshot;

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Figures for Prometheus
///
/// Of the nodes and migrations that this instance answers for, with `scope=fleet` of all; of its loops, its database and its
/// process. The older text format, or OpenMetrics where `Accept` prefers it; packed with gzip where that is accepted.
#[utoipa::path(
    get, path = "/metrics", tag = "metrics", operation_id = "metrics",
    params(super::openapi::MetricsQuery),
    responses(
        (status = 200, description = "All figures, of this moment", content(
            (String = "text/plain; version=0.0.4"),
            (String = "application/openmetrics-text; version=1.0.0"),
        ), headers(("Vary" = String), ("Cache-Control" = String))),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
    ),
)]
pub async fn get(
    _: MayRead,
    State(state): State<AppState>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let fleet = params.word("scope", &SCOPES)? == Some(SCOPES[1]);
    let format = chosen(&headers);
    // Prometheus takes no other packing.
    let packs = Encoding::chosen_of(&headers, &[Encoding::Gzip]) == Encoding::Gzip;
    let snapshot = Snapshot::clone(&state.snapshot());
    let rows = snapshot.nodes.nodes.len() + snapshot.migrations.migrations.len();
    let (body, is_packed) = heavy(rows, move || {
        let text = collect(&facts(&state, snapshot, fleet), format);
        match packs.then(|| packed(&text)) {
            Some(Ok(body)) => (body, true),
            // What cannot be packed is sent as it is.
            _ => (text.into_bytes(), false),
        }
    })
    .await?;
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if is_packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn facts(state: &AppState, snapshot: Snapshot, fleet: bool) -> Facts {
    let (parts, settings) = (&state.0.parts, state.settings());
    let watches = Source::ALL.map(|source| {
        let word = match parts.events.watch(source) {
            Watch::On => WATCHES[0],
            Watch::Polling(_) => WATCHES[1],
            Watch::Off => WATCHES[2],
        };
        (source.label(), word)
    });
    let migrations = state.migrations().map(|_| settings.migrations.interval);
    Facts {
        snapshot,
        gauges: parts.gauges.clone(),
        here: state.here().to_owned(),
        fleet,
        now: clock::now(),
        usage: Usage::now(),
        intervals: [Some(settings.nodes.interval), migrations],
        watches: watches.to_vec(),
        channels: settings.alerts.channels(),
        database_fails: state.store_trouble(),
    }
}

/// The least work: four megabytes of ten thousand nodes become a tenth.
fn packed(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

/// The format that the request takes more gladly; the older one where it does not matter, or where it takes neither
/// (RFC 9110, section 12.5.1).
fn chosen(request: &HeaderMap) -> Format {
    // How exactly it was named, and how much it is wanted.
    let (mut text, mut open) = ((0, 0), (0, 0));
    for value in request.get_all(header::ACCEPT) {
        for part in value.to_str().unwrap_or_default().split(',') {
            let (kind, parameters) = part.split_once(';').unwrap_or((part, ""));
            let kind = kind.trim().to_ascii_lowercase();
            let (version, weight) = (version(parameters), weight_of(parameters));
            let named = |format: &mut (u8, u16), own: &str, group: &str, versions: &str| {
                let exactly = match &*kind {
                    it if it == own && version.is_some_and(|it| it == versions) => 4,
                    it if it == own && version.is_none() => 3,
                    it if it == group => 2,
                    "*/*" => 1,
                    _ => return,
                };
                *format = (*format).max((exactly, weight));
            };
            named(&mut text, "text/plain", "text/*", "0.0.4");
            named(&mut open, OPEN_METRICS, "application/*", "1.0.0");
        }
    }
    if open.1 > text.1 { Format::OpenMetrics } else { Format::Text }
}

fn version(parameters: &str) -> Option<&str> {
    let mut all = parameters.split(';').filter_map(|it| it.trim().split_once('='));
    all.find(|(name, _)| name.eq_ignore_ascii_case("version"))
        .map(|(_, value)| value.trim_matches('"'))
}

fn weight_of(parameters: &str) -> u16 {
    let is_weight = |it: &&str| it.get(..2).is_some_and(|it| it.eq_ignore_ascii_case("q="));
    weight(parameters.split(';').map(str::trim).find(is_weight).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Format::{OpenMetrics, Text};
    use super::*;

    /// What Prometheus sends, 2.42 and 3.
    const PROMETHEUS: [&str; 2] = [
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
         text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;\
         q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
    ];

    #[test]
    fn a_format_is_chosen_by_weight_and_the_older_one_by_default() {
        for (accept, expected) in [
            (PROMETHEUS[0], OpenMetrics),
            (PROMETHEUS[1], OpenMetrics),
            ("*/*", Text),
            ("text/html, */*;q=0.8", Text),
            ("image/png", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text; version=2.0.0", Text),
            ("application/openmetrics-text;q=0.5, text/plain;q=0.6", Text),
            ("application/openmetrics-text;q=0.6, text/plain;version=0.0.4;q=0.5", OpenMetrics),
            ("application/openmetrics-text, text/plain", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/*", OpenMetrics),
            ("*/*, application/openmetrics-text;q=0.2", Text),
            ("*/*;q=0.1, text/plain;q=0", OpenMetrics),
            ("application/openmetrics-text; Q=0.3, */*;q=0.2", OpenMetrics),
        ] {
            let value = HeaderValue::from_str(accept).unwrap();
            let request = HeaderMap::from_iter([(header::ACCEPT, value)]);
            assert_eq!(chosen(&request), expected, "{accept}");
        }
        assert_eq!(chosen(&HeaderMap::new()), Text);
    }
}
