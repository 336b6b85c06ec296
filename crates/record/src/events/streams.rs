//! What the streams of a run come to: `streams.parquet`.
//!
//! One row a granule of gaps (see [`stopwatt_core::stream::gaps`]), and one row of tokens over time at the end. A
//! trial is written when the next ones have begun, so memory does not grow with the run. The file says nothing that
//! the chunks do not: one that is missing, damaged or of other rows is made anew from them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use stopwatt_core::stream::{Granule, StreamRecorder, Streams, TokenSeries, TrialGaps, TrialKey};
use stopwatt_core::{Metric, RequestRecord};

use super::decode::{bad, find, read_column};
use super::encode::next_column;
use super::join::PartSink;
use crate::run_dir::RunError;
use crate::storage::{Disk, Storage, StoredFile, replace, temporary_name};

const SCHEMA: &str = "message stream {
  required binary kind (STRING);
  required int32 point (INTEGER(32,false));
  required int32 trial (INTEGER(32,false));
  required int64 n;
  required int64 sum_ns;
  required double squares_ns2;
  required int64 min_ns;
  required int64 max_ns;
  required int64 width_ns;
  required group bin (LIST) { repeated group list { required int32 element; } }
  required group count (LIST) { repeated group list { required int64 element; } }
}";
/// `kind` of the row with tokens over time: thousandths of tokens in slices of `width_ns`.
const TOKENS: &str = "tokens";
/// Note with the number of requests that the file sums up.
const ROWS: &str = "stopwatt.rows";

/// One row of the file.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    kind: &'static str,
    point: u32,
    trial: u32,
    n: u64,
    sum_ns: i64,
    squares: f64,
    min_ns: i64,
    max_ns: i64,
    width_ns: i64,
    bins: Vec<(u32, u64)>,
}

impl Row {
    fn gaps(kind: Metric, (point, trial): TrialKey, granule: &Granule) -> Self {
        let Granule { n, sum_ns, squares, min_ns, max_ns, ref bins } = *granule;
        let bins = bins.iter().map(|&(bin, count)| (u32::from(bin), u64::from(count))).collect();
        Self { kind: kind.name(), point, trial, n, sum_ns, squares, min_ns, max_ns, width_ns: 0, bins }
    }

    fn tokens(series: &TokenSeries) -> Self {
        let slices = (0..).zip(series.milli()).filter(|(_, milli)| **milli > 0);
        Self {
            kind: TOKENS,
            point: 0,
            trial: 0,
            n: series.milli().iter().sum(),
            sum_ns: 0,
            squares: 0.0,
            min_ns: 0,
            max_ns: 0,
            width_ns: series.width_ns(),
            bins: slices.map(|(i, milli)| (i, *milli)).collect(),
        }
    }

    fn granule(self) -> Option<Granule> {
        let bins: Option<Vec<(u16, u32)>> = self
            .bins
            .into_iter()
            .map(|(bin, count)| Some((u16::try_from(bin).ok()?, u32::try_from(count).ok()?)))
            .collect();
        let Self { n, sum_ns, squares, min_ns, max_ns, .. } = self;
        Some(Granule { n, sum_ns, squares, min_ns, max_ns, bins: bins? })
    }

    fn series(&self) -> Option<TokenSeries> {
        let mut milli = vec![0; self.bins.last().map_or(0, |(i, _)| *i as usize + 1).min(1 << 16)];
        for &(i, tokens) in &self.bins {
            *milli.get_mut(i as usize)? = tokens;
        }
        TokenSeries::from_parts(self.width_ns, milli)
    }
}

fn rows_of(key: TrialKey, gaps: &TrialGaps) -> Vec<Row> {
    let itl = gaps.itl.iter().flatten().map(|g| Row::gaps(Metric::Itl, key, g));
    gaps.chunk_gap.iter().map(|g| Row::gaps(Metric::ChunkGap, key, g)).chain(itl).collect()
}

