//! What is held of nodes' processes, against real ones.

use std::net::TcpListener;
use std::process::{Child, Command};

use super::*;
use crate::checker::{Checker, Limits, Places};
use crate::domain::Node;
use crate::domain::verdict::{State, Verdict};
use crate::secrets::Secrets;
use crate::snapshot::Standing;

/// A child that is killed and reaped with the test.
struct Job(Child);

impl Job {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn pid(&self) -> i64 {
        self.0.id().into()
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end();
    }
}

fn node(port: u16) -> Node {
    Node { id: 1, ..Node::new("n", "127.0.0.1", port, "i") }
}

fn view(node: Node, state: State) -> Arc<NodeView> {
    let verdict = Verdict { state, identity: node.identity.clone(), ..Verdict::default() };
    Arc::new(NodeView { node: node.into(), verdict, standing: Standing::Mine })
}

fn given(id: i64, pid: i64) -> Node {
    Node { id, pid: Some(pid), process_name: "sleep".into(), ..node(1) }
}

fn watching(processes: Processes, hub: Hub, enabled: bool) -> Watch {
    let second = Duration::from_secs(1);
    let limits = Limits { connect_timeout: second, api_timeout: second };
    let places = Places::new(1);
    let checker = Checker::new(processes.clone(), limits, Secrets::default(), places).unwrap();
    Watch::new(processes, checker.pid_files(), hub, enabled)
}

fn search() -> Search {
    Search { processes: Processes::new().unwrap(), ceiling: i32::MAX, in_files: HashMap::new() }
}

/// Whose process was found to be held.
fn held(found: &[(i64, Found)]) -> Vec<(i64, i64)> {
    let held = found.iter().filter_map(|(id, found)| match found {
        Found::Held(handle) | Found::Listens(handle) => {
            Some((*id, i64::from(handle.identity().pid)))
        }
        _ => None,
    });
    held.collect()
}

