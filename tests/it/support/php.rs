//! PHP's command line: an independent program to compare ourselves with.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use super::program::clean_command;

/// Runs a script below `tests/it` to its end with `input` on its standard input; what it wrote. Panics with all that it
/// said if it fails.
pub fn php(script: &str, args: &[&str], input: &[u8]) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut child = clean_command("php", &here, &[])
        .arg(script)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("php (Debian package php-cli); scripts/test installs it");
    // It may end without reading; then its status says why.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success() && err.is_empty(), "{script}: {}\n{out}\n{err}", output.status);
    out
}
