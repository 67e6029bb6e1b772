//! `adopt report`: where the tables that are adopted, the locks and our judgement do not say the same.

use std::fmt::Write as _;

use super::args::AdoptCommand;
use super::exit::{CliError, Exit};
use super::output::{Answer, Format, ago};
use super::table::{Kind, Table};
use crate::clock;
use crate::config::{AdoptMode, Settings};
use crate::domain::Timestamp;
use crate::http::{AdoptReport, adopt_report};
use crate::store::{Open, Store};

pub(super) async fn run(
    settings: &Settings,
    command: AdoptCommand,
    width: u16,
) -> Result<Answer, CliError> {
    let AdoptCommand::Report { open, output } = command;
    let store = Store::open(&settings.database, Open::Existing).await?;
    let mut findings = store.findings().await?;
    store.close().await;
    findings.retain(|it| !open || it.until.is_none());
    let report = adopt_report(settings.adopt.mode, findings);
    let answer = if output.output == Format::Json {
        Answer::json(&serde_json::to_value(&report).unwrap_or_default())
    } else {
        Answer::ok(shown(&report, width, clock::now().wall))
    };
    let answer = answer.ending(if report.open > 0 { Exit::Down } else { Exit::Ok });
    Ok(if settings.adopt.mode == AdoptMode::Off {
        answer.noting("adopt.mode is off: this is what was found before")
    } else {
        answer
    })
}

fn shown(report: &AdoptReport, width: u16, now: Timestamp) -> String {
    if report.findings.is_empty() {
        return "nothing differs, nothing is to be mended\n".to_owned();
    }
    let mut table = Table::new(&[
        ("SUBJECT", Kind::Whole),
        ("CODE", Kind::Whole),
        ("SINCE", Kind::Number),
        ("UNTIL", Kind::Number),
        ("THEIRS", Kind::Text),
        ("OURS", Kind::Text),
    ]);
    for it in &report.findings {
        table.row([
            short(&it.subject),
            it.code.clone(),
            ago(Some(it.since), now),
            it.until.map_or_else(|| "now".to_owned(), |until| ago(Some(until), now)),
            it.theirs.clone(),
            it.ours.clone(),
        ]);
    }
    let mut text = table.render(width);
    let mut rules: Vec<(&str, &str)> =
        report.findings.iter().map(|it| (it.code.as_str(), it.rule.as_str())).collect();
    rules.sort_unstable();
    rules.dedup();
    text.push('\n');
    for (code, rule) in rules {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{code}: {rule}");
    }
    text
}

/// `migration 23131991` for `migration:3c56530e-...-23131991`; JSON has all of it.
fn short(subject: &str) -> String {
    match subject.split_once(':') {
        Some(("migration", key)) => format!("migration {}", key.rsplit('-').next().unwrap_or(key)),
        Some((kind, which)) => format!("{kind} {which}"),
        None => subject.to_owned(),
    }
}
