//! A real supervisord runs it as shipped: after kill -9 it is back.

use std::process::Command;

use tempfile::TempDir;

use super::{BINARY, SOON, changed};
use crate::support::guardian::Guarded;
use crate::support::{Warden, WardenConfig, eventually, kernel};

#[tokio::test]
async fn what_is_killed_is_back_and_what_is_stopped_is_not() {
    let warden = Warden::prepare(WardenConfig::default());
    let dir = TempDir::new().unwrap();
    let (path, config) = (dir.path().display(), warden.config_path());
    let program = changed(
        "procwarden.supervisor.conf",
        &[
            (
                "/usr/local/bin/procwarden serve",
                &format!("{BINARY} --config {} serve", config.display()),
            ),
            ("directory=/etc/procwarden", &format!("directory={}", warden.dir().display())),
            // There is no such user here.
            ("user=procwarden\n", ""),
            ("/var/log/supervisor/procwarden.log", &format!("{path}/procwarden.log")),
        ],
    );
    let whole = format!(
        "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={path}/pid\nchildlogdir={path}\n\
         [unix_http_server]\nfile={path}/socket\n[supervisorctl]\nserverurl=unix://{path}/socket\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n{program}"
    );
    let file = dir.path().join("supervisord.conf");
    std::fs::write(&file, whole).unwrap();
    let words = ["supervisord", "-c", file.to_str().unwrap()].map(str::to_owned);
    let mut supervisord = Guarded::new(dir, &words, "TERM");
    supervisord.start();
    let ask = |words: &[&str]| {
        let output = Command::new("supervisorctl").arg("-c").arg(&file).args(words).output();
        String::from_utf8(output.expect("supervisorctl starts").stdout).unwrap().trim().to_owned()
    };
    let runs = async |not: i32| {
        eventually(SOON, || async {
            let said = ask(&["pid", "procwarden"]);
            let pid: i32 = said.parse().map_err(|_| format!("{said}: {}", supervisord.log()))?;
            let ready = warden.try_get("/readyz").await.is_ok_and(|answer| answer.status == 200);
            if pid > 0 && pid != not && ready { Ok(pid) } else { Err(format!("{pid}, {ready}")) }
        })
        .await
    };
    let first = runs(0).await;
    let killed = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    let second = runs(first).await;
    assert!(ask(&["stop", "procwarden"]).contains("stopped"));
    assert!(!kernel::listens(second, warden.port()));
    assert!(ask(&["status"]).contains("STOPPED"));
}
