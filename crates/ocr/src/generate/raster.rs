//! Strokes to pixels, and what scanners, fax machines and telephones do to them.

use serde::Serialize;
use stopwatt_serving::random::Draws;
use tiny_skia::{FillRule, Mask, PathBuilder, Rect, Transform};

use super::GenerateError;
use super::font::{Fonts, Style};
use super::sheet::{PAPER_MM, Stroke};

/// What is done to a page, from the presets or beside them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Degradation {
    /// Largest turn either way, in degrees.
    pub(super) skew_deg: f64,
    /// Standard deviation of the blur, in millimetres.
    pub(super) blur_mm: f64,
    /// Standard deviation of the noise, of 255 levels.
    pub(super) noise: f64,
    /// Share of pixels that turn black or white.
    pub(super) specks: f64,
    /// How much darker the darkest edge is.
    pub(super) shade: f64,
    /// Quality of JPEG's quantisation of blocks; 0 for none.
    pub(super) jpeg: u32,
    /// Two levels at 204 × 98 dots per inch.
    pub(super) fax: bool,
}

const CLEAN: Degradation =
    Degradation { skew_deg: 0.0, blur_mm: 0.0, noise: 0.0, specks: 0.0, shade: 0.0, jpeg: 0, fax: false };

impl Degradation {
    /// The preset of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "clean" => CLEAN,
            "scan" => Self { skew_deg: 0.7, blur_mm: 0.05, noise: 5.0, shade: 0.06, jpeg: 70, ..CLEAN },
            "fax" => Self { skew_deg: 0.5, specks: 0.001, fax: true, ..CLEAN },
            "phone" => Self { skew_deg: 2.0, blur_mm: 0.09, noise: 9.0, shade: 0.35, jpeg: 40, ..CLEAN },
            _ => return None,
        })
    }
}

/// Grey pixels, 255 is white.
pub(super) struct Raster {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixels: Vec<u8>,
}

/// Draws a page. The same draws at another resolution make the same page.
pub(super) fn render(
    strokes: &[Stroke],
    fonts: &mut Fonts,
    dpi: u32,
    how: &Degradation,
    draws: &mut Draws,
) -> Result<Raster, GenerateError> {
    let scale = f64::from(dpi) / 25.4;
    let [width, height] = PAPER_MM.map(|mm| (mm * scale).round() as u32);
    let mut mask = Mask::new(width, height).ok_or(GenerateError::TooLarge { dpi })?;
    let turn = how.skew_deg * (2.0 * draws.unit() - 1.0);
    let page = Transform::from_rotate_at(turn as f32, width as f32 / 2.0, height as f32 / 2.0)
        .pre_scale(scale as f32, scale as f32);
    for stroke in strokes {
        match stroke {
            Stroke::Box { x, y, width, height } => {
                let rect = Rect::from_xywh(*x as f32, *y as f32, *width as f32, *height as f32);
                if let Some(rect) = rect {
                    mask.fill_path(&PathBuilder::from_rect(rect), FillRule::Winding, true, page);
                }
            }
            Stroke::Text { x, baseline, size, style, text } => {
                let mut x = *x;
                for c in text.chars() {
                    let glyph = fonts.glyph(*style, c)?;
                    if let Some(outline) = &glyph.outline {
                        let (mut at, mut angle) = ([x as f32, *baseline as f32], 0.0);
                        if *style == Style::Hand {
                            // No two letters of a hand stand alike.
                            at[1] += (draws.normal() * 0.03 * size) as f32;
                            angle = (draws.normal() * 2.0) as f32;
                        }
                        let letter = page
                            .pre_translate(at[0], at[1])
                            .pre_rotate(angle)
                            .pre_scale(*size as f32, -*size as f32);
                        mask.fill_path(outline, FillRule::Winding, true, letter);
                    }
                    x += f64::from(glyph.advance) * size;
                }
            }
        }
    }
    let pixels = mask.data().iter().map(|ink| 255 - ink).collect();
    let mut raster = Raster { width, height, pixels };
    degrade(&mut raster, dpi, how, draws);
    Ok(raster)
}

