//! `migrate`: the schema of the database.

use super::exit::{CliError, Exit};
use super::output::Answer;
use super::table::{Kind, Table};
use crate::config::Settings;
use crate::store::{Open, SchemaState, Store, StoreError};

/// Brings it up to date.
pub(super) async fn run(settings: &Settings) -> Result<Answer, CliError> {
    let store = Store::connect(&settings.database, Open::Create).await?;
    let before = store.schema_status().await?;
    store.migrate().await?;
    store.close().await;
    let newest = before.last().map_or(0, |step| step.version);
    Ok(Answer::ok(match before.iter().filter(|step| !step.applied).count() {
        0 => format!("the schema is up to date ({newest})\n"),
        count => format!("{count} steps applied, the schema is at {newest}\n"),
    }))
}

/// Lists its steps.
pub(super) async fn status(settings: &Settings, width: u16) -> Result<Answer, CliError> {
    let store = Store::connect(&settings.database, Open::Existing).await?;
    let steps = store.schema_status().await?;
    store.close().await;
    Ok(shown(&steps, width))
}

/// Asks the server whether it understands us: worth it on an engine that only claims to be one of ours.
pub(super) async fn verify(settings: &Settings) -> Result<Answer, CliError> {
    let store = Store::open(&settings.database, Open::Existing).await?;
    let result = verified(&store, settings).await;
    let engine = store.engine().as_str();
    store.close().await;
    Ok(Answer::ok(format!("{engine} takes all {} statements\n", result?)))
}

async fn verified(store: &Store, settings: &Settings) -> Result<usize, StoreError> {
    let mut count = store.verify().await?;
    if let Some(name) = settings.adopt.nodes() {
        let table = store.their_nodes_table(name).await?;
        count += store.verify_their_nodes(&table, settings.adopt.writes()).await?;
    }
    if let Some(table) = settings.adopt.migrations() {
        let table = store.their_migrations(table).await?;
        count += store.verify_their_migrations(&table, settings.adopt.writes()).await?;
    }
    Ok(count)
}

fn shown(steps: &[SchemaState], width: u16) -> Answer {
    let mut table =
        Table::new(&[("VERSION", Kind::Number), ("APPLIED", Kind::Whole), ("NAME", Kind::Text)]);
    for step in steps {
        let applied = if step.applied { "yes" } else { "no" };
        table.row([step.version.to_string(), applied.to_owned(), step.name.clone()]);
    }
    let complete = steps.iter().all(|step| step.applied);
    Answer::ok(table.render(width)).ending(if complete { Exit::Ok } else { Exit::CouldNotTell })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::node::Password;

    #[tokio::test]
    async fn status_changes_nothing_and_tells_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.db");
        let mut settings = Settings::default();
        settings.database.url = Password::new(format!("sqlite://{}", path.display()));
        let error = status(&settings, 80).await.unwrap_err();
        assert_eq!((error.exit(), path.exists()), (Exit::CouldNotTell, false));

        Store::connect(&settings.database, Open::Create).await.unwrap().close().await;
        let behind = status(&settings, 80).await.unwrap();
        assert_eq!(behind.exit, Exit::CouldNotTell);
        let done = run(&settings).await.unwrap();
        assert!(done.text.contains("steps applied"), "{}", done.text);
        assert_eq!(status(&settings, 80).await.unwrap().exit, Exit::Ok);
        assert!(run(&settings).await.unwrap().text.contains("up to date"));
    }
}
