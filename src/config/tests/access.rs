//! Who may read and write: tokens in every form, networks, and what contradicts itself.

use std::os::unix::fs::symlink;

use super::*;

const HASH: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; // of "test"

fn tokens(case: &Case) -> Vec<Token> {
    case.settings().server.token
}

fn of(texts: &[&str]) -> Vec<Token> {
    texts.iter().map(|text| Token::of(text)).collect()
}

#[test]
fn tokens_in_every_form() {
    let mut case = Case::new().file("a.token", "from-file\n").file("sub/b.token", "other\r\n");
    case.args.others.insert("WRITER".into(), "from-env".into());
    let token = |case: Case, text: &str| tokens(&case.env("PROCWARDEN__SERVER__TOKEN", text));
    let base = || {
        let mut copy = Case::new().file("a.token", "from-file\n").file("sub/b.token", "other\r\n");
        copy.args.others.clone_from(&case.args.others);
        copy
    };
    for (text, expected) in [
        ("plain", &["plain"][..]),
        ("file:a.token", &["from-file"]),
        ("env:WRITER", &["from-env"]),
        (HASH, &["test"]),
        ("one, two", &["one", "two"]),
        ("file:sub/b.token,env:WRITER", &["other", "from-env"]),
    ] {
        assert_eq!(token(base(), text), of(expected), "{text}");
    }
    let file = |value: &str| {
        let mut case = base().file("procwarden.toml", &format!("[server]\ntoken = {value}"));
        case.args.others.insert("WRITER".into(), "from-env".into());
        tokens(&case)
    };
    assert_eq!(file("'a,b'"), of(&["a,b"]), "a text of a file is one");
    assert_eq!(file("['a', 'file:a.token']"), of(&["a", "from-file"]));
    assert_eq!(Token::of("test"), tokens(&base().env("PROCWARDEN__SERVER__TOKEN", HASH))[0]);
}

#[test]
fn tokens_that_are_none() {
    let long = "x".repeat(513);
    let case = |value: &str| {
        let mut case = Case::new().file("a.token", "from-file\n").file("empty.token", "\n");
        case = case.file("two.token", "one\ntwo\n").file("big.token", &"x".repeat(5000));
        symlink("/dev/zero", case.path("device.token")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            case.path("fifo.token"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        case.args.others.insert("EMPTY".into(), String::new());
        case.file("procwarden.toml", &format!("[server]\nread_token = {value}"))
    };
    for (value, words) in [
        ("''", "must not be empty"),
        ("[]", "must not be empty"),
        ("7", "not a number"),
        ("['a', 7]", "list of texts"),
        ("['a', 'b', 'c']", "2 may hold at once"),
        ("['a', 'a']", "twice"),
        ("'with space'", "without spaces"),
        ("'h\u{e4}sslich'", "visible ASCII"),
        (&format!("'{long}'"), "at most 512"),
        ("'file:'", "followed by a path"),
        ("'file:gone.token'", "cannot be read"),
        ("'file:empty.token'", "holds no token"),
        ("'file:two.token'", "holds no token"),
        ("'file:big.token'", "holds no token"),
        ("'file:fifo.token'", "no regular file"),
        ("'file:device.token'", "no regular file"),
        ("'file:/'", "no regular file"),
        ("'env:'", "name of a variable"),
        ("'env:A B'", "name of a variable"),
        ("'env:NOT_THERE'", "is not set"),
        ("'env:EMPTY'", "holds no token"),
        ("'sha256:abc'", "64 hexadecimal digits"),
        (&format!("'{}'", HASH.replace("9f", "g0")), "64 hexadecimal digits"),
        (&format!("['{HASH}', 'test']"), "twice"),
    ] {
        let (key, problem) = case(value).fault();
        assert_eq!(key, "server.read_token", "{value}");
        assert!(problem.contains(words), "{value}: {problem}");
        assert!(!problem.contains("hässlich") && !problem.contains(&long), "{problem}");
    }
}

#[test]
fn a_token_s_file_is_to_be_read_by_its_owner_alone() {
    let exposed = |mode| {
        let case =
            Case::new().file("a.token", "x").env("PROCWARDEN__SERVER__TOKEN", "file:a.token");
        std::fs::set_permissions(case.path("a.token"), PermissionsExt::from_mode(mode)).unwrap();
        case.load().unwrap().warnings.iter().any(|warning| warning.contains("a.token"))
    };
    assert!(exposed(0o644));
    assert!(!exposed(0o640));
}

#[test]
fn networks() {
    let trusted = |text: &str| {
        let case = Case::new().env("PROCWARDEN__SERVER__TRUSTED_PROXIES", text);
        case.load().map(|loaded| loaded.settings.server.trusted_proxies)
    };
    let networks = trusted("127.0.0.1, 10.0.0.0/8,::1, fd00::/8, ::ffff:192.0.2.1").unwrap();
    let texts: Vec<_> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["127.0.0.1/32", "10.0.0.0/8", "::1/128", "fd00::/8", "192.0.2.1/32"]);
    for bad in ["localhost", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "*", "10.0.0.1,10.0.0.1"] {
        assert!(trusted(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_contradicts_itself_is_a_fault() {
    let (key, problem) = Case::toml("[server]\nopen_reads = true\nread_token = 'a'").fault();
    assert_eq!(key, "server.open_reads");
    assert!(problem.contains("server.read_token"), "{problem}");
}

#[test]
fn reads_that_nobody_could_make_are_warned_of() {
    let warned = |text: &str, words: &[&str]| {
        let warnings = Case::toml(&format!("[server]\n{text}")).load().unwrap().warnings;
        warnings.iter().any(|warning| words.iter().all(|word| warning.contains(word)))
    };
    let what = ["server.read_token", "server.trusted_proxies", "server.open_reads"];
    for listen in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
        let listen = format!("listen = '{listen}'");
        assert!(warned(&listen, &what) && warned(&listen, &["nobody can show one"]), "{listen}");
        assert!(warned(&format!("{listen}\ntoken = 'a'"), &["only server.token counts"]));
        for set in ["open_reads = true", "read_token = 'a'", "trusted_proxies = ['10.0.0.1']"] {
            assert!(!warned(&format!("{listen}\n{set}"), &["reads need a token"]), "{set}");
        }
    }
    for listen in ["127.0.0.1:1", "[::1]:1", "127.0.0.2:1", "[::ffff:127.0.0.1]:1"] {
        assert!(!warned(&format!("listen = '{listen}'"), &["need a token"]), "{listen}");
    }
    assert!(warned("base_paths = ['/api']", &what));
    assert!(!warned("base_paths = ['/api']\ntrusted_proxies = ['127.0.0.1']", &["need a token"]));
    assert!(warned("trusted_proxies = ['0.0.0.0/0']", &["everybody may read"]));
}
