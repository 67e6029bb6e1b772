//! Who listens on a port: a LISTEN row of `/proc/net/tcp{,6}` names a socket's inode, a process's `/proc/PID/fd` has it.
//!
//! A pass asks for ten thousand nodes, so the table and the search over all processes are kept for a second, and under which
//! descriptor a process holds a socket as long as it does: one link is read then, not those of all its descriptors.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Dir, Mode, OFlags, openat, readlinkat};

use super::Processes;
use super::port_table::PortTable;
use crate::domain::discover::Listens;

/// How long what was read may be used.
const KEPT: Duration = Duration::from_secs(1);

/// More descriptors than listeners of one machine; past it they are learnt anew.
const KNOWN: usize = 100_000;

/// Who listens, as far as it can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenerSight {
    /// This process holds the listening socket.
    Owner {
        /// Its PID.
        pid: i32,
    },
    /// A socket listens, and no process that we may look into holds it.
    Hidden,
    /// No socket listens on this address and port in our network namespace.
    None,
}

/// Is this an address of this machine: loopback, or one that a socket can be bound to?
#[must_use]
pub fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

/// What was read last; one reader at a time, the others wait for what it reads.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    table: Option<(Instant, PortTable)>,
    owners: Option<(Instant, Owners)>,
    known: Known,
}

/// Under which descriptor a process held a socket when that was last seen.
#[derive(Debug, Default)]
struct Known(HashMap<(i32, u64), u32>);

/// Who holds which of the listening sockets.
#[derive(Debug)]
struct Owners {
    /// Sockets that were searched for, found or not.
    searched: HashSet<u64>,
    holders: HashMap<u64, Vec<i32>>,
}

impl Processes {
    /// Which process listens on this address and port. A forked server's socket is held by several: `hint`, the PID
    /// that is expected, is preferred, then the lowest.
    ///
    /// An owner holds the socket now, and that nobody listens was read after the call; only `Hidden` may be a second old.
    #[must_use]
    pub fn listener(&self, address: IpAddr, port: u16, hint: Option<i32>) -> ListenerSight {
        let called = Instant::now();
        let mut cached = self.inner.sockets.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sockets = self.sockets(&mut cached, address, port, called);
        if let Some(pid) = hint.filter(|pid| self.holds(&mut cached.known, *pid, &sockets)) {
            return ListenerSight::Owner { pid };
        }
        if !sockets.is_empty() && !cached.knows_holders(&sockets) {
            self.search(&mut cached);
            sockets = self.sockets(&mut cached, address, port, called);
        }
        if sockets.is_empty() {
            return ListenerSight::None;
        }
        let mut holders = cached.holders(&sockets);
        if let Some(pid) = self.first_holder(&mut cached.known, &holders, &sockets, hint) {
            return ListenerSight::Owner { pid };
        }
        if !holders.is_empty() {
            // It was held and is no more: a restart since the search.
            self.search(&mut cached);
            sockets = self.sockets(&mut cached, address, port, called);
            holders = cached.holders(&sockets);
        }
        match self.first_holder(&mut cached.known, &holders, &sockets, hint) {
            Some(pid) => ListenerSight::Owner { pid },
            None if sockets.is_empty() => ListenerSight::None,
            None => ListenerSight::Hidden,
        }
    }

    /// Which process listens at each of these places, by one search over all processes: dear, and the same for one and
    /// for thousands. The lowest PID where several hold the socket; as of a moment ago, see [`Self::listens`].
    #[must_use]
    pub fn listeners(&self, places: &[(IpAddr, u16)]) -> Vec<Option<i32>> {
        let mut cached = self.inner.sockets.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.search(&mut cached);
        let Some((_, table)) = &cached.table else { return vec![None; places.len()] };
        let owner = |(address, port): &(IpAddr, u16)| {
            cached.holders(&table.at(*address, *port)).first().copied()
        };
        places.iter().map(owner).collect()
    }

    /// Where each of these processes listens, by a table that is read now.
    pub(super) fn listening(&self, pids: &[i32]) -> HashMap<i32, Listens> {
        let table = self.port_table();
        let all = table.places();
        let listens = |pid| {
            let mut sockets = HashSet::new();
            let looked = self.each_socket(pid, |inode, _| {
                sockets.insert(inode);
                false
            });
            if looked.is_none() {
                return Listens::Somebody(all.clone());
            }
            let own = |place: &&(IpAddr, u16)| table.is_one_of(place, &sockets);
            Listens::Here(all.iter().filter(own).copied().collect())
        };
        pids.iter().map(|pid| (*pid, listens(*pid))).collect()
    }

    /// Does this process hold the socket that listens there, by a table of the last second?
    #[must_use]
    pub fn listens(&self, pid: i32, address: IpAddr, port: u16) -> bool {
        let mut cached = self.inner.sockets.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = self.sockets(&mut cached, address, port, Instant::now());
        self.holds(&mut cached.known, pid, &sockets)
    }