/// Sums up requests while the run goes on. A failure ends that and no more: the file can be made anew.
pub(super) struct StreamsWriter {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    recorder: StreamRecorder,
    rows: u64,
    out: Out,
}

/// The file under its temporary name.
enum Out {
    NotYet,
    Open(SerializedFileWriter<Box<dyn StoredFile>>),
    Failed,
}

impl StreamsWriter {
    pub(super) fn new(storage: Arc<dyn Storage>, path: PathBuf) -> Self {
        Self { storage, path, recorder: StreamRecorder::default(), rows: 0, out: Out::NotYet }
    }

    pub(super) fn take(&mut self, record: &RequestRecord) {
        self.rows += 1;
        if let Some((key, gaps)) = self.recorder.take(record) {
            self.write(&rows_of(key, &gaps));
        }
    }

    /// Writes what is left and gives the file its name.
    pub(super) fn finish(&mut self) {
        let (rest, tokens) = std::mem::take(&mut self.recorder).finish();
        for (key, gaps) in rest {
            self.write(&rows_of(key, &gaps));
        }
        self.write(&[Row::tokens(&tokens)]);
        let Out::Open(out) = std::mem::replace(&mut self.out, Out::Failed) else { return };
        let temporary = temporary_name(&self.path);
        let rename = || std::fs::rename(&temporary, &self.path).map_err(ParquetError::from);
        if close(out, self.rows).and_then(|()| rename()).is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
    }

    fn write(&mut self, rows: &[Row]) {
        let temporary = temporary_name(&self.path);
        if matches!(self.out, Out::NotYet) {
            let created = self.storage.create(&temporary).map_err(ParquetError::from);
            self.out = created.and_then(begin).map_or(Out::Failed, Out::Open);
        }
        let Out::Open(out) = &mut self.out else { return };
        if write_group(out, rows).is_err() {
            self.out = Out::Failed;
            let _ = std::fs::remove_file(&temporary);
        }
    }
}

/// Writes the whole file under a temporary name and renames it.
pub(crate) fn write_streams(path: &Path, streams: &Streams, rows: u64) -> Result<(), RunError> {
    replace(&Disk, path, |file| {
        let failed = || RunError::events(path);
        let mut out = begin(PartSink(file)).map_err(failed())?;
        for (key, gaps) in &streams.gaps {
            write_group(&mut out, &rows_of(*key, gaps)).map_err(failed())?;
        }
        write_group(&mut out, &[Row::tokens(&streams.tokens)]).map_err(failed())?;
        close(out, rows).map_err(failed())
    })
}

fn begin<W: Write + Send>(sink: W) -> Result<SerializedFileWriter<W>, ParquetError> {
    let bins = ColumnPath::new(["bin", "list", "element"].map(str::to_owned).to_vec());
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("stopwatt {}", env!("CARGO_PKG_VERSION")))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        // Bins ascend, mostly by one.
        .set_column_dictionary_enabled(bins.clone(), false)
        .set_column_encoding(bins, Encoding::DELTA_BINARY_PACKED)
        .build();
    SerializedFileWriter::new(sink, Arc::new(parse_message_type(SCHEMA)?), properties.into())
}

fn close<W: Write + Send>(mut out: SerializedFileWriter<W>, rows: u64) -> Result<(), ParquetError> {
    out.append_key_value_metadata(KeyValue::new(ROWS.to_owned(), rows.to_string()));
    out.close().map(|_| ())
}

