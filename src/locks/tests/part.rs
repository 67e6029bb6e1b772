//! A partial look says what a scan would.

use proptest::prelude::*;

use super::incremental::old;
use super::*;

/// What is done to a directory.
#[derive(Debug, Clone)]
enum Step {
    Write(usize, usize),
    Remove(usize),
    Rename(usize, usize),
    MakeDir(usize),
    Look,
    Scan,
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..7_usize;
    prop_oneof![
        6 => (file.clone(), 0..8_usize).prop_map(|(file, content)| Step::Write(file, content)),
        3 => file.clone().prop_map(Step::Remove),
        3 => (file.clone(), file.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => file.prop_map(Step::MakeDir),
        3 => Just(Step::Look),
        2 => Just(Step::Scan),
    ]
}

fn file(nth: usize) -> String {
    match nth {
        0..4 => name(i64::try_from(nth).unwrap() + 1),
        4 => "a.lock".to_owned(),
        5 => "z.lock".to_owned(),
        _ => format!("{}-1.lock", UUID.to_uppercase()),
    }
}

fn content(nth: usize, size: usize) -> String {
    let text = match nth {
        0..4 => json(i64::try_from(nth).unwrap() + 1, 7),
        4 => "{".to_owned(),
        5 => "{}".to_owned(),
        6 => json(1, -7),
        _ => String::new(),
    };
    // No two contents of one file have the same size: clocks of old kernels cannot tell them apart otherwise.
    text + &" ".repeat(size)
}

/// The same directory as one who knows the same and trusts nothing of it.
fn doubter(dir: &Dir) -> LockDir {
    let doubter = LockDir::new(dir.path().to_owned());
    *doubter.model() = dir.locks.model().clone();
    doubter.model().distrust();
    doubter
}

fn sight(scan: &Scan, key: &Key) -> KeySight {
    match scan.locks.iter().find(|found| found.key == *key) {
        Some(found) => KeySight::Found(Arc::clone(found)),
        None if scan.blocked.contains(key) => KeySight::Blocked,
        None => KeySight::Absent,
    }
}

fn run(steps: &[Step]) {
    let dir = Dir::new();
    old(&dir);
    let mut changed = BTreeSet::new();
    for (nth, step) in steps.iter().enumerate() {
        let path = |nth: usize| dir.path().join(file(nth));
        // A step that cannot be done changes nothing.
        match step {
            Step::Write(at, what) => {
                let _ = fs::write(path(*at), content(*what, nth));
                changed.insert(file(*at));
            }
            Step::Remove(at) => {
                let _ = fs::remove_file(path(*at)).or_else(|_| fs::remove_dir(path(*at)));
                changed.insert(file(*at));
            }
            Step::Rename(from, to) => {
                let _ = fs::rename(path(*from), path(*to));
                changed.extend([file(*from), file(*to)]);
            }
            Step::MakeDir(at) => {
                let _ = fs::create_dir(path(*at));
                changed.insert(file(*at));
            }
            Step::Look => {
                let whole = doubter(&dir).scan().unwrap();
                for id in 1..=4 {
                    let (one, none) = (BTreeSet::from([key(id)]), BTreeSet::new());
                    let blind = dir_like(&dir).look(&one, &none).unwrap();
                    if blind.keys[&key(id)] == KeySight::Absent {
                        assert_eq!(sight(&whole, &key(id)), KeySight::Absent, "{nth} {id}");
                    }
                }
                let all = (1..=4).map(key).collect();
                let part = dir.locks.look(&all, &std::mem::take(&mut changed)).unwrap();
                assert_eq!(part.again, None);
                for (key, seen) in &part.keys {
                    assert_eq!(*seen, sight(&whole, key), "{nth} {key}");
                }
            }
            Step::Scan => {
                let whole = doubter(&dir).scan().unwrap();
                let scan = dir.scan();
                assert_eq!(scan.locks, whole.locks, "{nth}");
                assert_eq!((&scan.blocked, scan.foreign), (&whole.blocked, whole.foreign));
                assert_eq!(told(&scan), told(&whole));
                changed.clear();
            }
        }
    }
}

/// The same directory as one who knows and trusts the same, but keeps what he learns to himself.
fn dir_like(dir: &Dir) -> LockDir {
    let like = LockDir::new(dir.path().to_owned());
    *like.model() = dir.locks.model().clone();
    like
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn looks_and_scans_say_what_one_who_reads_everything_says(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        run(&steps);
    }
}

#[test]
fn a_file_that_cannot_be_read_now_is_not_absent() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir.write("job.lock", json(1, 7));
    assert_eq!(&*dir.found(1).lock.file, "job.lock");
    fs::set_permissions(dir.path().join("job.lock"), fs::Permissions::from_mode(0o000)).unwrap();
    let keys = BTreeSet::from([key(1)]);
    let part = unprivileged(|| dir.locks.look(&keys, &BTreeSet::new()).unwrap());
    assert_eq!(part.keys, BTreeMap::from([(key(1), KeySight::Blocked)]));
}

#[test]
fn the_keys_of_a_name_are_told_before_and_after() {
    let dir = Dir::new();
    dir.write("job.lock", json(1, 7));
    dir.scan();
    dir.write("job.lock", json(2, 7));
    let names = BTreeSet::from(["job.lock".to_owned(), "../job.lock".to_owned()]);
    let part = dir.locks.look(&BTreeSet::new(), &names).unwrap();
    assert_eq!(part.keys.keys().cloned().collect::<Vec<_>>(), [key(1), key(2)]);
    assert_eq!(part.keys[&key(1)], KeySight::Absent);
    assert!(
        matches!(&part.keys[&key(2)], KeySight::Found(found) if &*found.lock.file == "job.lock")
    );
}

#[test]
fn a_key_that_leads_out_of_the_directory_is_looked_for_inside_alone() {
    let dir = Dir::new();
    let inner = dir.path().join("locks");
    fs::create_dir(&inner).unwrap();
    let out = Key { mb_project_uuid: "../out".to_owned(), brz_project_id: 1 };
    dir.write("out-1.lock", json(1, 7).replace(UUID, "../out"));
    let part = LockDir::new(inner).look(&BTreeSet::from([out.clone()]), &BTreeSet::new()).unwrap();
    assert_eq!(part.keys[&out], KeySight::Absent);
}

#[test]
fn passes_for_what_is_gone_are_rationed_where_they_cost_something() {
    let dir = Dir::new();
    for id in 1..=1100 {
        dir.write(&name(id), json(id, 7));
    }
    let look = |id: i64| dir.locks.look(&BTreeSet::from([key(id)]), &BTreeSet::new()).unwrap();
    assert_eq!(look(2000).keys[&key(2000)], KeySight::Absent);
    let soon = look(2001);
    assert_eq!(soon.keys[&key(2001)], KeySight::Blocked);
    assert!(soon.again.is_some());
    assert!(matches!(look(5).keys[&key(5)], KeySight::Found(_)), "what is there is found at once");
}
