//! Numbers in, numbers out: quantiles, intervals, effect sizes, steady state, outliers