fn write_group<W: Write + Send>(out: &mut SerializedFileWriter<W>, rows: &[Row]) -> Result<(), ParquetError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut group = out.next_row_group()?;
    column::<ByteArrayType, W>(&mut group, rows.iter().map(|r| ByteArray::from(r.kind)))?;
    column::<Int32Type, W>(&mut group, rows.iter().map(|r| r.point as i32))?;
    column::<Int32Type, W>(&mut group, rows.iter().map(|r| r.trial as i32))?;
    column::<Int64Type, W>(&mut group, rows.iter().map(|r| r.n as i64))?;
    column::<Int64Type, W>(&mut group, rows.iter().map(|r| r.sum_ns))?;
    column::<DoubleType, W>(&mut group, rows.iter().map(|r| r.squares))?;
    column::<Int64Type, W>(&mut group, rows.iter().map(|r| r.min_ns))?;
    column::<Int64Type, W>(&mut group, rows.iter().map(|r| r.max_ns))?;
    column::<Int64Type, W>(&mut group, rows.iter().map(|r| r.width_ns))?;
    list::<Int32Type, W>(&mut group, rows, |bin| bin.0 as i32)?;
    list::<Int64Type, W>(&mut group, rows, |bin| bin.1 as i64)?;
    group.close().map(|_| ())
}

fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: impl Iterator<Item = T::T>,
) -> Result<(), ParquetError> {
    let mut column = next_column(group)?;
    column.typed::<T>().write_batch(&values.collect::<Vec<_>>(), None, None)?;
    column.close()
}

/// A list column. Definition levels: 0 an empty list, 1 an element.
fn list<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[Row],
    get: impl Fn(&(u32, u64)) -> T::T,
) -> Result<(), ParquetError> {
    let mut column = next_column(group)?;
    for row in rows {
        let values: Vec<T::T> = row.bins.iter().map(&get).collect();
        let levels = values.len().max(1);
        let definition = vec![i16::from(!values.is_empty()); levels];
        let repetition: Vec<i16> = (0..levels).map(|i| i16::from(i > 0)).collect();
        column.typed::<T>().write_batch(&values, Some(&definition), Some(&repetition))?;
    }
    column.close()
}

/// Reads the file when it is whole and sums up `rows` requests.
pub(crate) fn read_streams(path: &Path, rows: u64) -> Option<Streams> {
    let reader = SerializedFileReader::new(File::open(path).ok()?).ok()?;
    let notes = reader.metadata().file_metadata().key_value_metadata()?;
    let told = notes.iter().find(|note| note.key == ROWS)?.value.as_ref()?;
    if told.parse() != Ok(rows) {
        return None;
    }
    let mut streams = Streams::default();
    for i in 0..reader.num_row_groups() {
        let group = reader.get_row_group(i).ok()?;
        // A group is what one closing of a trial wrote.
        let mut closed = BTreeMap::<TrialKey, TrialGaps>::new();
        for row in read_group(group.as_ref()).ok()? {
            let trial = closed.entry((row.point, row.trial));
            match row.kind {
                TOKENS => streams.tokens = row.series()?,
                kind if kind == Metric::Itl.name() => {
                    trial.or_default().itl.get_or_insert_default().push(row.granule()?);
                }
                _ => trial.or_default().chunk_gap.push(row.granule()?),
            }
        }
        for (key, gaps) in closed {
            streams.gaps.entry(key).or_default().append(gaps);
        }
    }
    Some(streams)
}

