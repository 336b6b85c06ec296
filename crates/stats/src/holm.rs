//! Holm's step-down correction for several tests at once.

/// Adjusted p-values in the order given: each is at most the level when its hypothesis is rejected with the
/// family-wise error at that level (Holm, Scandinavian Journal of Statistics 6 (1979), 65–70). NaN stays NaN and
/// still counts as a test.
pub fn adjust(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| crate::quantile::compare(&p[a], &p[b]));
    let mut adjusted = vec![f64::NAN; p.len()];
    let mut largest = 0.0f64;
    for (rank, &i) in order.iter().enumerate() {
        if p[i].is_nan() {
            continue;
        }
        largest = largest.max((p.len() - rank) as f64 * p[i]).min(1.0);
        adjusted[i] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        // 4 × 0.005, 3 × 0.01, 2 × 0.03 = 0.06, 1 × 0.04 raised to 0.06.
        let a = adjust(&[0.01, 0.04, 0.03, 0.005]);
        for (got, want) in a.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((got - want).abs() < 1e-15);
        }
    }

    #[test]
    fn a_missing_test_still_counts() {
        let a = adjust(&[f64::NAN, 0.02]);
        assert!(a[0].is_nan());
        assert!((a[1] - 0.04).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn never_smaller_and_same_order(p in prop::collection::vec(0.0..1.0f64, 1..20)) {
            let a = adjust(&p);
            for i in 0..p.len() {
                prop_assert!(a[i] >= p[i] && a[i] <= 1.0);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || a[i] <= a[j]);
                }
            }
        }
    }
}
