//! Where somebody listens: the rows of `/proc/net/tcp{,6}` that are in the state LISTEN.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read, retry_on_intr};

use super::Processes;

/// The kernel gives a page at a time.
const CHUNK: usize = 4096;

/// An address and a port.
pub(super) type Place = (IpAddr, u16);

/// Inodes of listening sockets by where they listen.
#[derive(Debug, Default)]
pub(super) struct PortTable(HashMap<Place, Vec<u64>>);

impl PortTable {
    /// The sockets that answer a connection to this address, the closest match first as the kernel has it.
    pub(super) fn at(&self, address: IpAddr, port: u16) -> HashSet<u64> {
        let unspecified = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let places = match address.to_canonical() {
            // A connection to the unspecified address goes to this machine.
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::UNSPECIFIED), unspecified]
            }
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                [IpAddr::V6(Ipv6Addr::LOCALHOST), unspecified, unspecified]
            }
            IpAddr::V4(v4) => [IpAddr::V4(v4), IpAddr::V4(Ipv4Addr::UNSPECIFIED), unspecified],
            IpAddr::V6(v6) => [IpAddr::V6(v6), unspecified, unspecified],
        };
        let closest = places.iter().find_map(|place| self.0.get(&(*place, port)));
        closest.into_iter().flatten().copied().collect()
    }

    pub(super) fn all(&self) -> HashSet<u64> {
        self.0.values().flatten().copied().collect()
    }

    /// Where somebody listens, in order.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.0.keys().copied().collect();
        places.sort_unstable();
        places
    }

    /// Does one of these sockets listen there?
    pub(super) fn is_one_of(&self, place: &Place, sockets: &HashSet<u64>) -> bool {
        self.0.get(place).is_some_and(|inodes| inodes.iter().any(|it| sockets.contains(it)))
    }

    fn insert(&mut self, place: Place, inode: u64) {
        let sockets = self.0.entry(place).or_default();
        if !sockets.contains(&inode) {
            sockets.push(inode);
        }
    }

    /// Adds the row; false if it is of a socket that does not listen, as all behind it are.
    fn add(&mut self, row: &[u8]) -> bool {
        match std::str::from_utf8(row).map(parsed) {
            Ok(Row::Listens(place, inode)) => self.insert(place, inode),
            Ok(Row::Another) => return false,
            // The heading, or what nobody can read.
            Ok(Row::None) | Err(_) => {}
        }
        true
    }
}

impl FromIterator<(Place, u64)> for PortTable {
    fn from_iter<T: IntoIterator<Item = (Place, u64)>>(sockets: T) -> Self {
        let mut table = Self::default();
        for (place, inode) in sockets {
            table.insert(place, inode);
        }
        table
    }
}

impl Processes {
    /// Who listens where, in our network namespace, read now. What cannot be read is left out.
    pub(super) fn port_table(&self) -> PortTable {
        self.port_table_passing(&mut || ())
    }

    /// The table, telling each time that a page of it was read.
    ///
    /// A table of several pages is read twice, and both readings count: from one page to the next the kernel remembers a
    /// place in a chain of sockets by its number (`tcp_seek_last_pos` in `net/ipv4/tcp_ipv4.c`), so where one before it is
    /// closed meanwhile the next is passed over. Measured beside two programs that open and close 40 each: one socket in
    /// 60,000. That one of the table was closed since is the lesser fault: nobody holds it any more.
    fn port_table_passing(&self, pass: &mut dyn FnMut()) -> PortTable {
        let mut table = PortTable::default();
        for name in ["self/net/tcp", "self/net/tcp6"] {
            if matches!(self.read_listening(name, &mut table, pass), Ok(2..)) {
                let _ = self.read_listening(name, &mut table, pass);
            }
        }
        table
    }

    /// The kernel gives those that listen first (`tcp_seq_start` in `net/ipv4/tcp_ipv4.c`), so a hundred thousand
    /// connections behind them are not read. How many pages that took.
    fn read_listening(
        &self,
        name: &str,
        table: &mut PortTable,
        pass: &mut dyn FnMut(),
    ) -> Result<usize, Errno> {
        let proc = self.inner.proc.as_ref().ok_or(Errno::ACCESS)?;
        let file = openat(proc, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut chunk = vec![0_u8; CHUNK];
        let mut rest: Vec<u8> = Vec::new();
        let mut pages = 0;
        loop {
            let count = retry_on_intr(|| read(&file, &mut chunk))?;
            let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(pages);
            };
            pages += 1;
            rest.extend_from_slice(bytes);
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if !rest
                .drain(..whole)
                .as_slice()
                .split(|byte| *byte == b'\n')
                .all(|row| table.add(row))
            {
                return Ok(pages);
            }
            pass();
        }
    }
}

