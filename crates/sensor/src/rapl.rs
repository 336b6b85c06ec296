//! Energy of CPU packages and memory from the kernel's power capping interface (RAPL), with hwmon as second source.
//!
//! ```text
//! /sys/class/powercap/intel-rapl:0/{name, energy_uj, max_energy_range_uj}      package-0   (AMD appears here too)
//! /sys/class/powercap/intel-rapl:0:1/…                                         dram, core, uncore
//! /sys/class/powercap/intel-rapl:1/…                                           package-1, psys
//! /sys/class/hwmon/hwmonN/{name, energyM_input, energyM_label}                 amd_energy: Esocket0
//! ```
//!
//! The counter is readable by root only on most systems since 2020 (CVE-2020-8694). It wraps at
//! `max_energy_range_uj`, on some machines within minutes; between two readings at most one wrap is undone, so read at
//! least each minute. The memory-mapped twin (`intel-rapl-mmio`) counts the same package again and is left out.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Unavailable;

const WHAT: &str = "CPU energy (RAPL)";
const FIX: &str = "run as root, or `sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj \
                   /sys/class/powercap/intel-rapl*/*/energy_uj`";

/// What a zone's energy belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneKind {
    /// A CPU package with its cores and caches.
    Package,
    /// Memory modules of a package.
    Dram,
    /// The whole platform.
    Psys,
    /// Part of a package: cores, graphics.
    Part,
}

/// A counter of energy.
#[derive(Debug)]
pub struct Zone {
    /// Its name as the kernel gives it, for instance `package-0`.
    pub name: String,
    /// What it covers.
    pub kind: ZoneKind,
    counter: PathBuf,
    /// Where the counter wraps, in microjoules; `None` for 64-bit counters of hwmon.
    range_uj: Option<u64>,
    last_uj: u64,
    sum_uj: u64,
}

impl Zone {
    fn open(
        name: String,
        kind: ZoneKind,
        counter: PathBuf,
        range_uj: Option<u64>,
    ) -> Result<Self, Unavailable> {
        let last_uj = read_number(&counter)?;
        Ok(Self { name, kind, counter, range_uj, last_uj, sum_uj: 0 })
    }

    /// Joules since the zone was opened.
    pub fn read(&mut self) -> Result<f64, Unavailable> {
        let now = read_number(&self.counter)?;
        self.sum_uj = self.sum_uj.saturating_add(step(self.last_uj, now, self.range_uj));
        self.last_uj = now;
        Ok(self.sum_uj as f64 * 1e-6)
    }
}

/// Microjoules between two readings; a smaller value has wrapped once. Without a known range a step back counts
/// nothing rather than a guess.
fn step(last: u64, now: u64, range: Option<u64>) -> u64 {
    if now >= last { now - last } else { range.filter(|r| *r >= last).map_or(0, |r| r - last + now) }
}

/// The energy counters of this machine's CPUs; never empty.
pub fn open() -> Result<Vec<Zone>, Unavailable> {
    open_in(Path::new("/sys"))
}

/// The same under another root, as tests use.
fn open_in(sys: &Path) -> Result<Vec<Zone>, Unavailable> {
    match powercap(&sys.join("class/powercap")) {
        Err(Unavailable::NotSupported { .. }) => hwmon(&sys.join("class/hwmon")),
        other => other,
    }
}

/// Sum of the zones that together are the CPUs: the packages. Joules since they were opened.
pub fn packages(zones: &mut [Zone]) -> Option<f64> {
    sum(zones, ZoneKind::Package)
}

/// Sum of the memory zones. Joules since they were opened.
pub fn dram(zones: &mut [Zone]) -> Option<f64> {
    sum(zones, ZoneKind::Dram)
}

fn sum(zones: &mut [Zone], kind: ZoneKind) -> Option<f64> {
    let mut all = zones.iter_mut().filter(|z| z.kind == kind).peekable();
    all.peek()?;
    all.map(|z| z.read().ok()).sum()
}

fn powercap(class: &Path) -> Result<Vec<Zone>, Unavailable> {
    let mut zones = Vec::new();
    let mut refused = None;
    for folder in folders(class) {
        let file = folder.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        // `intel-rapl` alone is the control type, `intel-rapl:…` are its zones.
        if !file.starts_with("intel-rapl:") {
            continue;
        }
        let Ok(name) = fs::read_to_string(folder.join("name")) else { continue };
        let name = name.trim().to_owned();
        let kind = match name.as_str() {
            n if n.starts_with("package") => ZoneKind::Package,
            n if n.starts_with("dram") => ZoneKind::Dram,
            "psys" => ZoneKind::Psys,
            _ => ZoneKind::Part,
        };
        let range = read_number(&folder.join("max_energy_range_uj")).ok();
        match Zone::open(name, kind, folder.join("energy_uj"), range) {
            Ok(zone) => zones.push(zone),
            Err(reason) => refused = Some(reason),
        }
    }
    match (zones.is_empty(), refused) {
        (false, _) => Ok(zones),
        (true, Some(reason)) => Err(reason),
        (true, None) => Err(Unavailable::NotSupported { what: WHAT }),
    }
}