    /// The sockets for this place. That there are none is believed only from a table read after `called`.
    fn sockets(
        &self,
        cached: &mut Cached,
        address: IpAddr,
        port: u16,
        called: Instant,
    ) -> HashSet<u64> {
        if let Some((read, table)) = &cached.table {
            let found = table.at(address, port);
            if *read >= called || (read.elapsed() < KEPT && !found.is_empty()) {
                return found;
            }
        }
        let read = Instant::now();
        let table = self.port_table();
        let found = table.at(address, port);
        cached.table = Some((read, table));
        found
    }

    /// Reads the table anew and searches all processes for every listening socket in it.
    fn search(&self, cached: &mut Cached) {
        let read = Instant::now();
        let table = self.port_table();
        let searched = table.all();
        cached.known.0.clear();
        let mut holders: HashMap<u64, Vec<i32>> = HashMap::new();
        for pid in self.pids().unwrap_or_default() {
            let _ = self.each_socket(pid, |inode, descriptor| {
                if searched.contains(&inode) {
                    holders.entry(inode).or_default().push(pid);
                    cached.known.learn(pid, inode, descriptor);
                }
                false
            });
        }
        cached.table = Some((read, table));
        cached.owners = Some((Instant::now(), Owners { searched, holders }));
    }

    /// Whoever of the known holders still holds one of the sockets.
    fn first_holder(
        &self,
        known: &mut Known,
        holders: &[i32],
        sockets: &HashSet<u64>,
        hint: Option<i32>,
    ) -> Option<i32> {
        let expected = hint.filter(|pid| holders.contains(pid));
        expected
            .into_iter()
            .chain(holders.iter().copied())
            .find(|pid| self.holds(known, *pid, sockets))
    }

    fn holds(&self, known: &mut Known, pid: i32, sockets: &HashSet<u64>) -> bool {
        if sockets.iter().any(|inode| {
            known.at(pid, *inode).is_some_and(|descriptor| self.has(pid, descriptor, *inode))
        }) {
            return true;
        }
        let mut holds = |inode, descriptor| {
            let is_one = sockets.contains(&inode);
            if is_one {
                known.learn(pid, inode, descriptor);
            }
            is_one
        };
        self.each_socket(pid, &mut holds).unwrap_or(false)
    }

    /// Is this descriptor of the process that socket?
    fn has(&self, pid: i32, descriptor: u32, inode: u64) -> bool {
        let Some(proc) = &self.inner.proc else { return false };
        let link = readlinkat(proc, format!("{pid}/fd/{descriptor}"), Vec::with_capacity(64));
        link.is_ok_and(|link| socket_inode(link.to_bytes()) == Some(inode))
    }

    /// Passes every socket of a process, and under which descriptor it holds it, until one is wanted; `None` if we may not
    /// look.
    fn each_socket(&self, pid: i32, mut wanted: impl FnMut(u64, u32) -> bool) -> Option<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = self.inner.proc.as_ref()?;
        let fds = openat(proc, format!("{pid}/fd"), flags, Mode::empty()).ok()?;
        let mut buffer = Vec::with_capacity(64);
        for entry in Dir::read_from(fds.as_fd()).ok()? {
            let Ok(entry) = entry else { break };
            let Ok(link) = readlinkat(&fds, entry.file_name(), buffer) else {
                buffer = Vec::with_capacity(64);
                continue;
            };
            let descriptor = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
            let socket = socket_inode(link.to_bytes()).zip(descriptor);
            if socket.is_some_and(|(inode, descriptor)| wanted(inode, descriptor)) {
                return Some(true);
            }
            buffer = link.into_bytes();
        }
        Some(false)
    }
}

impl Cached {
    fn knows_holders(&self, sockets: &HashSet<u64>) -> bool {
        self.owners.as_ref().is_some_and(|(read, owners)| {
            read.elapsed() < KEPT && sockets.is_subset(&owners.searched)
        })
    }

    /// Who held these sockets at the last search, the lowest PID first.
    fn holders(&self, sockets: &HashSet<u64>) -> Vec<i32> {
        let all = self.owners.iter().flat_map(|(_, owners)| {
            sockets.iter().filter_map(|it| owners.holders.get(it)).flatten()
        });
        let mut holders: Vec<i32> = all.copied().collect();
        holders.sort_unstable();
        holders.dedup();
        holders
    }
}

impl Known {
    fn at(&self, pid: i32, inode: u64) -> Option<u32> {
        self.0.get(&(pid, inode)).copied()
    }

    fn learn(&mut self, pid: i32, inode: u64, descriptor: u32) {
        if self.0.len() >= KNOWN {
            self.0.clear();
        }
        self.0.insert((pid, inode), descriptor);
    }
}

