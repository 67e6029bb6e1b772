//! A port that this process listens on, or does not: a node that goes up and down as a test wants.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::ports::HeldPort;

/// The node; down until it is switched on.
#[derive(Debug)]
pub struct Switch {
    name: &'static str,
    port: u16,
    accepting: Option<JoinHandle<()>>,
}

impl Switch {
    /// One that is up.
    pub async fn up(name: &'static str) -> Self {
        let mut switch = Self { name, port: HeldPort::take().hand_over(), accepting: None };
        switch.on().await;
        switch
    }

    /// The keys of its `[[node]]`.
    pub fn keys(&self) -> Value {
        let exe = std::env::current_exe().unwrap();
        let ours = exe.file_name().unwrap().to_str().unwrap();
        json!({"name": self.name, "port": self.port, "process_name": ours})
    }

    /// It listens.
    pub async fn on(&mut self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        self.accepting =
            Some(tokio::spawn(async move { while listener.accept().await.is_ok() {} }));
    }

    /// It does not.
    pub async fn off(&mut self) {
        let accepting = self.accepting.take().expect("it is up");
        accepting.abort();
        let _ = accepting.await;
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}
