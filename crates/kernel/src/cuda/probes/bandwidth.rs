//! Streams of any read share, triad, gathers, and caches read over and over.

use super::{Level, Measures, Probe};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Element, Expectation, Fill, Operand, Plan, Step, Target, Way};
use crate::cuda::source::{self};

const THREADS: u32 = 256;

/// Bytes of one access.
const ACCESS: u64 = 16;

/// Accesses of a thread in a round of a stream.
pub const SHARES: u32 = 8;

fn unsupported(reason: impl Into<String>) -> CaseError {
    CaseError::Unsupported { reason: reason.into() }
}

/// Random words that are exact in double precision and as 32-bit integers.
const WORDS: Fill = Fill::Below { limit: 1 << 31 };

/// One word that collects the exclusive or of all that was read.
const fn collector() -> Operand {
    Operand { element: Element::I32, len: 1, fill: Fill::Zero, rotates: false, result: true }
}

fn exclusive_or(words: impl Iterator<Item = f64>) -> Expectation {
    Expectation { value: f64::from(words.fold(0, |all, word| all ^ word as i32)), tolerance: 0.0 }
}

/// Reads and writes `bytes` in all, `reads` of every [`SHARES`] accesses being reads (0: writes alone; 4: a copy;
/// 8: reads alone), over one buffer for each way. With more than one pass (an odd number is used) over buffers that fit
/// in the second-level cache, [`Level::Second`] measures that cache.
///
/// # Errors
///
/// [`CaseError::Unsupported`] for a share or size that it cannot do.
pub fn stream(
    level: Level,
    bytes: u64,
    reads: u32,
    passes: u32,
    target: &Target,
) -> Result<Probe, CaseError> {
    if reads > SHARES || !matches!(level, Level::Memory | Level::Second) {
        return Err(unsupported("streams have 0 to 8 reads of 8 and run on main memory or the second level"));
    }
    let writes = SHARES - reads;
    let threads = u64::from(THREADS);
    let rounds = bytes / (u64::from(SHARES) * threads * ACCESS);
    if rounds == 0 || rounds * u64::from(SHARES) * threads > 1 << 31 {
        return Err(unsupported("streams take 32 KiB to 32 GiB"));
    }
    let passes = passes | 1;
    let words = |share: u32| (rounds * u64::from(share) * threads * ACCESS / 4) as usize;
    // One round a block streams best to memory; blocks that stay go round and round in the cache, and collect what they
    // read without meeting at the collector each round.
    let stays = passes > 1 || reads > writes;
    let grid = if stays { rounds.min(u64::from(target.sm_count) * 2048 / threads) } else { rounds };
    let step = Step {
        source: source::BANDWIDTH,
        entry: "stream",
        defines: defines(level, reads, writes, 1),
        grid: [grid as u32, 1, 1],
        block: [THREADS, 1, 1],
        shared_bytes: 0,
        arguments: vec![
            Argument::Operand(0),
            Argument::Operand(1),
            Argument::Operand(2),
            Argument::I32(rounds as i32),
            Argument::I32(passes as i32),
        ],
    };
    let (reads, writes, lane_words) = (reads as usize, writes as usize, (threads * 4) as usize);
    let moved = |share: usize| (words(share as u32) * 4) as f64 * f64::from(passes);
    Ok(Probe {
        measures: Measures::Traffic { read_bytes: moved(reads), write_bytes: moved(writes) },
        plan: Plan {
            operands: vec![
                Operand::input(Element::I32, words(reads as u32).max(4), WORDS),
                Operand {
                    // Without writes there is nothing to hold against an expectation.
                    result: writes > 0,
                    ..Operand::result(Element::I32, words(writes as u32).max(4))
                },
                collector(),
            ],
            steps: vec![step],
            ways: Vec::new(),
            expected: Box::new(move |contents, operand, index, _| {
                let input = &contents.operands[0];
                if operand == 2 {
                    // Reads beyond the number of writes are collected.
                    let collected = |index: &usize| reads > writes && index / lane_words % reads >= writes;
                    let input = input.all();
                    return exclusive_or((0..input.len()).filter(collected).map(|i| input[i]));
                }
                let access = index / lane_words;
                let value = if reads == 0 {
                    (index / 4) as i32
                } else {
                    let (round, i) = (access / writes, access % writes);
                    let from = (round * reads + i % reads) * lane_words + index % lane_words;
                    input.number(from) as i32 ^ i as i32
                };
                Expectation { value: f64::from(value), tolerance: 0.0 }
            }),
        },
    })
}

/// Ways to copy: accesses of a thread and round, threads of a block, blocks of a multiprocessor (0: one a round),
/// whether what is read leaves the second-level cache first, whether what is written is told to stream.
const COPIES: [(u32, u32, u32, bool, bool); 9] = [
    (4, 256, 0, false, false),
    (4, 256, 0, true, false),
    (8, 256, 0, false, true),
    (8, 512, 0, true, true),
    (2, 1024, 0, false, false),
    (1, 1024, 0, false, false),
    (4, 512, 4, true, false),
    (8, 256, 8, false, false),
    (8, 256, 4, true, true),
];

