//! What kind of box this process runs in: it decides which sensors can be there at all.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The kind of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    /// None that can be seen.
    None,
    /// gVisor: a kernel of its own in user space, without hardware counters or GPU profiling.
    Gvisor,
    /// A pod of Kubernetes.
    Kubernetes,
    /// Docker.
    Docker,
    /// Podman or another user of `/run/.containerenv`.
    Podman,
    /// LXC or Incus.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
    /// Another one: a control group that is not the system's own.
    Other,
}

/// The kind of container that this process runs in.
pub fn container() -> Container {
    of(Path::new("/"))
}

fn of(root: &Path) -> Container {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let exists = |path: &str| root.join(path).exists();
    let groups = text("proc/1/cgroup");
    let mounts = text("proc/self/mountinfo");
    let marker = text("run/systemd/container");
    if text("proc/version").contains("gVisor") {
        Container::Gvisor
    } else if exists("var/run/secrets/kubernetes.io") || groups.contains("kubepods") {
        Container::Kubernetes
    } else if exists(".dockerenv") || groups.contains("/docker") || mounts.contains("/docker/containers/") {
        Container::Docker
    } else if exists("run/.containerenv") || marker.trim() == "podman" {
        Container::Podman
    } else if marker.trim() == "lxc" || groups.contains("/lxc") {
        Container::Lxc
    } else if marker.trim() == "systemd-nspawn" {
        Container::Nspawn
    } else if !marker.trim().is_empty() {
        Container::Other
    } else {
        Container::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Container) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(of(root.path()), expected);
    }

    #[test]
    fn marks_of_each_kind() {
        check(&[("proc/1/cgroup", "0::/init.scope\n")], Container::None);
        check(&[(".dockerenv", "")], Container::Docker);
        check(
            &[(".dockerenv", ""), ("proc/1/cgroup", "0::/kubepods/besteffort/pod1\n")],
            Container::Kubernetes,
        );
        check(&[("run/.containerenv", "")], Container::Podman);
        check(&[("proc/version", "Linux version 4.4.0 gVisor\n"), (".dockerenv", "")], Container::Gvisor);
        check(&[("run/systemd/container", "lxc\n")], Container::Lxc);
        check(&[("run/systemd/container", "rkt\n")], Container::Other);
    }
}
