//! `migrations`: the recorded rows, and what the monitor would do about the locks. Writes nothing.

use serde_json::{Value, json};

use super::args::MigrationsCommand;
use super::exit::CliError;
use super::json;
use super::output::{Answer, Format, ago, dash, or_dash};
use super::table::{Kind, Table, cut, listing};
use crate::clock;
use crate::config::Settings;
use crate::domain::migration::{Migration, Reason, Source, State, Status};
use crate::process::Processes;
use crate::reconciler::migrations::{Inspection, RequestError, dry_run};
use crate::store::{Open, Store, StoreError};

pub(super) async fn run(
    settings: &Settings,
    command: MigrationsCommand,
    width: u16,
) -> Result<Answer, CliError> {
    match command {
        MigrationsCommand::List { status, state, output } => {
            let rows = rows(settings).await?;
            Ok(list(&rows, status, state, output.output, width))
        }
        MigrationsCommand::Show { id, output } => {
            let rows = rows(settings).await?;
            show(&rows, id, output.output, width)
        }
        MigrationsCommand::Check { dry_run: false, .. } => Err(CliError::Usage(
            "migrations check only explains: add --dry-run (the running server is what acts)"
                .to_owned(),
        )),
        MigrationsCommand::Check { id, output, .. } => {
            check(settings, id, output.output, width).await
        }
    }
}

async fn rows(settings: &Settings) -> Result<Vec<Migration>, CliError> {
    let store = Store::open(&settings.database, Open::Existing).await?;
    let rows = store.migrations().await?.into_iter().map(|stored| stored.row).collect();
    store.close().await;
    Ok(rows)
}

fn list(
    rows: &[Migration],
    status: Option<Status>,
    state: Option<State>,
    format: Format,
    width: u16,
) -> Answer {
    let wanted: Vec<&Migration> = rows
        .iter()
        .filter(|row| status.is_none_or(|status| matches_status(row.status, status)))
        .filter(|row| state.is_none_or(|state| row.state == state))
        .collect();
    if format == Format::Json {
        let data: Vec<Value> = wanted.iter().map(|row| json::migration(row)).collect();
        let count = data.len();
        return Answer::json(
            &json!({"success": true, "data": data, "count": count, "unreadable": []}),
        );
    }
    let now = clock::now().wall;
    let mut table = Table::new(&[
        ("ID", Kind::Number),
        ("STATUS", Kind::Whole),
        ("STATE", Kind::Whole),
        ("SINCE", Kind::Number),
        ("REASON", Kind::Whole),
        ("RUN", Kind::Number),
        ("PID", Kind::Number),
        ("PROJECT", Kind::Text),
    ]);
    for row in wanted {
        table.row([
            row.key.brz_project_id.to_string(),
            row.status.to_string(),
            row.state.to_string(),
            ago(Some(row.since), now),
            or_dash(row.reason.map(Reason::as_str)),
            row.run.to_string(),
            row.lock_pid.map_or_else(dash, |pid| pid.to_string()),
            row.key.mb_project_uuid.clone(),
        ]);
    }
    Answer::ok(table.render(width))
}

/// As `GET /migrations?status=`: `success` also finds `completed`.
fn matches_status(has: Status, wanted: Status) -> bool {
    has == wanted || (wanted == Status::Success && has == Status::Completed)
}

fn show(rows: &[Migration], id: i64, format: Format, width: u16) -> Result<Answer, CliError> {
    let row = rows
        .iter()
        .filter(|row| row.key.brz_project_id == id)
        .max_by_key(|row| row.created_at)
        .ok_or(RequestError::NotFound(id))?;
    let mut value = json::migration(row);
    if let Some(map) = value.as_object_mut() {
        let more = json!({
            "status_source": row.status_source.map(Source::as_str),
            "error": row.error,
            "ended_at": row.ended_at,
            "lock_file": row.lock_file,
            "lock_started": row.lock_started,
            "lock_data": json::lock_data(row),
        });
        map.extend(more.as_object().cloned().unwrap_or_default());
    }
    Ok(match format {
        Format::Json => Answer::json(&json!({"success": true, "data": value})),
        Format::Table => Answer::ok(listing(&value, width)),
    })
}

