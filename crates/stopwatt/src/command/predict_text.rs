//! What `stopwatt predict` prints.

use std::collections::BTreeMap;

use stopwatt_predict::Deployment;
use stopwatt_predict::hardware::Gpu;
use stopwatt_predict::latency::{CheckDoc, CheckRow, FlaggedRow};
use stopwatt_predict::memory::{Bytes, Forecast, MemoryDoc};
use stopwatt_predict::predict::{LatencyDoc, PredictionDoc, StepDoc};

use super::columns::{bytes, digits, seconds, table};

fn range(b: &Bytes) -> String {
    if b.lo == b.hi {
        bytes(b.value)
    } else {
        format!("{} [{}, {}]", bytes(b.value), bytes(b.lo), bytes(b.hi))
    }
}

fn forecast(f: &Forecast) -> String {
    match f {
        Forecast::Fits => "starts".to_owned(),
        Forecast::Tight { missing_bytes } => {
            format!("starts, unless the estimates are {} too low", bytes(*missing_bytes))
        }
        Forecast::NoRoomForCache { missing_bytes, try_instead } => {
            let missing = format!("out of memory: {} are missing", bytes(*missing_bytes));
            if try_instead.is_empty() {
                missing
            } else {
                format!("{missing}; would fit: {}", try_instead.join(", or "))
            }
        }
        Forecast::ContextTooLong { fits_tokens } => {
            format!("does not start: set max_model_len to {fits_tokens} at most")
        }
        Forecast::GraphsMayNotFit { missing_bytes } => {
            format!("may run out of memory while graphs are captured: {} are missing", bytes(*missing_bytes))
        }
    }
}

fn memory_lines(m: &MemoryDoc) -> String {
    let share = format!("{:.0} % of {}", 100.0 * m.gpu_memory_utilization, bytes(m.total_bytes));
    let mut text = format!("  the engine takes  {share}\n");
    text += &format!("  weights           {}\n", range(&m.weights));
    text += &format!("  activations       {}\n", range(&m.activations));
    text += &format!("  outside torch     {}\n", range(&m.outside));
    let graphs = if m.graphs_counted { "" } else { ", not counted by this version" };
    text += &format!("  graphs            {}{graphs}\n", range(&m.graphs));
    let [lo, hi] = m.kv_cache_tokens_range;
    text += &format!(
        "  cache             {}: {} tokens [{lo}, {hi}] of {}\n",
        bytes(m.cache.value.max(0.0)),
        m.kv_cache_tokens,
        bytes(m.token_bytes)
    );
    text += &format!("  forecast          {}\n", forecast(&m.forecast));
    text
}

pub(super) fn memory_text(deployment: &Deployment, gpu: &Gpu, docs: &[MemoryDoc]) -> String {
    let devices = match deployment.tp * deployment.pp {
        1 => String::new(),
        n => format!("{n} × "),
    };
    let mut text = format!("Memory of {} on {devices}{}, each device\n\n", deployment.model.name, gpu.name);
    let Some(first) = docs.first() else { return text };
    text += &format!("{}\n{}", first.dtype, memory_lines(first));
    let rows: Vec<_> = docs
        .iter()
        .map(|m| {
            [
                m.dtype.clone(),
                bytes(m.weights.value),
                bytes(m.cache.value.max(0.0)),
                m.kv_cache_tokens.to_string(),
                forecast(&m.forecast).split([',', ':', ';']).next().unwrap_or_default().to_owned(),
            ]
        })
        .collect();
    text += &format!(
        "\nBy format of weights\n{}",
        table(["format", "weights", "cache", "tokens", "forecast"], &rows)
    );
    let rows: Vec<_> = docs
        .iter()
        .flat_map(|m| {
            m.concurrency.iter().map(|c| {
                let range = format!("[{:.1}, {:.1}]", c.lo, c.hi);
                [m.dtype.clone(), c.tokens.to_string(), format!("{:.1}", c.sequences), range]
            })
        })
        .collect();
    text + &format!("\nSequences at once\n{}", table(["format", "tokens", "sequences", "range"], &rows))
}

pub(super) fn memory_csv(docs: &[MemoryDoc]) -> String {
    let mut text =
        "dtype,weights_bytes,activation_bytes,outside_bytes,graph_bytes,cache_bytes,kv_cache_tokens,tokens,sequences\n"
            .to_owned();
    for m in docs {
        for c in &m.concurrency {
            text += &format!(
                "{},{},{},{},{},{},{},{},{}\n",
                m.dtype,
                m.weights.value,
                m.activations.value,
                m.outside.value,
                m.graphs.value,
                m.cache.value,
                m.kv_cache_tokens,
                c.tokens,
                c.sequences
            );
        }
    }
    text
}

/// The latencies that there are, with their names.
pub(super) fn latencies(doc: &PredictionDoc) -> Vec<(&'static str, &LatencyDoc)> {
    [
        ("ttft", Some(&doc.ttft_s)),
        ("tpot", doc.tpot_s.as_ref()),
        ("itl", doc.itl_s.as_ref()),
        ("e2e", Some(&doc.e2e_s)),
    ]
    .into_iter()
    .filter_map(|(name, l)| l.map(|l| (name, l)))
    .collect()
}

