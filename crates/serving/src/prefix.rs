//! Prefix cache: finds the blocks that already hold the begin of a prompt.
//!
//! A full block is known by the hash of its own tokens and of all before it, so that one look-up a block walks the
//! longest shared prefix. Such a chain finds what a prefix tree over blocks would find.
//!
//! Invariants, each held by a test here or in [`crate::kv`]:
//!
//! - equal hash means equal tokens from the first one on (128 bits: accidental collisions are out of reach;
//!   nobody is kept from making one on purpose);
//! - only full blocks are found;
//! - a block that was given to someone else is no longer found.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

/// Identity of a full block: its tokens and all before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(u128);

/// Where a block's content comes from when its tokens are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The prefix of a group.
    Group(u32),
    /// One request, by a number that no other has.
    Request(u64),
    /// A conversation, whose turns all begin alike.
    Conversation(u64),
    /// A block that others know by a number, such as those of a trace.
    Numbered(u64),
}

impl BlockHash {
    /// What stands before the first block.
    pub const ROOT: Self = Self(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834);

    /// The block that follows this one and holds `tokens`.
    pub fn child(self, tokens: &[u32]) -> Self {
        let mut state = Lanes::from(self);
        for pair in tokens.chunks(2) {
            state.absorb(u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32);
        }
        state.absorb(tokens.len() as u64);
        state.finish()
    }

    /// The block that follows this one and holds tokens nobody needs to know, only whose they are.
    pub fn synthetic_child(self, origin: Origin) -> Self {
        let mut state = Lanes::from(self);
        let (kind, number) = match origin {
            Origin::Group(group) => (1, u64::from(group)),
            Origin::Request(request) => (2, request),
            Origin::Numbered(number) => (3, number),
            Origin::Conversation(number) => (4, number),
        };
        state.absorb(number);
        // No block has so many tokens, so this never equals the end mark of real ones.
        state.absorb(u64::MAX - kind);
        state.finish()
    }
}

/// Two independent 64-bit states, each mixed by a folded 64×64-bit product.
struct Lanes(u64, u64);

impl Lanes {
    fn absorb(&mut self, word: u64) {
        self.0 = folded(self.0 ^ word, 0xa076_1d64_78bd_642f);
        self.1 = folded(self.1.rotate_left(23) ^ word, 0xe703_7ed1_a0b4_28db);
    }

    fn finish(mut self) -> BlockHash {
        // One more round, so that the last word reaches every bit of both halves.
        self.absorb(0x8ebc_6af0_9c88_c6e3);
        BlockHash(u128::from(self.0) << 64 | u128::from(self.1))
    }
}

impl From<BlockHash> for Lanes {
    fn from(hash: BlockHash) -> Self {
        Self((hash.0 >> 64) as u64, hash.0 as u64)
    }
}

/// High and low half of a product, folded onto each other and onto the state, so that no product forgets it.
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64 ^ a
}

/// Hashes are evenly spread already: the table uses their low half as it is.
#[derive(Debug, Clone, Copy, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, n: u128) {
        self.0 ^= (n >> 64) as u64 ^ n as u64;
    }
}

/// Blocks with equal content, oldest first. Two requests that compute the same tokens at the same time make two;
/// tables are never rewritten to merge them.
#[derive(Debug, Clone)]
enum Copies {
    One(u32),
    Many(Vec<u32>),
}

/// Cached blocks by content.
#[derive(Debug, Clone, Default)]
pub struct PrefixIndex {
    blocks: HashMap<BlockHash, Copies, BuildHasherDefault<AsIs>>,
}

impl PrefixIndex {
    /// The oldest block with this content.
    pub fn find(&self, hash: BlockHash) -> Option<u32> {
        self.blocks.get(&hash).map(|copies| match copies {
            Copies::One(block) => *block,
            Copies::Many(blocks) => blocks[0],
        })
    }