/// Shared memory that a bulk copy declares itself, for the barriers of its stages.
const BULK_BARRIERS: u32 = 128;

/// Ways to copy whole pieces: bytes of one, pieces that a block has room for, blocks of a multiprocessor.
const BULK_COPIES: [(u32, u32, u32); 4] =
    [(8 << 10, 6, 4), (16 << 10, 6, 2), (32 << 10, 6, 1), (4 << 10, 8, 6)];

/// Bytes of each side of a copy are a multiple of this, so that every way divides them.
const COPY_UNIT: u64 = 128 << 10;

/// Copies, `bytes` in all both ways, in the fastest of several ways.
///
/// # Errors
///
/// [`CaseError::Unsupported`] for a size that it cannot do.
pub fn copy(bytes: u64, target: &Target) -> Result<Probe, CaseError> {
    let side = bytes / 2 / COPY_UNIT * COPY_UNIT;
    if side == 0 || side > 16 << 30 {
        return Err(unsupported("copies take 256 KiB to 32 GiB"));
    }
    let step = |source, entry, defines, blocks: u64, threads, shared_bytes, rounds: u64| Step {
        source,
        entry,
        defines,
        grid: [blocks as u32, 1, 1],
        block: [threads, 1, 1],
        shared_bytes,
        arguments: vec![Argument::Operand(0), Argument::Operand(1), Argument::I32(rounds as i32)],
    };
    let mut ways: Vec<Way> = COPIES
        .iter()
        .map(|&(reads, threads, blocks, leaving, streaming)| {
            let rounds = side / (u64::from(reads * threads) * ACCESS);
            let all = u64::from(blocks * target.sm_count);
            let defines = vec![
                ("READS", reads.to_string()),
                ("WRITES", reads.to_string()),
                ("THREADS", threads.to_string()),
                ("GRANULE", "1".to_owned()),
                ("LEVEL", "0".to_owned()),
                ("LEAVING", u8::from(leaving).to_string()),
                ("STREAMING", u8::from(streaming).to_string()),
            ];
            let blocks = if all == 0 { rounds } else { all.min(rounds) };
            let hints = match (leaving, streaming) {
                (false, false) => "",
                (true, false) => ", reads leave first",
                (false, true) => ", streaming writes",
                (true, true) => ", reads leave first, streaming writes",
            };
            Way {
                name: format!("{reads} accesses, {blocks} blocks of {threads} threads{hints}"),
                steps: vec![step(source::BANDWIDTH, "copy", defines, blocks, threads, 0, rounds)],
            }
        })
        .collect();
    if target.capability.0 >= 9 {
        let fits = |&&(chunk, stages, _): &&(u32, u32, u32)| {
            chunk * stages + BULK_BARRIERS <= target.shared_bytes_per_block
        };
        ways.extend(BULK_COPIES.iter().filter(fits).map(|&(chunk, stages, blocks)| {
            let chunks = side / u64::from(chunk);
            let blocks = u64::from(blocks * target.sm_count).min(chunks);
            let defines = vec![("CHUNK", chunk.to_string()), ("STAGES", stages.to_string())];
            Way {
                name: format!("pieces of {} KiB, {blocks} blocks of {stages}", chunk >> 10),
                steps: vec![step(source::BULK, "bulk_copy", defines, blocks, 32, chunk * stages, chunks)],
            }
        }));
    }
    let words = (side / 4) as usize;
    Ok(Probe {
        measures: Measures::Traffic { read_bytes: side as f64, write_bytes: side as f64 },
        plan: Plan {
            operands: vec![Operand::input(Element::I32, words, WORDS), Operand::result(Element::I32, words)],
            steps: ways[0].steps.clone(),
            ways,
            expected: Box::new(|contents, _, index, _| Expectation {
                value: contents.number(0, index),
                tolerance: 0.0,
            }),
        },
    })
}

/// `a = b + s·c` over `bytes` in all, in single precision.
///
/// # Errors
///
/// [`CaseError::Unsupported`] for a size that it cannot do.
pub fn triad(bytes: u64) -> Result<Probe, CaseError> {
    const S: f32 = 0.75;
    // Four accesses a thread, as in the source.
    let round = 4 * u64::from(THREADS) * ACCESS;
    let rounds = bytes / 3 / round;
    if rounds == 0 || rounds > 1 << 21 {
        return Err(unsupported("triads take 48 KiB to 96 GiB"));
    }
    let len = (rounds * round / 4) as usize;
    let moved = (rounds * round) as f64;
    Ok(Probe {
        measures: Measures::Traffic { read_bytes: 2.0 * moved, write_bytes: moved },
        plan: Plan {
            operands: vec![
                Operand::result(Element::F32, len),
                Operand::input(Element::F32, len, Fill::UNIT),
                Operand::input(Element::F32, len, Fill::UNIT),
            ],
            steps: vec![Step {
                source: source::BANDWIDTH,
                entry: "triad",
                defines: defines(Level::Memory, 1, 1, 1),
                grid: [rounds as u32, 1, 1],
                block: [THREADS, 1, 1],
                shared_bytes: 0,
                arguments: vec![
                    Argument::Operand(0),
                    Argument::Operand(1),
                    Argument::Operand(2),
                    Argument::F32(S),
                    Argument::I32(rounds as i32),
                ],
            }],
            ways: Vec::new(),
            expected: Box::new(|contents, _, index, _| {
                let value = contents.number(1, index) + f64::from(S) * contents.number(2, index);
                Expectation { value, tolerance: 2f64.powi(-24) * value.abs() + 1e-38 }
            }),
        },
    })
}