async fn check(
    settings: &Settings,
    id: Option<i64>,
    format: Format,
    width: u16,
) -> Result<Answer, CliError> {
    let processes = Processes::new().map_err(crate::monitor::MonitorError::from)?;
    // Locks can be explained without a record of them.
    let store = match Store::open(&settings.database, Open::Existing).await {
        Ok(store) => Some(store),
        Err(StoreError::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let mut found = dry_run(settings, store.as_ref(), &processes).await?;
    if let Some(id) = id {
        found.retain(|it| it.view.row.key.brz_project_id == id);
        if found.is_empty() {
            return Err(RequestError::NotFound(id).into());
        }
    }
    let answer = match format {
        Format::Json => {
            let data: Vec<Value> = found.iter().map(json::inspection).collect();
            let count = data.len();
            Answer::json(&json!({"success": true, "data": data, "count": count}))
        }
        Format::Table => {
            Answer::ok(found.iter().map(|it| explained(it, width)).collect::<String>())
        }
    };
    Ok(match store {
        Some(_) => answer,
        None => answer.noting("there is no database yet: judged as at first sight"),
    })
}

/// One lock: what it is, what follows, and each condition with what was seen.
fn explained(it: &Inspection, width: u16) -> String {
    const INDENT: &str = "  ";
    let row = &it.view.row;
    let file = it.lock.as_ref().map(|lock| lock.file.clone());
    let pid = row.lock_pid.map_or_else(dash, |pid| pid.to_string());
    let would = match it.decision.would().join(", ") {
        nothing if nothing.is_empty() => "nothing".to_owned(),
        words => words,
    };
    let mut lines = vec![
        cut(&file.unwrap_or_else(|| format!("{} (no lock)", row.key)), width),
        format!("{INDENT}pid {pid}, status {}, state {}", row.status, row.state),
        format!("{INDENT}verdict {}, would {would}", it.decision.outcome.as_str()),
    ];
    let mut table = Table::new(&[
        ("CONDITION", Kind::Whole),
        ("HOLDS", Kind::Whole),
        ("SEEN", Kind::Text),
        ("THRESHOLD", Kind::Text),
    ]);
    for predicate in &it.decision.explain {
        table.row([
            predicate.name.to_owned(),
            if predicate.holds { "yes" } else { "no" }.to_owned(),
            predicate.value.clone(),
            or_dash(predicate.threshold.as_deref()),
        ]);
    }
    if !it.decision.explain.is_empty() {
        let table = table.render(width.saturating_sub(2));
        lines.extend(table.lines().map(|line| format!("{INDENT}{line}")));
    }
    lines.join("\n") + "\n\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::migration::Key;

    fn row(id: i64, uuid: &str, status: Status) -> Migration {
        Migration {
            key: Key { mb_project_uuid: uuid.to_owned(), brz_project_id: id },
            instance: "here".into(),
            host_id: "h".into(),
            status,
            state: State::Finished,
            reason: Some(Reason::ProcessGone),
            status_source: Some(Source::Monitor),
            error: Some("process 1 is gone".into()),
            run: 1,
            since: Timestamp(id),
            created_at: Timestamp(id),
            updated_at: Timestamp(id),
            status_updated_at: Some(Timestamp(id)),
            ended_at: None,
            lock_file: None,
            lock_pid: Some(4_194_304),
            lock_started: None,
            lock_mark: None,
            dir: None,
            identity: None,
            lock_taken: false,
            lock_data: Some("{\"total_pages\":42,\"webhook_url\":\"***\"}".into()),
        }
    }

    #[test]
    fn success_finds_completed_but_not_the_other_way_round() {
        let rows = [
            row(1, "a", Status::Success),
            row(2, "b", Status::Completed),
            row(3, "c", Status::Error),
        ];
        let count = |status| {
            let text = list(&rows, Some(status), None, Format::Json, 80).text;
            serde_json::from_str::<Value>(&text).unwrap()["count"].as_u64().unwrap()
        };
        assert_eq!(
            [count(Status::Success), count(Status::Completed), count(Status::Error)],
            [2, 1, 1]
        );
    }

    #[test]
    fn the_longest_ids_stand_whole_in_eighty_columns() {
        let id = crate::domain::migration::MAX_PROJECT_ID;
        let rows = [row(id, "3c56530e-ca31-4a7c-964f-e69be01f382a", Status::InProgress)];
        let text = list(&rows, None, None, Format::Table, 80).text;
        assert!(text.contains(&id.to_string()), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn show_takes_the_newest_and_tells_everything() {
        let rows = [
            row(1, "old", Status::Error),
            Migration { created_at: Timestamp(9), ..row(1, "new", Status::Error) },
        ];
        let text = show(&rows, 1, Format::Json, 80).unwrap().text;
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["data"]["mb_project_uuid"], "new");
        assert_eq!(value["data"]["changes_json"]["monitor_updated"], true);
        assert_eq!(value["data"]["total_pages"], 42);
        assert_eq!(value["data"]["status_source"], "monitor");
        assert_eq!(show(&rows, 5, Format::Json, 80).unwrap_err().exit().code(), 2);
    }
}