fn degrade(raster: &mut Raster, dpi: u32, how: &Degradation, draws: &mut Draws) {
    if how.blur_mm > 0.0 {
        blur(raster, how.blur_mm * f64::from(dpi) / 25.4);
    }
    let (tilt_x, tilt_y) = (draws.unit(), draws.unit());
    if how.shade > 0.0 || how.noise > 0.0 || how.specks > 0.0 {
        let (w, h) = (f64::from(raster.width), f64::from(raster.height));
        // A table of noise is enough: drawing nine million normal numbers takes longer than all the rest.
        let noise: Vec<f64> = (0..65_537).map(|_| draws.normal() * how.noise).collect();
        let specks: Vec<bool> = (0..65_521).map(|_| draws.unit() < how.specks).collect();
        let (mut n, mut s) = (draws.below(65_537) as usize, draws.below(65_521) as usize);
        for (i, pixel) in raster.pixels.iter_mut().enumerate() {
            let (x, y) = (i as u32 % raster.width, i as u32 / raster.width);
            let place = (f64::from(x) / w * tilt_x + f64::from(y) / h * tilt_y) / (tilt_x + tilt_y).max(1e-9);
            (n, s) = ((n + 1) % noise.len(), (s + 1) % specks.len());
            let lit = f64::from(*pixel) * (1.0 - how.shade * place) + noise[n];
            *pixel = if specks[s] { if n % 2 == 0 { 0 } else { 255 } } else { lit.clamp(0.0, 255.0) as u8 };
        }
    }
    if how.fax {
        fax(raster, dpi);
    }
    if how.jpeg > 0 {
        jpeg(raster, how.jpeg);
    }
}

/// Gaussian blur of a standard deviation in pixels.
fn blur(raster: &mut Raster, sigma: f64) {
    let reach = (3.0 * sigma).ceil() as usize;
    if reach == 0 {
        return;
    }
    let weights: Vec<f32> = (0..=2 * reach)
        .map(|i| (-(i as f64 - reach as f64).powi(2) / (2.0 * sigma * sigma)).exp() as f32)
        .collect();
    let total: f32 = weights.iter().sum();
    let (w, h) = (raster.width as usize, raster.height as usize);
    let pass = |from: &[u8], at: &dyn Fn(usize, usize) -> usize, length: usize, lines: usize| {
        let mut out = vec![0; from.len()];
        for line in 0..lines {
            for i in 0..length {
                let mut sum = 0.0;
                for (k, weight) in weights.iter().enumerate() {
                    let j = (i + k).saturating_sub(reach).min(length - 1);
                    sum += weight * f32::from(from[at(line, j)]);
                }
                out[at(line, i)] = (sum / total).round() as u8;
            }
        }
        out
    };
    let across = pass(&raster.pixels, &|line, i| line * w + i, w, h);
    raster.pixels = pass(&across, &|line, i| i * w + line, h, w);
}

/// Samples at 204 × 98 dots per inch, with two levels.
fn fax(raster: &mut Raster, dpi: u32) {
    let (w, h) = (raster.width as usize, raster.height as usize);
    let cell = |i: usize, dots: f64, length: usize| {
        let step = f64::from(dpi) / dots;
        // Each dot is the middle of its cell; where the page is coarser, its pixels stay.
        if step <= 1.0 { i } else { (((i as f64 / step).floor() + 0.5) * step) as usize }.min(length - 1)
    };
    let from = raster.pixels.clone();
    for y in 0..h {
        let row = cell(y, 98.0, h) * w;
        for x in 0..w {
            raster.pixels[y * w + x] = if from[row + cell(x, 204.0, w)] < 128 { 0 } else { 255 };
        }
    }
}

