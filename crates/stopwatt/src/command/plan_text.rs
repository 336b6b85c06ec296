//! A plan in words: table, CSV, page.

use stopwatt_predict::plan::{CostDoc, OptionDoc, PlanDoc};
use stopwatt_report::PlanPage;

use super::columns::{digits, seconds, table};

/// Name of an option, as short as tells it from the others.
fn name(option: &OptionDoc) -> String {
    let devices = match option.tensor_parallel_size * option.pipeline_parallel_size {
        1 => String::new(),
        n => format!("{n} × "),
    };
    format!("{devices}{}, {}, {}", option.gpu, option.dtype, option.gpu_memory_utilization)
}

fn cheapest(option: &OptionDoc) -> Option<&CostDoc> {
    let costs = &option.fleet.as_ref()?.costs;
    costs.iter().min_by(|a, b| a.per_hour.total_cmp(&b.per_hour))
}

const HEADER: [&str; 11] = [
    "device, format, memory",
    "bound by",
    "req/s a replica",
    "sure",
    "replicas",
    "sure",
    "devices",
    "TTFT p99",
    "TPOT mean",
    "an hour",
    "1M output",
];
/// Columns of words at the begin.
const WORDS: usize = 2;

fn rows(doc: &PlanDoc) -> Vec<[String; 11]> {
    let serves = doc.options.iter().filter_map(|o| Some((o, o.capacity.as_ref()?, o.fleet.as_ref()?)));
    let dash = || "–".to_owned();
    serves
        .map(|(option, capacity, fleet)| {
            let cost = cheapest(option);
            let money = |value: f64, cost: &CostDoc| format!("{value:.2} {}", cost.offer.currency);
            [
                name(option),
                capacity.bound.clone(),
                digits(capacity.rate_rps),
                capacity.sure_rps.map_or_else(dash, digits),
                fleet.replicas.to_string(),
                fleet.sure_replicas.map_or_else(dash, |n| n.to_string()),
                fleet.devices.to_string(),
                seconds(fleet.service.ttft_s.p99),
                fleet.service.tpot_s.as_ref().map_or_else(dash, |t| seconds(t.mean)),
                cost.map_or_else(dash, |c| money(c.per_hour, c)),
                cost.map_or_else(dash, |c| money(c.per_million_output_tokens, c)),
            ]
        })
        .collect()
}

/// What was asked, a line each.
fn asked(doc: &PlanDoc) -> Vec<String> {
    vec![
        format!("{} requests/s, input {}, output {}", digits(doc.rate_rps), doc.input, doc.output),
        format!(
            "limits: {}; {:.0} % of each replica stays free",
            doc.limits.join(", "),
            doc.headroom * 100.0
        ),
    ]
}

/// What else the reader should know, a line each.
fn notes(doc: &PlanDoc) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for option in &doc.options {
        if let Some(reason) = &option.reason {
            lines.push(format!("{}: {reason}", name(option)));
        }
    }
    if let Some(fleet) = doc.options.first().and_then(|o| o.fleet.as_ref()) {
        for cost in &fleet.costs {
            lines.push(format!(
                "first row by {} ({}): {:.2} {} an hour, {:.3} a million output tokens, {:.3} with prompts",
                cost.offer.id,
                cost.offer.kind.name(),
                cost.per_hour,
                cost.offer.currency,
                cost.per_million_output_tokens,
                cost.per_million_tokens
            ));
        }
    }
    let without: std::collections::BTreeSet<&str> =
        doc.options.iter().filter(|o| !o.measured_kernels).map(|o| o.gpu.as_str()).collect();
    if !without.is_empty() {
        let names: Vec<&str> = without.into_iter().collect();
        lines.push(format!(
            "steps on {} rest on data sheets: calibrate or measure before you buy",
            names.join(", ")
        ));
    }
    lines
}

