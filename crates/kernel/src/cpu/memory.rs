//! Memory for weights and caches: zeroed, aligned, in huge pages where the system has them.
//!
//! Decoding reads every weight once a token. With pages of 4 KiB the processor spends about half of that time on
//! looking addresses up (measured: 15 against 30 GB/s on one core of an AMD EPYC virtual machine), so weights of one
//! model lie together in mappings that ask for pages of 2 MiB. Memory is taken from the system when it is first
//! written.

#![expect(unsafe_code, reason = "memory mappings")]

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Size and alignment of a huge page.
const HUGE: usize = 2 << 20;
/// Least size of a mapping that several matrices share.
const SLAB: usize = 64 << 20;
/// Alignment of what is handed out: a cache line.
const LINE: usize = 64;

/// A mapping that begins at a huge page.
#[derive(Debug)]
struct Slab {
    mapping: NonNull<u8>,
    mapped: usize,
    begin: NonNull<u8>,
    len: usize,
}

// SAFETY: a slab only owns its mapping; who reads and writes which part is up to the regions, which do not overlap.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Slab {
    fn new(bytes: usize) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let mapped =
            bytes.max(1).checked_add(HUGE).filter(|&b| isize::try_from(b).is_ok()).ok_or_else(too_large)?;
        // SAFETY: a new private mapping; nothing else knows its address.
        let mapping = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        let mapping = NonNull::new(mapping.cast::<u8>()).ok_or_else(too_large)?;
        let skip = mapping.as_ptr().align_offset(HUGE);
        // SAFETY: skip < HUGE, and the mapping is HUGE longer than `bytes`.
        let begin = unsafe { mapping.add(skip) };
        let slab = Self { mapping, mapped, begin, len: bytes };
        slab.ask_for_huge_pages();
        Ok(slab)
    }

    #[cfg(target_os = "linux")]
    fn ask_for_huge_pages(&self) {
        if self.len >= HUGE {
            // Refusal costs speed, not correctness.
            // SAFETY: the range is inside the mapping.
            let _ = unsafe {
                rustix::mm::madvise(self.begin.as_ptr().cast(), self.len, rustix::mm::Advice::LinuxHugepage)
            };
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn ask_for_huge_pages(&self) {}
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and every region that points into it holds an `Arc` of this slab.
        let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapped) };
    }
}

/// A part of a slab that nobody else has.
#[derive(Debug)]
pub(crate) struct Region {
    /// Keeps the mapping alive.
    _slab: Arc<Slab>,
    begin: NonNull<u8>,
    len: usize,
}

// SAFETY: a region is the only way to its bytes, like a `Box<[u8]>`.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, zeroed or written, and not aliased by any other region.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr(), self.len) }
    }

    /// The bytes, for writing.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.begin.as_ptr(), self.len) }
    }
}

/// Hands out memory for the matrices of one model, side by side.
#[derive(Debug, Default)]
pub struct Arena {
    slab: Option<Arc<Slab>>,
    used: usize,
}

impl Arena {
    /// Zeros, aligned to a cache line.
    pub(crate) fn region(&mut self, len: usize) -> io::Result<Region> {
        let left = self.slab.as_ref().map_or(0, |slab| slab.len - self.used);
        let slab = match &self.slab {
            Some(slab) if left >= len => slab.clone(),
            _ => {
                self.used = 0;
                self.slab.insert(Arc::new(Slab::new(len.max(SLAB))?)).clone()
            }
        };
        // SAFETY: used + len ≤ the length of the slab.
        let begin = unsafe { slab.begin.add(self.used) };
        self.used = (self.used + len).next_multiple_of(LINE).min(slab.len);
        Ok(Region { _slab: slab, begin, len })
    }
}

/// A long-lived slice of numbers, zero at first.
#[derive(Debug)]
pub struct Buffer(Region);

impl Buffer {
    /// `len` zeros. Memory is taken from the system when it is first written.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let bytes = len.checked_mul(size_of::<f32>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let slab = Arc::new(Slab::new(bytes)?);
        Ok(Self(Region { begin: slab.begin, _slab: slab, len: bytes }))
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(self.0.bytes())
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(self.0.bytes_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_zero_aligned_and_apart() {
        let mut arena = Arena::default();
        let mut regions: Vec<Region> =
            [1, 64, 100, SLAB - 200, SLAB + 5, 3].map(|len| arena.region(len).unwrap()).into();
        for (i, region) in regions.iter_mut().enumerate() {
            assert!((region.bytes().as_ptr() as usize).is_multiple_of(LINE));
            let ends = [0, region.len - 1];
            for end in ends {
                assert!(region.bytes()[end] == 0 || ends[0] == ends[1]);
                region.bytes_mut()[end] = i as u8 + 1;
            }
        }
        drop(arena);
        for (i, region) in regions.iter().enumerate() {
            assert_eq!([region.bytes()[0], region.bytes()[region.len - 1]], [i as u8 + 1; 2]);
        }
    }

    #[test]
    fn impossible_sizes_are_an_error() {
        for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4] {
            assert!(Buffer::zeroed(len).is_err());
        }
        assert!(Arena::default().region(isize::MAX as usize).is_err());
    }

    #[test]
    fn buffers_are_numbers() {
        let mut buffer = Buffer::zeroed(1000).unwrap();
        assert!(buffer.iter().all(|&v| v == 0.0));
        buffer[999] = 1.5;
        assert_eq!(buffer[999], 1.5);
        assert!(Buffer::zeroed(0).unwrap().is_empty());
    }
}
