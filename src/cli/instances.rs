//! `instances`: who uses this database, by the heartbeats.

use serde_json::{Value, json};

use super::exit::CliError;
use super::json;
use super::output::{Answer, Format, ago};
use super::table::{Kind, Table};
use crate::config::Settings;
use crate::domain::Timestamp;
use crate::store::{InstanceRow, Open, Store};

pub(super) async fn run(
    settings: &Settings,
    format: Format,
    width: u16,
) -> Result<Answer, CliError> {
    let store = Store::open(&settings.database, Open::Existing).await?;
    let fleet = store.fleet().await?;
    store.close().await;
    Ok(shown(&fleet.instances, format, width, Timestamp(fleet.now)))
}

fn shown(rows: &[InstanceRow], format: Format, width: u16, now: Timestamp) -> Answer {
    if format == Format::Json {
        let all: Vec<Value> = rows.iter().map(|row| json::instance(row, now)).collect();
        return Answer::json(&json!({"instances": all}));
    }
    let mut table = Table::new(&[
        ("NAME", Kind::Text),
        ("STATE", Kind::Whole),
        ("VERSION", Kind::Whole),
        ("PID", Kind::Number),
        ("UP", Kind::Number),
        ("BEAT", Kind::Number),
        ("SWEPT", Kind::Number),
        ("NODES", Kind::Number),
        ("LOCKS", Kind::Number),
    ]);
    for row in rows {
        table.row([
            row.name.clone(),
            json::instance_state(row, now).to_owned(),
            row.version.clone(),
            row.pid.to_string(),
            ago(Some(Timestamp(row.since)), now),
            ago(Some(Timestamp(row.last_beat)), now),
            ago(row.swept_at.map(Timestamp), now),
            row.nodes.to_string(),
            row.locks.to_string(),
        ]);
    }
    Answer::ok(table.render(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_ages_in_the_table_and_moments_in_json() {
        let row = InstanceRow {
            name: "n".repeat(128),
            host_id: "h".into(),
            boot_id: "b".into(),
            pid_ns: 1,
            pid: 4_194_304,
            start_ticks: None,
            expires_at: 0,
            lease_ms: 12_500,
            epoch: 1,
            seq: 0,
            swept_db: None,
            window_ms: 94_000,
            version: "0.1.0".into(),
            since: 0,
            last_beat: 119_000,
            swept_at: None,
            swept_up: None,
            tick_ms: 3,
            nodes: 10_000,
            locks: 200,
        };
        let rows = [row];
        let text = shown(&rows, Format::Table, 80, Timestamp(120_000)).text;
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("2 min") && text.contains("1 s"), "{text}");
        let value: Value =
            serde_json::from_str(&shown(&rows, Format::Json, 80, Timestamp(0)).text).unwrap();
        assert_eq!(value["instances"][0]["last_beat"], "1970-01-01T00:01:59+00:00");
        assert_eq!(value["instances"][0]["swept_at"], Value::Null);
    }
}
