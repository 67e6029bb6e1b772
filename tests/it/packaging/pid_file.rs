//! `serve --pid-file` and `stop`, as the scripts of before were used.

use std::fs;

use crate::support::{Warden, WardenConfig};

const FILE: &str = "server.pid";

/// Started with a PID file in its directory.
async fn started() -> Warden {
    let mut warden = Warden::prepare(WardenConfig::default());
    launch(&mut warden).await;
    warden
}

async fn launch(warden: &mut Warden) {
    let line = format!("exec \"$@\" --pid-file {FILE}");
    warden.launch_under(&["sh", "-c", &line, "sh"]);
    warden.ready().await;
}

fn run(warden: &Warden, args: &[&str]) -> (i32, String) {
    let output = warden.cli(args);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_second_start_is_refused_with_the_pid_and_stop_ends_the_first() {
    let mut warden = started().await;
    let pid = warden.pid().to_string();
    let file = warden.dir().join(FILE);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().next(), Some(&*pid), "{text}");
    let (code, said) = run(&warden, &["serve", "--pid-file", FILE]);
    assert!(code == 75 && said.contains(&format!("PID {pid} ")), "{said}");
    assert_eq!(warden.get("/livez").await.status, 200);
    let (code, said) = run(&warden, &["stop", "--pid-file", FILE]);
    assert_eq!((code, said), (0, format!("PID {pid} has ended\n")));
    assert_eq!(warden.wait_exit().await.code(), Some(0), "drained: {}", warden.log());
    assert!(!file.exists());
    let (code, said) = run(&warden, &["stop", "--pid-file", FILE]);
    assert_eq!((code, said.as_str()), (0, "no server runs\n"));
}

#[tokio::test]
async fn what_a_killed_server_leaves_means_nobody() {
    let mut warden = started().await;
    warden.kill9();
    assert!(warden.dir().join(FILE).exists());
    let (code, said) = run(&warden, &["stop", "--pid-file", FILE]);
    assert_eq!((code, said.as_str()), (0, "no server runs\n"));
    launch(&mut warden).await;
    let pid = format!("{}\n", warden.pid());
    assert!(fs::read_to_string(warden.dir().join(FILE)).unwrap().starts_with(&pid));
}
