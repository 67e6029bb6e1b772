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

/// The remote ports of the connections to this local port: two equal answers are the same connections. Each once: the
/// kernel tells of one twice where others come and go while its table is read (measured).
pub fn peers(port: u16) -> Vec<u16> {
    let mut peers: Vec<u16> = table()
        .filter(|row| row.local == port && row.state == ESTABLISHED)
        .map(|row| row.remote)
        .collect();
    peers.sort_unstable();
    peers.dedup();
    peers
}

/// The same of the connections of this process alone: what looks for servers on this host connects to all of them.
pub fn peers_of(pid: i32, port: u16) -> Vec<u16> {
    peers(port).into_iter().filter(|from| connector([pid], *from).is_some()).collect()
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

/// Does this process hold a pidfd of that one?
pub fn holds_pidfd(holder: i32, pid: i32) -> bool {
    pidfds(holder).contains(&pid)
}

/// The processes that this one holds pidfds of, by `fdinfo`.
pub fn pidfds(holder: i32) -> Vec<i32> {
    let Ok(infos) = fs::read_dir(format!("/proc/{holder}/fdinfo")) else { return Vec::new() };
    let pid =
        |text: String| text.lines().find_map(|it| it.strip_prefix("Pid:")?.trim().parse().ok());
    infos.flatten().filter_map(|info| pid(fs::read_to_string(info.path()).ok()?)).collect()
}

/// A system call that a filter refuses, with this error.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// Its number: the same on every machine for those that came after 424.
    pub call: u32,
    /// The error.
    pub errno: i32,
}

/// `pidfd_open(2)`.
pub const PIDFD_OPEN: u32 = 434;

/// Sets the filter and becomes the command: `PR_SET_NO_NEW_PRIVS` (38), `SECCOMP_SET_MODE_FILTER` (1). Perl is on every
/// Debian; `setpriv` takes filters only in later versions than ours.
const FILTER: &str = r#"
my ($prctl, $seccomp, $filter) = splice @ARGV, 0, 3;
my $code = pack "H*", $filter;
my $program = pack "S x6 P", length($code) / 8, $code;
syscall($prctl + 0, 38, 1, 0, 0, 0) == 0 or die "prctl: $!";
syscall($seccomp + 0, 1, 0, $program) == 0 or die "seccomp: $!";
exec { $ARGV[0] } @ARGV or die "exec: $!";
"#;

/// The words that start a command under a filter, for `Warden::launch_under`; none on machines whose numbers of system
/// calls are not known here.
pub fn without_syscalls(refused: &[Refused]) -> Option<Vec<String>> {
    let (prctl, seccomp, audit) = match std::env::consts::ARCH {
        "x86_64" => (157, 317, 0xC000_003E),
        "aarch64" => (167, 277, 0xC000_00B7),
        _ => return None,
    };
    let mut words: Vec<String> = ["perl", "-e", FILTER].map(str::to_owned).to_vec();
    let code = filter(audit, refused);
    let hex = code.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    words.extend([prctl.to_string(), seccomp.to_string(), hex]);
    Some(words)
}

/// `struct sock_filter` after `struct sock_filter` (`linux/filter.h`): another architecture's calls pass.
fn filter(audit: u32, refused: &[Refused]) -> Vec<u8> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let checks = u8::try_from(refused.len() * 2 + 1).unwrap();
    // `seccomp_data`: the call's number at byte 0, the architecture at 4.
    let mut code = vec![(LOAD, 0, 0, 4), (EQUAL, 0, checks, audit), (LOAD, 0, 0, 0)];
    for it in refused {
        code.push((EQUAL, 0, 1, it.call));
        code.push((RETURN, 0, 0, ERRNO | u32::try_from(it.errno).unwrap()));
    }
    code.push((RETURN, 0, 0, ALLOW));
    let bytes = |(op, yes, no, k): (u16, u8, u8, u32)| {
        [&op.to_ne_bytes()[..], &[yes, no], &k.to_ne_bytes()].concat()
    };
    code.into_iter().flat_map(bytes).collect()
}
