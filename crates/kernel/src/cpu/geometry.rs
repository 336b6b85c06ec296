//! What the system says of its processor: name and caches.

use std::collections::BTreeSet;
use std::path::Path;

/// A data cache, as one core sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// 1 is nearest.
    pub level: u32,
    /// Bytes of one instance.
    pub bytes: u64,
    /// Bytes that one transfer brings.
    pub line_bytes: u32,
    /// Instances in the machine.
    pub instances: u32,
}

/// Processor and caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Model name; empty when the system does not tell.
    pub name: String,
    /// Data caches, nearest first; empty when the system does not tell.
    pub caches: Vec<Cache>,
}

impl Geometry {
    /// Of this machine.
    #[must_use]
    pub fn read() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self { name: model_name(&cpuinfo), caches: caches(Path::new("/sys/devices/system/cpu")) }
    }

    /// Bytes of all instances of the last cache; 32 MiB where the system does not tell.
    #[must_use]
    pub fn last_cache_bytes(&self) -> u64 {
        self.caches.last().map_or(32 << 20, |c| c.bytes * u64::from(c.instances))
    }
}

fn model_name(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find(|l| l.starts_with("model name") || l.starts_with("Model"));
    line.and_then(|l| l.split_once(':')).map_or_else(String::new, |(_, name)| name.trim().to_owned())
}

fn caches(root: &Path) -> Vec<Cache> {
    let mut found: Vec<(Cache, BTreeSet<String>)> = Vec::new();
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    for cpu in entries.filter(|e| is_cpu(&e.file_name().to_string_lossy())) {
        let indices = std::fs::read_dir(cpu.path().join("cache")).into_iter().flatten().flatten();
        for index in indices {
            let text = |name: &str| std::fs::read_to_string(index.path().join(name)).unwrap_or_default();
            if text("type").trim() == "Instruction" {
                continue;
            }
            let (Ok(level), Some(bytes)) = (text("level").trim().parse(), size(text("size").trim())) else {
                continue;
            };
            let line_bytes = text("coherency_line_size").trim().parse().unwrap_or(64);
            let sharers = text("shared_cpu_list").trim().to_owned();
            match found.iter_mut().find(|(c, _)| c.level == level) {
                Some((_, instances)) => {
                    instances.insert(sharers);
                }
                None => {
                    found.push((Cache { level, bytes, line_bytes, instances: 0 }, BTreeSet::from([sharers])))
                }
            }
        }
    }
    let mut caches: Vec<Cache> =
        found.into_iter().map(|(c, sharers)| Cache { instances: sharers.len() as u32, ..c }).collect();
    caches.sort_by_key(|c| c.level);
    caches
}

fn is_cpu(name: &str) -> bool {
    name.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok().map(|n| n * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(
            [size("32K"), size("1M"), size("64"), size("2x")],
            [Some(32768), Some(1 << 20), Some(64), None]
        );
    }

    #[test]
    fn the_name_is_that_of_the_first_core() {
        assert_eq!(
            model_name("processor : 0\nmodel name\t: AMD EPYC 9654 96-Core\n"),
            "AMD EPYC 9654 96-Core"
        );
        assert_eq!(model_name(""), "");
    }

    #[test]
    fn a_machine_that_does_not_tell_has_no_caches() {
        assert!(caches(Path::new("/nonexistent")).is_empty());
        assert_eq!(Geometry { name: String::new(), caches: vec![] }.last_cache_bytes(), 32 << 20);
    }
}
