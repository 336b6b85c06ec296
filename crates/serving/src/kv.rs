//! KV cache blocks: who holds which, and which are free.
//!
//! Blocks have a fixed size and a count of holders. A block without a holder is free, but keeps its content and
//! stays findable by its hash until someone needs the room: free blocks form a queue in order of release, and new
//! blocks are taken from its head (least recently used first). This is the policy of vLLM's block pool.
//!
//! Invariants, each held by a test below:
//!
//! - the sum of all counts is the number of entries in all tables;
//! - a block is in the free queue exactly when its count is zero;
//! - never more blocks than exist, and none is given to two owners without sharing.
//!
//! It knows no memory: the executor maps block numbers to addresses.

use crate::prefix::{BlockHash, PrefixIndex};

/// End of a list.
const NIL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Block {
    holders: u32,
    hash: Option<BlockHash>,
    /// Neighbours in the free queue; meaningless while held.
    prev: u32,
    next: u32,
}

/// All blocks of a KV cache.
#[derive(Debug, Clone)]
pub struct BlockPool {
    blocks: Vec<Block>,
    head: u32,
    tail: u32,
    free: u32,
    index: PrefixIndex,
    evicted: u64,
}

impl BlockPool {
    /// A pool of `blocks` free blocks, numbered from 0.
    pub fn new(blocks: u32) -> Self {
        assert!(blocks < NIL, "block numbers end below the list mark");
        let mut pool = Self {
            blocks: vec![Block { holders: 0, hash: None, prev: NIL, next: NIL }; blocks as usize],
            head: NIL,
            tail: NIL,
            free: 0,
            index: PrefixIndex::default(),
            evicted: 0,
        };
        (0..blocks).for_each(|block| pool.push_free(block));
        pool
    }

    /// Number of blocks.
    pub fn len(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Whether the pool has no blocks at all.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Blocks without a holder, cached ones included.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Share of blocks with a holder, from 0 to 1.
    pub fn usage(&self) -> f64 {
        if self.blocks.is_empty() { 0.0 } else { 1.0 - f64::from(self.free) / f64::from(self.len()) }
    }

    /// Cached blocks whose content made room for another, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Holders of a block.
    pub fn holders(&self, block: u32) -> u32 {
        self.blocks[block as usize].holders
    }

    /// Which content is cached where.
    pub fn index(&self) -> &PrefixIndex {
        &self.index
    }

    /// Appends `count` blocks to `table`, evicting cached content where needed. Takes all or, when too few are
    /// free, none and returns `false`.
    #[must_use]
    pub fn take(&mut self, count: u32, table: &mut Vec<u32>) -> bool {
        if count > self.free {
            return false;
        }
        for _ in 0..count {
            let block = self.head;
            self.unlink_free(block);
            let entry = &mut self.blocks[block as usize];
            entry.holders = 1;
            if let Some(hash) = entry.hash.take() {
                self.index.remove(hash, block);
                self.evicted += 1;
            }
            table.push(block);
        }
        true
    }

    /// Adds a holder to a cached block.
    pub fn share(&mut self, block: u32) {
        if self.blocks[block as usize].holders == 0 {
            self.unlink_free(block);
        }
        self.blocks[block as usize].holders += 1;
    }

    /// Gives a table back. Its last block is evicted first, since a prefix is worth more than what follows it.
    pub fn release(&mut self, table: &[u32]) {
        for &block in table.iter().rev() {
            let entry = &mut self.blocks[block as usize];
            assert!(entry.holders > 0, "block {block} was released more often than it was taken");
            entry.holders -= 1;
            if entry.holders == 0 {
                self.push_free(block);
            }
        }
    }

    /// Makes a full block findable by its content.
    pub fn publish(&mut self, block: u32, hash: BlockHash) {
        let entry = &mut self.blocks[block as usize];
        assert!(entry.holders > 0 && entry.hash.is_none(), "a held block is published once");
        entry.hash = Some(hash);
        self.index.insert(hash, block);
    }

    /// Forgets all cached content. Holders keep their blocks, but nobody finds them any more.
    pub fn forget_cached(&mut self) {
        self.index.clear();
        self.blocks.iter_mut().for_each(|b| b.hash = None);
    }

    fn push_free(&mut self, block: u32) {
        let old_tail = std::mem::replace(&mut self.tail, block);
        let entry = &mut self.blocks[block as usize];
        (entry.prev, entry.next) = (old_tail, NIL);
        match old_tail {
            NIL => self.head = block,
            _ => self.blocks[old_tail as usize].next = block,
        }
        self.free += 1;
    }

    fn unlink_free(&mut self, block: u32) {
        let Block { prev, next, .. } = self.blocks[block as usize];
        match prev {
            NIL => self.head = next,
            _ => self.blocks[prev as usize].next = next,
        }
        match next {
            NIL => self.tail = prev,
            _ => self.blocks[next as usize].prev = prev,
        }
        self.free -= 1;
    }
}

#[cfg(test)]
mod tests;
