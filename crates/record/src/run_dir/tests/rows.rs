//! Request rows: that they come back as they were, and in which files they are.

use proptest::prelude::*;

use stopwatt_core::RequestRow;

use super::*;

fn some<T: std::fmt::Debug>(s: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(s)
}

fn any_chunk() -> impl Strategy<Value = ChunkStamp> {
    (any::<i64>(), some(any::<u32>()), proptest::sample::select(ChunkKind::ALL), any::<u16>()).prop_map(
        |(t_ns, tokens, kind, bits)| ChunkStamp { t_ns, tokens, kind, shape: ChunkShape::from_bits(bits) },
    )
}

fn any_record() -> impl Strategy<Value = RequestRecord> {
    let plan = (
        any::<u64>(),
        any::<u32>(),
        any::<u32>(),
        proptest::sample::select(Phase::ALL),
        any::<u32>(),
        any::<u32>(),
    );
    let tokens = (some(any::<u32>()), some(any::<u32>()), some(any::<u32>()), some(any::<u32>()));
    let stamps = (
        any::<i64>(),
        some(any::<i64>()),
        some(any::<i64>()),
        some(any::<i64>()),
        some(any::<i64>()),
        any::<i64>(),
    );
    let end = (
        proptest::sample::select(EndKind::ALL),
        some(any::<u16>()),
        some(any::<u32>()),
        some("[0-9a-f]{16}"),
        some(proptest::sample::select(FinishReason::ALL)),
    );
    (plan, tokens, stamps, end, proptest::collection::vec(any_chunk(), 0..6)).prop_map(
        |(plan, tokens, stamps, end, chunks)| RequestRecord {
            id: plan.0,
            point: plan.1,
            trial: plan.2,
            phase: plan.3,
            input_asked: plan.4,
            output_asked: plan.5,
            input_usage: tokens.0,
            output_usage: tokens.1,
            session: tokens.0.map(u64::from),
            turn: tokens.1,
            cached_usage: tokens.2,
            output_tokenizer: tokens.3,
            intended_ns: stamps.0,
            dispatched_ns: stamps.1,
            connected_ns: stamps.2,
            written_ns: stamps.3,
            first_byte_ns: stamps.4,
            end_ns: stamps.5,
            end: end.0,
            status: end.1,
            error_len: end.2,
            error_hash: end.3,
            finish: end.4,
            chunks,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_record_comes_back_as_it_was(records in proptest::collection::vec(any_record(), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
        let path = run.path().to_owned();
        for r in &records {
            run.push(r.clone()).unwrap();
        }
        run.finish().unwrap();
        prop_assert_eq!(&read(&path, Chunks::Read), &records);
        let summed: Vec<_> = Run::open(&path).unwrap().rows().unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(summed, records.iter().map(RequestRow::of).collect::<Vec<_>>());
        let bare: Vec<_> = records.into_iter().map(|r| RequestRecord { chunks: Vec::new(), ..r }).collect();
        prop_assert_eq!(read(&path, Chunks::Skip), bare);
    }
}

#[test]
fn dropped_chunks_are_null_lists_and_read_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), false), &config()).unwrap();
    let path = run.path().to_owned();
    run.push(record(1, 5)).unwrap();
    run.finish().unwrap();
    let rows = read(&path, Chunks::Read);
    assert_eq!(rows, [RequestRecord { chunks: Vec::new(), ..record(1, 5) }]);
    let run = Run::open(&path).unwrap();
    let summed: Vec<_> = run.rows().unwrap().map(Result::unwrap).collect();
    assert_eq!(summed, [RequestRow::of(&record(1, 5))], "what they came to is kept");
    assert_eq!(run.streams().unwrap().unwrap().gap_count(), 4);
}

#[test]
fn a_lone_row_is_closed_within_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    run.push(record(0, 1)).unwrap();
    wait_until(|| run.path().join("events/0000.parquet").is_file());
    assert_eq!(read(run.path(), Chunks::Read), [record(0, 1)], "readable while the run goes on");
}

#[test]
fn many_rows_make_many_parts_and_few_groups() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    for id in 0..100_000 {
        run.push(record(id, usize::from(id % 7 == 0))).unwrap();
    }
    run.finish().unwrap();
    let rows = read(&path, Chunks::Skip);
    assert_eq!(rows.len(), 100_000);
    assert!(rows.iter().enumerate().all(|(i, r)| r.id == i as u64), "rows lost their order");
}

/// A record whose stamps do not compress.
fn noisy(id: u64) -> RequestRecord {
    let mut r = record(id, 40);
    for (i, c) in r.chunks.iter_mut().enumerate() {
        c.t_ns += ((id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 + 2 * i as u64) >> 40) as i64;
        c.tokens = (i % 5 != 0).then_some(i as u32);
        c.kind = ChunkKind::ALL[i % ChunkKind::ALL.len()];
    }
    r
}

#[test]
fn large_groups_are_copied_and_small_ones_merged_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    for id in 0..30_000 {
        run.push(noisy(id)).unwrap();
    }
    run.finish().unwrap();
    let mut n = 0;
    for (i, row) in Run::open(&path).unwrap().requests(Chunks::Read).unwrap().enumerate() {
        assert_eq!(row.unwrap(), noisy(i as u64));
        n += 1;
    }
    assert_eq!(n, 30_000);
    let file = parquet::file::serialized_reader::SerializedFileReader::new(
        std::fs::File::open(path.join(EVENTS)).unwrap(),
    )
    .unwrap();
    use parquet::file::reader::FileReader;
    // Two full groups of 13,108 rows and the rest, unless a slow machine closed a part before it was full.
    assert!((2..=8).contains(&file.num_row_groups()), "{}", file.num_row_groups());
}

#[test]
fn settled_rows_are_there_for_a_reader_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    for id in 0..3 {
        run.push(record(id, 2)).unwrap();
        run.settle().unwrap();
        assert_eq!(read(run.path(), Chunks::Read).len() as u64, id + 1);
    }
    run.settle().unwrap();
    let path = run.path().to_owned();
    run.finish().unwrap();
    assert_eq!(read(&path, Chunks::Read).len(), 3);
}
