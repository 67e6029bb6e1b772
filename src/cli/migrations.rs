//! `migrations`: the recorded rows, and what the monitor would do about the locks. Writes nothing.

use serde_json::{Value, json};

use super::args::MigrationsCommand;
use super::exit::CliError;
use super::json;
use super::others::Others;
use super::output::{Answer, Format, ago, dash, or_dash};
use super::screen::{Colour, Screen};
use super::table::{Kind, Table, cut, listing};
use crate::clock;
use crate::config::Settings;
use crate::domain::migration::{Reason, Source, State, Status};
use crate::process::Processes;
use crate::reconciler::migrations::{Inspection, RequestError, dry_run};
use crate::snapshot::MigrationView;
use crate::store::{Open, Store, StoreError};

/// Columns from which on there is room for the instance: the others fill eighty.
const WIDE: u16 = 100;

pub(super) async fn run(
    settings: &Settings,
    command: MigrationsCommand,
    screen: Screen,
) -> Result<Answer, CliError> {
    let width = screen.width;
    match command {
        MigrationsCommand::List { status, state, output } => {
            let (rows, others) = rows(settings).await?;
            let wanted = Wanted { status, state };
            Ok(list(&rows, &others, &wanted, output.output, screen))
        }
        MigrationsCommand::Show { id, output } => {
            let (rows, _) = rows(settings).await?;
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

async fn rows(settings: &Settings) -> Result<(Vec<MigrationView>, Others), CliError> {
    let store = Store::open(&settings.database, Open::Existing).await?;
    let others = Others::read(&store, settings).await?;
    let rows = store.migrations().await?;
    store.close().await;
    Ok((rows.into_iter().map(|stored| others.migration(stored.row)).collect(), others))
}

struct Wanted {
    status: Option<Status>,
    state: Option<State>,
}

impl Wanted {
    fn takes(&self, view: &MigrationView) -> bool {
        self.status.is_none_or(|status| matches_status(view.row.status, status))
            && self.state.is_none_or(|state| view.state().0 == state)
    }
}

fn list(
    rows: &[MigrationView],
    others: &Others,
    wanted: &Wanted,
    format: Format,
    screen: impl Into<Screen>,
) -> Answer {
    let screen = screen.into();
    let wanted = rows.iter().filter(|view| wanted.takes(view));
    if format == Format::Json {
        let data: Vec<Value> = wanted.map(json::migration).collect();
        let count = data.len();
        return Answer::json(
            &json!({"success": true, "data": data, "count": count, "unreadable": []}),
        );
    }
    let mut columns = vec![
        ("ID", Kind::Number),
        ("STATUS", Kind::Whole),
        ("STATE", Kind::Whole),
        ("SINCE", Kind::Number),
        ("REASON", Kind::Whole),
        ("RUN", Kind::Number),
        ("PID", Kind::Number),
        ("PROJECT", Kind::Text),
    ];
    let instances = others.is_shared() && screen.width >= WIDE;
    columns.extend(instances.then_some(("INSTANCE", Kind::Text)));
    let mut table = Table::new(&columns);
    let now = clock::now().wall;
    for view in wanted {
        let row = &view.row;
        let (state, reason) = view.state();
        let cells = [
            row.key.brz_project_id.to_string(),
            row.status.to_string(),
            state.to_string(),
            ago(Some(row.since), now),
            or_dash(reason.map(Reason::as_str)),
            row.run.to_string(),
            row.lock_pid.map_or_else(dash, |pid| pid.to_string()),
            row.key.mb_project_uuid.clone(),
        ];
        table.coloured(colour_of(row.status, state));
        table.row(cells.into_iter().chain(instances.then(|| row.instance.clone())));
    }
    Answer::ok(table.render(screen))
}

const fn colour_of(status: Status, state: State) -> Option<Colour> {
    match (status, state) {
        (Status::Error, _) => Some(Colour::Bad),
        (_, State::Alive | State::Finished) => None,
        _ => Some(Colour::Doubtful),
    }
}

/// As `GET /migrations?status=`: `success` also finds `completed`.
fn matches_status(has: Status, wanted: Status) -> bool {
    has == wanted || (wanted == Status::Success && has == Status::Completed)
}

fn show(rows: &[MigrationView], id: i64, format: Format, width: u16) -> Result<Answer, CliError> {
    let view = rows
        .iter()
        .filter(|view| view.row.key.brz_project_id == id)
        .max_by_key(|view| view.row.created_at)
        .ok_or(RequestError::NotFound(id))?;
    let (row, mut value) = (&view.row, json::migration(view));
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
    let file = it.lock.as_ref().map(|lock| lock.file.to_string());
    let pid = row.lock_pid.map_or_else(dash, |pid| pid.to_string());
    let would = match it.decision.would().join(", ") {
        nothing if nothing.is_empty() => "nothing".to_owned(),
        words => words,
    };
    let mut lines = vec![
        cut(&file.unwrap_or_else(|| format!("{} (no lock)", row.key)), width),
        format!("{INDENT}pid {pid}, status {}, state {}", row.status, it.view.state().0),
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
    use crate::domain::migration::{Key, Migration};
    use crate::snapshot::Watch;

    const ALL: Wanted = Wanted { status: None, state: None };

    fn row(id: i64, uuid: &str, status: Status) -> MigrationView {
        MigrationView::recorded(migration(id, uuid, status))
    }

    fn migration(id: i64, uuid: &str, status: Status) -> Migration {
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
            their_status: None,
            exit: None,
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
            let wanted = Wanted { status: Some(status), state: None };
            let text = list(&rows, &Others::none("here"), &wanted, Format::Json, 80).text;
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
        let text = list(&rows, &Others::of("here", &[]), &ALL, Format::Table, 80).text;
        assert!(text.contains(&id.to_string()), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn what_only_a_lost_instance_could_tell_is_unknown() {
        let others = Others::of("here", &["near"]);
        let views: Vec<_> = ["here", "near", "far"]
            .into_iter()
            .zip(1..)
            .flat_map(|(instance, id)| {
                [Status::InProgress, Status::Completed].map(|status| {
                    let state = if status.is_final() { State::Finished } else { State::Alive };
                    let row = migration(id, instance, status);
                    others.migration(Migration { instance: instance.into(), state, ..row })
                })
            })
            .collect();
        let lost: Vec<_> = views.iter().map(|view| view.watch == Watch::Lost).collect();
        assert_eq!(lost, [false, false, false, false, true, true]);
        let unknown = Wanted { status: None, state: Some(State::Unknown) };
        let text = list(&views, &others, &unknown, Format::Json, 80).text;
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["count"], 1, "a run that is over is known: {body:#}");
        let told = &body["data"][0];
        assert_eq!([&told["state"], &told["reason"]], ["unknown", "instance_lost"]);
        assert_eq!((&told["live"], &told["instance"]), (&json!(false), &json!("far")));
        let table = |width| list(&views, &others, &ALL, Format::Table, width).text;
        assert!(!table(80).contains("INSTANCE"), "there is no room: {}", table(80));
        assert!(table(120).lines().any(|line| line.ends_with("far")), "{}", table(120));
        let alone = list(&views, &Others::none("here"), &ALL, Format::Table, 120).text;
        assert!(!alone.contains("INSTANCE"), "{alone}");
    }

    #[test]
    fn show_takes_the_newest_and_tells_everything() {
        let newer = Migration { created_at: Timestamp(9), ..migration(1, "new", Status::Error) };
        let rows = [row(1, "old", Status::Error), MigrationView::recorded(newer)];
        let text = show(&rows, 1, Format::Json, 80).unwrap().text;
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["data"]["mb_project_uuid"], "new");
        assert_eq!(value["data"]["changes_json"]["monitor_updated"], true);
        assert_eq!(value["data"]["total_pages"], 42);
        assert_eq!(value["data"]["status_source"], "monitor");
        assert_eq!(show(&rows, 5, Format::Json, 80).unwrap_err().exit().code(), 2);
    }
}
