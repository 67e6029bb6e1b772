//! What `scripts/bench` measures of the checker: checks per second and processor time per check, beside a bare loop over
//! TCP, and the server that both ask. `--help` lists the modes and options.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use md5::{Digest as _, Md5};
use procwarden::checker::{Checker, Limits, Places};
use procwarden::domain::node::Password;
use procwarden::domain::observation::ApiSeen;
use procwarden::domain::{Method, Node, Observation};
use procwarden::process::{Processes, raise_descriptor_limit};
use procwarden::secrets::Secrets;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

type Failure = Box<dyn Error + Send + Sync>;

const HELP: &str = "\
usage: bench_checker MODE [OPTIONS]

modes
  serve    JSON-RPC on every address, until standard input ends; prints one line when all listen
  raw      a bare loop over TCP, canned requests
  checker  Checker::check by `api`

options
  --hosts N          addresses, from 127.0.1.1 on, 250 in each 127.0.x.0 (default 1000, at most 63000)
  --ports N          ports on each address (default 1)
  --port P           the first port (default 18000)
  --concurrency C    checks under way at once (default 64)
  --rounds R         how often each node is asked, after one round that is not measured (default 20)
  --digest           serve: ask for a login and check it; checker: log in
  --new-connections  serve: close after each answer; raw and checker: connect for each check
  --wait             checker: print, then wait until standard input ends, so that its memory can be looked at

Each mode prints one JSON object: mode, nodes, checks, seconds, checks_per_s, cpu_us_per_check, rss_kib, failed.";

/// Who logs in.
const USER: &str = "bench";
const PASSWORD: &str = "a password of some length";
const REALM: &str = "monero-rpc";

const LIMITS: Limits =
    Limits { connect_timeout: Duration::from_secs(10), api_timeout: Duration::from_secs(20) };

struct Options {
    mode: String,
    hosts: usize,
    ports: usize,
    port: usize,
    concurrency: usize,
    rounds: usize,
    digest: bool,
    anew: bool,
    wait: bool,
}

impl Options {
    fn read() -> Result<Self, Failure> {
        let mut words = std::env::args().skip(1);
        let mut options = Self {
            mode: words.next().ok_or(HELP)?,
            hosts: 1000,
            ports: 1,
            port: 18_000,
            concurrency: 64,
            rounds: 20,
            digest: false,
            anew: false,
            wait: false,
        };
        while let Some(word) = words.next() {
            let number = match word.as_str() {
                "--digest" => {
                    options.digest = true;
                    continue;
                }
                "--new-connections" => {
                    options.anew = true;
                    continue;
                }
                "--wait" => {
                    options.wait = true;
                    continue;
                }
                "--hosts" => &mut options.hosts,
                "--ports" => &mut options.ports,
                "--port" => &mut options.port,
                "--concurrency" => &mut options.concurrency,
                "--rounds" => &mut options.rounds,
                _ => return Err(format!("not understood: {word}\n\n{HELP}").into()),
            };
            *number = words.next().ok_or(HELP)?.parse()?;
        }
        Ok(options)
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let mut all = Vec::with_capacity(self.hosts * self.ports);
        for port in self.port..self.port + self.ports {
            for host in 0..self.hosts {
                let (high, low) = (u8::try_from(1 + host / 250)?, u8::try_from(1 + host % 250)?);
                let address = IpAddr::V4(Ipv4Addr::new(127, 0, high, low));
                all.push(SocketAddr::new(address, u16::try_from(port)?));
            }
        }
        Ok(all)
    }
}

fn main() -> Result<(), Failure> {
    if std::env::args().nth(1).is_none_or(|word| word == "--help") {
        println!("{HELP}");
        return Ok(());
    }
    let options = Options::read()?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match options.mode.as_str() {
            "serve" => serve(&options).await,
            "raw" => raw(&options).await,
            "checker" => checker(&options).await,
            other => Err(format!("no mode {other}\n\n{HELP}").into()),
        }
    })
}

