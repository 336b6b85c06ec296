//! What the run says of its device: roofs, levels, curves, and how many kernels it measured.

use stopwatt_core::kernel_table::Outcome;
use stopwatt_core::text::Text;

use super::{Page, plots, words_table};
use crate::hardware::figures;
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
            }
            let Some(roofline) = &hardware.roofline else { return };
            let device = &roofline.device;
            let facts = format!("{} · {} × {}", device.name, device.units, device.instructions);
            m.el_text("p", &[("class", "note")], &facts);
            plots(m, "plots", &figures::charts(hardware, self.view.lang));
            let heads = [
                Text::HardwareLevel,
                Text::HardwareOf,
                Text::HardwareHolds,
                Text::HardwareRead,
                Text::HardwareWrite,
                Text::HardwareWriteStreaming,
                Text::HardwareCopy,
                Text::HardwareLatencyColumn,
            ]
            .map(|text| self.text(text));
            words_table(m, &heads, 2, |m| {
                for cells in figures::level_rows(roofline) {
                    m.el("tr", &[], |m| {
                        for (i, cell) in cells.iter().enumerate() {
                            m.el_text("td", &[("class", if i >= 2 { "n" } else { "" })], cell);
                        }
                    });
                }
            });
            for missing in &roofline.unavailable {
                let what = format!("{} ({})", missing.what, missing.reason);
                m.el_text("p", &[("class", "note")], &self.say(Text::HardwareMissing, &[&what]));
            }
        });
    }
}
