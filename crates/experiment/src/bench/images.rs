//! Images that go with prompts, as data URIs.

use std::path::Path;

use stopwatt_serving::random::{Draws, Purpose};
use stopwatt_wire::openai::data_uri;

use super::config::WorkloadConfig;
use super::error::BenchError;

/// Side of the squares of one colour in a generated image: it compresses like a drawing, not like noise.
const SQUARE: u32 = 16;
/// Largest file that is sent.
const LARGEST: u64 = 64 << 20;

/// Where images come from.
#[derive(Debug)]
pub(super) struct Images {
    source: Source,
    each: u32,
}

enum Source {
    Files(Vec<String>),
    Made { width: u32, height: u32, seed: u64 },
}

impl std::fmt::Debug for Source {
    /// Leaves out the images.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Files(files) => write!(f, "{} files", files.len()),
            Self::Made { width, height, .. } => write!(f, "{width}x{height}"),
        }
    }
}

impl Images {
    /// What the settings ask for; `None` for prompts without images.
    pub(super) fn new(own: &WorkloadConfig, seed: u64) -> Result<Option<Self>, BenchError> {
        let bad = |setting, problem: &str| BenchError::Setting { setting, problem: problem.to_owned() };
        let source = match (&own.images, &own.image_size) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(bad("workload.image_size", "images come from a folder or are made, not both"));
            }
            (Some(folder), None) => Source::Files(files(folder)?),
            (None, Some(size)) => {
                let side = |t: &str| t.trim().parse().ok().filter(|n| (1..=8192).contains(n));
                let (width, height) =
                    size.split_once('x').and_then(|(w, h)| Some((side(w)?, side(h)?))).ok_or_else(|| {
                        bad("workload.image_size", "write WIDTHxHEIGHT in pixels, each up to 8192")
                    })?;
                Source::Made { width, height, seed }
            }
        };
        if own.images_per_request == 0 {
            return Err(bad(
                "workload.images_per_request",
                "0 images are none; leave out the images instead",
            ));
        }
        Ok(Some(Self { source, each: own.images_per_request }))
    }

    /// The images of a request. Made ones differ between all requests, so that no cache can know them.
    pub(super) fn of(&self, request: u64) -> Vec<String> {
        (0..self.each)
            .map(|i| match &self.source {
                Source::Files(files) => {
                    let number = request.wrapping_mul(u64::from(self.each)) + u64::from(i);
                    files[(number % files.len() as u64) as usize].clone()
                }
                Source::Made { width, height, seed } => {
                    data_uri("image/png", &png(*width, *height, [*seed, request, u64::from(i), 0]))
                }
            })
            .collect()
    }
}

/// Every image of a folder, by name.
fn files(folder: &str) -> Result<Vec<String>, BenchError> {
    let failed = |name: &Path| {
        let name = name.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        move |source| BenchError::File { setting: "workload.images", name, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed(Path::new(folder)))? {
        paths.push(entry.map_err(failed(Path::new(folder)))?.path());
    }
    paths.sort();
    let mut images = Vec::new();
    for path in paths {
        let kind = match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("png") => "image/png",
            Some("jpg" | "jpeg") => "image/jpeg",
            Some("webp") => "image/webp",
            Some("gif") => "image/gif",
            _ => continue,
        };
        if std::fs::metadata(&path).map_err(failed(&path))?.len() > LARGEST {
            let problem = "an image of the folder is larger than 64 MiB".to_owned();
            return Err(BenchError::Setting { setting: "workload.images", problem });
        }
        images.push(data_uri(kind, &std::fs::read(&path).map_err(failed(&path))?));
    }
    if images.is_empty() {
        let problem = "the folder has no PNG, JPEG, WebP or GIF image".to_owned();
        return Err(BenchError::Setting { setting: "workload.images", problem });
    }
    Ok(images)
}

/// Squares of random colours.
fn png(width: u32, height: u32, key: [u64; 4]) -> Vec<u8> {
    let mut draws = Draws::new(Purpose::Image, key);
    let columns = width.div_ceil(SQUARE);
    let colours: Vec<[u8; 3]> = (0..columns * height.div_ceil(SQUARE))
        .map(|_| std::array::from_fn(|_| draws.below(256) as u8))
        .collect();
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        let row = (y / SQUARE) * columns;
        (0..width).for_each(|x| pixels.extend_from_slice(&colours[(row + x / SQUARE) as usize]));
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    let written = encoder.write_header().and_then(|mut w| w.write_image_data(&pixels));
    written.expect("writing an image of the stated size to memory cannot fail");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_image_is_a_png_of_its_size_and_differs_between_requests() {
        let bytes = png(33, 17, [1, 2, 3, 0]);
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (33, 17));
        let own = WorkloadConfig {
            image_size: Some("32x16".to_owned()),
            images_per_request: 2,
            ..WorkloadConfig::default()
        };
        let images = Images::new(&own, 1).unwrap().unwrap();
        let (a, b) = (images.of(0), images.of(1));
        assert_eq!((a.len(), images.of(0)), (2, a.clone()));
        assert!(a[0] != a[1] && a[0] != b[0] && a[0].starts_with("data:image/png;base64,"));
    }

    #[test]
    fn settings_that_give_no_image_are_refused() {
        let refused = |change: fn(&mut WorkloadConfig)| {
            let mut own = WorkloadConfig { image_size: Some("8x8".to_owned()), ..WorkloadConfig::default() };
            change(&mut own);
            Images::new(&own, 0).is_err()
        };
        assert!(!refused(|_| ()));
        assert!(refused(|own| own.image_size = Some("8".to_owned())));
        assert!(refused(|own| own.image_size = Some("0x8".to_owned())));
        assert!(refused(|own| own.images = Some("somewhere".to_owned())));
        assert!(refused(|own| own.images_per_request = 0));
        let empty = tempfile_like();
        assert!(matches!(files(&empty), Err(BenchError::File { .. })));
    }

    /// A folder that is not there.
    fn tempfile_like() -> String {
        std::env::temp_dir().join("stopwatt-no-such-folder-of-images").to_string_lossy().into_owned()
    }
}
