//! How many trials a gate that straddles its limit would need.

use stopwatt_core::comparison::{ComparisonDoc, GateState};
use stopwatt_stats::compare::{Margin, trials_needed as of_change};

use super::Gate;

/// Power with which the answer is wanted.
const POWER: f64 = 0.8;

/// Trials a side at which a change of the size that was seen would be told from the limit, four times out of five, for
/// the gate that needs most; `None` when no gate straddles its limit.
///
/// It rests on the spread of the trials as if they were not paired, so that pairing can only make do with fewer.
pub fn trials_needed(gates: &[Gate], doc: &ComparisonDoc) -> Option<u32> {
    let open = |gate: &&Gate| {
        let name = gate.to_string();
        doc.gates.iter().any(|g| g.gate == name && g.state == GateState::Inconclusive && g.p_holm.is_some())
    };
    let needed = |gate: &Gate| {
        let row = doc
            .comparisons
            .iter()
            .find(|row| row.metric == gate.metric && row.statistic == gate.statistic)?;
        let mean_square = row.cv.iter().flatten().map(|cv| cv * cv).sum::<f64>() / 2.0;
        // A difference of shares is told in their unit, so is its spread.
        let scale = if row.absolute { row.baseline? } else { 1.0 };
        let limit = match gate.limit {
            Margin::Relative(limit) | Margin::Absolute(limit) => limit,
        };
        of_change(row.delta? - limit, mean_square.sqrt() * scale.abs(), doc.level, POWER)
    };
    gates.iter().filter(open).filter_map(needed).max()
}