/// In which order a gather visits its granules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each once, at random.
    Random,
    /// Each once, this many granules apart (a power of two; 1 is sequential).
    Stride(u32),
}

/// Reads each granule of `granule` bytes (16 to 512, a power of two) of a buffer once.
///
/// # Errors
///
/// [`CaseError::Unsupported`] for sizes that it cannot do.
pub fn gather(
    level: Level,
    bytes: u64,
    granule: u32,
    order: Order,
    target: &Target,
) -> Result<Probe, CaseError> {
    let accesses = granule / ACCESS as u32;
    if !granule.is_power_of_two() || !(1..=32).contains(&accesses) {
        return Err(unsupported("granules have 16 to 512 bytes, a power of two"));
    }
    let bits = (bytes / u64::from(granule)).checked_ilog2().unwrap_or(0);
    if bits > 30 || !matches!(level, Level::Memory | Level::Second) {
        return Err(unsupported("gathers read up to 2^30 granules of main memory or of the second level"));
    }
    let stride = match order {
        Order::Random => 0,
        Order::Stride(stride) if stride.is_power_of_two() && stride <= 1 << bits => stride,
        Order::Stride(_) => return Err(unsupported("strides are powers of two within the buffer")),
    };
    let total = u64::from(granule) << bits;
    let blocks = (total / ACCESS).div_ceil(u64::from(THREADS) * 8);
    Ok(Probe {
        measures: Measures::Traffic { read_bytes: total as f64, write_bytes: 0.0 },
        plan: Plan {
            operands: vec![Operand::input(Element::I32, (total / 4) as usize, WORDS), collector()],
            steps: vec![Step {
                source: source::BANDWIDTH,
                entry: "gather",
                defines: defines(level, 1, 1, accesses),
                grid: [blocks.min(u64::from(target.sm_count) * 64) as u32, 1, 1],
                block: [THREADS, 1, 1],
                shared_bytes: 0,
                arguments: vec![
                    Argument::Operand(0),
                    Argument::Operand(1),
                    Argument::I32(bits as i32),
                    Argument::I32(stride as i32),
                ],
            }],
            ways: Vec::new(),
            expected: Box::new(|contents, _, _, _| exclusive_or(contents.operands[0].all().into_iter())),
        },
    })
}

/// Every block reads 32 KiB of its own `passes` times (an odd number is used), two blocks a multiprocessor, from the
/// first-level cache or from shared memory.
///
/// # Errors
///
/// [`CaseError::Unsupported`] for other levels.
pub fn cached(level: Level, passes: u32, target: &Target) -> Result<Probe, CaseError> {
    const THREADS: u32 = 1024;
    const READS: u32 = 2;
    let entry = match level {
        Level::First => "cached",
        Level::Shared => "shared_memory",
        _ => return Err(unsupported("only the first level and shared memory belong to one block")),
    };
    let passes = passes | 1;
    let grid = 2 * target.sm_count;
    let bytes = u64::from(grid * READS * THREADS) * ACCESS;
    Ok(Probe {
        measures: Measures::Traffic { read_bytes: bytes as f64 * f64::from(passes), write_bytes: 0.0 },
        plan: Plan {
            operands: vec![Operand::table(Element::I32, (bytes / 4) as usize, WORDS), collector()],
            steps: vec![Step {
                source: source::CACHE,
                entry,
                defines: vec![("READS", READS.to_string()), ("THREADS", THREADS.to_string())],
                grid: [grid, 1, 1],
                block: [THREADS, 1, 1],
                shared_bytes: 0,
                arguments: vec![Argument::Operand(0), Argument::Operand(1), Argument::I32(passes as i32)],
            }],
            ways: Vec::new(),
            expected: Box::new(|contents, _, _, _| exclusive_or(contents.operands[0].all().into_iter())),
        },
    })
}

fn defines(level: Level, reads: u32, writes: u32, granule: u32) -> Vec<(&'static str, String)> {
    vec![
        ("READS", reads.to_string()),
        ("WRITES", writes.to_string()),
        ("THREADS", THREADS.to_string()),
        ("GRANULE", granule.to_string()),
        ("LEVEL", if level == Level::Second { "2" } else { "0" }.to_owned()),
        ("LEAVING", "0".to_owned()),
        ("STREAMING", "0".to_owned()),
    ]
}
