//! Products of tiles (AMX), by instructions for which Rust has no stable functions.
//!
//! A tile is 16 rows of 64 bytes. A product adds to each number of one tile the products of a row of the second and a
//! column of the third: 32 pairs of bf16, or 64 of 8-bit integers.

#![expect(unsafe_code, reason = "instructions that not every machine has, and a system call")]

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

/// Rows of a tile, and numbers of 32 bits in one.
const ROWS: usize = 16;
/// Bytes of a row.
const ROW_BYTES: usize = 64;
/// Accumulators that are added to in turn: a product takes some 50 cycles, and one begins every 16.
const ACCUMULATORS: usize = 4;

/// A format of the operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Bf16,
    I8,
}

/// How the tiles are laid out, as `ldtilecfg` reads it.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

#[repr(C, align(64))]
struct Tile([u8; ROWS * ROW_BYTES]);

impl Format {
    /// Operations of [`products`] with so many links.
    pub(super) fn operations(self, links: u64) -> f64 {
        let pairs = ROW_BYTES / self.bytes();
        (2 * ROWS * ROWS * pairs * ACCUMULATORS) as f64 * links as f64
    }

    fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::I8 => 1,
        }
    }

    /// 0.5 or 1.
    fn operand(self) -> Tile {
        match self {
            Self::Bf16 => Tile(std::array::from_fn(|i| if i % 2 == 0 { 0x00 } else { 0x3f })),
            Self::I8 => Tile([1; ROWS * ROW_BYTES]),
        }
    }

    /// What every number of the result is.
    fn expected(self, links: u64) -> f64 {
        let product = match self {
            Self::Bf16 => 0.25,
            Self::I8 => 1.0,
        };
        product * (ROW_BYTES / self.bytes()) as f64 * links as f64
    }
}

/// Whether products of this format can be computed here; else why not.
pub(super) fn usable(format: Format) -> Result<(), &'static str> {
    // Leaf 7: bit 24 of EDX is tiles, 22 their products of bf16, 25 of integers.
    let features = __cpuid_count(7, 0).edx;
    let bit = match format {
        Format::Bf16 => 22,
        Format::I8 => 25,
    };
    if features & 1 << 24 == 0 || features & 1 << bit == 0 {
        return Err("this processor has no matrix unit for it");
    }
    if !permitted() {
        return Err("the operating system does not let programs use the matrix unit (AMX)");
    }
    let links = 3;
    // SAFETY: the instructions are there and may be used.
    let result = unsafe { products(format, links) };
    if result.iter().any(|v| *v != format.expected(links)) {
        return Err("the matrix unit (AMX) gives wrong results");
    }
    Ok(())
}

/// Asks Linux for the state of the tiles, for all threads of the process.
fn permitted() -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    // arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
    let (call, request, feature) = (158_i64, 0x1023_i64, 18_i64);
    let answer: i64;
    // SAFETY: the call changes what this process may do and nothing else; the kernel overwrites rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") call => answer,
            in("rdi") request,
            in("rsi") feature,
            out("rcx") _,
            out("r11") _,
        );
    }
    answer == 0
}

/// Four chains of products, each of so many links; the numbers of the first one's tile.
///
/// # Safety
/// The machine must have AMX with products of this format, and the process the right to use it ([`usable`]).
pub(super) unsafe fn products(format: Format, links: u64) -> [f64; ROWS * ROWS] {
    let mut configuration =
        Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    configuration.row_bytes[..8].fill(ROW_BYTES as u16);
    configuration.rows[..8].fill(ROWS as u8);
    let operand = std::hint::black_box(format.operand());
    let mut result = Tile([0; ROWS * ROW_BYTES]);
    // Operands are tiles 4 to 7, sums tiles 0 to 3. Compiled code uses no tiles, so none need to be kept.
    macro_rules! chains {
        ($product:literal) => {
            asm!(
                "ldtilecfg [{configuration}]",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "tileloadd tmm4, [{operand} + {stride}]",
                "tileloadd tmm5, [{operand} + {stride}]",
                "tileloadd tmm6, [{operand} + {stride}]",
                "tileloadd tmm7, [{operand} + {stride}]",
                "2:",
                concat!($product, " tmm0, tmm4, tmm6"),
                concat!($product, " tmm1, tmm4, tmm7"),
                concat!($product, " tmm2, tmm5, tmm6"),
                concat!($product, " tmm3, tmm5, tmm7"),
                "dec {links}",
                "jnz 2b",
                "tilestored [{result} + {stride}], tmm0",
                "tilerelease",
                configuration = in(reg) &raw const configuration,
                operand = in(reg) &raw const operand,
                result = in(reg) &raw mut result,
                stride = in(reg) ROW_BYTES,
                links = inout(reg) links.max(1) => _,
                options(nostack),
            )
        };
    }
    // SAFETY: the caller vouches for the instructions; the places are as long as eight tiles' description, one tile and one
    // tile.
    unsafe {
        match format {
            Format::Bf16 => chains!("tdpbf16ps"),
            Format::I8 => chains!("tdpbssd"),
        }
    }
    std::array::from_fn(|i| {
        let bytes = [0, 1, 2, 3].map(|b| result.0[4 * i + b]);
        match format {
            Format::Bf16 => f64::from(f32::from_le_bytes(bytes)),
            Format::I8 => f64::from(i32::from_le_bytes(bytes)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_those_of_four_products_a_link() {
        assert_eq!(Format::Bf16.operations(1), 4.0 * 2.0 * 16.0 * 16.0 * 32.0);
        assert_eq!(Format::I8.operations(10), 10.0 * 4.0 * 2.0 * 16.0 * 16.0 * 64.0);
        assert_eq!(size_of::<Configuration>(), 64);
    }

    #[test]
    fn products_are_right_where_there_are_tiles() {
        for format in [Format::Bf16, Format::I8] {
            match usable(format) {
                Ok(()) => {
                    // SAFETY: just asked.
                    let result = unsafe { products(format, 1000) };
                    assert!(result.iter().all(|v| *v == format.expected(1000)), "{format:?} {}", result[0]);
                }
                Err(reason) => assert!(!reason.contains("wrong"), "{format:?}: {reason}"),
            }
        }
    }
}