/// A line of the table.
#[derive(Debug, PartialEq, Eq)]
enum Row {
    /// A socket that listens there, by its inode.
    Listens(Place, u64),
    /// A socket in another state.
    Another,
    /// No row.
    None,
}

/// `0: 0100007F:46A2 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 ...` (`proc_pid_net(5)`).
fn parsed(line: &str) -> Row {
    let mut fields = line.split_ascii_whitespace();
    // The remote address stands between; 0A is TCP_LISTEN.
    let (Some(local), Some(state)) = (fields.nth(1), fields.nth(1)) else { return Row::None };
    let Some(place) = parse_place(local) else { return Row::None };
    if state != "0A" {
        return Row::Another;
    }
    let inode = fields.nth(5).and_then(|inode| inode.parse().ok());
    inode.map_or(Row::None, |inode| Row::Listens(place, inode))
}

fn parse_place(text: &str) -> Option<Place> {
    let (address, port) = text.split_once(':')?;
    Some((parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// One or four 32-bit words in the machine's byte order, in hexadecimal; v4-mapped addresses become IPv4.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |nth: usize| {
        let digits = text.get(nth * 8..nth * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0_u8; 16];
            for (nth, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(nth)?);
            }
            Some(IpAddr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::fs::fstat;
    use tokio::net::TcpSocket;

    use super::*;

    #[test]
    fn rows_of_the_tables() {
        let row = "   0: 0100007F:46A2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0";
        let place = (IpAddr::from([127, 0, 0, 1]), 18082);
        assert_eq!(parsed(row), Row::Listens(place, 12345));
        assert_eq!(parsed(&row.replace(" 0A ", " 01 ")), Row::Another);
        assert_eq!(parsed("  sl  local_address rem_address   st tx_queue"), Row::None);
        assert_eq!(parsed(""), Row::None);
        assert_eq!(
            parse_address("00000000000000000000000001000000"),
            Some(IpAddr::V6(Ipv6Addr::LOCALHOST))
        );
        assert_eq!(
            parse_address("0000000000000000FFFF00000100007F"),
            Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        );
        assert_eq!(parse_address("яя00"), None);
    }

    /// What the reading of no more than the first rows rests on.
    #[test]
    fn those_that_listen_stand_before_those_that_are_connected() {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = first.local_addr().unwrap();
        let connected: Vec<_> = (0..100).map(|_| TcpStream::connect(place).unwrap()).collect();
        let later: Vec<_> = (0..50).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let table = Processes::new().unwrap().port_table();
        for listener in later.iter().chain([&first]) {
            let place = listener.local_addr().unwrap();
            assert_eq!(table.at(place.ip(), place.port()).len(), 1, "{place}");
        }
        let text = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let listens: Vec<bool> = text
            .lines()
            .map(parsed)
            .filter_map(|row| match row {
                Row::Listens(..) => Some(true),
                Row::Another => Some(false),
                Row::None => None,
            })
            .collect();
        assert!(listens.iter().filter(|it| !**it).count() >= connected.len());
        assert!(listens.is_sorted_by(|a, b| a >= b), "{text}");
    }

    /// A chain of the kernel's that is longer than a page: the sockets of one address.
    #[tokio::test]
    async fn a_socket_is_seen_where_others_are_closed_while_the_table_is_read() {
        let listen = |address| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseport(true).unwrap();
            socket.bind(address).unwrap();
            socket.listen(1).unwrap()
        };
        let first = listen("127.0.0.1:0".parse().unwrap());
        let place = first.local_addr().unwrap();
        // The latest stands at the head.
        let steady: Vec<_> = std::iter::repeat_with(|| listen(place)).take(99).collect();
        let mut others: Vec<_> = std::iter::repeat_with(|| listen(place)).take(100).collect();
        let processes = Processes::new().unwrap();
        let table = processes.port_table_passing(&mut || drop(others.pop()));
        let sockets = table.at(place.ip(), place.port());
        for listener in steady.iter().chain([&first]) {
            let inode = fstat(listener).unwrap().st_ino;
            assert!(sockets.contains(&inode), "passed over; {} others left", others.len());
        }
    }
}
