//! What the run says of its device: roofs, levels, curves, and how many kernels it measured.

use stopwatt_core::kernel_table::{KernelRow, Outcome};
use stopwatt_core::roofline::{Access, Measured, Roofline};
use stopwatt_core::text::Text;

use super::{Page, plots, words_table};
use crate::hardware::text::{bandwidths, capacity, extent, half_width, names};
use crate::hardware::{figures, seconds, si};
use crate::markup::Markup;

impl Page<'_> {
    /// The section; nothing for a run that measured no device.
    pub(super) fn hardware(&self, m: &mut Markup) {
        let hardware = self.view.hardware;
        if hardware.is_empty() {
            return;
        }
        self.section(m, "hardware", Text::NavHardware, |m| {
            if !hardware.kernels.is_empty() {
                let skipped =
                    hardware.kernels.iter().filter(|r| matches!(r.outcome, Outcome::Skipped { .. })).count();
                let measured = (hardware.kernels.len() - skipped).to_string();
                let note = self.say(Text::HardwareKernels, &[&measured, &skipped.to_string()]);
                m.el_text("p", &[("class", "note")], &note);
                self.unsteady(m);
            }
            let Some(roofline) = &hardware.roofline else { return };
            let device = &roofline.device;
            let facts = format!("{} · {} × {}", device.name, device.units, device.instructions);
            m.el_text("p", &[("class", "note")], &facts);
            plots(m, "plots", &figures::charts(hardware, self.view.lang));
            self.levels(m, roofline);
            self.beside(m, roofline);
            if let Some(best) = roofline.fastest.last() {
                let size = capacity(best.bytes as u64);
                let note = self.say(Text::HardwareFastest, &[&best.what, &size, &best.way]);
                m.el_text("p", &[("class", "note")], &note);
            }
            for missing in &roofline.unavailable {
                let what = format!("{} ({})", missing.what, missing.reason);
                m.el_text("p", &[("class", "note")], &self.say(Text::HardwareMissing, &[&what]));
            }
        });
    }

    /// Rows whose rounds do not agree, the first ones by name.
    fn unsteady(&self, m: &mut Markup) {
        const NAMED: usize = 10;
        let rows: Vec<&KernelRow> =
            self.view.hardware.kernels.iter().filter(|row| row.unsteady.is_some()).collect();
        if rows.is_empty() {
            return;
        }
        m.el_text("p", &[("class", "note")], &self.say(Text::HardwareUnsteady, &[&rows.len().to_string()]));
        m.el("ul", &[("class", "note")], |m| {
            for row in rows.iter().take(NAMED) {
                let what = format!("{} {}", row.op.kind.name(), row.op.shape.label());
                m.el("li", &[], |m| {
                    m.el_text("b", &[], &what);
                    m.text(" ");
                    m.text(row.unsteady.as_deref().unwrap_or_default());
                });
            }
        });
    }

    /// Bandwidths and latency of each level, with their intervals.
    fn levels(&self, m: &mut Markup, roofline: &Roofline) {
        let accesses = bandwidths(&roofline.levels);
        let mut heads = vec![Text::HardwareLevel, Text::HardwareOf, Text::HardwareHolds];
        heads.extend(accesses.iter().map(|access| match access {
            Access::Read => Text::HardwareRead,
            Access::Write => Text::HardwareWrite,
            Access::WriteStreaming => Text::HardwareWriteStreaming,
            Access::Copy => Text::HardwareCopy,
            Access::CopyStreaming => Text::HardwareCopyStreaming,
            Access::Triad => Text::HardwareTriad,
        }));
        heads.push(Text::HardwareLatencyColumn);
        let heads: Vec<&str> = heads.into_iter().map(|text| self.text(text)).collect();
        words_table(m, &heads, 2, |m| {
            for level in &roofline.levels {
                m.el("tr", &[], |m| {
                    m.el_text("td", &[], level.name.name());
                    m.el_text("td", &[], extent(level.extent));
                    let holds = level.capacity_bytes.map_or_else(|| "–".to_owned(), capacity);
                    m.el_text("td", &[("class", "n")], &holds);
                    for access in &accesses {
                        estimate(m, level.bandwidth(*access), |v| format!("{}B/s", si(v)));
                    }
                    estimate(m, level.latency_s.as_ref(), seconds);
                });
            }
        });
    }

    /// Operators at the same time against one after the other.
    fn beside(&self, m: &mut Markup, roofline: &Roofline) {
        if roofline.co_resident.is_empty() {
            return;
        }
        m.el_text("h3", &[], self.text(Text::HardwareBeside));
        let heads = [
            Text::HardwareBesideOps,
            Text::HardwareBesideTogether,
            Text::HardwareBesideApart,
            Text::HardwareBesideGain,
        ]
        .map(|text| self.text(text));
        words_table(m, &heads, 1, |m| {
            for pair in &roofline.co_resident {
                m.el("tr", &[], |m| {
                    m.el_text("td", &[], &names(&pair.ops));
                    estimate(m, Some(&pair.together_s), seconds);
                    estimate(m, Some(&pair.apart_s), seconds);
                    let gain = pair.apart_s.value / pair.together_s.value;
                    m.el_text("td", &[("class", "n")], &format!("{gain:.2}"));
                });
            }
        });
    }
}

/// A measured value, and under it the wider half of its interval.
fn estimate(m: &mut Markup, measured: Option<&Measured>, show: impl Fn(f64) -> String) {
    m.el("td", &[("class", "n")], |m| {
        m.text(&measured.map_or_else(|| "–".to_owned(), |measured| show(measured.value)));
        if let Some(half) = measured.and_then(half_width) {
            m.text(" ");
            m.el_text("small", &[], &half);
        }
    });
}
