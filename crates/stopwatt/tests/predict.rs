//! `stopwatt predict` from the outside: what it prints, its memory tables, and what it refuses.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Place, follows};
use serde_json::Value;

const LLAMA: [&str; 5] = ["predict", "--model", "llama-3.1-8b", "--gpu", "h100-sxm"];

#[test]
fn a_load_is_predicted_with_intervals_and_reasons() {
    let place = Place::new();
    let load = ["--input", "1024", "--output", "128", "--concurrency", "16"];
    let doc = place.run(&[&LLAMA[..], &load, &["--format", "json"]].concat()).expect(0).json();
    follows("prediction.schema.json", &doc);
    for metric in ["ttft_s", "tpot_s", "itl_s", "e2e_s"] {
        let of = |key: &str| doc[metric][key].as_f64().unwrap();
        let (lo, hi) =
            (doc[metric]["interval90"][0].as_f64().unwrap(), doc[metric]["interval90"][1].as_f64().unwrap());
        assert!(lo <= of("mean") && of("mean") <= hi && lo > 0.0, "{metric}");
        assert!(of("p50") <= of("p95") && of("p95") <= of("p99"), "{metric}");
    }
    assert!(doc["output_tokens_per_s"].as_f64().unwrap() > 500.0);
    assert!(doc["kv_cache_tokens"].as_u64().unwrap() > 300_000);
    assert_eq!(doc["engine"]["max_num_batched_tokens"], 8192);
    assert_eq!(doc["kernel_table"]["sources"][0], "built in: h100-sxm");
    let parts = doc["decode_step"]["parts"].as_array().unwrap();
    let tier = |name: &str| parts.iter().find(|p| p["part"] == name).unwrap()["tier"].clone();
    assert!(["measured", "blend"].contains(&tier("gate_up").as_str().unwrap()), "{parts:?}");
    assert_eq!(tier("attention"), "datasheet", "vLLM runs another kernel than the one that was measured");

    let text = place.run(&[&LLAMA[..], &load].concat()).expect(0).stdout;
    assert!(
        text.contains("90 % interval") && text.contains("gate_up") && text.contains("FlashAttention"),
        "{text}"
    );
    assert!(
        text.contains("rests on measured") && text.contains("measured rows (built in: h100-sxm)"),
        "{text}"
    );
    let bare = place.run(&[&LLAMA[..], &load, &["--no-table"]].concat()).expect(0).stdout;
    assert!(
        bare.contains("there is no kernel table of NVIDIA H100") && bare.contains("rests on datasheet"),
        "{bare}"
    );
    let again = place.run(&[&LLAMA[..], &load].concat()).expect(0).stdout;
    assert_eq!(text, again, "equal questions have equal answers");
    let csv =
        place.run(&[&LLAMA[..], &["--rate", "2", "--isl", "100:200", "--format", "csv"]].concat()).expect(0);
    assert_eq!(csv.stdout.lines().count(), 7);
}

#[test]
fn measured_kernels_are_checked_and_bad_ones_refused() {
    let place = Place::new();
    let check = ["predict", "--gpu", "h100-sxm", "--check-table"];
    let doc = place.run(&[&check[..], &["--format", "json"]].concat()).expect(0).json();
    follows("table-check.schema.json", &doc);
    let text = place.run(&check).expect(0).stdout;
    assert!(text.contains("each left out and predicted from the rest") && text.contains("in 90 %"), "{text}");
    let none = place.run(&["predict", "--gpu", "l40s", "--check-table"]).expect(2).stderr;
    assert!(none.contains("no measured kernels of NVIDIA L40S") && none.contains("--table"), "{none}");
    let none = place.run(&[&LLAMA[..], &["--table", "aic:."]].concat()).expect(2).stderr;
    assert!(
        none.contains("there is no vllm/VERSION/*_perf.parquet") && none.contains("aiconfigurator"),
        "{none}"
    );
    let bad = place.path("bad.parquet");
    std::fs::write(&bad, "PAR1").unwrap();
    let said = place.run(&[&LLAMA[..], &["--table", bad.to_str().unwrap()]].concat()).expect(2).stderr;
    assert!(said.contains("failed to read") && said.contains("stopwatt profile"), "{said}");
    // A shipped file names its device, and counts as a table of it.
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../hardware/h100-sxm.parquet");
    let args = ["predict", "--model", "llama-3.2-1b", "--gpu", shipped, "--format", "json"];
    let doc = place.run(&args).expect(0).json();
    assert_eq!(doc["kernel_table"]["sources"][0], "h100-sxm.parquet");
    assert!(doc["decode_step"]["tiers"]["tile"].as_f64().unwrap() > 0.0, "{}", doc["decode_step"]["tiers"]);
}