    /// Blocks of the longest prefix of the chain `hashes` that is cached, pushed onto `found`.
    pub fn longest(&self, hashes: &[BlockHash], found: &mut Vec<u32>) {
        found.extend(hashes.iter().map_while(|&hash| self.find(hash)));
    }

    /// Makes `block` findable.
    pub fn insert(&mut self, hash: BlockHash, block: u32) {
        match self.blocks.entry(hash) {
            Entry::Vacant(entry) => {
                entry.insert(Copies::One(block));
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Copies::One(first) => {
                    let first = *first;
                    entry.insert(Copies::Many(vec![first, block]));
                }
                Copies::Many(blocks) => blocks.push(block),
            },
        }
    }

    /// Makes `block` unfindable.
    pub fn remove(&mut self, hash: BlockHash, block: u32) {
        let Entry::Occupied(mut entry) = self.blocks.entry(hash) else { return };
        match entry.get_mut() {
            Copies::One(only) if *only == block => {
                entry.remove();
            }
            Copies::One(_) => {}
            Copies::Many(blocks) => {
                blocks.retain(|&b| b != block);
                if blocks.is_empty() {
                    entry.remove();
                }
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.blocks.clear();
    }

    /// Number of different contents.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_hash_tells_tokens_order_length_and_what_came_before() {
        let root = BlockHash::ROOT;
        let hashes = [
            root,
            root.child(&[0; 16]),
            root.child(&[0; 15]),
            root.child(&[1, 2, 3]),
            root.child(&[2, 1, 3]),
            root.child(&[1, 2, 3, 0]),
            root.child(&[9]).child(&[1, 2, 3]),
            root.child(&[1, 2]).child(&[3]),
            root.synthetic_child(Origin::Group(1)),
            root.synthetic_child(Origin::Request(1)),
            root.synthetic_child(Origin::Request(2)),
            root.synthetic_child(Origin::Numbered(2)),
            root.synthetic_child(Origin::Conversation(2)),
        ];
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
        assert_eq!(root.child(&[1, 2, 3]), root.child(&[1, 2, 3]));
    }

    #[test]
    fn each_half_of_the_hash_is_well_mixed() {
        // 2^16 blocks that differ in few bits: no two share a 64-bit half, and each bit is set in about half of them.
        let hashes: Vec<u128> = (0..1_u32 << 16).map(|i| BlockHash::ROOT.child(&[i, 0, i << 16]).0).collect();
        assert_eq!(hashes.iter().map(|h| *h as u64).collect::<HashSet<_>>().len(), hashes.len());
        assert_eq!(hashes.iter().map(|h| (h >> 64) as u64).collect::<HashSet<_>>().len(), hashes.len());
        for bit in 0..128 {
            let set = hashes.iter().filter(|h| *h >> bit & 1 == 1).count() as f64 / hashes.len() as f64;
            // Standard error is 0.002.
            assert!((set - 0.5).abs() < 0.012, "bit {bit} is set in {set}");
        }
    }

    #[test]
    fn the_longest_prefix_stops_at_the_first_gap() {
        let mut chain = vec![BlockHash::ROOT.child(&[1])];
        for token in 2..5 {
            chain.push(chain.last().unwrap().child(&[token]));
        }
        let mut index = PrefixIndex::default();
        for (block, &hash) in [(10, &chain[0]), (11, &chain[1]), (13, &chain[3])] {
            index.insert(hash, block);
        }
        let mut found = Vec::new();
        index.longest(&chain, &mut found);
        assert_eq!(found, [10, 11]);
    }

    #[test]
    fn copies_of_a_block_take_over_when_the_first_goes() {
        let hash = BlockHash::ROOT.child(&[1]);
        let mut index = PrefixIndex::default();
        for block in [3, 5, 4] {
            index.insert(hash, block);
        }
        index.remove(hash, 3);
        assert_eq!(index.find(hash), Some(5));
        index.remove(hash, 5);
        index.remove(hash, 99);
        assert_eq!((index.find(hash), index.len()), (Some(4), 1));
        index.remove(hash, 4);
        assert!(index.is_empty());
    }
}
