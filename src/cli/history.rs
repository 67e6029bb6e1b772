//! `history`: what became of a node or a migration, from the record.

use std::fmt::Write as _;

use serde_json::Value;

use super::args::{HistoryCommand, PageArgs};
use super::exit::{CliError, Exit};
use super::output::{Answer, Format, or_dash};
use super::table::{Kind, Table};
use crate::clock;
use crate::config::Settings;
use crate::history::{LONGEST_PAGE, Subject, page, place, uptimes};
use crate::http::{HistoryPeriod, migration_history_body, node_history_body};
use crate::reconciler::migrations::RequestError;
use crate::registry::RegistryError;
use crate::store::{Open, Place, Store};

pub(super) async fn run(
    settings: &Settings,
    command: HistoryCommand,
    width: u16,
) -> Result<Answer, CliError> {
    let store = Store::open(&settings.database, Open::Existing).await?;
    let answer = match command {
        HistoryCommand::Node { node, page } => of_node(settings, &store, &node, &page, width).await,
        HistoryCommand::Migration { id, page } => of_migration(&store, id, &page, width).await,
    };
    store.close().await;
    answer
}

async fn of_node(
    settings: &Settings,
    store: &Store,
    name: &str,
    args: &PageArgs,
    width: u16,
) -> Result<Answer, CliError> {
    let id = name.parse().ok().filter(|_| name.bytes().all(|byte| byte.is_ascii_digit()));
    let missing = || RegistryError::NotFound(name.to_owned());
    let node = store.node(id, name).await?.ok_or_else(missing)?.node.id;
    let page = page(store, Subject::Node(node), before(args)?, args.limit).await?;
    let shares = uptimes(store, node, settings.history.retain, clock::now().wall).await?;
    let body = node_history_body(page, shares);
    if args.output.output == Format::Json {
        return Ok(json(&body));
    }
    let mut table = Table::new(&[
        ("AT", Kind::Whole),
        ("FROM", Kind::Whole),
        ("TO", Kind::Whole),
        ("REASON", Kind::Whole),
        ("INSTANCE", Kind::Text),
    ]);
    for it in &body.history {
        table.row([
            it.at.rfc3339(),
            or_dash(it.from.as_deref()),
            it.to.clone(),
            or_dash(it.reason.as_deref()),
            it.instance.clone(),
        ]);
    }
    let mut text = table.render(width);
    let periods =
        [("24h", &body.uptime.day), ("7d", &body.uptime.week), ("30d", &body.uptime.month)];
    text.push('\n');
    for (name, period) in periods {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "up in {name}: {}", share(period));
    }
    Ok(more(Answer::ok(text), body.next.as_deref()))
}

async fn of_migration(
    store: &Store,
    id: i64,
    args: &PageArgs,
    width: u16,
) -> Result<Answer, CliError> {
    let rows = store.migrations().await?;
    let its = rows.iter().filter(|stored| stored.row.key.brz_project_id == id);
    let row = its.max_by_key(|it| it.row.created_at).ok_or(RequestError::NotFound(id))?.id;
    let page = page(store, Subject::Migration(row), before(args)?, args.limit).await?;
    let body = migration_history_body(page);
    if args.output.output == Format::Json {
        return Ok(json(&body));
    }
    let mut table = Table::new(&[
        ("AT", Kind::Whole),
        ("RUN", Kind::Number),
        ("STATUS", Kind::Whole),
        ("FROM", Kind::Whole),
        ("TO", Kind::Whole),
        ("REASON", Kind::Whole),
        ("INSTANCE", Kind::Text),
    ]);
    for it in &body.history {
        table.row([
            it.at.rfc3339(),
            or_dash(it.run.map(|run| run.to_string()).as_deref()),
            or_dash(it.status.as_deref()),
            or_dash(it.from.as_deref()),
            it.to.clone(),
            or_dash(it.reason.as_deref()),
            it.instance.clone(),
        ]);
    }
    Ok(more(Answer::ok(table.render(width)), body.next.as_deref()))
}

fn before(args: &PageArgs) -> Result<Option<Place>, CliError> {
    if !(1..=LONGEST_PAGE).contains(&args.limit) {
        return Err(CliError::Usage(format!("--limit is 1 to {LONGEST_PAGE}")));
    }
    let read = |text: &String| {
        place(text).ok_or_else(|| CliError::Usage("--before is no next of a page".to_owned()))
    };
    args.before.as_ref().map(read).transpose()
}

fn json(body: &impl serde::Serialize) -> Answer {
    Answer::json(&serde_json::to_value(body).unwrap_or(Value::Null))
}

fn more(answer: Answer, next: Option<&str>) -> Answer {
    let answer = answer.ending(Exit::Ok);
    match next {
        Some(next) => answer.noting(format!("there is more: --before {next}")),
        None => answer,
    }
}

/// `99.95 %, 12 s unknown`.
fn share(period: &HistoryPeriod) -> String {
    let ratio = period.ratio.map_or_else(|| "-".to_owned(), |it| format!("{:.2} %", it * 100.0));
    match period.unknown_seconds {
        0 => ratio,
        secs => format!("{ratio}, {secs} s unknown"),
    }
}
