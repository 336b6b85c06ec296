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

    /// Forgets all cached content. Refused (`false`) while blocks are held, since holders rely on theirs.
    pub fn forget_cached(&mut self) -> bool {
        if self.free != self.len() {
            return false;
        }
        self.index.clear();
        self.blocks.iter_mut().for_each(|b| b.hash = None);
        true
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(n: u32) -> BlockHash {
        BlockHash::ROOT.child(&[n])
    }

    fn taken(pool: &mut BlockPool, count: u32) -> Vec<u32> {
        let mut table = Vec::new();
        assert!(pool.take(count, &mut table));
        table
    }

    #[test]
    fn the_least_recently_released_block_is_taken_and_evicted_first() {
        let mut pool = BlockPool::new(4);
        let (a, b) = (taken(&mut pool, 2), taken(&mut pool, 2));
        assert_eq!((a.as_slice(), b.as_slice()), ([0, 1].as_slice(), [2, 3].as_slice()));
        for block in 0..4 {
            pool.publish(block, content(block));
        }
        pool.release(&b); // queue: 3, 2
        pool.release(&a); // queue: 3, 2, 1, 0
        assert_eq!(pool.index().find(content(2)), Some(2));
        pool.share(2); // queue: 3, 1, 0
        assert_eq!(taken(&mut pool, 2), [3, 1]);
        let cached: Vec<_> = (0..4).map(|n| pool.index().find(content(n))).collect();
        assert_eq!(cached, [Some(0), None, Some(2), None]);
        assert_eq!((pool.free(), pool.usage()), (1, 0.75));
    }

    #[test]
    fn too_few_free_blocks_give_none_at_all() {
        let mut pool = BlockPool::new(3);
        let table = taken(&mut pool, 2);
        let mut more = vec![7];
        assert!(!pool.take(2, &mut more));
        assert_eq!((more, pool.free()), (vec![7], 1));
        pool.release(&table);
        assert_eq!(pool.free(), 3);
    }

    #[test]
    fn a_shared_block_is_free_when_its_last_holder_goes() {
        let mut pool = BlockPool::new(2);
        let table = taken(&mut pool, 1);
        pool.share(0);
        pool.release(&table);
        assert_eq!((pool.free(), pool.holders(0)), (1, 1));
        pool.release(&table);
        assert_eq!((pool.free(), pool.holders(0)), (2, 0));
    }

    #[test]
    #[should_panic(expected = "released more often than it was taken")]
    fn a_double_release_is_a_bug() {
        let mut pool = BlockPool::new(2);
        let table = taken(&mut pool, 1);
        pool.release(&table);
        pool.release(&table);
    }

    #[test]
    fn cached_content_is_forgotten_only_when_nobody_holds_blocks() {
        let mut pool = BlockPool::new(2);
        let table = taken(&mut pool, 1);
        pool.publish(0, content(1));
        assert!(!pool.forget_cached());
        pool.release(&table);
        assert!(pool.forget_cached());
        assert_eq!(pool.index().find(content(1)), None);
    }

    /// What a caller may do next; numbers are reduced to what exists at that time.
    #[derive(Debug, Clone)]
    enum Action {
        Take(u32),
        ShareAndTake(u32, u32),
        Release(usize),
    }

    fn any_action() -> impl Strategy<Value = Action> {
        prop_oneof![
            (0_u32..6).prop_map(Action::Take),
            (0_u32..40, 0_u32..4).prop_map(|(content, take)| Action::ShareAndTake(content, take)),
            any::<usize>().prop_map(Action::Release),
        ]
    }

    proptest! {
        #[test]
        fn blocks_and_holders_are_conserved(
            blocks in 1_u32..20,
            actions in prop::collection::vec(any_action(), 1..80),
        ) {
            let mut pool = BlockPool::new(blocks);
            let mut tables: Vec<Vec<u32>> = Vec::new();
            let mut next_content = 0;
            for action in actions {
                match action {
                    Action::Take(count) => {
                        let mut table = Vec::new();
                        let before = pool.free();
                        prop_assert_eq!(pool.take(count, &mut table), count <= before);
                        for &block in &table {
                            // Fresh blocks belong to nobody else and carry no old content.
                            prop_assert!(tables.iter().all(|t| !t.contains(&block)));
                            pool.publish(block, content(next_content % 40));
                            next_content += 1;
                        }
                        tables.push(table);
                    }
                    Action::ShareAndTake(n, count) => {
                        let mut table = Vec::new();
                        if let Some(block) = pool.index().find(content(n)) {
                            pool.share(block);
                            table.push(block);
                        }
                        let _ = pool.take(count, &mut table);
                        tables.push(table);
                    }
                    Action::Release(n) if !tables.is_empty() => {
                        let table = tables.swap_remove(n % tables.len());
                        pool.release(&table);
                    }
                    Action::Release(_) => {}
                }
                let held: usize = tables.iter().map(Vec::len).sum();
                let holders: u32 = (0..blocks).map(|b| pool.holders(b)).sum();
                prop_assert_eq!(held, holders as usize);
                let unheld = (0..blocks).filter(|&b| pool.holders(b) == 0).count();
                prop_assert_eq!(unheld, pool.free() as usize);
                // The free queue holds each of them once, read in both directions.
                let walk = |start: u32, step: fn(&Block) -> u32| {
                    let mut seen = Vec::new();
                    let mut at = start;
                    while at != NIL && seen.len() <= blocks as usize {
                        seen.push(at);
                        at = step(&pool.blocks[at as usize]);
                    }
                    seen
                };
                let mut backward = walk(pool.tail, |b| b.prev);
                backward.reverse();
                let forward = walk(pool.head, |b| b.next);
                prop_assert_eq!(&forward, &backward);
                prop_assert_eq!(forward.len(), unheld);
                prop_assert!(forward.iter().all(|&b| pool.holders(b) == 0));
                // Whatever is found still carries that content.
                for n in 0..40 {
                    if let Some(block) = pool.index().find(content(n)) {
                        prop_assert_eq!(pool.blocks[block as usize].hash, Some(content(n)));
                    }
                }
            }
            tables.iter().for_each(|t| pool.release(t));
            prop_assert_eq!(pool.free(), blocks);
        }
    }
}