fn read_group(group: &dyn RowGroupReader) -> Result<Vec<Row>, ParquetError> {
    let rows = usize::try_from(group.metadata().num_rows()).map_err(|_| bad("kind", "has no rows"))?;
    let at = |path: &[&str]| find(group, path).ok_or_else(|| bad(path[0], "is missing"));
    let kinds = read_column::<ByteArrayType>(group, at(&["kind"])?, rows, "kind")?.values;
    let int = |name| Ok::<_, ParquetError>(read_column::<Int32Type>(group, at(&[name])?, rows, name)?.values);
    let long =
        |name| Ok::<_, ParquetError>(read_column::<Int64Type>(group, at(&[name])?, rows, name)?.values);
    let (points, trials) = (int("point")?, int("trial")?);
    let (n, sums, min, max) = (long("n")?, long("sum_ns")?, long("min_ns")?, long("max_ns")?);
    let widths = long("width_ns")?;
    let squares = read_column::<DoubleType>(group, at(&["squares_ns2"])?, rows, "squares_ns2")?.values;
    let bins = read_column::<Int32Type>(group, at(&["bin", "list", "element"])?, rows, "bin")?;
    let counts = read_column::<Int64Type>(group, at(&["count", "list", "element"])?, rows, "count")?;
    if bins.repetition != counts.repetition || bins.values.len() != counts.values.len() {
        return Err(bad("bin", "and `count` differ in length"));
    }
    let kind = |i: usize| {
        let known = [TOKENS, Metric::Itl.name(), Metric::ChunkGap.name()];
        let found = known.into_iter().find(|k| k.as_bytes() == kinds[i].data());
        found.ok_or_else(|| bad("kind", "holds a value that this version does not know"))
    };
    let mut read = Vec::new();
    for i in 0..rows {
        read.push(Row {
            kind: kind(i)?,
            point: points[i] as u32,
            trial: trials[i] as u32,
            n: n[i] as u64,
            sum_ns: sums[i],
            squares: squares[i],
            min_ns: min[i],
            max_ns: max[i],
            width_ns: widths[i],
            bins: Vec::new(),
        });
    }
    let mut values = bins.values.iter().zip(&counts.values);
    let mut row = None;
    for (level, present) in bins.repetition.iter().zip(bins.present(bins.repetition.len())) {
        if *level == 0 {
            row = Some(row.map_or(0, |r| r + 1));
        }
        let target = row.and_then(|r| read.get_mut(r)).ok_or_else(|| bad("bin", "has too many rows"))?;
        if present {
            let (bin, count) = values.next().ok_or_else(|| bad("bin", "ends early"))?;
            target.bins.push((*bin as u32, *count as u64));
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use stopwatt_core::{ChunkKind, ChunkStamp, EndKind, Phase};

    use super::*;

    fn request(id: u64, trial: u32) -> RequestRecord {
        let chunk = |i: i64| {
            let t_ns = id as i64 * 1_000_000 + i * (10_000_000 + (id as i64 * 7_919 + i * 31) % 999_983);
            ChunkStamp::new(t_ns, Some(if i % 5 == 4 { 2 } else { 1 }), ChunkKind::Content)
        };
        RequestRecord {
            id,
            point: 1,
            trial,
            phase: Phase::Measure,
            end: EndKind::Ok,
            chunks: (0..20).map(chunk).collect(),
            ..RequestRecord::blank()
        }
    }

    fn expected(records: &[RequestRecord]) -> Streams {
        let mut recorder = StreamRecorder::default();
        let mut streams = Streams::default();
        let closed: Vec<_> = records.iter().filter_map(|r| recorder.take(r)).collect();
        let (rest, tokens) = recorder.finish();
        for (key, gaps) in closed.into_iter().chain(rest) {
            streams.gaps.entry(key).or_default().append(gaps);
        }
        streams.tokens = tokens;
        streams
    }

    #[test]
    fn histograms_come_back_as_they_were_and_only_for_their_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("streams.parquet");
        let records: Vec<_> = (0..700).map(|id| request(id, (id / 100) as u32)).collect();
        let mut writer = StreamsWriter::new(Arc::new(Disk), path.clone());
        records.iter().for_each(|r| writer.take(r));
        writer.finish();
        let streams = expected(&records);
        assert_eq!(read_streams(&path, 700), Some(streams.clone()));
        assert_eq!(read_streams(&path, 699), None);
        let again = dir.path().join("again.parquet");
        write_streams(&again, &streams, 700).unwrap();
        assert_eq!(read_streams(&again, 700), Some(streams));
        std::fs::write(&path, b"PAR1 is not enough").unwrap();
        assert_eq!(read_streams(&path, 700), None);
    }

    #[test]
    fn a_run_without_gaps_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("streams.parquet");
        StreamsWriter::new(Arc::new(Disk), path.clone()).finish();
        assert_eq!(read_streams(&path, 0), Some(Streams::default()));
    }
}
