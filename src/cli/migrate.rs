//! `migrate`: the schema of the database.

use super::exit::{CliError, Exit};
use super::output::Answer;
use super::table::{Kind, Table};
use crate::config::Settings;
use crate::store::{Open, SchemaState, Store};

pub(super) async fn run(
    settings: &Settings,
    only_status: bool,
    width: u16,
) -> Result<Answer, CliError> {
    let database = &settings.database;
    let open = if only_status { Open::Existing } else { Open::Create };
    let store = Store::connect(database, open).await?;
    let before = store.schema_status().await?;
    if only_status {
        store.close().await;
        return Ok(shown(&before, width));
    }
    store.migrate().await?;
    store.close().await;
    let newest = before.last().map_or(0, |step| step.version);
    Ok(Answer::ok(match before.iter().filter(|step| !step.applied).count() {
        0 => format!("the schema is up to date ({newest})\n"),
        count => format!("{count} steps applied, the schema is at {newest}\n"),
    }))
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
        let error = run(&settings, true, 80).await.unwrap_err();
        assert_eq!((error.exit(), path.exists()), (Exit::CouldNotTell, false));

        Store::connect(&settings.database, Open::Create).await.unwrap().close().await;
        let behind = run(&settings, true, 80).await.unwrap();
        assert_eq!(behind.exit, Exit::CouldNotTell);
        let done = run(&settings, false, 80).await.unwrap();
        assert!(done.text.contains("steps applied"), "{}", done.text);
        assert_eq!(run(&settings, true, 80).await.unwrap().exit, Exit::Ok);
        assert!(run(&settings, false, 80).await.unwrap().text.contains("up to date"));
    }
}
