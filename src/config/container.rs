//! Does this process run in a container? There the host name is another one with each container.

use std::ffi::OsString;
use std::path::Path;

/// Files that runtimes make inside: Docker's and Podman's.
pub(super) const FILES: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// Variables that stand inside: Podman's and systemd-nspawn's (systemd, "Container Interface"), and that of
/// Kubernetes.
const VARIABLES: [&str; 2] = ["container", "KUBERNETES_SERVICE_HOST"];

/// What shows that this is a container; none outside of one.
pub(super) fn mark(
    variable: impl Fn(&str) -> Option<OsString>,
    files: &[impl AsRef<Path>],
) -> Option<String> {
    let variable = VARIABLES.into_iter().find(|name| variable(name).is_some_and(|v| !v.is_empty()));
    let file = || files.iter().map(AsRef::as_ref).find(|path| path.exists());
    variable
        .map(|name| format!("the variable {name} is set"))
        .or_else(|| file().map(|path| format!("there is {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_or_a_file_shows_it() {
        let dir = tempfile::tempdir().unwrap();
        let (there, gone) = (dir.path().join(".dockerenv"), dir.path().join("gone"));
        std::fs::write(&there, "").unwrap();
        let none = |_: &str| None;
        assert_eq!(mark(none, &[&gone]), None);
        assert_eq!(mark(none, &[&gone, &there]), Some(format!("there is {}", there.display())));

        let only = |set: &'static str, value: &'static str| {
            move |name: &str| (name == set).then(|| OsString::from(value))
        };
        for name in ["container", "KUBERNETES_SERVICE_HOST"] {
            let found = mark(only(name, "x"), &[&gone]);
            assert_eq!(found, Some(format!("the variable {name} is set")));
            assert_eq!(mark(only(name, ""), &[&gone]), None, "an empty one is none");
        }
        assert_eq!(mark(only("CONTAINER_NAME", "x"), &[&gone]), None);
    }
}
