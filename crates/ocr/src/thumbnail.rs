//! Images of pages made small enough for a report: gray, sixteen levels.

/// Widest a page is shown, in pixels.
const WIDTH: usize = 760;
/// Largest file.
const BYTES: usize = 100_000;

/// A small PNG of a PNG; `None` for a file that is none, or has 16 bits a sample.
pub(crate) fn thumbnail(file: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().ok()?;
    let mut raster = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut raster).ok()?;
    if info.bit_depth != png::BitDepth::Eight {
        return None;
    }
    let (width, height) = (info.width as usize, info.height as usize);
    let gray: Vec<u8> = raster
        .get(..info.buffer_size())?
        .chunks_exact(info.color_type.samples())
        .map(|p| match p {
            [r, g, b, ..] => ((u32::from(*r) * 299 + u32::from(*g) * 587 + u32::from(*b) * 114) / 1000) as u8,
            [v, ..] => *v,
            [] => 255,
        })
        .collect();
    let first = width.div_ceil(WIDTH).max(1);
    (first..first + 6)
        .map(|factor| small(&gray, width, height, factor))
        .find_map(|png| png.filter(|p| p.len() <= BYTES))
}

/// Each pixel is the mean of a square of `factor` pixels.
fn small(gray: &[u8], width: usize, height: usize, factor: usize) -> Option<Vec<u8>> {
    let (w, h) = (width / factor, height / factor);
    if w == 0 || h == 0 {
        return None;
    }
    let mut packed = Vec::with_capacity(h * w.div_ceil(2));
    for y in 0..h {
        let level = |x: usize| -> u8 {
            let square = (0..factor).flat_map(|dy| {
                let from = (y * factor + dy) * width + x * factor;
                &gray[from..from + factor]
            });
            let sum: usize = square.map(|v| usize::from(*v)).sum();
            ((sum * 15 + factor * factor * 127) / (factor * factor * 255)) as u8
        };
        for x in (0..w).step_by(2) {
            let right = if x + 1 < w { level(x + 1) } else { 15 };
            packed.push(level(x) << 4 | right);
        }
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, u32::try_from(w).ok()?, u32::try_from(h).ok()?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Four);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&packed).ok()?;
    writer.finish().ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_page_becomes_a_small_one() {
        let (width, height) = (1600_u32, 40_u32);
        let raster: Vec<u8> = (0..width * height).map(|i| if i % width < 800 { 0 } else { 255 }).collect();
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().and_then(|mut w| w.write_image_data(&raster)).expect("encoded");
        let small = thumbnail(&file).expect("a PNG");
        let mut decoder = png::Decoder::new(std::io::Cursor::new(&small));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().expect("a head");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
        let info = reader.next_frame(&mut pixels).expect("a picture");
        // 1600 / 3 = 533 wide.
        assert_eq!((info.width, info.height, pixels[0], pixels[532]), (533, 13, 0, 255));
        assert_eq!(thumbnail(b"no image"), None);
    }
}