#[test]
fn a_prediction_is_a_run_that_everything_reads() {
    let place = Place::new();
    let run = |name: &str, clients: &str, input: &str| {
        let path = place.path(name).to_str().unwrap().to_owned();
        let load = ["--input", input, "--output", "24", "--concurrency", clients, "--out", &path];
        place.run(&[&LLAMA[..], &load].concat()).expect(0);
        path
    };
    let runs = [run("a", "1", "128"), run("b", "4", "700"), run("c", "16", "300"), run("d", "8", "64")];
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    let metrics = std::fs::read_to_string(place.path("b").join("metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!(metrics["pipeline"]["mode"], "predict");
    assert_eq!(metrics["points"][0]["requests"], 5 * 12);
    assert!(metrics["metrics"]["ttft"]["mean"]["interval"]["lo"].as_f64().unwrap() > 0.0);
    assert!(place.run(&["report", runs[1]]).expect(0).stdout.contains("llama-3.1-8b"));
    assert!(place.run(&["compare", runs[0], runs[1]]).expect(0).stdout.contains("ttft"));

    // Held against itself a prediction is right; the trials lie around what is expected.
    let doc = place.run(&[&LLAMA[..], &["--format", "json", "--validate"], &runs].concat()).expect(0).json();
    follows("validation.schema.json", &doc);
    let rows = doc["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 16);
    for row in rows {
        assert!(row["error"].as_f64().unwrap().abs() < 0.03 && row["fitted"] == false, "{row}");
    }
    let saved = place.path("here.json").to_str().unwrap().to_owned();
    let fit = ["--format", "json", "--save", &saved, "--calibrate"];
    let doc = place.run(&[&LLAMA[..], &fit, &runs[..3]].concat()).expect(0).json();
    follows("engine-calibration.schema.json", &doc);
    let validate = ["--calibration", &saved, "--validate"];
    let text = place.run(&[&LLAMA[..], &validate, &runs].concat()).expect(0).stdout;
    assert!(text.contains("Held out") && text.contains("Fitted: these say nothing"), "{text}");
    let csv = place.run(&[&LLAMA[..], &["--format", "csv"], &validate[..], &runs].concat()).expect(0).stdout;
    assert_eq!(csv.lines().filter(|l| l.contains(",fitted,")).count(), 12, "{csv}");

    let few = place.run(&[&LLAMA[..], &["--calibrate"], &runs[..2]].concat()).expect(2).stderr;
    assert!(few.contains("2 loads are too few") && few.contains("hint"), "{few}");
    let wrong =
        place.run(&[&LLAMA[..], &["--loads", "c=99", "--validate", runs[0]]].concat()).expect(2).stderr;
    assert!(wrong.contains("no run has a load `c=99`"), "{wrong}");
}

#[test]
fn recorded_traffic_is_predicted_at_its_own_times() {
    let place = Place::new();
    let file = place.path("trace.jsonl");
    let line = |at: u32, input: u32| {
        format!(
            "{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": 8, \"hash_ids\": []}}\n"
        )
    };
    std::fs::write(&file, line(0, 400) + &line(2000, 600)).unwrap();
    let args = ["--trace", file.to_str().unwrap(), "--format", "json"];
    let doc = place.run(&[&LLAMA[..], &args].concat()).expect(0).json();
    assert_eq!((doc["load"]["requests"].as_u64(), doc["load"]["rate_rps"].as_f64()), (Some(2), Some(0.5)));
    assert!(doc["ttft_parts"]["queue_s"].as_f64().unwrap() < 1e-3);
    std::fs::write(&file, "nothing").unwrap();
    assert!(place.run(&[&LLAMA[..], &args].concat()).expect(1).stderr.contains("the format is not known"));
}

#[test]
fn memory_is_told_by_format_and_length() {
    let place = Place::new();
    let args = [&LLAMA[..], &["--memory", "--lengths", "1024,8192"]].concat();
    let docs = place.run(&[&args[..], &["--format", "json"]].concat()).expect(0).json();
    follows("memory.schema.json", &docs);
    let formats: Vec<_> = docs.as_array().unwrap().iter().map(|d| d["dtype"].as_str().unwrap()).collect();
    assert_eq!(formats, ["bf16", "fp8", "int8", "int4"]);
    assert_eq!(docs[0]["token_bytes"], 131_072.0);
    // What a log says counts instead of the estimates.
    let known =
        ["--activation-gib", "1.26", "--non-torch-gib", "0.16", "--graph-gib", "0.5", "--format", "json"];
    let docs = place.run(&[&args[..], &known].concat()).expect(0).json();
    assert_eq!(docs[0]["kv_cache_tokens_range"][0], docs[0]["kv_cache_tokens_range"][1]);
    assert!(place.run(&args).expect(0).stdout.contains("Sequences at once"));
}

#[test]
fn what_the_engine_would_refuse_is_refused() {
    let place = Place::new();
    let said = place.run(&["predict", "--model", "llama-3.1-70b", "--gpu", "h100"]).expect(2).stderr;
    assert!(
        said.contains("does not fit") && said.contains("GiB are missing") && said.contains("hint"),
        "{said}"
    );
    let split = ["--engine-arg", "tensor_parallel_size=4", "--engine-arg", "port=8000"];
    let ended = place
        .run(&[&["predict", "--model", "llama-3.1-70b", "--gpu", "h100"][..], &split].concat())
        .expect(0);
    assert!(ended.stderr.contains("`port` changes nothing"), "{}", ended.stderr);
    let refused = |extra: &[&str]| place.run(&[&LLAMA[..], extra].concat()).expect(2).stderr;
    assert!(refused(&["--engine-arg", "warp=9"]).contains("`warp` is not an argument"));
    assert!(refused(&["--engine-arg", "max_num_seqs=0"]).contains("expected a number"));
    assert!(refused(&["--input", "200000"]).contains("refused"));
    assert!(refused(&["--rate=-1"]).contains("must be a positive number"));
    let said = place.run(&["predict", "--model", "llama-3.1-8b", "--gpu", "rtx-4090"]).expect(2).stderr;
    assert!(said.contains("max_model_len"), "{said}");
    let short =
        ["predict", "--model", "llama-3.1-8b", "--gpu", "rtx-4090", "--engine-arg", "max_model_len=16384"];
    place.run(&short).expect(0);
}

#[test]
fn conversations_and_shared_prefixes_find_what_the_engines_cache_holds() {
    let place = Place::new();
    // By hand: 3 turns of 100 + 32, then 20 + 32 more each. 131 tokens computed are 8 blocks of 16, then 183 are 11.
    let talk =
        ["--turns", "3", "--turn-input", "20", "--think-time", "0.5", "--requests", "6", "--format", "json"];
    let doc =
        place.run(&[&LLAMA[..], &["--input", "100", "--output", "32"], &talk].concat()).expect(0).json();
    follows("prediction.schema.json", &doc);
    let cache = &doc["prefix_cache"];
    assert_eq!(cache["prompt_tokens"], 2 * (100 + 152 + 204));
    assert_eq!(cache["hit_tokens"], 2 * (128 + 176));
    assert_eq!((doc["load"]["turns"].as_str(), doc["load"]["think_time"].as_str()), (Some("3"), Some("0.5")));
    // Prefixes of 200 tokens in 2 groups, of which 192 are whole blocks; the first of each group finds nothing.
    let share = ["--input", "300", "--output", "8", "--prefix-groups", "2", "--prefix-tokens", "200"];
    let more = ["--requests", "12", "--format", "json"];
    let doc = place.run(&[&LLAMA[..], &share, &more].concat()).expect(0).json();
    assert_eq!(doc["prefix_cache"]["hit_tokens"], 10 * 192);
    // Without a cache there is nothing to find.
    let none = ["--engine-arg", "enable_prefix_caching=false"];
    let doc = place.run(&[&LLAMA[..], &share, &more, &none].concat()).expect(0).json();
    assert_eq!(doc["prefix_cache"]["hit_tokens"], 0);

    // The same of an engine with tokens: what its usage says, and what a replay of its run finds.
    let server = common::Exact::of_kind("simulated", &["--max-model-len", "8192"]);
    let bench = ["bench", "--url", &server.url, "--repeats", "2", "--warmup", "2", "--concurrency", "2"];
    let measured = |load: &[&str], out: &str| {
        place.run(&[&bench[..], load, &["--out", out]].concat()).expect(0);
        let validate = ["--validate", out, "--format", "json"];
        let doc = place.run(&[&LLAMA[..], &validate].concat()).expect(0).json();
        follows("validation.schema.json", &doc);
        let row = doc["prefix_cache"][0].clone();
        let of = |key: &str| row[key].as_u64().unwrap_or_else(|| panic!("{key}: {row}"));
        (of("prompt_tokens"), of("measured_tokens"), of("predicted_tokens"))
    };
    let share = [&share[..], &["--requests", "12"]].concat();
    let (prompts, found, predicted) = measured(&share, "shared");
    // Each of two trials begins with prefixes that no engine knows.
    assert_eq!((prompts, found, predicted), (2 * 12 * 300, 2 * 10 * 192, 2 * 10 * 192));
    let talk = ["--turns", "3", "--turn-input", "40", "--requests", "12", "--input", "100", "--output", "32"];
    let (prompts, found, predicted) = measured(&talk, "talk");
    assert!(found > prompts / 4, "{found} of {prompts}");
    assert_eq!(found, predicted, "of {prompts}");
    let text = place.run(&[&LLAMA[..], &["--validate", "talk"]].concat()).expect(0).stdout;
    assert!(text.contains("Prefix cache") && text.contains(&found.to_string()), "{text}");
}

#[test]
fn static_batches_are_predicted_planned_and_served() {
    let place = Place::new();
    let batches = ["--engine", "static", "--engine-arg", "max_batch_size=4"];
    let alone = ["--frontend-ms", "0,0", "--format", "json", "--input", "512", "--output", "64"];
    let of = |more: &[&str]| place.run(&[&LLAMA[..], &alone, more].concat()).expect(0).json();
    // Eight at once in batches of four: the second four wait for the first, which take as long as their E2E.
    let eight = ["--concurrency", "8", "--requests", "8"];
    let doc = of(&[&batches[..], &eight].concat());
    follows("prediction.schema.json", &doc);
    assert_eq!(
        (doc["engine"]["name"].as_str(), doc["engine"]["max_num_seqs"].as_u64()),
        (Some("static"), Some(4))
    );
    assert_eq!(doc["engine"]["max_num_batched_tokens"], 4 * 512, "as much as a full batch has");
    let seconds = |doc: &Value, metric: &str, which: &str| doc[metric][which].as_f64().unwrap();
    let (ttft, tpot) = (seconds(&doc, "ttft_s", "mean"), seconds(&doc, "tpot_s", "mean"));
    // By hand: prompts p, then 63 tokens; the second batch begins after both. Mean TTFT = p + (p + 63 · TPOT) / 2, and
    // mean E2E = 1.5 · (p + 63 · TPOT).
    let span = seconds(&doc, "e2e_s", "mean") / 1.5;
    let prompts = span - 63.0 * tpot;
    assert!(prompts > 0.0 && (ttft / (prompts + span / 2.0) - 1.0).abs() < 1e-6, "{ttft} {span} {tpot}");
    let throughput = doc["output_tokens_per_s"].as_f64().unwrap();
    assert!((throughput / (8.0 * 64.0 / (2.0 * span)) - 1.0).abs() < 1e-6, "{throughput}");
    assert!(doc["notes"].to_string().contains("static batches of 4 requests at most"));
    // vLLM admits all eight at once.
    assert!(seconds(&of(&eight), "ttft_s", "p99") < ttft);
    // A lone request waits for others in vain.
    let lone = |arg: &str| {
        seconds(&of(&[&batches[..], &["--requests", "1", "--engine-arg", arg]].concat()), "ttft_s", "mean")
    };
    let waited = lone("max_queue_delay_microseconds=30000") - lone("max_queue_delay_microseconds=0");
    assert!((waited - 0.03).abs() < 1e-9, "{waited}");

    let plan = ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm", "--rate", "2", "--requests", "60"];
    let slo = ["--input", "256", "--output", "32", "--slo", "p99 e2e < 3s", "--format", "json"];
    let rate = |more: &[&str]| {
        let doc = place.run(&[&plan[..], &slo, more].concat()).expect(0).json();
        doc["options"][0]["capacity"]["rate_rps"].as_f64().unwrap()
    };
    assert!(rate(&batches) < rate(&[]), "a static engine of four carries less than vLLM");

    let refused = place.run(&["serve", "--kind", "real", "--engine", "static"]).expect(2).stderr;
    assert!(
        refused.contains("static batches are simulated") && refused.contains("--kind simulated"),
        "{refused}"
    );
    let unknown = place.run(&[&LLAMA[..], &["--engine-arg", "max_batch_size=4"]].concat()).expect(2).stderr;
    assert!(unknown.contains("max_batch_size"), "{unknown}");

    // Two clients at an engine with batches of one take turns: twice the time of one alone, at least.
    let server = common::Exact::of_kind("simulated", &["--engine", "static", "--max-num-seqs", "1"]);
    let bench =
        ["bench", "--url", &server.url, "--repeats", "2", "--warmup", "2", "--input", "64", "--output", "16"];
    let p50 = |clients: &str, out: &str| {
        let load = ["--concurrency", clients, "--requests", "6", "--out", out];
        place.run(&[&bench[..], &load].concat()).expect(0);
        let path = place.path(out).join("metrics.json");
        let metrics: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        metrics["metrics"]["e2e"]["p50"]["value"].as_f64().unwrap()
    };
    let (one, two) = (p50("1", "one"), p50("2", "two"));
    assert!(two > 1.6 * one, "{one} {two}");
}

#[test]
fn a_virtual_device_answers_at_the_predicted_times() {
    let place = Place::new();
    let subject = ["--model", "llama-3.1-8b", "--gpu", "h100-sxm"];
    let load = ["--input", "512", "--output", "48", "--concurrency", "2", "--requests", "8"];
    let none = ["--frontend-ms", "0,0", "--format", "json"];
    let doc = place.run(&[&["predict"][..], &subject, &load, &none].concat()).expect(0).json();
    let predicted = doc["tpot_s"]["mean"].as_f64().unwrap();

    let server = common::Exact::of_kind("simulated", &subject);
    let bench = ["bench", "--url", &server.url, "--repeats", "2", "--warmup", "2", "--out", "virtual"];
    place.run(&[&bench[..], &load].concat()).expect(0);
    let metrics: Value =
        serde_json::from_str(&std::fs::read_to_string(place.path("virtual/metrics.json")).unwrap()).unwrap();
    let measured = metrics["metrics"]["tpot"]["mean"]["value"].as_f64().unwrap();
    // The server sleeps until each step's end, so a busy machine only adds.
    assert!((0.97..1.25).contains(&(measured / predicted)), "{measured} against {predicted}");
}

#[test]
fn a_measured_ramp_is_replayed_and_a_planned_one_predicted() {
    let place = Place::new();
    let subject = ["--model", "llama-3.1-8b", "--gpu", "h100-sxm"];
    let lengths = ["--input", "256", "--output", "8"];
    let ramp = ["--arrival", "ramp", "--rate", "8", "--rate-end", "40", "--duration", "1s"];
    let none = ["--frontend-ms", "0,0", "--format", "json"];
    let ask = |load: &[&str]| place.run(&[&["predict"][..], &subject, &lengths, load, &none].concat());
    let doc = ask(&ramp).expect(0).json();
    follows("prediction.schema.json", &doc);
    let load = &doc["load"];
    assert_eq!((load["arrival"].as_str(), load["requests"].as_u64()), (Some("ramp"), Some(24)));
    assert_eq!((load["rate_rps"].as_f64(), load["rate_end_rps"].as_f64()), (Some(8.0), Some(40.0)));
    let even = ask(&["--arrival", "constant", "--rate", "5", "--requests", "10"]).expect(0).json();
    assert_eq!(
        (even["load"]["arrival"].as_str(), even["load"]["requests"].as_u64()),
        (Some("constant"), Some(10))
    );
    for (wrong, says) in [
        (&["--arrival", "ramp", "--rate", "5"][..], "needs the rate at its end"),
        (&["--arrival", "gamma"], "needs a rate"),
        (&["--arrival", "gamma", "--rate", "5", "--burstiness=0"], "positive"),
        (&["--image-size", "64x64"], "images are for an engine"),
        (&["--workload", "chta"], "chta"),
    ] {
        let told = ask(wrong).expect(2).stderr;
        assert!(told.contains(says), "{wrong:?}: {told}");
    }

    let server = common::Exact::of_kind("simulated", &subject);
    let bench = ["bench", "--url", &server.url, "--repeats", "2", "--warmup", "1", "--out", "ramp"];
    place.run(&[&bench[..], &lengths, &ramp].concat()).expect(0);
    let validate = [&["predict"][..], &subject, &none, &["--validate", "ramp"]].concat();
    let doc = place.run(&validate).expect(0).json();
    let row = doc["rows"].as_array().unwrap().iter().find(|r| r["metric"] == "tpot").unwrap();
    assert!(row["concurrency"].is_null() && row["input"] == 256.0, "{row}");
    // Steps hold the sequences that the rate makes meet; a busy machine only adds.
    assert!((-0.3..0.05).contains(&row["error"].as_f64().unwrap()), "{row}");
}

#[test]
fn a_service_is_planned_with_its_cost() {
    let place = Place::new();
    let prices = "[[price]]\nid = \"two\"\nprovider = \"p\"\naccelerator = \"a\"\ncount = 2\ncurrency = \"USD\"\n\
        kind = \"spot\"\nper_hour = 5.0\ndate = \"2026-11-22\"\nsource = \"made up\"\n";
    std::fs::write(place.path("prices.toml"), prices).unwrap();
    let args =
        ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm", "--input", "512", "--requests", "200"];
    let traffic = ["--rate", "60", "--slo", "p99 ttft < 500ms, mean tpot < 20ms"];
    let cost = ["--price", "h100-sxm=two", "--html", "plan.html"];
    let all = [&args[..], &traffic, &cost].concat();
    let doc = place.run(&[&all[..], &["--format", "json"]].concat()).expect(0).json();
    follows("plan.schema.json", &doc);
    let fleet = &doc["options"][0]["fleet"];
    let devices = fleet["devices"].as_f64().unwrap();
    assert_eq!(
        fleet["costs"][0]["per_hour"].as_f64().unwrap(),
        2.5 * devices,
        "a device is half of the offer"
    );
    let html = std::fs::read_to_string(place.path("plan.html")).unwrap();
    assert!(html.contains("Pareto front") && html.contains("<svg") && html.contains("NVIDIA H100"), "{html}");
    let text = place.run(&all).expect(0).stdout;
    assert!(text.contains("bound by") && text.contains("USD") && text.contains("Pareto front"), "{text}");
    let csv = place.run(&[&all[..], &["--format", "csv"]].concat()).expect(0).stdout;
    assert_eq!(csv.lines().count(), 2, "one option, one price: {csv}");

    // Nothing serves this, and the reason is told.
    let never = [&args[..], &["--rate", "60", "--slo", "p99 ttft < 1ms"]].concat();
    let told = place.run(&never).expect(10).stdout;
    assert!(told.contains("nothing that was looked at serves this"), "{told}");
    assert!(told.contains("a request alone does not keep to the limits"), "{told}");
    for (wrong, says) in [
        (vec!["--rate", "0", "--slo", "p99 ttft < 1s"], "no rate"),
        (vec!["--rate", "1", "--slo", "ttft < 1s"], "what of the values is limited"),
        (vec!["--rate", "1", "--slo", "p99 ttft < 1s", "--headroom", "1"], "leaves nothing"),
        (vec!["--rate", "1", "--slo", "p99 ttft < 1s", "--price", "l4=two"], "none of the devices"),
        (vec!["--rate", "1", "--slo", "p99 ttft < 1s", "--price", "h100-sxm=no"], "no price is named"),
    ] {
        let told = place.run(&[&args[..], &wrong].concat()).expect(2).stderr;
        assert!(told.contains(says), "{wrong:?}: {told}");
    }
}

/// Small, on whatever machine tests run: what is held is what was counted and in which order, not how long it took.
#[test]
fn the_built_in_engine_is_predicted_and_measured_in_one_command() {
    let place = Place::new();
    let out = place.path("proof");
    let args = [
        "predict",
        "--prove",
        "--prove-clients",
        "1,4",
        "--prove-input",
        "16,256",
        "--prove-output",
        "6",
        "--prove-repeats",
        "1",
        "--prove-minutes",
        "0.5",
        "--format",
        "json",
        "--out",
        out.to_str().unwrap(),
    ];
    let doc = place.run(&args).expect(0).json();
    follows("validation.schema.json", &doc);
    assert_eq!((doc["engine"].as_str(), &doc["calibrated_on"]), (Some("stopwatt"), &Value::Null));
    let rows = doc["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4 * 4, "four loads, four metrics");
    assert!(rows.iter().all(|r| r["fitted"] == false && r["predicted"].as_f64().unwrap() > 0.0));
    let value = |clients: u64, input: f64, metric: &str, of: &str| {
        let is = |r: &&Value| r["concurrency"] == clients && r["input"] == input && r["metric"] == metric;
        rows.iter().find(is).unwrap()[of].as_f64().unwrap()
    };
    for of in ["predicted", "measured"] {
        // A prompt of 16 times the length takes longer, and four clients share a step.
        assert!(value(1, 256.0, "ttft", of) > value(1, 16.0, "ttft", of), "{of}");
        assert!(value(4, 256.0, "tpot", of) > value(1, 256.0, "tpot", of), "{of}");
    }
    // The runs hold the same loads with the same requests and tokens.
    let metrics = |run: &str| -> Value {
        let text = std::fs::read_to_string(out.join(run).join("metrics.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let (predicted, measured) = (metrics("predicted"), metrics("measured"));
    let labels = |doc: &Value| -> Vec<String> {
        let points = doc["points"].as_array().unwrap();
        let mut all: Vec<_> = points.iter().map(|p| p["label"].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(labels(&predicted), labels(&measured));
    let requests = |doc: &Value| {
        doc["points"].as_array().unwrap().iter().map(|p| p["requests"].as_u64().unwrap()).sum::<u64>()
    };
    // Eight requests of each of four loads, in five predicted trials and one measured.
    assert_eq!((requests(&predicted), requests(&measured)), (5 * 32, 32));
    for file in ["errors.csv", "errors.json", "comparison.json", "profile/kernels.parquet"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let said = place.run(&["predict", "--prove", "--gpu", "h100-sxm"]).expect(1).stderr;
    assert!(said.contains("cannot be used with"), "{said}");
}