async fn searched(watch: &mut Watch) -> Vec<(i64, Identity)> {
    loop {
        watch.start_search(1, Method::Pid);
        match watch.next().await {
            News::Searched(found) => return watch.take(found),
            // Two searches are a moment apart.
            News::AskAgain => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn ended(watch: &mut Watch) -> Vec<i64> {
    loop {
        match watch.next().await {
            News::Ended(tokens) => {
                let nodes: Vec<i64> = tokens.into_iter().filter_map(|it| watch.ended(it)).collect();
                if !nodes.is_empty() {
                    return nodes;
                }
            }
            News::AskAgain => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_process_is_the_observed_one_else_the_given_one() {
    let search = search();
    let (first, second) = (Job::start(), Job::start());
    let identity = |job: &Job| {
        let (_, handle) = search.processes.watch(job.pid());
        handle.map(|it| it.identity().clone())
    };
    let observed = Node { identity: identity(&first), ..given(1, second.pid()) };
    let mut before = observed.clone();
    before.id = 2;
    before.identity.as_mut().unwrap().start_ticks = Some(1);
    before.identity.as_mut().unwrap().inode = None;
    let mut other_boot = observed.clone();
    other_boot.id = 3;
    other_boot.identity.as_mut().unwrap().boot_id = "other".to_owned();
    let elsewhere = Node { host: "192.0.2.1".into(), ..given(4, second.pid()) };
    let stranger = Node { process_name: "cat".into(), ..given(5, second.pid()) };
    let dead = given(6, i64::from(i32::MAX));
    let nodes = [observed, before, other_boot, elsewhere, stranger, dead];
    let found = search.run(&nodes.map(|node| view(node, State::Down)));
    assert_eq!(held(&found), [(1, first.pid()), (2, second.pid()), (3, second.pid())]);
}

#[test]
fn a_node_that_works_is_whoever_listens_if_it_is_the_program() {
    let search = search();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ourselves = i64::from(std::process::id());
    let pid = i32::try_from(ourselves).unwrap();
    let name = search.processes.program(pid).executable.unwrap();
    let works = |id, process_name: &str| {
        let process_name = process_name.to_owned();
        view(Node { id, process_name, ..node(port) }, State::Up)
    };
    let down = view(Node { id: 3, process_name: name.clone(), ..node(port) }, State::Down);
    let found = search.run(&[works(1, &name), works(2, "cat"), down]);
    assert_eq!(held(&found), [(1, ourselves)]);
    assert!(matches!(found[0].1, Found::Listens(_)));
}

#[test]
fn descriptors_are_left_for_others() {
    assert_eq!(room(20_000, 10_000, Method::Pid), 17_500);
    assert_eq!(room(20_000, 10_000, Method::Api), 7_500);
    assert_eq!(room(1024, 2000, Method::Full), 128);
    assert_eq!(room(200, 400, Method::Port), 72);
    assert_eq!(room(100, 400, Method::Pid), 12);
    let job = Job::start();
    let search = Search { ceiling: 3, ..search() };
    let found = search.run(&[view(given(1, job.pid()), State::Up)]);
    assert!(
        matches!(&found[..], [(1, Found::Refused(why))] if why_not_held(why) == "too many open files")
    );
}

#[tokio::test]
async fn the_end_of_a_process_is_told_once_and_the_next_one_is_searched_for() {
    let hub = Hub::default();
    let mut watch = watching(Processes::new().unwrap(), hub.clone(), true);
    assert_eq!(hub.watch(Source::NodeProcesses), Told::Off);
    let (mut first, second) = (Job::start(), Job::start());
    let shown = view(given(1, first.pid()), State::Up);
    watch.consider(&shown, true);
    assert_eq!(searched(&mut watch).await, [], "a number that was given proves no port");
    assert_eq!(watch.tokens.len(), 1);
    assert_eq!(hub.watch(Source::NodeProcesses), Told::On);
    // The same one again: there is nothing to search for.
    watch.consider(&shown, true);
    assert!(watch.wanted.is_empty());

    first.end();
    assert_eq!(ended(&mut watch).await, [1]);
    assert_eq!(watch.tokens.len(), 0);
    watch.consider(&view(given(1, second.pid()), State::Up), false);
    searched(&mut watch).await;
    assert_eq!(watch.tokens.len(), 1);
    watch.release(1);
    assert!(watch.tokens.is_empty() && watch.places.is_empty());
    assert_eq!(watch.endings.due(), None);
}

#[tokio::test]
async fn another_observed_process_takes_the_place_of_the_one_that_is_held() {
    let processes = Processes::new().unwrap();
    let mut watch = watching(processes.clone(), Hub::default(), true);
    let (mut first, mut second) = (Job::start(), Job::start());
    watch.consider(&view(given(1, first.pid()), State::Up), true);
    searched(&mut watch).await;
    let identity = processes.watch(second.pid()).1.map(|it| it.identity().clone());
    watch.consider(&view(Node { identity, ..given(1, first.pid()) }, State::Up), false);
    searched(&mut watch).await;
    first.end();
    second.end();
    // Only the second one's end is anybody's.
    assert_eq!(ended(&mut watch).await, [1]);
    assert!(watch.tokens.is_empty());
}

#[tokio::test]
async fn a_refusal_is_told_with_its_number_or_once_for_all() {
    let hub = Hub::default();
    let mut watch = watching(Processes::new().unwrap(), hub.clone(), true);
    let job = Job::start();
    watch.consider(&view(given(1, job.pid()), State::Up), true);
    searched(&mut watch).await;
    watch.refuse(2, &Errno::MFILE.into());
    watch.tell();
    let told = "1 of 2 processes are not watched: too many open files".to_owned();
    assert_eq!(hub.watch(Source::NodeProcesses), Told::Polling(told));
    // It may be held later.
    watch.consider(&view(given(2, job.pid()), State::Up), false);
    searched(&mut watch).await;
    assert_eq!(hub.watch(Source::NodeProcesses), Told::On);

    watch.refuse(1, &Errno::NOSYS.into());
    let told = "the kernel, or a filter, has no pidfd_open".to_owned();
    assert_eq!(hub.watch(Source::NodeProcesses), Told::Polling(told));
    watch.consider(&view(given(3, job.pid()), State::Up), true);
    assert!(watch.wanted.is_empty(), "it is not asked again");
}

#[tokio::test]
async fn switched_off_nothing_is_held() {
    let hub = Hub::default();
    let mut watch = watching(Processes::new().unwrap(), hub.clone(), false);
    let job = Job::start();
    watch.consider(&view(given(1, job.pid()), State::Up), true);
    assert!(watch.wanted.is_empty());
    assert_eq!(hub.watch(Source::NodeProcesses), Told::Off);
}
