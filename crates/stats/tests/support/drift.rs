//! Detectors of drift on streams whose truth is known.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use rayon::prelude::*;
use stopwatt_stats::drift::{Chart, Detector, Method, Options, Run, Statistic};

use crate::series;

/// Share of windows that give an alarm, over baselines and windows of one AR(1) process moved by `shift`.
pub(crate) fn alarms(statistic: Statistic, phi: f64, shift: f64, repetitions: u64) -> f64 {
    let one = |seed: u64| {
        let mut random = series::rng(1000 + seed);
        let baseline = series::ar1(&mut random, 1000, phi);
        let window: Vec<f64> = series::ar1(&mut random, 100, phi).into_iter().map(|v| v + shift).collect();
        let options = Options { statistic, window: 100, false_alarms: 0.05, resamples: 300, seed };
        Detector::calibrate(&baseline, options).unwrap().check(&window).unwrap().drifted
    };
    (0..repetitions).into_par_iter().filter(|seed| one(*seed)).count() as f64 / repetitions as f64
}

/// False alarms a thousand observations, and the mean delay after a shift, of charts on AR(1) processes.
pub(crate) fn chart(method: Method, phi: f64, shift: f64, repetitions: u64) -> (f64, f64) {
    let one = |seed: u64| {
        let mut random = series::rng(9000 + seed);
        let baseline = series::ar1(&mut random, 1500, phi);
        let run = Run { length: 300, streams: 60, seed };
        let chart = Chart::calibrate(&baseline, method, run).unwrap();
        let mut calm = chart.clone();
        let quiet = series::ar1(&mut random, 6000, phi);
        let false_alarms = quiet.iter().filter(|v| calm.observe(**v).is_some()).count();
        let mut shifted = chart;
        // Settled first; an alarm before the shift is not counted as one of it.
        for v in series::ar1(&mut random, 100, phi) {
            shifted.observe(v);
        }
        let moved = series::ar1(&mut random, 1000, phi);
        let delay = moved.iter().position(|v| shifted.observe(v + shift).is_some()).unwrap_or(1000);
        (false_alarms as f64, delay as f64 + 1.0)
    };
    let all: Vec<(f64, f64)> = (0..repetitions).into_par_iter().map(one).collect();
    let mean = |f: fn(&(f64, f64)) -> f64| all.iter().map(f).sum::<f64>() / all.len() as f64;
    (mean(|x| x.0) / 6.0, mean(|x| x.1))
}
