//! A real SMTP server (aiosmtpd) that keeps every mail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use super::authority::authority;
use super::ports::HeldPort;
use super::program::Program;
use super::{WardenConfig, eventually};

/// Its user and that one's password.
pub const LOGIN: (&str, &str) = ("warden", "s3cret");

/// A mail as it arrived.
#[derive(Debug, Clone)]
pub struct Mail {
    /// `tls` or `clear`.
    pub over: String,
    /// Who logged in.
    pub user: String,
    /// Who it went to.
    pub to: String,
    /// Head and body, its transfer encoding undone.
    pub head: String,
    /// The body.
    pub body: String,
}

/// The server.
pub struct Smtp {
    dir: TempDir,
    port: u16,
    how: &'static str,
    program: Option<Program>,
}

/// What `scripts/test` prepares: Python with aiosmtpd.
fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/smtp/bin/python");
    assert!(python.exists(), "{} is not there; scripts/test makes it", python.display());
    python
}

impl Smtp {
    /// Starts it; `how` is `off`, `starttls` or `tls`. With TLS it wants [`LOGIN`].
    pub async fn start(how: &'static str) -> Self {
        let mut server = Self::prepare(how);
        server.launch().await;
        server
    }

    /// A port, and nobody who listens there yet.
    pub fn prepare(how: &'static str) -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("mails")).unwrap();
        if how != "off" {
            authority(dir.path(), "127.0.0.1");
        }
        Self { dir, port: HeldPort::take().hand_over(), how, program: None }
    }

    /// Starts it on its port.
    pub async fn launch(&mut self) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/smtp.py");
        let mails = self.dir.path().join("mails");
        let file = |name: &str| self.dir.path().join(name).to_str().unwrap().to_owned();
        let (user, password) = if self.how == "off" { ("", "") } else { LOGIN };
        let (cert, key) = match self.how {
            "off" => (String::new(), String::new()),
            _ => (file("cert.pem"), file("key.pem")),
        };
        let args = [
            here.to_str().unwrap().to_owned(),
            self.port.to_string(),
            mails.to_str().unwrap().to_owned(),
            self.how.to_owned(),
            user.to_owned(),
            password.to_owned(),
            cert,
            key,
        ];
        let log = self.dir.path().join("log");
        let program =
            self.program.insert(Program::start(python(), args, self.dir.path(), &log, &[]));
        let ready = mails.join("ready");
        eventually(Duration::from_secs(30), || async {
            if ready.exists() { Ok(()) } else { Err(program.log()) }
        })
        .await;
    }

    /// The configuration of a warden that sends its mails here.
    pub fn told(&self, config: WardenConfig) -> WardenConfig {
        let config = config
            .set("alerts.smtp_host", "127.0.0.1")
            .set("alerts.smtp_port", self.port)
            .set("alerts.smtp_tls", self.how)
            .set("alerts.mail_from", "procwarden <warden@example.org>")
            .set("alerts.mail_to", vec!["ops@example.org", "Second <second@example.org>"])
            .or("alerts.group_wait", "300ms");
        if self.how == "off" {
            return config;
        }
        config
            .set("alerts.smtp_user", LOGIN.0)
            .set("alerts.smtp_password", LOGIN.1)
            .env("SSL_CERT_FILE", self.dir.path().join("ca.pem").to_str().unwrap())
    }

    /// Every mail, in the order of arrival.
    pub fn mails(&self) -> Vec<Mail> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.dir.path().join("mails"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "eml"))
            .collect();
        files.sort();
        files.iter().map(|path| read(path)).collect()
    }

    /// Waits for so many mails.
    pub async fn gets(&self, deadline: Duration, count: usize) -> Vec<Mail> {
        eventually(deadline, || async {
            let mails = self.mails();
            if mails.len() >= count { Ok(mails) } else { Err(format!("{} mails", mails.len())) }
        })
        .await
    }
}

/// Python undoes the encodings, as a mail program does.
fn read(path: &Path) -> Mail {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.splitn(5, '\n');
    let mut line = || lines.next().unwrap().to_owned();
    let (over, user, _, to, content) = (line(), line(), line(), line(), line());
    let script = "import sys, email, email.policy\n\
                  m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)\n\
                  [print(f'{k}: {v}') for k, v in m.items()]\n\
                  print()\n\
                  print(m.get_content(), end='')";
    let mut child = std::process::Command::new(python())
        .args(["-c", script])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), content.as_bytes()).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let output = output.replace("\r\n", "\n");
    let (head, body) = output.split_once("\n\n").unwrap();
    Mail { over, user, to, head: head.to_owned(), body: body.to_owned() }
}
