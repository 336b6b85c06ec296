//! Order of eviction, and conservation under any sequence of calls.

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
fn forgotten_content_is_not_found_but_stays_with_its_holder() {
    let mut pool = BlockPool::new(2);
    let table = taken(&mut pool, 1);
    pool.publish(0, content(1));
    pool.forget_cached();
    assert_eq!((pool.index().find(content(1)), pool.holders(0)), (None, 1));
    pool.release(&table);
    assert_eq!(taken(&mut pool, 2), [1, 0]);
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
