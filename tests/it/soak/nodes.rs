//! Nodes that come and go: most are light, some are real wallet servers; and what is true of each.

use std::time::Duration;

use serde_json::{Value, json};

use super::dice::Dice;
use super::ledger::{Ledger, Since};
use crate::support::light::{Does, Light, Lights};
use crate::support::wallet::{Wallet, WalletOptions};
use crate::support::{WardenConfig, kernel};

/// The light ones are this long in vain asked for an answer, and longer than a starved machine lets them wait.
pub const API_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
enum Kind {
    Light(Light),
    Real { wallet: Option<Wallet>, port: u16, stopped: bool },
}

#[derive(Debug)]
struct Node {
    name: String,
    kind: Kind,
    since: Since,
}

impl Node {
    /// The state, and the reason where it is certain; none while a real one starts.
    fn truth(&self) -> Option<(&'static str, Option<&'static str>)> {
        Some(match &self.kind {
            Kind::Light(light) => match light.does() {
                Does::Answers => ("up", None),
                Does::Hangs | Does::HangsAfter(_) | Does::Dribbles => ("down", Some("api_timeout")),
                Does::Fails => ("down", Some("http_status")),
                Does::Closed => ("down", Some("port_closed")),
            },
            Kind::Real { wallet: None, .. } => ("down", Some("port_closed")),
            Kind::Real { stopped: true, .. } => ("down", None),
            Kind::Real { wallet: Some(wallet), port, .. } => {
                kernel::listens(wallet.pid(), *port).then_some(("up", None))?
            }
        })
    }
}

/// All nodes of one service.
#[derive(Debug)]
pub struct Nodes {
    all: Vec<Node>,
    _lights: Lights,
    /// How often one changed.
    pub changes: usize,
}

impl Nodes {
    /// So many of each; all are up.
    pub async fn start(light: usize, real: usize) -> Self {
        let lights = Lights::start();
        let mut nodes = Vec::new();
        for number in 0..light {
            let kind = Kind::Light(lights.node(Does::Answers));
            nodes.push(Node { name: format!("light-{number}"), kind, since: Since::now() });
        }
        for number in 0..real {
            let wallet = Wallet::start().await;
            let port = wallet.port();
            let kind = Kind::Real { wallet: Some(wallet), port, stopped: false };
            nodes.push(Node { name: format!("real-{number}"), kind, since: Since::now() });
        }
        Self { all: nodes, _lights: lights, changes: 0 }
    }

    /// The configuration with all of them.
    pub fn configured(&self, config: WardenConfig) -> WardenConfig {
        self.all.iter().fold(config, |config, node| {
            let port = match &node.kind {
                Kind::Light(light) => light.port(),
                Kind::Real { port, .. } => *port,
            };
            config.node(json!({"name": node.name, "port": port}))
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// One of them changes.
    pub async fn step(&mut self, dice: &mut Dice) {
        let at = dice.index(self.all.len());
        let roll = dice.below(10);
        let node = &mut self.all[at];
        match &mut node.kind {
            Kind::Light(light) => {
                let does = match (light.does(), roll) {
                    (Does::Answers, 0..2) => Does::Hangs,
                    (Does::Answers, 2) => Does::HangsAfter(dice.index(200)),
                    (Does::Answers, 3) => Does::Dribbles,
                    (Does::Answers, 4..6) => Does::Fails,
                    (Does::Answers, _) => Does::Closed,
                    _ => Does::Answers,
                };
                light.set(does);
            }
            Kind::Real { wallet, port, stopped } => match (wallet.take(), *stopped) {
                (None, _) => {
                    let options = WalletOptions { port: Some(*port), ..Default::default() };
                    *wallet = Some(Wallet::launch(&options));
                }
                (Some(frozen), true) => {
                    frozen.cont();
                    (*wallet, *stopped) = (Some(frozen), false);
                }
                (Some(mut running), false) => {
                    // One that still starts is left alone.
                    if !kernel::listens(running.pid(), *port) {
                        *wallet = Some(running);
                        return;
                    }
                    if roll < 5 {
                        running.kill();
                    } else {
                        running.stop().await;
                        (*wallet, *stopped) = (Some(running), true);
                    }
                }
            },
        }
        node.since = Since::now();
        self.changes += 1;
    }

    /// Compares each with what is told of it. `calm`: how long there was no fault of ours.
    pub fn compare(&mut self, told: &[Value], calm: Option<Duration>, ledger: &mut Ledger) {
        assert_eq!(told.len(), self.all.len());
        for node in &mut self.all {
            let Some((state, reason)) = node.truth() else {
                node.since = Since::now();
                continue;
            };
            let shown = told.iter().find(|it| it["name"] == node.name.as_str());
            let shown = shown.unwrap_or(&Value::Null);
            let is_told =
                shown["state"] == state && reason.is_none_or(|reason| shown["reason"] == reason);
            ledger.compare(&mut node.since, calm, is_told, || {
                format!("{}: {state} {reason:?}, told {shown}", node.name)
            });
        }
    }
}