/// The `amd_energy` driver: `Esocket0` is a package, `Ecore000` a part of it.
fn hwmon(class: &Path) -> Result<Vec<Zone>, Unavailable> {
    let mut zones = Vec::new();
    for folder in folders(class) {
        let name = fs::read_to_string(folder.join("name")).unwrap_or_default();
        if name.trim() != "amd_energy" {
            continue;
        }
        for counter in folders(&folder) {
            let file = counter.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let Some(number) = file.strip_prefix("energy").and_then(|f| f.strip_suffix("_input")) else {
                continue;
            };
            let label = fs::read_to_string(folder.join(format!("energy{number}_label"))).unwrap_or_default();
            let label = label.trim().to_owned();
            let kind = if label.starts_with("Esocket") { ZoneKind::Package } else { ZoneKind::Part };
            zones.push(Zone::open(label, kind, counter, None)?);
        }
    }
    if zones.is_empty() { Err(Unavailable::NotSupported { what: WHAT }) } else { Ok(zones) }
}

/// Entries of a folder by name; none when it does not exist.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> =
        fs::read_dir(path).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect();
    all.sort();
    all
}

fn read_number(path: &Path) -> Result<u64, Unavailable> {
    let text = fs::read_to_string(path).map_err(|e| Unavailable::of_io(WHAT, FIX, &e))?;
    text.trim().parse().map_err(|_| Unavailable::Unreadable {
        what: WHAT.to_owned(),
        detail: format!("{:?} is not a count", text.trim().chars().take(32).collect::<String>()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like `/sys`, with the files given.
    fn sys(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const PACKAGE: &[(&str, &str)] = &[
        ("class/powercap/intel-rapl/enabled", "1\n"),
        ("class/powercap/intel-rapl:0/name", "package-0\n"),
        ("class/powercap/intel-rapl:0/energy_uj", "1000000\n"),
        ("class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850\n"),
        ("class/powercap/intel-rapl:0:0/name", "core\n"),
        ("class/powercap/intel-rapl:0:0/energy_uj", "5\n"),
        ("class/powercap/intel-rapl:0:1/name", "dram\n"),
        ("class/powercap/intel-rapl:0:1/energy_uj", "2000000\n"),
        ("class/powercap/intel-rapl:0:1/max_energy_range_uj", "65712999613\n"),
        ("class/powercap/intel-rapl-mmio:0/name", "package-0\n"),
        ("class/powercap/intel-rapl-mmio:0/energy_uj", "7\n"),
    ];

    #[test]
    fn packages_and_memory_are_summed_once() {
        let root = sys(PACKAGE);
        let mut zones = open_in(root.path()).unwrap();
        let names: Vec<_> = zones.iter().map(|z| (z.name.as_str(), z.kind)).collect();
        assert_eq!(
            names,
            [("package-0", ZoneKind::Package), ("core", ZoneKind::Part), ("dram", ZoneKind::Dram)]
        );
        assert_eq!(packages(&mut zones), Some(0.0));
        fs::write(root.path().join("class/powercap/intel-rapl:0/energy_uj"), "3500000\n").unwrap();
        assert_eq!(packages(&mut zones), Some(2.5));
        assert_eq!(dram(&mut zones), Some(0.0));
        assert_eq!(sum(&mut zones, ZoneKind::Psys), None);
    }

    #[test]
    fn a_counter_that_wraps_goes_on() {
        let root = sys(PACKAGE);
        let path = root.path().join("class/powercap/intel-rapl:0/energy_uj");
        fs::write(&path, "262143000000").unwrap();
        let mut zones = open_in(root.path()).unwrap();
        fs::write(&path, "671150").unwrap(); // 328 850 µJ to the end of the range and 671 150 µJ from zero
        assert_eq!(packages(&mut zones), Some(1.0));
        assert_eq!(step(10, 4, None), 0);
        assert_eq!(step(10, 4, Some(5)), 0, "a range below the value is not believed");
    }

    #[test]
    fn amd_sockets_come_from_hwmon() {
        let root = sys(&[
            ("class/hwmon/hwmon0/name", "nvme\n"),
            ("class/hwmon/hwmon1/name", "amd_energy\n"),
            ("class/hwmon/hwmon1/energy1_input", "10\n"),
            ("class/hwmon/hwmon1/energy1_label", "Ecore000\n"),
            ("class/hwmon/hwmon1/energy2_input", "4000000\n"),
            ("class/hwmon/hwmon1/energy2_label", "Esocket0\n"),
        ]);
        let mut zones = open_in(root.path()).unwrap();
        fs::write(root.path().join("class/hwmon/hwmon1/energy2_input"), "9000000").unwrap();
        assert_eq!(packages(&mut zones), Some(5.0));
    }

    #[test]
    fn nothing_there_and_nonsense_are_reasons() {
        let empty = sys(&[]);
        assert_eq!(open_in(empty.path()).unwrap_err(), Unavailable::NotSupported { what: WHAT });
        let odd = sys(&[
            ("class/powercap/intel-rapl:0/name", "package-0\n"),
            ("class/powercap/intel-rapl:0/energy_uj", "many\n"),
        ]);
        assert!(matches!(open_in(odd.path()), Err(Unavailable::Unreadable { .. })));
    }

    #[test]
    fn a_locked_counter_says_how_to_unlock_it() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let reason = Unavailable::of_io(WHAT, FIX, &denied);
        assert!(reason.hint().unwrap().contains("energy_uj"));
    }

    #[test]
    fn this_machine_answers_with_zones_or_a_reason() {
        match open() {
            Ok(mut zones) => assert!(zones.iter_mut().all(|z| z.read().is_ok())),
            Err(e) => assert!(!e.to_string().is_empty()),
        }
    }
}
