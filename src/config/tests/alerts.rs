//! `[alerts]`: what must stand together, and what is never shown.

use super::*;
use crate::domain::alert::{Channel, Kind as Told};

const WEBHOOK: &str = "[alerts]\nwebhook_url = 'https://example.org/hook'\n";

#[test]
fn nobody_is_told_by_default() {
    let settings = Case::new().settings();
    assert_eq!(settings.alerts.channels(), []);
    assert!(!settings.alerts.rules().wants(Told::NodeDown));
}

#[test]
fn what_is_given_in_part_is_a_fault() {
    let (key, problem) = Case::toml(WEBHOOK).fault();
    assert_eq!(key, "alerts.webhook_url");
    assert_eq!(problem, "needs alerts.webhook_secret as well");
    let mail = Case::toml("[alerts]\nsmtp_host = 'h'\nsmtp_user = 'u'");
    let problems: Vec<String> = mail.faults().into_iter().map(|it| it.problem).collect();
    let needed = ["mail_from", "mail_to", "smtp_password"];
    assert_eq!(problems, needed.map(|key| format!("needs alerts.{key} as well")));
}

#[test]
fn all_of_it_is_read() {
    let case = Case::toml(&format!(
        "{WEBHOOK}webhook_secret = 's'\non = ['node_down']\ngroup_wait = '5s'\nsmtp_host = 'mail.example.org'\n\
         smtp_tls = 'tls'\nmail_from = 'procwarden <w@example.org>'\n"
    ))
    .env("PROCWARDEN__ALERTS__MAIL_TO", "a@example.org, b@example.org");
    let alerts = case.settings().alerts;
    assert_eq!(alerts.channels(), Channel::ALL);
    assert_eq!((alerts.port(), alerts.mail_to.len()), (465, 2));
    let rules = alerts.rules();
    assert!(rules.wants(Told::NodeDown) && !rules.wants(Told::InstanceLost));
    assert!(!format!("{alerts:?}").contains("example.org/hook"));
}

#[test]
fn bad_values_are_told_and_secrets_are_not_repeated() {
    for (line, part) in [
        ("webhook_url = 'hunter2'", "must be a URL"),
        ("webhook_url = 'ftp://h/hunter2'", "must be a URL"),
        ("smtp_host = 'smtp://h'", "without scheme"),
        ("mail_from = 'nobody'", "is not an address"),
        ("mail_to = ['a@example.org', 'x']", "'x' is not an address"),
        ("mail_to = []", "must name somebody"),
        ("on = ['node_up']", "'node_up' is none of node_down, migration_error"),
        ("on = []", "must name one of"),
        ("smtp_port = 0", "is not a whole number from 1 to 65535"),
    ] {
        let faults = Case::toml(&format!("[alerts]\n{line}")).faults();
        assert!(faults.iter().any(|it| it.problem.contains(part)), "{line}: {faults:?}");
        assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }
}
