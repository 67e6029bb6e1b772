//! A certificate authority, and what it signed.

use std::path::{Path, PathBuf};
use std::process::Command;

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a server's key and certificate for this address, in files of this directory.
pub fn authority(dir: &Path, address: &str) -> (PathBuf, PathBuf, PathBuf) {
    let name = format!("subjectAltName=IP:{address}");
    std::fs::write(dir.join("name"), name).unwrap();
    let key = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"];
    let ca = [&["req", "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"], &key[..]];
    openssl(dir, &ca.concat());
    openssl(dir, &[&["req", "-keyout", "key.pem", "-out", "asked.pem"], &key[..]].concat());
    let sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "name"];
    let made = ["x509", "-req", "-days", "2", "-in", "asked.pem", "-out", "cert.pem"];
    openssl(dir, &[&made[..], &sign[..]].concat());
    (dir.join("ca.pem"), dir.join("key.pem"), dir.join("cert.pem"))
}
