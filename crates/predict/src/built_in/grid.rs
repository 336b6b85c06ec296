//! Which operators to measure so that given loads can be predicted: those of the steps that the loads take.

use std::collections::{BTreeMap, BTreeSet};

use stopwatt_core::kernel_table::{Op, OpKind, Shape};
use stopwatt_serving::step::{LinearStepModel, StepShape};

use crate::operators::{Deployment, What};
use crate::predict::PredictError;
use crate::simulate::{Scenario, simulate_watched};

/// Most numbers of tokens of a step whose products are measured.
const MOST_ROWS: usize = 12;
/// Most shapes of attention over prompts.
const MOST_PROMPTS: usize = 12;

/// The operators of the steps that these loads take, each once, in a fixed order. Which steps come hardly depends on how
/// long they take, so any times serve to find them; what is not found is blended from what is.
///
/// Products and what only moves bytes are measured at the numbers of rows that come most often, attention over the cache
/// at doubling lengths.
pub fn operators(deployment: &Deployment, loads: &[Scenario]) -> Result<Vec<Op>, PredictError> {
    let mut rows: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    let mut prompts: BTreeMap<Op, u64> = BTreeMap::new();
    let mut decodes: BTreeMap<u32, [u32; 2]> = BTreeMap::new();
    let mut failed = Ok(());
    for load in loads {
        simulate_watched(load, &LinearStepModel::illustrative_example(), &mut |step| {
            let shape = step.shape;
            *rows.entry((shape.tokens(), deployment.head_rows(shape))).or_default() += 1;
            if shape.decode_seqs > 0 {
                let context = (shape.decode_context_tokens / u64::from(shape.decode_seqs)) as u32;
                let [least, most] = decodes.entry(shape.decode_seqs).or_insert([context; 2]);
                (*least, *most) = ((*least).min(context), (*most).max(context));
            }
            match deployment.attention_calls(shape) {
                Ok(calls) => calls.iter().for_each(|call| {
                    if let What::Op(op) = call.what
                        && op.kind == OpKind::AttentionPrefill
                    {
                        *prompts.entry(op).or_default() += 1;
                    }
                }),
                Err(error) => failed = Err(error),
            }
        })?;
    }
    failed.map_err(crate::step::StepError::from)?;
    let mut ops: BTreeSet<Op> = BTreeSet::new();
    let mut add = |calls: Vec<crate::operators::Call>| {
        ops.extend(calls.into_iter().filter_map(|call| match call.what {
            What::Op(op) => Some(op),
            What::Copy { .. } => None,
        }));
    };
    for (tokens, sampled) in most_frequent(rows, MOST_ROWS) {
        add(deployment.row_calls(tokens, tokens, sampled).map_err(crate::step::StepError::from)?);
    }
    let largest = decodes.last_key_value().map_or(0, |(sequences, _)| *sequences);
    decodes.retain(|sequences, _| sequences.is_power_of_two() || *sequences == largest);
    for (sequences, [least, most]) in decodes {
        for context in lengths(least, most) {
            let mut shape = StepShape::default();
            (0..sequences).for_each(|_| shape.add(1, context - 1, true));
            add(deployment.attention_calls(&shape).map_err(crate::step::StepError::from)?);
        }
    }
    ops.extend(most_frequent(prompts, MOST_PROMPTS));
    ops.insert(Op {
        kind: OpKind::EmptyLaunch,
        shape: Shape::Launches { kernels: 1 },
        dtypes: stopwatt_core::kernel_table::Dtypes::all(stopwatt_core::kernel_table::Dtype::F32),
    });
    Ok(ops.into_iter().collect())
}

/// The keys that come most often, and the first and the last.
fn most_frequent<K: Ord + Copy>(counted: BTreeMap<K, u64>, most: usize) -> Vec<K> {
    let ends = [counted.first_key_value(), counted.last_key_value()];
    let mut keep: BTreeSet<K> = ends.into_iter().flatten().map(|(key, _)| *key).collect();
    let mut order: Vec<(K, u64)> = counted.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    for (key, _) in order {
        if keep.len() >= most {
            break;
        }
        keep.insert(key);
    }
    keep.into_iter().collect()
}

/// Both ends and the powers of 2 between them.
fn lengths(least: u32, most: u32) -> BTreeSet<u32> {
    let doubling = (0..31).map(|i| 1_u32 << i).filter(|n| (least..=most).contains(n));
    doubling.chain([least.max(1), most.max(1)]).collect()
}

#[cfg(test)]
mod tests {
    use stopwatt_serving::scheduler::SchedulerConfig;
    use stopwatt_serving::workload::{Length, Workload};

    use super::*;
    use crate::built_in::FRONTEND;
    use crate::built_in::tests::deployed;
    use crate::simulate::Load;

    #[test]
    fn what_a_load_computes_is_measured() {
        let scenario = Scenario {
            scheduler: SchedulerConfig {
                max_num_batched_tokens: 256,
                max_num_seqs: 64,
                ..SchedulerConfig::new(1000, 4096)
            },
            workload: Workload::new(Length::fixed(300).unwrap(), Length::fixed(40).unwrap()),
            load: Load::Closed { concurrency: 2 },
            requests: 4,
            duration_s: None,
            seed: 0,
            frontend: FRONTEND,
            batch_wait_s: 0.0,
        };
        let ops = operators(&deployed("llama-3.2-1b"), &[scenario]).unwrap();
        let rows: BTreeSet<u32> = ops
            .iter()
            .filter_map(|op| match op.shape {
                Shape::Matrix { m, n: 2048, k: 8192 } => Some(m),
                _ => None,
            })
            .collect();
        // Decodes alone and together, and the first piece of a prompt.
        assert!([1, 2, 256].iter().all(|m| rows.contains(m)) && rows.len() <= MOST_ROWS, "{rows:?}");
        let cached: Vec<u32> = ops
            .iter()
            .filter(|op| op.kind == OpKind::AttentionDecode)
            .filter_map(|op| match op.shape {
                Shape::Attention { sequences: 1, cached, .. } => Some(cached),
                _ => None,
            })
            .collect();
        assert!(cached.first() == Some(&300) && cached.last().is_some_and(|c| *c <= 339), "{cached:?}");
        assert!(ops.iter().any(|op| op.kind == OpKind::EmptyLaunch));
        assert_eq!(lengths(60, 200), [60, 64, 128, 200].into());
    }
}
