//! Request rows in Parquet.

/// Whether the stamps of chunks are read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// Read them.
    Read,
    /// Leave `chunks` empty, which is many times faster.
    Skip,
}