/// Lets `concurrency` tasks take numbers below `nodes * rounds`, and says what that took.
async fn measure<F, R>(options: &Options, nodes: usize, check: F) -> Result<String, Failure>
where
    F: Fn(usize) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = bool> + Send,
{
    let run = async |total: usize| {
        let (next, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..options.concurrency {
            let (next, failed, check) = (next.clone(), failed.clone(), check.clone());
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        return;
                    }
                    if !check(number % nodes).await {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        failed.load(Ordering::Relaxed)
    };
    let mut failed = run(nodes).await;
    let total = nodes * options.rounds;
    let (began, cpu) = (Instant::now(), cpu_us());
    failed += run(total).await;
    let (took, cpu) = (began.elapsed().as_micros(), cpu_us() - cpu);
    let Options { mode, digest, anew, concurrency, .. } = options;
    let checks = u128::try_from(total)?.max(1);
    let per_second = checks * 1_000_000 / took.max(1);
    let cpu = cpu * 100 / checks;
    Ok(format!(
        "{{\"mode\":\"{mode}\",\"digest\":{digest},\"new_connections\":{anew},\"nodes\":{nodes},\
         \"concurrency\":{concurrency},\"checks\":{total},\"seconds\":{}.{:06},\"checks_per_s\":{per_second},\
         \"cpu_us_per_check\":{}.{:02},\"rss_kib\":{},\"failed\":{failed}}}",
        took / 1_000_000,
        took % 1_000_000,
        cpu / 100,
        cpu % 100,
        rss_kib(),
    ))
}

/// Until nobody can write to our standard input any more.
async fn stdin_ends() -> Result<(), Failure> {
    let copying = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(copying).await??;
    Ok(())
}

/// Processor time of this process, in microseconds.
fn cpu_us() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let part = |value: i64| u128::try_from(value).unwrap_or_default();
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000
}

fn rss_kib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()).unwrap_or("0").to_owned()
}

async fn raw(options: &Options) -> Result<(), Failure> {
    let addresses = options.addresses()?;
    let kept: Vec<Mutex<Option<TcpStream>>> = addresses.iter().map(|_| Mutex::default()).collect();
    let (addresses, kept, anew) = (Arc::new(addresses), Arc::new(kept), options.anew);
    let line = measure(options, addresses.len(), move |number| {
        let (addresses, kept) = (addresses.clone(), kept.clone());
        async move {
            let mut place = kept[number].lock().await;
            let asked = ask(place.take(), addresses[number]).await.ok();
            let good = asked.is_some();
            *place = asked.filter(|_| !anew);
            good
        }
    });
    println!("{}", line.await?);
    Ok(())
}

/// One canned exchange; the connection is given back.
async fn ask(kept: Option<TcpStream>, address: SocketAddr) -> Result<TcpStream, Failure> {
    const REQUEST: &[u8] = b"POST /json_rpc HTTP/1.1\r\nHost: 127.0.100.100:18000\r\n\
        Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: 59\r\n\r\n\
        {\"jsonrpc\":\"2.0\",\"id\":\"procwarden-1\",\"method\":\"get_version\"}";
    let mut stream = if let Some(stream) = kept {
        stream
    } else {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream
    };
    stream.write_all(REQUEST).await?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err("closed".into());
        }
        filled += read;
        if whole(&buffer[..filled]).is_some() {
            return Ok(stream);
        }
    }
}

/// Where the body begins and the message ends, once all of it is there.
fn whole(message: &[u8]) -> Option<(usize, usize)> {
    let body = message.windows(4).position(|at| at == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&message[..body]).ok()?;
    let length: usize =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?.parse().ok()?;
    (message.len() >= body + length).then_some((body, body + length))
}

async fn checker(options: &Options) -> Result<(), Failure> {
    let addresses = options.addresses()?;
    let nodes: Vec<Arc<Node>> =
        addresses.iter().zip(1..).map(|(at, id)| node(*at, id, options).into()).collect();
    let nodes = Arc::new(nodes);
    let checker =
        Checker::new(Processes::new()?, LIMITS, Secrets::default(), Places::new(usize::MAX))?;
    let service = checker.clone();
    let line = measure(options, nodes.len(), move |number| {
        let (checker, nodes) = (checker.clone(), nodes.clone());
        async move {
            let checked = checker.check(&nodes[number], Method::Api).await;
            matches!(&checked.observation, Observation::Api(facts) if matches!(facts.seen, ApiSeen::Version(_)))
        }
    });
    println!("{}", line.await?);
    if options.wait {
        stdin_ends().await?;
    }
    drop(service);
    Ok(())
}

fn node(at: SocketAddr, id: i64, options: &Options) -> Node {
    let login = options.digest.then(|| USER.to_owned());
    Node {
        id,
        password: login.is_some().then(|| Password::new(PASSWORD.to_owned())),
        username: login,
        ..Node::new(format!("node-{id}"), at.ip().to_string(), at.port(), "bench")
    }
}