pub(super) fn csv(doc: &PredictionDoc) -> String {
    let mut text = "metric,unit,mean,p50,p95,p99,lo90,hi90\n".to_owned();
    for (name, l) in latencies(doc) {
        let [lo, hi] = l.interval90;
        text += &format!("{name},s,{},{},{},{},{lo},{hi}\n", l.mean, l.p50, l.p95, l.p99);
    }
    let [lo, hi] = doc.output_tokens_per_s_interval90;
    text += &format!("output_throughput,tokens/s,{},,,,{lo},{hi}\n", doc.output_tokens_per_s);
    text + &format!("kv_cache_tokens,tokens,{},,,,,\n", doc.kv_cache_tokens)
}

pub(super) fn text(doc: &PredictionDoc) -> String {
    let (engine, load) = (&doc.engine, &doc.load);
    let devices = match engine.tensor_parallel_size * engine.pipeline_parallel_size {
        1 => String::new(),
        n => format!("{n} × "),
    };
    let mut how = match (load.concurrency, load.rate_rps, load.rate_end_rps) {
        (Some(n), ..) => format!("{n} clients"),
        (None, Some(from), Some(to)) => format!("{} to {} requests/s", digits(from), digits(to)),
        (None, Some(rate), None) => format!("{} requests/s, {}", digits(rate), load.arrival),
        (None, None, _) => load.arrival.clone(),
    };
    if let Some(time) = load.duration_s {
        how += &format!(", for {}", seconds(time));
    }
    if let Some(turns) = &load.turns {
        let think = load.think_time.as_deref().filter(|t| *t != "0");
        how += &format!(", conversations of {turns} turns");
        how += &think.map_or_else(String::new, |t| format!(", {t} s between"));
    }
    let mut text = format!(
        "{} in {} on {devices}{}, {} {}\n{how}, input {}, output {}, {} requests\n\n",
        doc.model, doc.dtype, doc.gpu, engine.name, engine.version, load.input, load.output, load.counted
    );
    let rows: Vec<_> = latencies(doc)
        .into_iter()
        .map(|(name, l)| {
            let [lo, hi] = l.interval90;
            let interval = format!("[{}, {}]", seconds(lo), seconds(hi));
            [name.to_uppercase(), seconds(l.mean), interval, seconds(l.p50), seconds(l.p95), seconds(l.p99)]
        })
        .collect();
    text += &table(["Predicted", "mean", "90 % interval", "p50", "p95", "p99"], &rows);
    let [lo, hi] = doc.output_tokens_per_s_interval90;
    text += &format!(
        "\n  output tokens/s   {} [{}, {}]\n  requests/s        {}\n  sequences a step  {}\n",
        digits(doc.output_tokens_per_s),
        digits(lo),
        digits(hi),
        digits(doc.requests_per_s),
        digits(doc.mean_batch)
    );
    text += &format!(
        "  cache in use      {:.1} % at most, {} preemptions\n",
        100.0 * doc.kv_cache_peak,
        doc.preemptions
    );

    let cache = &doc.prefix_cache;
    if cache.hit_tokens > 0 {
        let share = 100.0 * cache.hit_tokens as f64 / cache.prompt_tokens.max(1) as f64;
        text += &format!(
            "  prefix cache      {} of {} prompt tokens, {share:.1} %\n",
            cache.hit_tokens, cache.prompt_tokens
        );
    }
    if cache.conversations_cut > 0 {
        text += &format!(
            "  cut short         {} conversations outgrew the model's context\n",
            cache.conversations_cut
        );
    }

    text += &match &doc.kernel_table {
        None => "  kernels           none measured, by the data sheet\n".to_owned(),
        Some(t) => {
            let own = match t.rows {
                0 => "none measured".to_owned(),
                n => format!("{n} measured rows ({})", t.sources.join(", ")),
            };
            let imported =
                t.imported.as_ref().map(|i| format!(", {} imported ({})", i.rows, i.sources.join(", ")));
            format!("  kernels           {own}{}\n", imported.unwrap_or_default())
        }
    };
    let parts = doc.ttft_parts;
    text += &format!(
        "\nTTFT is made of\n  queue             {}\n  prefill           {} (alone it would take {})\n  outside the steps {}\n",
        seconds(parts.queue_s),
        seconds(parts.prefill_s),
        seconds(parts.prompt_alone_s),
        seconds(parts.outside_s)
    );
    let decode = &doc.decode_step;
    text +=
        &format!("\nDecode step of {} sequences after {} tokens\n", decode.sequences, decode.context_tokens);
    text += &step_text(decode);
    text += &format!("\nStep of one prompt of {} tokens\n", doc.prefill_step.prompt_tokens);
    text += &step_text(&doc.prefill_step);
    text += &format!("\nMemory of a device\n{}", memory_lines(&doc.memory));
    if !doc.notes.is_empty() {
        text += "\nNotes\n";
        doc.notes.iter().for_each(|note| text += &format!("  - {note}\n"));
    }
    text
}

