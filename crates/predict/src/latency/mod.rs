//! How long an operator takes, by the best evidence there is.
//!
//! | tier | rests on |
//! |---|---|
//! | `measured` | a measured row of this very operator |
//! | `blend` | measured rows on both sides of it, under one kernel |
//! | `tile` | tiles and waves, with constants fitted to measured rows and the ratio of the nearest ones |
//! | `roofline` | the roof, at the utilisation that measured rows of its kind reach |
//! | `imported` | rows that somebody else measured; asked for kinds and formats without a measured row |
//! | `datasheet` | the roof of the data sheet, at a utilisation that was published for another device |
//!
//! Every time carries a 90 % interval. For tiers that rest on rows it comes from leaving rows out and predicting them
//! from the rest; for the data sheet it is a judgement, and wide.

mod check;
mod datasheet;
mod imported;
mod law;
mod screen;
mod spread;
mod table;
mod tile;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::kernel_table::{Family, KernelRow, OpKind, Provider};

pub use check::{CheckDoc, CheckRow, FlaggedRow, check, check_imported};
pub use screen::Defect;
pub use table::{KernelTable, TierError};

use crate::hardware::{Gpu, GpuError};
use crate::operators::{Call, What};

/// What a time rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// A measured row.
    Measured,
    /// Measured rows on both sides.
    Blend,
    /// Tiles and waves, fitted to measured rows.
    Tile,
    /// The roof, at a measured utilisation.
    Roofline,
    /// Rows that somebody else measured.
    Imported,
    /// The roof of the data sheet, at a published utilisation.
    Datasheet,
}

impl Tier {
    /// Name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Measured => "measured",
            Tier::Blend => "blend",
            Tier::Tile => "tile",
            Tier::Roofline => "roofline",
            Tier::Imported => "imported",
            Tier::Datasheet => "datasheet",
        }
    }
}

/// A time, its 90 % interval, and what it rests on. Seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timed {
    /// Expected.
    pub s: f64,
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
    /// What it rests on.
    pub tier: Tier,
}

/// Times of operators on one device.
#[derive(Debug, Clone)]
pub struct Latency {
    gpu: Gpu,
    table: Option<KernelTable>,
    imported: Option<KernelTable>,
}

impl Latency {
    /// By the data sheet alone.
    #[must_use]
    pub fn of_datasheet(gpu: Gpu) -> Self {
        Self { gpu, table: None, imported: None }
    }

    /// By measured rows where they reach, else by the data sheet.
    #[must_use]
    pub fn of_table(gpu: Gpu, table: KernelTable) -> Self {
        Self { gpu, table: Some(table), imported: None }
    }

    /// With rows that somebody else measured ([`KernelTable::imported`]), where there are none of the kind and format.
    #[must_use]
    pub fn with_imported(self, imported: KernelTable) -> Self {
        Self { imported: Some(imported), ..self }
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The measured rows; `None` by the data sheet alone.
    #[must_use]
    pub fn table(&self) -> Option<&KernelTable> {
        self.table.as_ref()
    }

    /// Time of one call.
    pub fn of(&self, call: &Call) -> Result<Timed, GpuError> {
        let least = datasheet::roof(&self.gpu, call)?;
        let measured = match (&self.table, call.what) {
            (Some(table), What::Op(op)) => table.time(&op, least, call.extra_bytes),
            // What is copied has the bandwidth of the simplest operator on rows.
            (Some(table), What::Copy { .. }) => table.copy(least),
            (None, _) => None,
        };
        let imported = || match (&self.imported, call.what) {
            (Some(table), What::Op(op)) => table.time(&op, least, call.extra_bytes),
            _ => None,
        };
        match measured.or_else(imported) {
            Some(timed) => Ok(timed),
            None => datasheet::time(&self.gpu, call),
        }
    }
}

/// The middle 90 % of ratios of measured to predicted, as factors that enclose 1.
#[must_use]
pub fn middle90(ratios: Vec<f64>) -> [f64; 2] {
    let spread::Spread { lo, hi } = spread::Spread::of(ratios);
    [lo.min(1.0), hi.max(1.0)]
}

/// Whether vLLM runs the kernel of a row, or one that does as well. Its attention is FlashAttention's: a row of another
/// kernel says nothing about it, and the published times of FlashAttention say more.
#[must_use]
pub fn stands_for_vllm(row: &KernelRow) -> bool {
    let library = |name: &str| ["flash", "fmha", "cudnn", "fa3"].iter().any(|known| name.contains(known));
    row.op.kind.family() != Family::Attention
        || row.provider != Provider::Native
        || row.kernel.as_deref().is_some_and(|name| library(&name.to_ascii_lowercase()))
}

/// Family of a call, for adding up errors.
#[must_use]
pub fn family(call: &Call) -> Family {
    match call.what {
        What::Op(op) => op.kind.family(),
        What::Copy { .. } => Family::Memory,
    }
}

/// Kind of a call's operator; `None` for a copy.
fn kind(call: &Call) -> Option<OpKind> {
    match call.what {
        What::Op(op) => Some(op.kind),
        What::Copy { .. } => None,
    }
}
