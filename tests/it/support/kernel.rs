//! What /proc says about processes and ports, read apart from the service's own code.

use std::fs;

/// State letter and start ticks of a process.
pub fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = text.rsplit_once(')')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

/// State letter of a process: `S`, `R`, `T`, `Z`, ...
pub fn state(pid: i32) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

/// Does this process own the listening socket of this port?
pub fn listens(pid: i32, port: u16) -> bool {
    owns(pid, rows(port, LISTEN))
}

fn owns(pid: i32, sockets: impl Iterator<Item = u64>) -> bool {
    let sockets: Vec<String> = sockets.map(|inode| format!("socket:[{inode}]")).collect();
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.to_str() == Some(socket)))
}

/// Whose of these is the connection that comes from this local port?
pub fn connector(pids: impl IntoIterator<Item = i32>, from: u16) -> Option<i32> {
    let sockets: Vec<u64> = rows(from, ESTABLISHED).collect();
    pids.into_iter().find(|pid| owns(*pid, sockets.iter().copied()))
}

/// Connections that stand to this local port, by the server's side.
pub fn established(port: u16) -> usize {
    rows(port, ESTABLISHED).count()
}

/// The remote ports of the connections to this local port: two equal answers are the same connections.
pub fn peers(port: u16) -> Vec<u16> {
    let mut peers: Vec<u16> = table()
        .filter(|row| row.local == port && row.state == ESTABLISHED)
        .map(|row| row.remote)
        .collect();
    peers.sort_unstable();
    peers
}

const LISTEN: u8 = 0x0a;
const ESTABLISHED: u8 = 0x01;

struct Row {
    local: u16,
    remote: u16,
    state: u8,
    inode: u64,
}

fn rows(port: u16, state: u8) -> impl Iterator<Item = u64> {
    table().filter(move |row| row.local == port && row.state == state).map(|row| row.inode)
}

fn table() -> impl Iterator<Item = Row> {
    let text = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .map(|path| fs::read_to_string(path).unwrap_or_default())
        .collect::<String>();
    let rows: Vec<Row> = text.lines().filter_map(parse).collect();
    rows.into_iter()
}

fn parse(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |field: &str| u16::from_str_radix(field.rsplit_once(':')?.1, 16).ok();
    Some(Row {
        local: port(fields.get(1)?)?,
        remote: port(fields.get(2)?)?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}
