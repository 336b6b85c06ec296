//! The truth as a reader: it knows an image by its bytes and answers with what stands there. It recognises nothing; it is
//! for tests of everything else, on made-up pages alone, and says so in its name.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::input::{self, InputError};
use crate::run::{RunError, tasks};

/// The end of the model name of every echo.
pub const TRUTH_ECHO: &str = "truth-echo-synthetic";

/// Whether what this model answers is an echo of the truth.
pub fn is_truth_echo(model: &str) -> bool {
    model.ends_with(TRUTH_ECHO)
}

/// Why a truth cannot be echoed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EchoError {
    /// The truth cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A page is not marked as made up.
    #[error(
        "line {line} of the truth is not marked as made up (`\"synthetic\": true`), and only such pages are echoed"
    )]
    Private {
        /// Line, from 1.
        line: usize,
    },
    /// A page has no image.
    #[error(transparent)]
    Image(#[from] RunError),
    /// An image cannot be read.
    #[error("the image of line {line} of the truth cannot be read")]
    Unreadable {
        /// Line, from 1.
        line: usize,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

type Key = [u8; 32];

/// Texts of pages by their images.
#[derive(Debug)]
pub struct Echo {
    texts: Vec<String>,
    images: Vec<std::path::PathBuf>,
    by_file: HashMap<Key, usize>,
    /// By pixels, for images that were altered so that no cache knows them; made when first needed.
    by_pixels: OnceLock<HashMap<Key, usize>>,
}

impl Echo {
    /// Reads a truth and its images.
    ///
    /// # Errors
    /// A truth or an image that cannot be read, and pages that are not made up.
    pub fn open(truth: &Path) -> Result<Self, EchoError> {
        let pages = input::truth(truth)?;
        if let Some(page) = pages.iter().find(|p| !p.value.synthetic) {
            return Err(EchoError::Private { line: page.number });
        }
        let folder = truth.parent().unwrap_or(Path::new(""));
        let tasks = tasks(&pages.iter().collect::<Vec<_>>(), folder)?;
        let mut by_file = HashMap::new();
        for (i, (page, task)) in pages.iter().zip(&tasks).enumerate() {
            let bytes = std::fs::read(&task.image)
                .map_err(|source| EchoError::Unreadable { line: page.number, source })?;
            by_file.entry(Sha256::digest(&bytes).into()).or_insert(i);
        }
        Ok(Self {
            texts: pages.into_iter().map(|p| p.value.truth.text).collect(),
            images: tasks.into_iter().map(|t| t.image).collect(),
            by_file,
            by_pixels: OnceLock::new(),
        })
    }

    /// Pages that are known.
    pub fn pages(&self) -> usize {
        self.texts.len()
    }

    /// What stands on the page of this image; `None` for one that is not known.
    pub fn text(&self, image: &[u8]) -> Option<&str> {
        let file: Key = Sha256::digest(image).into();
        let page = self.by_file.get(&file).copied().or_else(|| {
            let key = pixels(image)?;
            let by_pixels = self.by_pixels.get_or_init(|| {
                let of = |path| pixels(&std::fs::read(path).ok()?);
                self.images.iter().enumerate().filter_map(|(i, path)| Some((of(path)?, i))).collect()
            });
            by_pixels.get(&key).copied()
        })?;
        Some(&self.texts[page])
    }
}

/// A hash of the pixels of a PNG but those of its first row.
fn pixels(file: &[u8]) -> Option<Key> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().ok()?;
    let mut raster = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut raster).ok()?;
    let mut hash = Sha256::new();
    hash.update(info.width.to_be_bytes());
    hash.update(raster.get(info.line_size..info.buffer_size())?);
    Some(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(synthetic: bool) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a.png"), gray(&[255, 255, 0, 9])).expect("written");
        std::fs::write(dir.path().join("b.png"), "no image").expect("written");
        let line = |id: &str, text: &str| {
            format!(
                "{{\"id\":\"{id}\",\"text\":\"{text}\",\"image\":\"{id}.png\",\"synthetic\":{synthetic}}}\n"
            )
        };
        let path = dir.path().join("truth.jsonl");
        std::fs::write(&path, line("a", "가") + &line("b", "나")).expect("written");
        (dir, path)
    }

    /// A picture of two by two.
    fn gray(pixels: &[u8; 4]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, 2, 2);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().and_then(|mut w| w.write_image_data(pixels)).expect("encoded");
        out
    }

    #[test]
    fn pages_are_known_by_their_image_also_with_another_margin() {
        let (dir, path) = truth(true);
        let echo = Echo::open(&path).expect("read");
        assert_eq!(echo.text(&std::fs::read(dir.path().join("a.png")).expect("there")), Some("가"));
        assert_eq!(echo.text(b"no image"), Some("나"));
        assert_eq!(echo.text(&gray(&[254, 255, 0, 9])), Some("가"));
        assert_eq!(echo.text(&gray(&[255, 255, 0, 8])), None);
        assert_eq!(echo.pages(), 2);
    }

    #[test]
    fn real_pages_are_not_echoed() {
        assert!(matches!(Echo::open(&truth(false).1), Err(EchoError::Private { line: 1 })));
    }
}
