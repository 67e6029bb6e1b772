//! `nodes import`: the nodes of another program become ours, once.

use serde_json::{Value, json};

use super::exit::{CliError, Exit};
use super::node_options::{ImportArgs, read_line};
use super::output::{Answer, Format, or_dash};
use super::progress::Progress;
use super::table::{Kind, Table};
use crate::adopt::{LeftOut, Taken, take};
use crate::config::{Database, Settings, TableName};
use crate::domain::node::{Node, Password};
use crate::monitor::{Monitor, MonitorError};
use crate::registry::{RegistryError, check};
use crate::secrets::Secrets;
use crate::store::{Open, Origin, Store, StoreError, StoredNode};

/// What it is called where nobody says otherwise.
const TABLE: &str = "monero_nodes";

/// What became of one of theirs.
struct Imported {
    /// As it shall be here; its id is theirs.
    node: Node,
    /// Its id here; none if it was left alone, or nothing is written.
    id: Option<i64>,
    /// The name is there already.
    exists: bool,
    /// Its password could not be read.
    without: bool,
}

impl Imported {
    const fn word(&self, dry_run: bool) -> &'static str {
        match (self.exists, self.without, dry_run) {
            (true, ..) => "exists",
            (false, true, false) => "imported without its password",
            (false, true, true) => "would be imported without its password",
            (false, false, false) => "imported",
            (false, false, true) => "would be imported",
        }
    }
}

pub(super) async fn run(
    settings: &Settings,
    args: ImportArgs,
    width: u16,
) -> Result<Answer, CliError> {
    if let Some(table) = settings.adopt.nodes() {
        let text =
            format!("the nodes of {table} are here already (adopt.nodes): nothing to import");
        return Err(RegistryError::Adopted(text).into());
    }
    let secrets = Secrets::new(&settings.adopt).map_err(MonitorError::from)?;
    let table = args.table.or_else(|| settings.adopt.nodes.clone());
    let table = table.unwrap_or_else(|| TableName { schema: None, table: TABLE.to_owned() });
    let taken = read(settings, args.source, &table).await?;
    if !taken.left_out.is_empty() {
        return Ok(refused(&taken.left_out, &table));
    }
    let mut notes: Vec<String> = taken.renamed.iter().map(|it| note(it, &table)).collect();
    let mut all = Vec::new();
    for node in taken.nodes {
        let (node, problem) = opened(node, &secrets);
        let without = problem.is_some();
        notes.extend(problem.map(|problem| {
            format!("node '{}' is imported without its password: {problem}", node.name)
        }));
        all.push(Imported { node, id: None, exists: false, without });
    }
    if args.dry_run {
        compare(settings, &mut all).await?;
    } else {
        write(settings, &mut all).await?;
    }
    let lacking = |it: &&Imported| it.without && !it.exists;
    let exit = if all.iter().any(|it| lacking(&it)) { Exit::Down } else { Exit::Ok };
    let answer = match args.output.output {
        Format::Json => as_json(&all, args.dry_run),
        Format::Table => as_table(&all, args.dry_run, width),
    };
    Ok(notes.into_iter().fold(answer, Answer::noting).ending(exit))
}

/// Reads their table; nothing of their database is changed.
async fn read(
    settings: &Settings,
    source: Option<String>,
    table: &TableName,
) -> Result<Taken, CliError> {
    let database = match source {
        // TLS is what this URL says: the settings are about ours.
        Some(url) => {
            let url =
                if url == "-" { read_line("--source", std::io::stdin().lock())? } else { url };
            let url = Password::new(url);
            Database { url, tls: None, tls_ca: None, ..settings.database.clone() }
        }
        None => settings.database.clone(),
    };
    let store = Store::connect(&database, Open::Reading).await?;
    let rows = match store.their_nodes_table(table).await {
        Ok(table) => store.their_nodes(&table).await,
        Err(error) => Err(error),
    };
    store.close().await;
    Ok(take(&rows?))
}