/// What JPEG loses: blocks of 8 × 8 are transformed, rounded by the luminance table of ITU-T T.81, annex K, and back.
fn jpeg(raster: &mut Raster, quality: u32) {
    const TABLE: [f32; 64] = [
        16., 11., 10., 16., 24., 40., 51., 61., 12., 12., 14., 19., 26., 58., 60., 55., 14., 13., 16., 24.,
        40., 57., 69., 56., 14., 17., 22., 29., 51., 87., 80., 62., 18., 22., 37., 56., 68., 109., 103., 77.,
        24., 35., 55., 64., 81., 104., 113., 92., 49., 64., 78., 87., 103., 121., 120., 101., 72., 92., 95.,
        98., 112., 100., 103., 99.,
    ];
    // The scale that libjpeg gives a quality.
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality } as f32;
    let steps = TABLE.map(|t| ((t * percent + 50.0) / 100.0).floor().clamp(1.0, 255.0));
    let mut basis = [[0.0_f32; 8]; 8];
    for (k, row) in basis.iter_mut().enumerate() {
        let norm = if k == 0 { (0.125_f32).sqrt() } else { 0.5 };
        for (i, b) in row.iter_mut().enumerate() {
            *b = norm * ((2 * i + 1) as f32 * k as f32 * std::f32::consts::PI / 16.0).cos();
        }
    }
    let (w, h) = (raster.width as usize, raster.height as usize);
    for top in (0..h).step_by(8) {
        for left in (0..w).step_by(8) {
            let at = |i: usize| (top + i / 8).min(h - 1) * w + (left + i % 8).min(w - 1);
            let first = raster.pixels[at(0)];
            if (0..64).all(|i| raster.pixels[at(i)] == first) {
                continue;
            }
            let block: [f32; 64] = std::array::from_fn(|i| f32::from(raster.pixels[at(i)]) - 128.0);
            let mut coded = transform(&block, |k, i| basis[k][i]);
            coded.iter_mut().zip(steps).for_each(|(c, step)| *c = (*c / step).round() * step);
            let back = transform(&coded, |i, k| basis[k][i]);
            for (i, v) in back.iter().enumerate() {
                if top + i / 8 < h && left + i % 8 < w {
                    raster.pixels[at(i)] = (v + 128.0).round().clamp(0.0, 255.0) as u8;
                }
            }
        }
    }
}

/// Applies `m` to the rows and columns of a block.
fn transform(block: &[f32; 64], m: impl Fn(usize, usize) -> f32) -> [f32; 64] {
    let rows: [f32; 64] = std::array::from_fn(|o| (0..8).map(|i| m(o % 8, i) * block[o / 8 * 8 + i]).sum());
    std::array::from_fn(|o| (0..8).map(|i| m(o / 8, i) * rows[i * 8 + o % 8]).sum())
}

/// The image as PNG, with its resolution.
pub(super) fn png(raster: &Raster, dpi: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, raster.width, raster.height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_compression(png::Compression::Fast);
    let per_metre = (f64::from(dpi) / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: per_metre,
        yppu: per_metre,
        unit: png::Unit::Meter,
    }));
    let written = encoder.write_header().and_then(|mut w| w.write_image_data(&raster.pixels));
    written.expect("writing an image of the stated size to memory cannot fail");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopwatt_serving::random::Purpose;

    fn raster() -> Raster {
        let pixels = (0..40 * 24).map(|i| if (i / 5) % 2 == 0 { 0 } else { 255 }).collect();
        Raster { width: 40, height: 24, pixels }
    }

    #[test]
    fn mean_and_size_survive() {
        let mean = |r: &Raster| r.pixels.iter().map(|p| f64::from(*p)).sum::<f64>() / r.pixels.len() as f64;
        let mut draws = Draws::new(Purpose::Document, [1, 0, 0, 0]);
        for name in ["clean", "scan", "fax", "phone"] {
            let how = Degradation { shade: 0.0, ..Degradation::named(name).expect("a preset") };
            let mut r = raster();
            degrade(&mut r, 300, &how, &mut draws);
            assert!(r.pixels.len() == 960 && (mean(&r) - 127.5).abs() < 16.0, "{name} {}", mean(&r));
            assert_eq!(name == "clean", r.pixels == raster().pixels);
        }
        assert!(Degradation::named("mud").is_none());
    }

    #[test]
    fn a_fine_quantisation_changes_little_and_a_coarse_one_much() {
        let lost = |quality| {
            let mut r = raster();
            jpeg(&mut r, quality);
            r.pixels.iter().zip(raster().pixels).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>()
        };
        assert!(lost(99) < lost(70) && lost(70) < lost(20), "{} {} {}", lost(99), lost(70), lost(20));
    }
}
