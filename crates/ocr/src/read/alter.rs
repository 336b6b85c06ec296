//! Images that no cache knows: a service that has seen a page before may answer from what it kept of it, so a page that is
//! sent again has a few pixels of its first row, the margin, changed by one step of gray.

/// The image with the `variant`-th change; `None` for what is not a PNG of eight bits a sample.
pub(crate) fn altered(file: &[u8], variant: u32) -> Option<Vec<u8>> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().ok()?;
    let mut raster = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut raster).ok()?;
    if info.bit_depth != png::BitDepth::Eight || info.color_type == png::ColorType::Indexed {
        return None;
    }
    let row = raster.get_mut(..info.line_size)?;
    for (bit, value) in row.iter_mut().enumerate().take(32) {
        *value ^= (variant >> bit & 1) as u8;
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, info.width, info.height);
    encoder.set_color(info.color_type);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(raster.get(..info.buffer_size())?).ok()?;
    writer.finish().ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_differ_in_the_first_row_alone() {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 40, 2);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().and_then(|mut w| w.write_image_data(&[255; 80])).expect("encoded");
        let pixels = |file: &[u8]| {
            let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("a head");
            let mut raster = vec![0; 80];
            reader.next_frame(&mut raster).expect("a picture");
            raster
        };
        let (one, two) = (altered(&file, 1).expect("a PNG"), altered(&file, 2).expect("a PNG"));
        assert_eq!(
            (pixels(&one)[..2].to_vec(), pixels(&two)[..2].to_vec()),
            (vec![254, 255], vec![255, 254])
        );
        assert_eq!(pixels(&one)[1..], [255; 79]);
        assert_eq!(altered(b"no image", 1), None);
    }
}