/// `socket:[12345]`
fn socket_inode(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
    use std::os::fd::AsRawFd as _;
    use std::process::Command;

    use super::*;

    fn ourselves() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn links_of_descriptors() {
        assert_eq!(socket_inode(b"socket:[77]"), Some(77));
        assert_eq!(socket_inode(b"pipe:[77]"), None);
    }

    #[test]
    fn a_descriptor_that_is_another_socket_now_misleads_nobody() {
        let processes = Processes::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(processes.listens(ourselves(), localhost, port));
        let number = |known: &Known| known.0.values().copied().max();
        let descriptor = number(&processes.inner.sockets.0.lock().unwrap().known);
        assert_eq!(descriptor.map(i64::from), Some(i64::from(listener.as_raw_fd())));
        let moved = listener.try_clone().unwrap();
        drop(listener);
        let _other = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(processes.listens(ourselves(), localhost, port), "it is held under another number");
        drop(moved);
        assert!(!processes.listens(ourselves(), localhost, port));
    }

    #[test]
    fn our_own_listeners_are_found() {
        let processes = Processes::new().unwrap();
        for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(bind).unwrap();
            let port = listener.local_addr().unwrap().port();
            let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let ours = ListenerSight::Owner { pid: ourselves() };
            assert_eq!(processes.listener(localhost, port, None), ours);
            assert_eq!(processes.listener(localhost, port, Some(ourselves())), ours);
            // A hint that is wrong misleads nobody.
            assert_eq!(processes.listener(localhost, port, Some(1)), ours);
            assert_eq!(processes.listener(Ipv4Addr::UNSPECIFIED.into(), port, None), ours);
        }
    }

    #[test]
    fn a_dual_stack_listener_answers_ipv4() {
        let Ok(listener) = TcpListener::bind("[::]:0") else {
            // A machine without IPv6.
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let processes = Processes::new().unwrap();
        let ours = ListenerSight::Owner { pid: ourselves() };
        assert_eq!(processes.listener(Ipv4Addr::LOCALHOST.into(), port, None), ours);
        assert_eq!(processes.listener(Ipv6Addr::LOCALHOST.into(), port, None), ours);
    }

    #[test]
    fn a_closed_port_has_no_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let processes = Processes::new().unwrap();
        assert_eq!(processes.listener(Ipv4Addr::LOCALHOST.into(), port, None), ListenerSight::None);
    }

    #[test]
    fn a_socket_that_nobody_visible_holds_is_hidden() {
        let processes = Processes::new().unwrap();
        let address = IpAddr::from([127, 0, 0, 1]);
        let place = (address, 1);
        let now = Instant::now();
        let mut cached = Cached::default();
        let mut owners = Owners { searched: HashSet::from([u64::MAX]), holders: HashMap::new() };
        owners.holders.insert(7, vec![3, 2]);
        cached.table = Some((now, PortTable::from_iter([(place, u64::MAX)])));
        cached.owners = Some((now, owners));
        assert_eq!(cached.holders(&HashSet::from([7])), [2, 3]);
        *processes.inner.sockets.0.lock().unwrap() = cached;
        assert_eq!(processes.listener(address, 1, Some(ourselves())), ListenerSight::Hidden);
    }

    #[test]
    fn a_listener_that_restarted_is_found_within_the_second() {
        let processes = Processes::new().unwrap();
        let localhost = IpAddr::from([127, 0, 0, 1]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ours = ListenerSight::Owner { pid: ourselves() };
        assert_eq!(processes.listener(localhost, port, None), ours);
        drop(listener);
        // The same place, another socket: what was kept is about the old one.
        let _again = TcpListener::bind((localhost, port)).unwrap();
        assert_eq!(processes.listener(localhost, port, None), ours);
    }

    #[test]
    fn a_shared_socket_is_its_hints() {
        use std::os::fd::OwnedFd;

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // As a forked server: the child has the same socket as its standard input.
        let copy = OwnedFd::from(listener.try_clone().unwrap());
        let mut child = Command::new("sleep").arg("60").stdin(copy).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let processes = Processes::new().unwrap();
        let localhost = Ipv4Addr::LOCALHOST.into();
        let hinted = processes.listener(localhost, port, Some(pid));
        let other = processes.listener(localhost, port, Some(ourselves()));
        drop(listener);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(hinted, ListenerSight::Owner { pid });
        assert_eq!(other, ListenerSight::Owner { pid: ourselves() });
    }

    #[test]
    fn addresses_of_this_machine() {
        assert!(is_local(Ipv4Addr::LOCALHOST.into()));
        assert!(is_local("::ffff:127.0.0.1".parse().unwrap()));
        // TEST-NET-1 of RFC 5737: nobody's address.
        assert!(!is_local("192.0.2.1".parse().unwrap()));
    }
}
