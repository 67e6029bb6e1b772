//! Each rule as a test; a failure lists every line that breaks it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::source::{Source, sources};
use crate::support::{Warden, WardenConfig, db};

/// Where a file becomes too long to be one job, without its tests.
const LONG: usize = 420;

/// No file but those in `places` has one of `words` in its code.
fn only_in(places: &[&str], words: &[&str]) {
    let broken: Vec<String> = sources()
        .iter()
        .filter(|source| !source.is_in(places))
        .flat_map(|source| source.lines_with(words))
        .collect();
    assert!(broken.is_empty(), "only {places:?} may name {words:?}:\n{}", broken.join("\n"));
}

fn list_of(broken: impl Iterator<Item = String>, rule: &str) {
    let broken: Vec<String> = broken.collect();
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn the_domain_is_pure() {
    let words = [
        "axum",
        "sqlx",
        "reqwest",
        "tokio",
        "hyper",
        "f32",
        "f64",
        "SystemTime",
        "Instant",
        "Utc::now",
        "std::fs",
        "std::env",
        "std::net::TcpStream",
        "std::process",
    ];
    let domain: Vec<Source> = sources().into_iter().filter(|s| s.is_in(&["domain/"])).collect();
    assert!(!domain.is_empty());
    list_of(
        domain.iter().flat_map(|source| source.lines_with(&words)),
        "the domain names no framework, no float, no clock, no file",
    );
}

#[test]
fn sql_is_in_the_store_alone() {
    only_in(&["store/"], &["sqlx"]);
}

#[test]
fn the_web_is_in_http_alone() {
    only_in(&["http/"], &["axum", "hyper::server", "hyper_util::server", "tower_http"]);
}

#[test]
fn clients_of_http_are_where_they_belong() {
    only_in(
        &["checker/", "notify/", "cli/health.rs"],
        &["reqwest", "hyper::client", "hyper_util::client", "rustls", "tokio_rustls"],
    );
}

#[test]
fn the_environment_is_read_by_the_configuration() {
    // main hands it over; NOTIFY_SOCKET is the service manager's.
    only_in(
        &["config/", "main.rs", "shutdown.rs"],
        &[
            "env::var",
            "env::var_os",
            "env::vars",
            "env::vars_os",
            "env::set_var",
            "env::remove_var",
        ],
    );
}

#[test]
fn nothing_global_changes_and_nothing_is_taken_for_granted() {
    let all = sources();
    let others = || all.iter().filter(|source| source.path != "main.rs");
    list_of(all.iter().flat_map(|source| source.lines_with(&["static mut"])), "no mutable statics");
    let words = [
        ".unwrap()",
        // With a text, which is blank here: another type may have a method of that name.
        ".expect( )",
        ".unwrap_err()",
        ".expect_err( )",
        "todo!",
        "unimplemented!",
        "dbg!",
    ];
    list_of(
        others().flat_map(|source| source.lines_with(&words)),
        "no unwrap outside tests and main",
    );
}

#[test]
fn unsafe_code_is_in_one_audited_file() {
    only_in(&["process/exit.rs"], &["unsafe", "allow(unsafe_code)"]);
    let root = sources().into_iter().find(|source| source.path == "lib.rs").unwrap();
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let denied =
        root.code.contains("deny(unsafe_code)") || manifest.contains("unsafe_code = \"deny\"");
    assert!(denied, "unsafe code is not denied");
}

#[test]
fn http_never_judges() {
    let all = sources();
    let http = all.iter().filter(|source| source.is_in(&["http/"]));
    let words = ["evaluate", "Thresholds", "crate::watch"];
    list_of(http.flat_map(|source| source.lines_with(&words)), "http never judges");
}

#[test]
fn the_street_has_one_way() {
    // Whom nobody below may know: the arrows of the map, turned round.
    for (below, above) in [
        ("domain/", &["crate::"][..]),
        (
            "process/",
            &[
                "crate::http",
                "crate::cli",
                "crate::app",
                "crate::store",
                "crate::reconciler",
                "crate::checker",
            ],
        ),
        (
            "checker/",
            &[
                "crate::http",
                "crate::cli",
                "crate::app",
                "crate::store",
                "crate::reconciler",
                "crate::locks",
            ],
        ),
        (
            "locks/",
            &[
                "crate::http",
                "crate::cli",
                "crate::app",
                "crate::store",
                "crate::reconciler",
                "crate::checker",
            ],
        ),
        (
            "store/",
            &[
                "crate::http",
                "crate::cli",
                "crate::app",
                "crate::reconciler",
                "crate::checker",
                "crate::locks",
            ],
        ),
        ("reconciler/", &["crate::http", "crate::cli", "crate::app"]),
        ("registry.rs", &["crate::http", "crate::cli", "crate::app"]),
        ("http/", &["crate::cli", "crate::app"]),
        (
            "config/",
            &[
                "crate::http",
                "crate::cli",
                "crate::app",
                "crate::store",
                "crate::reconciler",
                "crate::checker",
            ],
        ),
    ] {
        let all = sources();
        let files = all.iter().filter(|source| source.is_in(&[below]));
        let lines = files.flat_map(|source| source.lines_with(above));
        // Of itself everybody may know.
        list_of(lines.filter(|line| below != "domain/" || !line.contains("crate::domain")), below);
    }
}

#[test]
fn every_file_says_what_it_is_for_and_does_one_job() {
    let all = sources();
    list_of(
        all.iter()
            .filter(|source| !source.text.trim_start().starts_with("//!"))
            .map(|source| format!("src/{}", source.path)),
        "every module begins with `//!`",
    );
    list_of(
        all.iter().filter_map(|source| {
            let lines = source.code.trim_end().lines().count();
            (lines > LONG).then(|| format!("src/{}: {lines} lines without its tests", source.path))
        }),
        "a file is one job",
    );
}

#[test]
fn the_schema_steps_that_are_embedded_are_the_files() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let files: BTreeSet<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .collect();
    let warden = Warden::prepare(WardenConfig::default());
    let output = warden.cli(&["migrate"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let steps: BTreeSet<String> = db::schema_steps(warden.database()).into_iter().collect();
    assert_eq!(steps, files, "build again: a new file is not noticed without a change in the code");
    // Each engine has the same steps.
    for other in ["postgres", "mysql"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(other);
        let Ok(entries) = fs::read_dir(dir) else { continue };
        let names: BTreeSet<String> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        assert_eq!(names, files, "{other}");
    }
}
