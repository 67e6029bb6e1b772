//! A real Galera cluster of three MariaDB nodes.

use super::mariadb::{self, Server, USER};
use super::ports::HeldPort;

const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";

/// A node that is killed is given up within seconds. Keepalives must come three times as often as the suspicion.
const TIMES: &str = "evs.keepalive_period=PT0.3S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;\
    evs.inactive_check_period=PT0.5S;gcache.size=16M";

/// Three nodes; each may be killed, frozen and restarted by itself.
#[derive(Debug)]
pub struct Galera {
    /// The nodes, each a server with the same data.
    pub nodes: Vec<Server>,
}

impl Galera {
    /// Starts them one after the other; takes about ten seconds.
    pub fn start() -> Self {
        let groups: Vec<HeldPort> = (0..3).map(|_| HeldPort::take()).collect();
        let groups: Vec<u16> = groups.into_iter().map(HeldPort::hand_over).collect();
        let members: Vec<String> = groups.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let members = members.join(",");
        let mut nodes = Vec::new();
        for group in groups {
            // With nobody to join the first one makes the cluster; started again, it joins as the others do.
            let joined = if nodes.is_empty() { "" } else { &members };
            let settings = Settings::new(group);
            let port = HeldPort::take();
            let guarded = mariadb::guarded(port.number(), &settings.lines(joined));
            let dir = guarded.dir().to_owned();
            let node = Server::launch(guarded, port.hand_over()).expect("its ports are free");
            mariadb::configure(&dir, &settings.lines(&members));
            if nodes.is_empty() {
                node.sql("", USER);
            }
            nodes.push(node);
        }
        let cluster = Self { nodes };
        assert_eq!(cluster.size(0), 3);
        cluster
    }

    /// The ports that speak SQL.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(Server::port).collect()
    }

    /// How many nodes this one sees, itself included.
    pub fn size(&self, node: usize) -> i64 {
        let rows = self.nodes[node].sql("", "SHOW STATUS LIKE 'wsrep_cluster_size'");
        rows[0]["Value"].as_str().unwrap().parse().unwrap()
    }
}

/// The ports of one node among the nodes.
struct Settings {
    group: u16,
    state: u16,
    increments: u16,
}

impl Settings {
    fn new(group: u16) -> Self {
        let (state, increments) = (HeldPort::take(), HeldPort::take());
        Self { group, state: state.hand_over(), increments: increments.hand_over() }
    }

    fn lines(&self, members: &str) -> Vec<String> {
        let Self { group, state, increments } = self;
        vec![
            "wsrep_on=ON".to_owned(),
            format!("wsrep_provider={PROVIDER}"),
            format!(
                "wsrep_provider_options=\"gmcast.listen_addr=tcp://127.0.0.1:{group};\
                 ist.recv_addr=127.0.0.1:{increments};{TIMES}\""
            ),
            "wsrep_cluster_name=test".to_owned(),
            format!("wsrep_cluster_address=gcomm://{members}"),
            format!("wsrep_node_name=node-{group}"),
            format!("wsrep_node_address=127.0.0.1:{group}"),
            format!("wsrep_sst_receive_address=127.0.0.1:{state}"),
            "wsrep_sst_method=rsync".to_owned(),
            "binlog_format=ROW".to_owned(),
            "default_storage_engine=InnoDB".to_owned(),
            "innodb_autoinc_lock_mode=2".to_owned(),
        ]
    }
}
