//! Files that nobody runs here: the programs that read them find no fault.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{BINARY, changed, shipped};
use crate::support::{Warden, WardenConfig};

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    let dir = tempfile::TempDir::new().unwrap();
    let unit = changed(
        "procwarden.service",
        &[("ExecStart=/usr/local/bin/procwarden", &format!("ExecStart={BINARY}"))],
    );
    for line in [
        "Type=notify",
        "WatchdogSec=",
        "ProtectProc=default",
        "ProtectHome=read-only",
        "ReadWritePaths=",
    ] {
        assert!(unit.lines().any(|it| it.starts_with(line)), "{line}");
    }
    let file = dir.path().join("procwarden.service");
    fs::write(&file, unit).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--recursive-errors=yes", "--man=no"]).arg(&file);
    let output = verify.output().expect("systemd-analyze (systemd) starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn logrotate_and_the_shells_of_cron_and_logrotate_read_theirs() {
    let dir = tempfile::TempDir::new().unwrap();
    let text = changed(
        "procwarden.logrotate",
        &[
            ("    su procwarden procwarden\n", ""),
            ("create 0640 procwarden procwarden", "create 0640"),
            ("/var/log/procwarden", dir.path().to_str().unwrap()),
        ],
    );
    let file = dir.path().join("rotate");
    fs::write(&file, &text).unwrap();
    let state = dir.path().join("state");
    let output =
        Command::new("/usr/sbin/logrotate").arg("-d").arg("-s").arg(state).arg(&file).output();
    let output = output.expect("logrotate starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("error"), "{said}");
    let script = text.split("postrotate\n").nth(1).unwrap().split("    endscript").next().unwrap();
    let cron = fs::read_to_string(shipped("procwarden.cron")).unwrap();
    let line = cron.lines().find(|it| it.starts_with("*/5 ")).unwrap();
    // cron reads five fields and the user, and \% as %.
    let command = line.split_whitespace().skip(6).collect::<Vec<_>>().join(" ").replace("\\%", "%");
    for text in [script, &command] {
        let output = Command::new("sh").args(["-n", "-c", text]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_line_of_cron_is_silent_while_all_works_and_tells_what_does_not() {
    let cron = fs::read_to_string(shipped("procwarden.cron")).unwrap();
    let line = cron.lines().find(|it| it.starts_with("*/5 ")).unwrap();
    let command = line.split_whitespace().skip(6).collect::<Vec<_>>().join(" ").replace("\\%", "%");
    let warden = Warden::prepare(WardenConfig::default());
    assert!(warden.cli(&["migrate"]).status.success());
    let run = || {
        let dir = warden.dir().to_str().unwrap();
        let binary = format!("{BINARY} --config {}", warden.config_path().display());
        let text =
            command.replace("/etc/procwarden", dir).replace("(procwarden", &format!("({binary}"));
        let output = Command::new("sh").args(["-c", &text]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run().matches("no nodes").count(), 0, "nothing to say is not said");
    let port = crate::support::ports::free_port().to_string();
    assert!(warden.cli(&["nodes", "add", "closed", "--port", &port]).status.success());
    let said = run();
    assert!(said.contains("closed") && said.contains("down"), "{said}");
}

#[test]
fn every_key_of_the_environment_example_is_one() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example")).unwrap();
    let set: String = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix('#').filter(|it| it.contains('=') && !it.starts_with(' '))
        })
        .fold(String::new(), |text, line| text + line + "\n");
    assert!(set.lines().count() >= 8, "{set}");
    let warden = Warden::prepare(WardenConfig::default());
    fs::write(
        warden.dir().join(".env"),
        set.replace("/srv/app/var/cache", warden.dir().to_str().unwrap()),
    )
    .unwrap();
    let output = warden.cli(&["check-config"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("host-1"));
}
