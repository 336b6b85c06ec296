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

/// Identifiers that a container shows of itself; to be hashed before they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerMarks {
    /// Of the image it was made from.
    pub image: Option<String>,
    /// Of itself.
    pub container: Option<String>,
}

/// What identifiers the container of this process shows.
pub fn container_marks() -> ContainerMarks {
    marks(Path::new("/"))
}

fn marks(root: &Path) -> ContainerMarks {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    // Podman writes lines such as imageid="…".
    let podman = text("run/.containerenv");
    let line = |key: &str| {
        let mut lines = podman.lines().filter_map(|l| l.split_once('='));
        lines.find(|(k, _)| *k == key).map(|(_, v)| v.trim_matches('"').to_owned()).filter(|v| !v.is_empty())
    };
    // Docker, containerd and CRI-O name folders and control groups by 64 hex digits; layers are named alike, so only the
    // paths of containers count.
    let whole = |word: &str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let in_path = |line: &str| {
        let path = line.split_once("/containers/").map(|(_, after)| after);
        path.and_then(|p| p.split('/').next()).filter(|w| whole(w)).map(str::to_owned)
    };
    let mounts = text("proc/self/mountinfo");
    let groups = text("proc/1/cgroup");
    let in_group = |line: &str| {
        let words = line.rsplit(['/', '-', ':', '.']);
        words.map(str::to_owned).find(|w| whole(w))
    };
    ContainerMarks {
        image: line("imageid"),
        container: line("id")
            .or_else(|| mounts.lines().find_map(in_path))
            .or_else(|| groups.lines().find_map(in_group)),
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
    fn identifiers_come_from_where_each_kind_shows_them() {
        let id = "0123456789abcdef".repeat(4);
        let found = |path: &str, text: String| {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            marks(root.path())
        };
        let line = format!("1 2 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw\n");
        assert_eq!(found("proc/self/mountinfo", line).container.as_ref(), Some(&id));
        let group = format!("0::/system.slice/docker-{id}.scope\n");
        assert_eq!(found("proc/1/cgroup", group).container.as_ref(), Some(&id));
        let podman =
            found("run/.containerenv", format!("engine=\"podman\"\nid=\"{id}\"\nimageid=\"aa11\"\n"));
        assert_eq!((podman.image.as_deref(), podman.container), (Some("aa11"), Some(id)));
        let layer = format!("upperdir=/var/lib/docker/overlay2/{}/diff\n", "ab".repeat(32));
        assert_eq!(found("proc/self/mountinfo", layer), ContainerMarks::default());
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