/// A node with its password in clear, as ours are stored; without it, and why, if it cannot be read.
fn opened(node: Node, secrets: &Secrets) -> (Node, Option<String>) {
    let Some(sealed) = &node.password else { return (node, None) };
    let clear = match secrets.open(sealed) {
        Ok(clear) => Some(clear).filter(|clear| !clear.expose().is_empty()),
        Err(error) => {
            let problem = crate::causes::chain(&error);
            return (Node { password: None, ..node }, Some(problem));
        }
    };
    let node = Node { password: clear, ..node };
    match check(&node) {
        Ok(()) => (node, None),
        Err(error) => (Node { password: None, ..node }, Some(error.to_string())),
    }
}

async fn write(settings: &Settings, all: &mut [Imported]) -> Result<(), CliError> {
    let monitor = Box::pin(Monitor::open(settings, Open::Create)).await?;
    let nodes: Vec<Node> = all.iter().map(|it| it.node.clone()).collect();
    // What is left of a mirror would go at the next start, and these names with it.
    let progress = Progress::of(nodes.len());
    let ids = match monitor.registry().let_go().await {
        Ok(_) => monitor.registry().import(&nodes, &|| progress.step()).await,
        Err(error) => Err(error),
    };
    drop(progress);
    monitor.close().await;
    for (it, id) in all.iter_mut().zip(ids?) {
        (it.id, it.exists) = (id, id.is_none());
    }
    Ok(())
}

/// Which names there are already. None where there is no database of ours yet.
async fn compare(settings: &Settings, all: &mut [Imported]) -> Result<(), CliError> {
    let store = match Store::open(&settings.database, Open::Reading).await {
        Err(StoreError::Missing(_) | StoreError::OlderSchema { found: 0, .. }) => return Ok(()),
        store => store?,
    };
    let names: Vec<&str> = all.iter().map(|it| it.node.name.as_str()).collect();
    let there = store.nodes_by_name(&names).await;
    store.close().await;
    let there = there?;
    for it in all {
        let own = |ours: &&StoredNode| ours.origin != Origin::Adopted;
        it.exists = there.iter().filter(own).any(|ours| ours.node.name == it.node.name);
    }
    Ok(())
}

fn note(it: &LeftOut, table: &TableName) -> String {
    format!("row {} of {table}: {}", it.id, it.problem)
}

/// All or none: what cannot be a node is mended there first.
fn refused(left_out: &[LeftOut], table: &TableName) -> Answer {
    let answer = left_out.iter().map(|it| note(it, table)).fold(Answer::ok(""), Answer::noting);
    answer.noting("nothing was imported: mend these rows first").ending(Exit::Down)
}

fn as_json(all: &[Imported], dry_run: bool) -> Answer {
    let data: Vec<Value> = all
        .iter()
        .map(|it| {
            json!({
                "id": it.id,
                "their_id": it.node.id,
                "name": it.node.name,
                "imported": !it.exists && !dry_run,
                "exists": it.exists,
                "has_password": it.node.password.is_some(),
                "password_unreadable": it.without,
            })
        })
        .collect();
    let count = all.iter().filter(|it| !it.exists).count();
    Answer::json(&json!({"success": true, "dry_run": dry_run, "count": count, "data": data}))
}

fn as_table(all: &[Imported], dry_run: bool, width: u16) -> Answer {
    let mut table = Table::new(&[
        ("ID", Kind::Number),
        ("THEIR ID", Kind::Number),
        ("NAME", Kind::Text),
        ("RESULT", Kind::Whole),
    ]);
    for it in all {
        table.row([
            or_dash(it.id.map(|id| id.to_string()).as_deref()),
            it.node.id.to_string(),
            it.node.name.clone(),
            it.word(dry_run).to_owned(),
        ]);
    }
    Answer::ok(table.render(width))
}
