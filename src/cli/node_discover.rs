//! `nodes discover`: servers that run on this host, beside the registry.

use serde_json::{Value, json};

use super::exit::{CliError, Exit};
use super::output::{Answer, Format, dash, or_dash};
use super::screen::{Colour, Screen};
use super::table::{Kind, Table};
use crate::config::Settings;
use crate::discover::{Discovery, Looker};
use crate::mask::mask_url;
use crate::monitor::{Monitor, MonitorError};
use crate::process::Processes;
use crate::store::{Open, StoreError};

pub(super) async fn run(
    settings: &Settings,
    add: bool,
    format: Format,
    screen: Screen,
) -> Result<Answer, CliError> {
    let open = if add { Open::Create } else { Open::Existing };
    let mut looker = Looker::default();
    let all = match Box::pin(Monitor::open(settings, open)).await {
        Ok(monitor) => {
            let (processes, registry) = (monitor.processes(), monitor.registry());
            let all = if add {
                looker.look_and_add(processes, registry).await?
            } else {
                let nodes = registry.list().await?;
                looker.look(processes, &nodes, registry.instance()).await?
            };
            monitor.close().await;
            all
        }
        // Nothing is known yet, and what runs can be told all the same.
        Err(MonitorError::Store(StoreError::Missing(_))) => {
            let processes = Processes::new().map_err(MonitorError::from)?;
            looker.look(&processes, &[], &settings.instance.name).await?
        }
        Err(error) => return Err(error.into()),
    };
    let answer = match format {
        Format::Json => as_json(&all),
        Format::Table => as_table(&all, screen),
    };
    Ok(end(answer, &all, add))
}

fn end(answer: Answer, all: &[Discovery], add: bool) -> Answer {
    let new = all.iter().filter(|it| it.name.is_some() && !it.added).count();
    let failed = all.iter().any(|it| it.problem.is_some());
    let answer = if failed { answer.ending(Exit::Down) } else { answer };
    match (all.is_empty(), new, add) {
        (true, ..) => {
            answer.noting("no monero-wallet-rpc and no monerod runs here, or none can be seen")
        }
        (_, 1.., false) => answer.noting(format!("{new} of them are new: --add registers them")),
        _ => answer,
    }
}

const fn result(it: &Discovery) -> &'static str {
    match (&it.known, it.added, &it.problem, &it.name) {
        (Some(_), ..) => "known",
        (_, true, ..) => "added",
        (_, _, Some(_), _) => "faulty",
        (_, _, None, Some(_)) => "new",
        (_, _, None, None) => "skipped",
    }
}

fn as_json(all: &[Discovery]) -> Answer {
    let data: Vec<Value> = all
        .iter()
        .map(|it| {
            let found = &it.found;
            json!({
                "pid": found.identity.pid,
                "kind": found.kind,
                "host": found.place.map(|(address, _)| address.to_string()),
                "port": found.place.map(|(_, port)| port),
                "tls": found.tls,
                "username": found.username,
                "has_password": found.password.is_some(),
                "daemon": found.daemon.as_deref().map(mask_url),
                "pid_file": found.pid_file,
                "node": it.known.as_ref().or(it.name.as_ref()),
                "result": result(it),
                "notes": it.notes(),
            })
        })
        .collect();
    let success = all.iter().all(|it| it.problem.is_none());
    Answer::json(&json!({"success": success, "count": data.len(), "data": data}))
}

fn as_table(all: &[Discovery], screen: Screen) -> Answer {
    if all.is_empty() {
        return Answer::ok("");
    }
    let mut table = Table::new(&[
        ("PID", Kind::Number),
        ("KIND", Kind::Whole),
        ("ADDRESS", Kind::Whole),
        ("RESULT", Kind::Whole),
        ("NODE", Kind::Text),
        ("TLS", Kind::Text),
        ("LOGIN", Kind::Text),
        ("DAEMON", Kind::Text),
    ]);
    for it in all {
        let found = &it.found;
        let login = found.username.as_ref().map(|user| match found.password {
            Some(_) => format!("{user}:***"),
            None => user.clone(),
        });
        table.coloured(match result(it) {
            "faulty" => Some(Colour::Bad),
            "skipped" => Some(Colour::Faint),
            _ => None,
        });
        table.row([
            found.identity.pid.to_string(),
            found.kind.to_string(),
            found.place.map_or_else(dash, |it| std::net::SocketAddr::from(it).to_string()),
            result(it).to_owned(),
            or_dash(it.known.as_deref().or(it.name.as_deref())),
            found.tls.as_str().to_owned(),
            or_dash(login.as_deref()),
            or_dash(found.daemon.as_deref().map(mask_url).as_deref()),
        ]);
    }
    let answer = Answer::ok(table.render(screen));
    all.iter().fold(answer, |answer, it| {
        let pid = it.found.identity.pid;
        it.notes().into_iter().fold(answer, |answer, note| answer.noting(format!("{pid}: {note}")))
    })
}
