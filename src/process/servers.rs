//! Running servers by the file names of their programs: what they were started with and where they listen, as far as
//! their owner lets us read it.

use std::collections::HashMap;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::Processes;
use super::look::STATUS_LIMIT;
use super::namespaces::{field, own_numbers};
use crate::domain::Presence;
use crate::domain::discover::{KINDS, Listens, Options, Server, Unread};
use crate::domain::service::Kind;

/// Longest configuration file that is read, in bytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// Longest environment that is read, in bytes.
const ENVIRONMENT_LIMIT: usize = 1 << 20;

impl Processes {
    /// Every server of the [`KINDS`] that runs and that we may see. Reads a few files of every process: milliseconds.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        let candidates: Vec<(i32, Kind)> = self
            .pids()
            .unwrap_or_default()
            .into_iter()
            .filter_map(|pid| Some((pid, self.kind_of(pid)?)))
            .collect();
        if candidates.is_empty() {
            return Vec::new();
        }
        let pids: Vec<i32> = candidates.iter().map(|(pid, _)| *pid).collect();
        let mut listening: HashMap<i32, Listens> = self.listening(&pids);
        candidates
            .into_iter()
            .filter_map(|(pid, kind)| {
                let listens = listening.remove(&pid)?;
                self.server(pid, kind, listens)
            })
            .collect()
    }

    fn kind_of(&self, pid: i32) -> Option<Kind> {
        let program = self.program(pid);
        // Without a command line it is a zombie, or none that can be read.
        program.cmdline.as_ref()?;
        KINDS.into_iter().find(|kind| program.is(kind.preset().process_name) == Some(true))
    }

    fn server(&self, pid: i32, kind: Kind, listens: Listens) -> Option<Server> {
        let Presence::Alive(alive) = self.look(i64::from(pid)) else { return None };
        let status = self.read_proc(&format!("{pid}/status"), STATUS_LIMIT).ok()?;
        let mut server = Server {
            kind,
            identity: alive.identity,
            options: Options::of_arguments(self.arguments(pid)?.get(1..)?),
            made_login: false,
            listens,
            elsewhere: own_numbers(&status).is_none_or(|numbers| numbers.len() != 1),
            unread: Vec::new(),
        };
        if !server.elsewhere {
            self.read_more(&mut server, &status);
        }
        Some(server)
    }

    /// Adds what stands in its configuration file, its environment and the login that it made.
    fn read_more(&self, server: &mut Server, status: &[u8]) {
        let pid = server.identity.pid;
        let environment = self.read_proc(&format!("{pid}/environ"), ENVIRONMENT_LIMIT);
        let variable = |name: &str| {
            let all = environment.as_deref().unwrap_or_default().split(|byte| *byte == 0);
            let mut all = all.filter_map(|it| std::str::from_utf8(it).ok());
            all.find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).filter(|it| !it.is_empty())
        };
        if environment.is_err() {
            server.unread.push(Unread::Environment);
        }
        if let Some(path) = config_file(server, variable("HOME")) {
            match self.file_of(pid, &path, status) {
                Ok(text) => server.options.add_file(&text),
                Err(Errno::NOENT) => {}
                Err(_) => server.unread.push(Unread::ConfigFile),
            }
        }
        if let Some(login) = variable("RPC_LOGIN") {
            server.options.offer("rpc-login", login);
        }
        let options = &server.options;
        let wants_login =
            options.get("rpc-login").is_none() && !options.is_set("disable-rpc-login");
        if let Some(port) = options.get("rpc-bind-port").filter(|_| wants_login)
            && server.kind == Kind::MoneroWalletRpc
            && let Ok(text) = self.file_of(pid, &format!("monero-wallet-rpc.{port}.login"), status)
        {
            server.options.offer("rpc-login", text.trim());
            server.made_login = true;
        }
    }

    /// A file by a name that the process was given, if the process itself may read it: through us nobody shall learn
    /// what is in another user's.
    fn file_of(&self, pid: i32, path: &str, status: &[u8]) -> Result<String, Errno> {
        let proc = self.inner.proc.as_ref().ok_or(Errno::ACCESS)?;
        let path = match path.strip_prefix('/') {
            Some(absolute) => format!("{pid}/root/{absolute}"),
            None => format!("{pid}/cwd/{path}"),
        };
        // A FIFO would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = openat(proc, path, flags, Mode::empty())?;
        let about = fstat(&file)?;
        let mode = Mode::from_raw_mode(about.st_mode);
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile
            || !may_read(status, about.st_uid, about.st_gid, mode)
        {
            return Err(Errno::ACCESS);
        }
        let mut text = String::new();
        let mut file = std::io::Read::take(std::fs::File::from(file), FILE_LIMIT);
        std::io::Read::read_to_string(&mut file, &mut text).map_err(|_| Errno::INVAL)?;
        Ok(text)
    }
}

/// The configuration file that it reads, if that can be told. A daemon has one of its own accord (`monerod --help`).
fn config_file(server: &Server, home: Option<&str>) -> Option<String> {
    let options = &server.options;
    if let Some(path) = options.get("config-file") {
        return Some(path.to_owned());
    }
    if server.kind != Kind::Monerod {
        return None;
    }
    let usual = || {
        let net = ["testnet", "stagenet"].into_iter().find(|net| options.is_set(net));
        let net = net.map(|net| format!("/{net}")).unwrap_or_default();
        home.map(|home| format!("{home}/.bitmonero{net}"))
    };
    let dir = options.get("data-dir").map(str::to_owned).or_else(usual)?;
    Some(format!("{dir}/bitmonero.conf"))
}

/// May the process of this status file read a file of this owner and mode (`path_resolution(7)`)?
fn may_read(status: &[u8], owner: u32, group: u32, mode: Mode) -> bool {
    let ids = |name: &[u8]| -> Vec<u32> {
        let all = field(status, name).unwrap_or_default().split_ascii_whitespace();
        all.filter_map(|id| id.parse().ok()).collect()
    };
    // Real, effective, saved, of the file system: the last one counts.
    let last = |name: &[u8]| ids(name).last().copied();
    let Some(user) = last(b"Uid:") else { return false };
    if user == 0 {
        return true;
    }
    if user == owner {
        return mode.contains(Mode::RUSR);
    }
    if last(b"Gid:") == Some(group) || ids(b"Groups:").contains(&group) {
        return mode.contains(Mode::RGRP);
    }
    mode.contains(Mode::ROTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_only_where_the_process_could() {
        let status =
            b"Name:\tx\nUid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\nGroups:\t7 8 \n";
        let root = b"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t\n";
        for (owner, group, mode, may) in [
            (1000, 0, 0o400, true),
            (1000, 0, 0o044, false),
            (0, 100, 0o040, true),
            (0, 8, 0o640, true),
            (0, 8, 0o604, false),
            (0, 9, 0o604, true),
            (0, 9, 0o640, false),
        ] {
            let mode = Mode::from_raw_mode(mode);
            assert_eq!(may_read(status, owner, group, mode), may, "{owner} {group} {mode:?}");
            assert!(may_read(root, owner, group, mode));
            assert!(!may_read(b"", owner, group, mode));
        }
    }
}
