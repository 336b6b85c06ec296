//! Colours of the page: enough contrast in both themes, and told apart by people who are colour-blind.

/// The page's style, as it is built in.
const STYLE: &str = include_str!("../src/html/style.css");

/// Linear light, 0 to 1.
type Rgb = [f64; 3];

fn themes() -> [&'static str; 2] {
    let dark = STYLE.find("@media (prefers-color-scheme: dark)").expect("there is a dark theme");
    let end = dark + STYLE[dark..].find("\n}").expect("it ends");
    [&STYLE[..dark], &STYLE[dark..end]]
}

fn colour(theme: &str, name: &str) -> Rgb {
    let begin = theme.find(&format!("--{name}: #")).unwrap_or_else(|| panic!("no --{name}")) + name.len() + 5;
    let byte =
        |i: usize| u8::from_str_radix(&theme[begin + 2 * i..begin + 2 * i + 2], 16).expect("six hex digits");
    [0, 1, 2].map(|i| {
        // WCAG 2.2, "relative luminance".
        let v = f64::from(byte(i)) / 255.;
        if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    })
}

/// WCAG 2.2, "contrast ratio".
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let luminance = |c: Rgb| 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// How a colour looks without one kind of cone: matrices for severity 1 of Machado, Oliveira and Fernandes,
/// "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009), on linear light.
const BLIND: [[[f64; 3]; 3]; 3] = [
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
];

fn seen(colour: Rgb, matrix: &[[f64; 3]; 3]) -> Rgb {
    matrix.map(|row| row.iter().zip(colour).map(|(m, c)| m * c).sum::<f64>().clamp(0., 1.))
}

/// Distance in CIELAB (D65), where about 2 is just visible.
fn distance(a: Rgb, b: Rgb) -> f64 {
    let lab = |c: Rgb| {
        let xyz = [
            (0.4124 * c[0] + 0.3576 * c[1] + 0.1805 * c[2]) / 0.950_47,
            0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2],
            (0.0193 * c[0] + 0.1192 * c[1] + 0.9505 * c[2]) / 1.088_83,
        ];
        let f = xyz.map(|t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16. / 116. });
        [116. * f[1] - 16., 500. * (f[0] - f[1]), 200. * (f[1] - f[2])]
    };
    let (a, b) = (lab(a), lab(b));
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn text_is_readable_in_both_themes() {
    for theme in themes() {
        let ground = colour(theme, "ground");
        for name in ["ink", "soft", "accent", "good", "warn", "bad"] {
            let ratio = contrast(colour(theme, name), ground);
            assert!(ratio >= 4.5, "--{name}: {ratio:.2}");
        }
        for (name, own) in
            [("good", "good-ground"), ("warn", "warn-ground"), ("bad", "bad-ground"), ("soft", "good-ground")]
        {
            let ratio = contrast(colour(theme, name), colour(theme, own));
            assert!(ratio >= 4.5, "--{name} on --{own}: {ratio:.2}");
        }
    }
}

#[test]
fn lines_stand_out_from_the_ground() {
    for theme in themes() {
        for name in ["c1", "c2", "c3", "c4", "c5", "c6"] {
            let ratio = contrast(colour(theme, name), colour(theme, "ground"));
            assert!(ratio >= 3., "--{name}: {ratio:.2}");
        }
    }
}

#[test]
fn the_two_common_series_differ_for_everybody() {
    for theme in themes() {
        let (first, second) = (colour(theme, "c1"), colour(theme, "c2"));
        for matrix in &BLIND {
            let d = distance(seen(first, matrix), seen(second, matrix));
            assert!(d >= 20., "distance {d:.1}");
        }
    }
}

#[test]
fn every_further_series_has_its_own_dashes() {
    let pattern = |i: usize| {
        let rule = STYLE.split_once(&format!(".line.c{i} {{ stroke-dasharray: ")).expect("a pattern").1;
        rule.split_once(';').expect("it ends").0
    };
    let dashes: Vec<&str> = (2..=6).map(pattern).collect();
    let distinct: std::collections::BTreeSet<_> = dashes.iter().collect();
    assert_eq!(distinct.len(), 5, "{dashes:?}");
}
