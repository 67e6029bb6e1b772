//! `instances`: who uses this database, by the heartbeats; and forgetting one that will not come back.

use std::time::Duration;

use serde_json::{Value, json};

use super::args::{InstancesArgs, InstancesCommand};
use super::exit::CliError;
use super::json;
use super::output::{Answer, Format, ago, printable};
use super::screen::{Colour, Screen};
use super::table::{Kind, Table};
use crate::config::Settings;
use crate::domain::Timestamp;
use crate::store::{Forgotten, InstanceRow, Open, Store};

pub(super) async fn run(
    settings: &Settings,
    args: InstancesArgs,
    screen: Screen,
) -> Result<Answer, CliError> {
    let store = Store::open(&settings.database, Open::Existing).await?;
    let answer = match args.command {
        None => {
            let fleet = store.fleet().await?;
            shown(&fleet.instances, args.output.output, screen, Timestamp(fleet.now))
        }
        Some(InstancesCommand::Forget { name, move_to }) => {
            forget(&store, &name, move_to.as_deref()).await?
        }
    };
    store.close().await;
    Ok(answer)
}

async fn forget(store: &Store, name: &str, move_to: Option<&str>) -> Result<Answer, CliError> {
    if let Some(other) = move_to {
        if other == name {
            let fault = "--move-to: it is the instance that shall be forgotten".to_owned();
            return Err(CliError::Usage(fault));
        }
        if store.fleet().await?.instances.iter().all(|row| row.name != other) {
            return Err(CliError::Usage(format!("--move-to: no instance '{}'", printable(other))));
        }
    }
    let nodes = match store.forget(name, move_to, Duration::ZERO).await? {
        Forgotten::Done(1) => "1 node".to_owned(),
        Forgotten::Done(nodes) => format!("{nodes} nodes"),
        Forgotten::Live => return Err(CliError::Live(name.to_owned())),
        Forgotten::Unknown => {
            return Err(CliError::CouldNotTell(format!("no instance '{}'", printable(name))));
        }
    };
    let done = move_to.map_or_else(
        || format!("{nodes} released"),
        |other| format!("{nodes} moved to {}", printable(other)),
    );
    Ok(Answer::ok(format!("{} forgotten; {done}\n", printable(name))))
}

fn shown(
    rows: &[InstanceRow],
    format: Format,
    screen: impl Into<Screen>,
    now: Timestamp,
) -> Answer {
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
        let state = json::instance_state(row, now);
        table.coloured((state == "lost").then_some(Colour::Bad));
        table.row([
            row.name.clone(),
            state.to_owned(),
            row.version.clone(),
            row.pid.to_string(),
            ago(Some(Timestamp(row.since)), now),
            ago(Some(Timestamp(row.last_beat)), now),
            ago(row.swept_at.map(Timestamp), now),
            row.nodes.to_string(),
            row.locks.to_string(),
        ]);
    }
    Answer::ok(table.render(screen))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::Here;
    use crate::domain::node::Password;
    use crate::monitor::Monitor;
    use crate::registry::{NodePatch, Registry};
    use crate::store::Holder;

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
            alerted: None,
        };
        let rows = [row];
        let text = shown(&rows, Format::Table, 80, Timestamp(120_000)).text;
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("2 min") && text.contains("1 s"), "{text}");
        let value: Value =
            serde_json::from_str(&shown(&rows, Format::Json, 80, Timestamp(0)).text).unwrap();
        assert_eq!(value["instances"][0]["last_beat"], "1970-01-01T00:01:59+00:00");
        let keys: Vec<_> = value["instances"][0].as_object().unwrap().keys().collect();
        let http = ["name", "state", "version", "since", "last_beat", "nodes", "locks", "tick_ms"];
        assert_eq!(keys, http, "as GET /instances");
    }

    async fn with_lost(dir: &Path) -> (Settings, Store) {
        let mut settings = Settings::default();
        let url = format!("sqlite://{}", dir.join("p.db").display());
        settings.database.url = Password::new(url);
        let store = Store::open(&settings.database, Open::Create).await.unwrap();
        for (name, lease) in [("live", 60), ("lost", 0), ("gone", 0)] {
            let holder = Holder {
                name: name.to_owned(),
                here: Here::default(),
                pid: 1,
                start_ticks: None,
                since: Timestamp(0),
                lease: Duration::from_secs(lease),
            };
            store.take_name(&holder, None, false).await.unwrap().unwrap();
        }
        for (name, of) in [("a", "lost"), ("b", "lost"), ("c", "gone")] {
            let checker = Monitor::open(&settings, Open::Existing).await.unwrap().checker().clone();
            let patch =
                NodePatch { name: Some(name.into()), port: Some(1), ..NodePatch::default() };
            Registry::new(store.clone(), checker, of.to_owned()).create(patch).await.unwrap();
        }
        (settings, store)
    }

    async fn forgetting(settings: &Settings, name: &str, to: Option<&str>) -> Result<String, u8> {
        let command =
            InstancesCommand::Forget { name: name.to_owned(), move_to: to.map(str::to_owned) };
        let args = InstancesArgs { command: Some(command), ..InstancesArgs::default() };
        run(settings, args, 80.into()).await.map(|it| it.text).map_err(|error| error.exit().code())
    }

    #[tokio::test]
    async fn the_lost_are_forgotten_and_the_live_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, store) = with_lost(dir.path()).await;
        assert_eq!(forgetting(&settings, "live", None).await, Err(75));
        assert_eq!(forgetting(&settings, "nobody", None).await, Err(2));
        for wrong in ["nobody", "lost"] {
            assert_eq!(forgetting(&settings, "lost", Some(wrong)).await, Err(64), "{wrong}");
        }
        assert_eq!(store.fleet().await.unwrap().instances.len(), 3, "nothing was done");

        let moved = forgetting(&settings, "lost", Some("live")).await;
        assert_eq!(moved, Ok("lost forgotten; 2 nodes moved to live\n".to_owned()));
        let released = forgetting(&settings, "gone", None).await;
        assert_eq!(released, Ok("gone forgotten; 1 node released\n".to_owned()));
        let nodes = store.nodes().await.unwrap();
        let owners: Vec<_> = nodes.iter().map(|it| it.owner.as_deref()).collect();
        assert_eq!(owners, [Some("live"), Some("live"), None]);
        let list = run(&settings, InstancesArgs::default(), 80.into()).await.unwrap().text;
        assert!(list.contains("live") && !list.contains("lost"), "{list}");
    }
}
