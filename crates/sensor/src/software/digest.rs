//! Hashes of files and names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a file, in hex.
pub(super) fn file(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    add(&mut hash, path, None)?;
    Ok(hex(&hash.finalize()))
}

/// Adds a file to a hash: all of it, or its first and last `ends` bytes.
pub(super) fn add(hash: &mut Sha256, path: &Path, ends: Option<u64>) -> io::Result<()> {
    use io::Seek as _;
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    match ends.filter(|n| size > 2 * n) {
        None => copy(hash, &mut file)?,
        Some(n) => {
            copy(hash, &mut file.by_ref().take(n))?;
            file.seek(io::SeekFrom::End(-i64::try_from(n).unwrap_or(0)))?;
            copy(hash, &mut file)?;
        }
    }
    Ok(())
}

fn copy(hash: &mut Sha256, from: &mut dyn io::Read) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => hash.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// First 16 hex digits of a SHA-256.
pub(super) fn short(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file(&path).unwrap(), abc);
        assert_eq!(short(b"abc"), abc[..16]);
        std::fs::write(&path, "abXXXXbc").unwrap();
        let mut ends = Sha256::new();
        add(&mut ends, &path, Some(2)).unwrap();
        assert_eq!(ends.finalize(), Sha256::digest(b"abbc"));
    }
}