/// What a step's time rests on, the largest share first.
fn evidence(step: &StepDoc) -> String {
    let mut shares: Vec<(&str, f64)> =
        step.tiers.iter().map(|(tier, s)| (tier.name(), s / step.time_s)).collect();
    let host = step.parts.iter().find(|p| p.part.is_none()).map_or(0.0, |p| p.share);
    shares.push(("host", host));
    shares.retain(|(_, share)| *share > 0.0005);
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares.iter().map(|(name, share)| format!("{name} {:.1} %", 100.0 * share)).collect::<Vec<_>>().join(", ")
}

/// Flagged rows that are printed; JSON has all.
const MOST_FLAGGED: usize = 20;

/// A leave-one-out check.
pub(super) fn check_text(gpu: &Gpu, doc: &CheckDoc) -> String {
    let mut text = String::new();
    if doc.rows > 0 {
        text += &format!(
            "{} measured rows of {}, each left out and predicted from the rest\n\n{}",
            doc.rows,
            gpu.name,
            check_rows(doc)
        );
    }
    if let Some(imported) = &doc.imported {
        let gap = if text.is_empty() { "" } else { "\n" };
        text += &format!(
            "{gap}{} imported rows of {}, some left out and predicted from the rest; `measured` are measured rows that \
             they predict\n\n{}",
            imported.rows,
            gpu.name,
            check_rows(imported)
        );
    }
    text
}

fn check_rows(doc: &CheckDoc) -> String {
    let percent = |v: f64| format!("{:.1} %", 100.0 * v);
    let rows: Vec<_> = doc
        .errors
        .iter()
        .map(|r| {
            let CheckRow { op, left_out, tier, most_rows, n, median, p90, bias, coverage90 } = r;
            [
                op.name().to_owned(),
                left_out.clone(),
                tier.map_or("all", |tier| tier.name()).to_owned(),
                most_rows.map_or_else(|| "–".to_owned(), |m| format!("≤ {m}")),
                n.to_string(),
                percent(*median),
                percent(*p90),
                format!("{:+.1} %", 100.0 * bias),
                coverage90.map_or_else(|| "–".to_owned(), |c| format!("{:.0} %", 100.0 * c)),
            ]
        })
        .collect();
    let header = ["operator", "left out", "tier", "rows", "n", "median", "p90", "bias", "in 90 %"];
    let mut text = table(header, &rows);
    if !doc.flagged.is_empty() {
        let mut flagged: Vec<&FlaggedRow> = doc.flagged.iter().collect();
        flagged.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
        let rows: Vec<_> = flagged
            .iter()
            .take(MOST_FLAGGED)
            .map(|f| {
                let times = format!("{:.1}×", f.ratio);
                [
                    f.op.name().to_owned(),
                    f.shape.clone(),
                    seconds(f.time_s),
                    times,
                    f.defect.text().to_owned(),
                ]
            })
            .collect();
        let mut by: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        doc.flagged.iter().for_each(|f| *by.entry((f.op.name(), f.defect.text())).or_default() += 1);
        let counts: Vec<String> = by.iter().map(|((op, what), n)| format!("{n} {op} {what}")).collect();
        text += &format!(
            "\nRows that cannot be right and are left out: {}\n{}",
            counts.join("; "),
            table(["operator", "shape", "time", "by", "what is wrong"], &rows)
        );
    }
    text
}

/// The same for spreadsheets.
pub(super) fn check_csv(doc: &CheckDoc) -> String {
    let mut text = "op,left_out,tier,most_rows,n,median,p90,bias,coverage90\n".to_owned();
    let cell = |v: Option<String>| v.unwrap_or_default();
    for r in doc.errors.iter().chain(doc.imported.iter().flat_map(|doc| &doc.errors)) {
        text += &format!(
            "{},{},{},{},{},{},{},{},{}\n",
            r.op.name(),
            r.left_out,
            r.tier.map_or("all", |tier| tier.name()),
            cell(r.most_rows.map(|m| m.to_string())),
            r.n,
            r.median,
            r.p90,
            r.bias,
            cell(r.coverage90.map(|c| c.to_string()))
        );
    }
    text
}

fn step_text(step: &StepDoc) -> String {
    let [lo, hi] = step.interval90;
    let rows: Vec<_> = step
        .parts
        .iter()
        .map(|p| {
            let name = p.part.map_or("host", |part| part.name()).to_owned();
            let tier = p.tier.map_or("–", |tier| tier.name()).to_owned();
            [name, p.calls.to_string(), seconds(p.time_s), format!("{:.1} %", 100.0 * p.share), tier]
        })
        .collect();
    format!(
        "  {} [{}, {}], rests on {}\n{}",
        seconds(step.time_s),
        seconds(lo),
        seconds(hi),
        evidence(step),
        table(["part", "calls", "time", "share", "rests on"], &rows)
    )
}
