use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

/// A column with its values.
enum Column {
    Text(Vec<&'static str>),
    Count(Vec<i64>),
    Number(Vec<f64>),
}
use Column::{Count, Number, Text};

/// A file with these columns, laid out as the package does.
fn write(root: &Path, place: &str, columns: &[(&str, Column)]) {
    let path = root.join(place);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let kind = |c: &Column| match c {
        Text(_) => "binary {} (STRING)",
        Count(_) => "int64 {}",
        Number(_) => "double {}",
    };
    let fields: String =
        columns.iter().map(|(name, c)| format!("optional {};\n", kind(c).replace("{}", name))).collect();
    let schema = Arc::new(parse_message_type(&format!("message rows {{\n{fields}}}")).unwrap());
    let out = std::fs::File::create(path).unwrap();
    let mut file = SerializedFileWriter::new(out, schema, Default::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    for (_, column) in columns {
        let mut to = group.next_column().unwrap().unwrap();
        match column {
            Text(v) => {
                let bytes: Vec<ByteArray> = v.iter().map(|t| ByteArray::from(*t)).collect();
                to.typed::<ByteArrayType>().write_batch(&bytes, Some(&vec![1; v.len()]), None).unwrap()
            }
            Count(v) => to.typed::<Int64Type>().write_batch(v, Some(&vec![1; v.len()]), None).unwrap(),
            Number(v) => to.typed::<DoubleType>().write_batch(v, Some(&vec![1; v.len()]), None).unwrap(),
        };
        to.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
}

fn gemm(root: &Path, place: &str, device: &'static str, latency: f64) {
    let columns = [
        ("device", Text(vec![device; 3])),
        ("gemm_dtype", Text(vec!["bfloat16", "fp8", "fp8_block"])),
        ("m", Count(vec![8; 3])),
        ("n", Count(vec![4096; 3])),
        ("k", Count(vec![2048; 3])),
        ("latency", Number(vec![latency; 3])),
    ];
    write(root, place, &columns);
}

fn is_h100(name: &str) -> bool {
    name.contains("H100")
}

fn times(imported: &Imported) -> Vec<(Op, f64)> {
    let time = |row: &KernelRow| match &row.outcome {
        Outcome::Measured { time, .. } => (row.op, time.median_s),
        Outcome::Skipped { .. } => panic!("every row has a time"),
    };
    imported.rows.iter().map(time).collect()
}

#[test]
fn the_newest_table_of_the_device_is_read_in_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    gemm(root, "data/h100_sxm/gemm/vllm/0.9.0/gemm_perf.parquet", "NVIDIA H100 80GB HBM3", 0.9);
    gemm(root, "data/h100_sxm/gemm/vllm/0.24.0/gemm_perf.parquet", "NVIDIA H100 80GB HBM3", 0.02);
    gemm(root, "data/h100_sxm/gemm/sglang/9.0.0/gemm_perf.parquet", "NVIDIA H100 80GB HBM3", 0.5);
    gemm(root, "data/l40s/gemm/vllm/0.30.0/gemm_perf.parquet", "NVIDIA L40S", 0.7);
    let imported = read(root, &is_h100).unwrap();
    assert_eq!(imported.files, ["gemm/vllm/0.24.0/gemm_perf.parquet"]);
    assert_eq!(imported.left_out, BTreeMap::from([("linear in format fp8_block".to_owned(), 1)]));
    let shape = Shape::Matrix { m: 8, n: 4096, k: 2048 };
    let fp8 = Dtypes { input: Dtype::F8E4m3, weight: Dtype::F8E4m3, output: Dtype::Bf16 };
    let op = |dtypes| Op { kind: OpKind::Linear, shape, dtypes };
    assert_eq!(times(&imported), [(op(Dtypes::all(Dtype::Bf16)), 20e-6), (op(fp8), 20e-6)]);
    assert!(imported.rows.iter().all(|r| r.provider == Provider::Imported));

    let none = read(root, &|name| name == "b200").unwrap_err();
    assert!(matches!(&none, AicError::NoTable { devices, .. } if devices.len() == 2), "{none}");
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(read(empty.path(), &is_h100), Err(AicError::Nothing { .. })));
    std::fs::write(root.join("data/h100_sxm/gemm/vllm/0.24.0/gemm_perf.parquet"), "PAR1").unwrap();
    assert!(matches!(read(root, &is_h100), Err(AicError::Parquet { .. })));
}

#[test]
fn attention_experts_and_sums_have_the_shapes_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let root = &dir.path().join("h100_sxm");
    for (place, isl, step) in [
        ("attention/vllm/1.0/context_attention_perf.parquet", 1024, 256),
        ("attention/vllm/1.0/generation_attention_perf.parquet", 1, 2047),
    ] {
        let columns = [
            ("device", Text(vec!["NVIDIA H100 80GB HBM3"; 2])),
            ("batch_size", Count(vec![4; 2])),
            ("isl", Count(vec![isl; 2])),
            ("step", Count(vec![step; 2])),
            ("num_heads", Count(vec![32; 2])),
            ("num_key_value_heads", Count(vec![0, 8])),
            ("head_dim", Count(vec![128; 2])),
            ("window_size", Count(vec![128, 0])),
            ("attn_dtype", Text(vec!["bfloat16"; 2])),
            ("kv_cache_dtype", Text(vec!["fp8"; 2])),
            ("latency", Number(vec![0.1; 2])),
        ];
        write(root, place, &columns);
    }
    let columns = [
        ("moe_dtype", Text(vec!["bfloat16"; 3])),
        ("num_tokens", Count(vec![16; 3])),
        ("hidden_size", Count(vec![4096; 3])),
        ("inter_size", Count(vec![14336; 3])),
        ("topk", Count(vec![2; 3])),
        ("num_experts", Count(vec![8; 3])),
        ("moe_tp_size", Count(vec![2; 3])),
        ("moe_ep_size", Count(vec![1, 2, 1])),
        ("distribution", Text(vec!["balanced", "balanced", "power_law_1.2"])),
        ("latency", Number(vec![0.3; 3])),
    ];
    write(root, "moe/vllm/1.0/moe_perf.parquet", &columns);
    let columns = [
        ("allreduce_dtype", Text(vec!["bfloat16"; 2])),
        ("num_gpus", Count(vec![2; 2])),
        ("message_size", Count(vec![4096; 2])),
        ("backend", Text(vec!["vllm_eager", "vllm_graph"])),
        ("latency", Number(vec![0.02, 0.005])),
    ];
    write(root, "comm/vllm/1.0/custom_allreduce_perf.parquet", &columns);
    let imported = read(root, &|name| name == "h100_sxm").unwrap();
    let shapes: Vec<Shape> = imported.rows.iter().map(|r| r.op.shape).collect();
    let attention = |new_tokens, cached| Shape::Attention {
        sequences: 4,
        new_tokens,
        cached,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        page: 16,
    };
    let experts = Shape::Experts {
        tokens: 16,
        experts: 8,
        top_k: 2,
        hidden: 4096,
        intermediate: 7168,
        skew_percent: 0,
    };
    let sum = Shape::Message { elements: 4096, ranks: 2 };
    assert_eq!(shapes, [attention(1024, 256), attention(1, 2047), experts, sum, sum]);
    assert_eq!(imported.rows.iter().filter(|r| r.launch == Launch::Eager).count(), 1);
    assert_eq!(imported.left_out.values().sum::<usize>(), 4, "{:?}", imported.left_out);
}

#[test]
fn a_missing_column_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "gemm/vllm/1.0/gemm_perf.parquet", &[("m", Count(vec![1])), ("n", Count(vec![1]))]);
    let error = read(dir.path(), &|_| true).unwrap_err();
    assert!(matches!(error, AicError::Column { row: 0, column: "k", .. }), "{error}");
}
