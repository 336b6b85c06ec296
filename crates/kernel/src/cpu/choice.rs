//! Choice of a token from each row of logits.

use super::softmax::argmax;
use super::threads::{Cpu, Output};

/// Memory that calls share: one list of candidates a row.
#[derive(Debug, Default)]
pub struct ChoiceScratch {
    rows: Vec<Vec<u32>>,
}

/// Index of the largest number of each row of `width`; 0 for a row without numbers.
///
/// # Panics
///
/// When `chosen` does not hold one index a row.
#[expect(unsafe_code, reason = "each task writes its own element")]
pub fn argmax_rows(cpu: &Cpu, x: &[f32], width: usize, chosen: &mut [u32]) {
    assert!(width > 0 && x.len() == chosen.len() * width, "argmax_rows: shapes differ");
    let out = Output::new(chosen);
    cpu.each(x.len() / width, |row| {
        let index = argmax(cpu, &x[row * width..][..width]).unwrap_or(0);
        // SAFETY: one task a row, and the row is inside.
        unsafe { *out.get().add(row) = index as u32 };
    });
}

/// Draws a token from each row of `width` logits: the `k` largest are kept, of these the fewest whose probabilities
/// reach `p`, and `draws[row]` in 0 .. 1 picks among them by probability.
///
/// # Panics
///
/// When `draws` or `chosen` do not hold one value a row, or `k` is 0.
#[expect(unsafe_code, reason = "each task writes its own element")]
pub fn top_k_top_p(
    cpu: &Cpu,
    x: &[f32],
    width: usize,
    (k, p): (usize, f32),
    draws: &[f32],
    scratch: &mut ChoiceScratch,
    chosen: &mut [u32],
) {
    assert!(width > 0 && k > 0 && x.len() == chosen.len() * width, "top_k_top_p: shapes differ");
    assert_eq!(draws.len(), chosen.len(), "top_k_top_p: draws differ");
    scratch.rows.resize(chosen.len(), Vec::new());
    let (lists, out) = (Output::new(&mut scratch.rows), Output::new(chosen));
    cpu.each(x.len() / width, |row| {
        // SAFETY: one task a row, and the row is inside both outputs.
        let (candidates, chosen) = unsafe { (&mut *lists.get().add(row), &mut *out.get().add(row)) };
        *chosen = draw(&x[row * width..][..width], k, p, draws[row], candidates);
    });
}

fn draw(x: &[f32], k: usize, p: f32, draw: f32, candidates: &mut Vec<u32>) -> u32 {
    candidates.clear();
    candidates.extend(0..x.len() as u32);
    let order = |a: &u32, b: &u32| x[*b as usize].total_cmp(&x[*a as usize]).then(a.cmp(b));
    if k < candidates.len() {
        candidates.select_nth_unstable_by(k - 1, order);
        candidates.truncate(k);
    }
    candidates.sort_unstable_by(order);
    let largest = x[candidates[0] as usize];
    let weight = |&i: &u32| (x[i as usize] - largest).exp();
    let total: f32 = candidates.iter().map(weight).sum();
    let (mut mass, mut kept) = (0.0, 0);
    for candidate in candidates.iter() {
        mass += weight(candidate);
        kept += 1;
        if mass >= p * total {
            break;
        }
    }
    let (aim, mut sum) = (draw * mass, 0.0);
    let found = candidates[..kept].iter().find(|candidate| {
        sum += weight(candidate);
        sum > aim
    });
    *found.unwrap_or(&candidates[kept - 1])
}