pub(super) fn text(doc: &PlanDoc) -> String {
    let mut text = format!("{}\n", doc.model);
    for line in asked(doc) {
        text += &format!("{line}\n");
    }
    text += "\n";
    let rows = rows(doc);
    if rows.is_empty() {
        text += "  nothing that was looked at serves this\n";
    } else {
        text += &table(HEADER, &rows);
    }
    let front: Vec<[String; 4]> = doc
        .pareto
        .iter()
        .filter(|p| p.on_front)
        .map(|p| {
            [
                doc.options.get(p.option).map_or_else(String::new, name),
                p.concurrency.to_string(),
                digits(p.tokens_per_s_per_user),
                digits(p.tokens_per_s_per_device),
            ]
        })
        .collect();
    if !front.is_empty() {
        text += "\n";
        text += &table(["Pareto front", "clients", "tokens/s a user", "tokens/s a device"], &front);
    }
    let notes = notes(doc);
    if !notes.is_empty() {
        text += "\n";
        for line in notes {
            text += &format!("  {line}\n");
        }
    }
    text
}

/// One row for each option and price.
pub(super) fn csv(doc: &PlanDoc) -> String {
    let mut text = "gpu,dtype,tensor_parallel_size,gpu_memory_utilization,max_num_seqs,capacity_rps,sure_capacity_rps,bound,\
        replicas,sure_replicas,devices,ttft_p99_s,tpot_mean_s,price,currency,per_hour,per_million_output_tokens,reason\n"
        .to_owned();
    for o in &doc.options {
        let costs: Vec<Option<&CostDoc>> = match &o.fleet {
            Some(fleet) if !fleet.costs.is_empty() => fleet.costs.iter().map(Some).collect(),
            _ => vec![None],
        };
        let (capacity, fleet) = (o.capacity.as_ref(), o.fleet.as_ref());
        let cell = |value: Option<String>| super::csv_field(&value.unwrap_or_default());
        for cost in costs {
            let cells = [
                cell(Some(o.gpu.clone())),
                cell(Some(o.dtype.clone())),
                o.tensor_parallel_size.to_string(),
                o.gpu_memory_utilization.to_string(),
                o.max_num_seqs.to_string(),
                cell(capacity.map(|c| c.rate_rps.to_string())),
                cell(capacity.and_then(|c| c.sure_rps).map(|v| v.to_string())),
                cell(capacity.map(|c| c.bound.clone())),
                cell(fleet.map(|f| f.replicas.to_string())),
                cell(fleet.and_then(|f| f.sure_replicas).map(|v| v.to_string())),
                cell(fleet.map(|f| f.devices.to_string())),
                cell(fleet.map(|f| f.service.ttft_s.p99.to_string())),
                cell(fleet.and_then(|f| f.service.tpot_s.as_ref()).map(|t| t.mean.to_string())),
                cell(cost.map(|c| c.offer.id.clone())),
                cell(cost.map(|c| c.offer.currency.clone())),
                cell(cost.map(|c| c.per_hour.to_string())),
                cell(cost.map(|c| c.per_million_output_tokens.to_string())),
                cell(o.reason.clone()),
            ];
            text += &cells.join(",");
            text.push('\n');
        }
    }
    text
}

pub(super) fn page(doc: &PlanDoc) -> PlanPage {
    let points = |index: usize| -> Vec<(f64, f64)> {
        let of = doc.pareto.iter().filter(|p| p.option == index);
        of.map(|p| (p.tokens_per_s_per_user, p.tokens_per_s_per_device)).collect()
    };
    let curves = doc.options.iter().enumerate().map(|(i, option)| (name(option), points(i)));
    PlanPage {
        model: doc.model.clone(),
        asked: asked(doc),
        header: HEADER.map(str::to_owned).to_vec(),
        words: WORDS,
        rows: rows(doc).into_iter().map(|row| row.to_vec()).collect(),
        notes: notes(doc),
        curves: curves.filter(|(_, points)| !points.is_empty()).collect(),
        front: doc
            .pareto
            .iter()
            .filter(|p| p.on_front)
            .map(|p| (p.tokens_per_s_per_user, p.tokens_per_s_per_device))
            .collect(),
    }
}
