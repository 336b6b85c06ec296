//! How well a table predicts its own rows: each left out and predicted from the others.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::kernel_table::OpKind;
use stopwatt_stats::quantile::{quantile, sorted};

pub use super::screen::FlaggedRow;
use super::spread::Spread;
use super::{KernelTable, Tier};

/// Rows of products by how many rows their input has: the last of each band.
const BANDS: [Option<u32>; 4] = [Some(64), Some(256), Some(1024), None];

/// Errors of rows that were left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckRow {
    /// The operator.
    pub op: OpKind,
    /// What was left out: `run` (one of several measurements), `row`, or `shape` (every row of its shape); `measured` is
    /// a measured row that the imported ones predict.
    pub left_out: String,
    /// What answered instead.
    pub tier: Option<Tier>,
    /// Most rows of the input; `null` where there is no limit, or where the operator has no such size.
    pub most_rows: Option<u32>,
    /// Rows that were left out.
    pub n: usize,
    /// Median of |predicted / measured − 1|.
    pub median: f64,
    /// 90th percentile of the same.
    pub p90: f64,
    /// Median with its sign; above 0 is too long.
    pub bias: f64,
    /// Share of rows inside the 90 % interval of the other residuals, of measured rows inside that of the imported ones;
    /// `null` with too few for an interval.
    pub coverage90: Option<f64>,
}

/// Leave-one-out check of a table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CheckDoc {
    /// Rows that were used.
    pub rows: usize,
    /// Rows that cannot be right and were left out: operator, seconds, and how many times too long.
    pub flagged: Vec<FlaggedRow>,
    /// Errors. Products of all tiers together come first, then by band and tier.
    pub errors: Vec<CheckRow>,
    /// Rows that somebody else measured, the same of them; `null` without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Box<CheckDoc>>,
}

/// Checks a table.
#[must_use]
pub fn check(table: &KernelTable) -> CheckDoc {
    type Key = (OpKind, &'static str, Option<u8>, Option<Tier>);
    let mut groups: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
    for r in table.left_out() {
        let (kind, band) = r.group;
        let what = match (r.tier, r.whole_line) {
            (Tier::Measured, _) => "run",
            (_, false) => "row",
            (_, true) => "shape",
        };
        groups.entry((kind, what, None, None)).or_default().push(r.ratio);
        let band = (kind == OpKind::Linear).then_some(band);
        groups.entry((kind, what, band, Some(r.tier))).or_default().push(r.ratio);
    }
    let errors = groups
        .into_iter()
        // Where there is one tier and no band, all together say the same.
        .filter(|((kind, _, band, tier), _)| tier.is_none() || band.is_some() || *kind == OpKind::Linear)
        .map(|((op, what, band, tier), ratios)| {
            let off: Vec<f64> = ratios.iter().map(|r| 1.0 / r - 1.0).collect();
            let size = sorted(&off.iter().map(|e| e.abs()).collect::<Vec<_>>());
            CheckRow {
                op,
                left_out: what.to_owned(),
                tier,
                most_rows: band.and_then(|b| BANDS.get(usize::from(b)).copied().flatten()),
                n: ratios.len(),
                median: quantile(&size, 0.5),
                p90: quantile(&size, 0.9),
                bias: quantile(&sorted(&off), 0.5),
                coverage90: Spread::coverage(&ratios),
            }
        })
        .collect();
    let flagged = table.flagged();
    CheckDoc { rows: table.rows(), flagged, errors, imported: None }
}

/// Checks imported rows, against themselves and against measured ones of the same device where there are any.
#[must_use]
pub fn check_imported(imported: &KernelTable, measured: Option<&KernelTable>) -> CheckDoc {
    let mut doc = check(imported);
    let mut groups = BTreeMap::<(OpKind, Option<u8>), Vec<(f64, bool)>>::new();
    for (op, roof, time) in measured.into_iter().flat_map(KernelTable::points) {
        let Some(said) = imported.time(&op, roof, 0.0) else { continue };
        let row = (said.s / time - 1.0, (said.lo..=said.hi).contains(&time));
        groups.entry((op.kind, None)).or_default().push(row);
        if op.kind == OpKind::Linear {
            groups.entry((op.kind, Some(super::table::group(&op).1))).or_default().push(row);
        }
    }
    doc.errors.extend(groups.into_iter().map(|((op, band), rows)| {
        let off: Vec<f64> = rows.iter().map(|(off, _)| *off).collect();
        let size = sorted(&off.iter().map(|e| e.abs()).collect::<Vec<_>>());
        CheckRow {
            op,
            left_out: "measured".to_owned(),
            tier: Some(Tier::Imported),
            most_rows: band.and_then(|b| BANDS.get(usize::from(b)).copied().flatten()),
            n: rows.len(),
            median: quantile(&size, 0.5),
            p90: quantile(&size, 0.9),
            bias: quantile(&sorted(&off), 0.5),
            coverage90: Some(rows.iter().filter(|(_, inside)| *inside).count() as f64 / rows.len() as f64),
        }
    }));
    doc
}
