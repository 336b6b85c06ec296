//! The bias-corrected and accelerated bootstrap of independent values.

use rand::Rng;

use super::Options;
use crate::distribution::{normal_cdf, normal_quantile};
use crate::quantile::quantile;
use crate::{Ci, Unsupported, require};

/// Groups of the jackknife: for larger samples, groups of values are left out together.
const JACKKNIFE_GROUPS: usize = 200;

/// BCa interval of `statistic` (Efron, Journal of the American Statistical Association 82 (1987), 171–185;
/// Efron & Tibshirani, *An Introduction to the Bootstrap* (1993), §14.3), with the acceleration from the jackknife.
///
/// # Errors
/// Fewer than two values, a value that is not finite, or a statistic that is not finite or does not vary.
pub fn bca(
    values: &[f64],
    statistic: impl Fn(&[f64]) -> f64 + Sync + Send,
    options: &Options,
) -> Result<Ci, Unsupported> {
    options.check()?;
    require(values, 2)?;
    let estimate = statistic(values);
    let n = values.len();
    let replicates = options.replicate(
        n,
        || vec![0.0; n],
        |rng, sample| {
            for v in sample.iter_mut() {
                *v = values[rng.random_range(0..n as u32) as usize];
            }
            statistic(sample)
        },
    );
    if !estimate.is_finite() || replicates.is_empty() {
        return Err(Unsupported::NotFinite);
    }
    if replicates[0] == replicates[replicates.len() - 1] {
        return Err(Unsupported::Constant);
    }

    // Ties count half, so that a discrete statistic such as the median is not biased by its own atoms.
    let (below, equal) = replicates.iter().fold((0.0, 0.0), |(b, e), &r| match r.total_cmp(&estimate) {
        std::cmp::Ordering::Less => (b + 1.0, e),
        std::cmp::Ordering::Equal => (b, e + 1.0),
        std::cmp::Ordering::Greater => (b, e),
    });
    let count = replicates.len() as f64;
    let share = ((below + equal / 2.0) / count).clamp(0.5 / count, 1.0 - 0.5 / count);
    let bias = normal_quantile(share);
    let acceleration = acceleration(values, &statistic);
    let bound = |p: f64| {
        let z = bias + normal_quantile(p);
        let room = 1.0 - acceleration * z;
        // Beyond the pole the correction has no meaning: stay at the edge of the replicates.
        let adjusted = if room > 0.0 { normal_cdf(bias + z / room) } else { f64::from(u8::from(z > 0.0)) };
        quantile(&replicates, adjusted)
    };
    Ok(Ci {
        level: options.level,
        lo: bound(0.5 - options.level / 2.0),
        hi: bound(0.5 + options.level / 2.0),
    })
}

/// Σ d³ / (6 (Σ d²)^1.5) over the jackknife's deviations d = mean − value.
fn acceleration(values: &[f64], statistic: &impl Fn(&[f64]) -> f64) -> f64 {
    let n = values.len();
    let groups = n.min(JACKKNIFE_GROUPS);
    let mut rest = Vec::with_capacity(n);
    let left_out: Vec<f64> = (0..groups)
        .map(|g| {
            rest.clear();
            rest.extend(values.iter().enumerate().filter(|(i, _)| i * groups / n != g).map(|(_, v)| *v));
            statistic(&rest)
        })
        .collect();
    let m = crate::describe::mean(&left_out);
    let (square, cube) = left_out.iter().fold((0.0, 0.0), |(s, c), v| {
        let d = m - v;
        (s + d * d, c + d * d * d)
    });
    let a = cube / (6.0 * square.powf(1.5));
    if a.is_finite() { a } else { 0.0 }
}
