//! `alerts test`: does what is configured get through?

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::AlertsCommand;
use super::exit::{CliError, Exit};
use super::output::{Answer, Format, printable};
use crate::config::Settings;
use crate::notify;

pub(super) async fn run(settings: &Settings, command: &AlertsCommand) -> Result<Answer, CliError> {
    let AlertsCommand::Test { output } = command;
    if settings.alerts.channels().is_empty() {
        return Err(CliError::NotConfigured(
            "nobody is to be told: give alerts.webhook_url or alerts.smtp_host",
        ));
    }
    let told = notify::test(&settings.alerts, &settings.instance.name).await;
    let good = told.iter().all(|(_, sent)| sent.is_ok());
    let answer = match output.output {
        Format::Json => {
            let channels: Vec<Value> = told
                .iter()
                .map(|(channel, sent)| {
                    let said = match sent {
                        Ok(said) => said.clone(),
                        Err(error) => error.to_string(),
                    };
                    json!({"channel": channel.as_str(), "sent": sent.is_ok(), "said": said})
                })
                .collect();
            Answer::json(&json!({"success": good, "channels": channels}))
        }
        Format::Table => {
            let mut text = String::new();
            for (channel, sent) in &told {
                // Writing to a String cannot fail.
                let _ = match sent {
                    Ok(said) => writeln!(text, "{}: sent, {}", channel.as_str(), printable(said)),
                    Err(error) => {
                        let error = error.to_string();
                        writeln!(text, "{}: failed, {}", channel.as_str(), printable(&error))
                    }
                };
            }
            Answer::ok(text)
        }
    };
    Ok(answer.ending(if good { Exit::Ok } else { Exit::Down }))
}
