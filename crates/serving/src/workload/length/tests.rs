//! Texts, bounds and moments of length distributions.

use super::*;
use crate::random::Purpose;

#[track_caller]
fn check_text(text: &str, expected: Result<LengthSpec, LengthError>) {
    let parsed = text.parse::<Length>();
    if let Ok(length) = &parsed {
        assert_eq!(length.to_string().parse::<Length>().as_ref(), Ok(length), "does not survive printing");
    }
    assert_eq!(parsed.map(LengthSpec::from), expected);
}

#[test]
fn lengths_are_read_from_the_command_line() {
    check_text("128", Ok(LengthSpec::Fixed { tokens: 128 }));
    check_text("50:200", Ok(LengthSpec::Uniform { lo: 50, hi: 200 }));
    check_text("uniform:50:200", Ok(LengthSpec::Uniform { lo: 50, hi: 200 }));
    check_text("100, 200,200", Ok(LengthSpec::Empirical { values: vec![100, 200, 200] }));
    check_text("normal:100:20.5:1:200", Ok(LengthSpec::Normal { mean: 100.0, std: 20.5, lo: 1, hi: 200 }));
    check_text("lognormal:9:9:1:99", Ok(LengthSpec::Lognormal { mean: 9.0, std: 9.0, lo: 1, hi: 99 }));
    check_text("exponential:80:1:900", Ok(LengthSpec::Exponential { mean: 80.0, lo: 1, hi: 900 }));
    check_text("zipf:1.2:16:4096", Ok(LengthSpec::Zipf { exponent: 1.2, lo: 16, hi: 4096 }));
    let bins = vec![Bin { tokens: 128, weight: 5 }, Bin { tokens: 512, weight: 2 }];
    check_text("128*5, 512*2", Ok(LengthSpec::Histogram { bins }));
    for text in ["", "a", "1:2:3", "-4", "poisson:1:2:3:4", "1,,2"] {
        check_text(text, Err(LengthError::Syntax { text: text.to_owned() }));
    }
}

#[test]
fn lengths_that_make_no_sense_are_refused() {
    check_text("0", Err(LengthError::Zero));
    check_text("0:5", Err(LengthError::Zero));
    check_text("9:5", Err(LengthError::Bounds { lo: 9, hi: 5 }));
    check_text("7,0", Err(LengthError::Zero));
    check_text("normal:300:20:1:200", Err(LengthError::Mean { mean: 300.0, lo: 1, hi: 200 }));
    check_text("normal:30:-1:1:200", Err(LengthError::Deviation { std: -1.0 }));
    check_text("exponential:0:1:9", Err(LengthError::NoMean { mean: 0.0 }));
    check_text("zipf:-1:1:9", Err(LengthError::Exponent { exponent: -1.0 }));
    check_text("zipf:1:0:9", Err(LengthError::Zero));
    check_text("5*0", Err(LengthError::Weights { sum: 0 }));
    check_text("5*4294967295,6*1", Err(LengthError::Weights { sum: 4_294_967_296 }));
    check_text("0*1", Err(LengthError::Zero));
    // Not by `check_text`: NaN does not equal itself.
    assert!(matches!("lognormal:NaN:1:1:200".parse::<Length>(), Err(LengthError::Mean { .. })));
}

#[track_caller]
fn check_moments(text: &str, mean: f64, std: f64) {
    let length: Length = text.parse().unwrap();
    let mut draws = Draws::new(Purpose::Shape, [5, 0, 0, 0]);
    let values: Vec<f64> = (0..20_000).map(|_| f64::from(length.draw(&mut draws))).collect();
    let m = values.iter().sum::<f64>() / values.len() as f64;
    let s = (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
    assert!((m / mean - 1.0).abs() < 0.02, "{text}: mean {m}, expected {mean}");
    assert!((s - std).abs() < 0.04 * std + 1e-9, "{text}: std {s}, expected {std}");
}

#[test]
fn moments_are_those_asked_for() {
    check_moments("777", 777.0, 0.0);
    // Variance of the integers lo..=hi is (n² − 1)/12 with n = 151.
    check_moments("50:200", 125.0, 43.589);
    check_moments("normal:500:50:1:1000", 500.0, 50.0);
    // Bounds far out: the mean and deviation of the length itself, not of its logarithm.
    check_moments("lognormal:400:300:1:100000", 400.0, 300.0);
    check_moments("100,200,300,400", 250.0, 111.803);
    // Bounds far out: mean and deviation of an exponential are equal.
    check_moments("exponential:300:1:100000", 300.0, 300.0);
    // Of the law 1/n on 1..=4: mean 4/(25/12) = 1.92, mean square 10/(25/12) = 4.8.
    check_moments("zipf:1:1:4", 1.92, 1.0553);
    // Three to one: mean 125, variance 3/16 × 100².
    check_moments("100*3,200*1", 125.0, 43.301);
}

#[test]
fn both_ends_of_a_range_are_drawn() {
    let length = Length::uniform(3, 5).unwrap();
    let mut draws = Draws::new(Purpose::Shape, [0; 4]);
    let mut seen = [0; 6];
    (0..300).for_each(|_| seen[length.draw(&mut draws) as usize] += 1);
    assert!(seen[..3] == [0; 3] && seen[3..].iter().all(|&n| n > 60), "{seen:?}");
}

#[test]
fn a_length_tells_its_bounds_and_its_single_value() {
    let of = |text: &str| text.parse::<Length>().unwrap();
    assert_eq!((of("128").bounds(), of("128").single()), ((128, 128), Some(128)));
    assert_eq!((of("5,3,9").bounds(), of("5,3,9").single()), ((3, 9), None));
    assert_eq!(of("4:4").single(), Some(4));
    assert_eq!(of("5,3,10").nominal_mean(), 6.0);
    assert_eq!((of("9*1,3*2,7*0").bounds(), of("9*1,3*2,7*0").nominal_mean()), ((3, 9), 5.0));
    assert!((of("zipf:1:1:4").nominal_mean() - 1.92).abs() < 1e-12);
    assert_eq!((of("1,2,3,4,5").label(), of("1,2").label()), ("1..5".to_owned(), "1,2".to_owned()));
}
