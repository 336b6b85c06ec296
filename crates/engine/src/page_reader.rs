//! What the kind that reads pages asks of a reader.

use std::collections::BTreeMap;

/// Reads the text of an image.
pub trait PageReader: Send + Sync {
    /// What stands in the file of an image; `gone` says whether nobody waits for it any more.
    ///
    /// # Errors
    /// The image, or the reader.
    fn read(&self, image: &[u8], gone: &(dyn Fn() -> bool + Sync)) -> Result<String, ReadProblem>;

    /// Facts of the reader for the fingerprint of a run.
    fn facts(&self) -> BTreeMap<String, String>;
}

/// Why a page was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadProblem {
    /// The image is not one that can be read: the fault of who sent it.
    #[error("{0}")]
    Image(&'static str),
    /// The reader failed.
    #[error("{0}")]
    Reader(&'static str),
}