async fn serve(options: &Options) -> Result<(), Failure> {
    let addresses = options.addresses()?;
    let (digest, close) = (options.digest, options.anew);
    for address in &addresses {
        let listener = TcpListener::bind(address).await?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_all(stream, digest, close));
            }
        });
    }
    println!("{{\"mode\":\"serve\",\"listening\":{}}}", addresses.len());
    stdin_ends().await?;
    Ok(())
}

async fn answer_all(mut stream: TcpStream, digest: bool, close: bool) {
    static NONCES: AtomicUsize = AtomicUsize::new(1);
    let nonce = format!("{:022x}==", NONCES.fetch_add(1, Ordering::Relaxed));
    // A buffer of its own only while a request is read: ten thousand connections rest in this process too.
    let mut used = 0;
    let _ = stream.set_nodelay(true);
    while stream.readable().await.is_ok() {
        let mut buffer = [0; 2048];
        let mut filled = 0;
        let end = loop {
            match stream.read(&mut buffer[filled..]).await {
                Ok(0) | Err(_) => return,
                Ok(read) => filled += read,
            }
            if let Some((body, end)) = whole(&buffer[..filled]) {
                break body..end;
            }
        };
        let head = std::str::from_utf8(&buffer[..end.start]).unwrap_or_default();
        let body = std::str::from_utf8(&buffer[end]).unwrap_or_default();
        let answer = if digest && !logged_in(head, &nonce, &mut used) {
            challenge(&nonce)
        } else {
            version(body, close)
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || close {
            return;
        }
    }
}

fn version(request: &str, close: bool) -> String {
    let id = request.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let body = format!(
        "{{\r\n  \"id\": \"{}\",\r\n  \"jsonrpc\": \"2.0\",\r\n  \"result\": {{\r\n    \"release\": true,\r\n    \
         \"version\": 65562\r\n  }}\r\n}}",
        id.unwrap_or("0")
    );
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!(
        "HTTP/1.1 200 Ok\r\nServer: Epee-based\r\nContent-Length: {}\r\nContent-Type: application/json\r\n\
         Last-Modified: Sun, 01 Jun 2025 12:00:00 GMT\r\nAccept-Ranges: bytes\r\n{connection}\r\n{body}",
        body.len()
    )
}

fn challenge(nonce: &str) -> String {
    let offer = |algorithm| {
        format!(
            "WWW-authenticate: Digest qop=\"auth\",algorithm={algorithm},realm=\"{REALM}\",nonce=\"{nonce}\",stale=false\r\n"
        )
    };
    let (md5, sess) = (offer("MD5"), offer("MD5-sess"));
    format!(
        "HTTP/1.1 401 Unauthorized\r\nServer: Epee-based\r\nContent-Length: 0\r\n{md5}{sess}\r\n"
    )
}

/// Of who logs in and of what is asked.
static KEPT: LazyLock<(String, String)> = LazyLock::new(|| {
    (md5_hex(&[&format!("{USER}:{REALM}:{PASSWORD}")]), md5_hex(&["POST:/json_rpc"]))
});

/// As the real server checks a login: its nonce, the count one higher than before, the right response. What is the same each
/// time is kept, so that whoever asks is measured and not this.
fn logged_in(head: &str, nonce: &str, used: &mut u32) -> bool {
    let Some(line) = head.lines().find_map(|line| line.strip_prefix("Authorization: Digest "))
    else {
        return false;
    };
    // In one pass: whoever is measured must not wait for this.
    let [mut theirs, mut nc, mut cnonce, mut response] = [""; 4];
    for (key, value) in line.split(',').filter_map(|part| part.split_once('=')) {
        let value = value.trim_matches('"');
        match key.trim_start() {
            "nonce" => theirs = value,
            "nc" => nc = value,
            "cnonce" => cnonce = value,
            "response" => response = value,
            _ => {}
        }
    }
    let count = format!("{:08x}", *used + 1);
    if theirs != nonce || nc != count {
        return false;
    }
    *used += 1;
    let (ha1, ha2) = &*KEPT;
    response == md5_hex(&[ha1, ":", nonce, ":", &count, ":", cnonce, ":auth:", ha2])
}

fn md5_hex(parts: &[&str]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    hash.finalize().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
