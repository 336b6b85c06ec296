use super::*;
use crate::sop::config::TargetKind;

fn config(mode: &str, carrier: CarrierKind) -> SopConfig {
    let mut config = SopConfig::default();
    config.pipeline.mode = mode.to_owned();
    config.target.kind = TargetKind::Layout;
    config.target.layout = Some(Box::new(LayoutConfig {
        carrier,
        preset: "tiny".to_owned(),
        layer: Some(0),
        steps: 40,
        context: 64,
        working_set_mib: Some(0.1),
        ..LayoutConfig::default()
    }));
    config.solver.refine_steps = 2000;
    config.transform.sparsity = Some(SparsityConfig { energy: 0.8, ..SparsityConfig::default() });
    config
}

fn occasion() -> Occasion {
    Occasion { seed: 0, mode: String::new(), trial: None, iterations: 5 }
}

fn prepared(config: &SopConfig) -> Result<(Box<dyn Target>, Ready), TargetError> {
    let mut target = Layouts::of(config, &Stop::new()).unwrap().launch(&[]).unwrap();
    let ready = target.prepare(&occasion())?;
    Ok((target, ready))
}

fn reason(config: &SopConfig) -> String {
    match prepared(config) {
        Err(TargetError::Layout { reason }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was prepared"),
    }
}

#[test]
fn every_arm_of_every_carrier_is_exact_and_iterates() {
    for carrier in [CarrierKind::FfnNeurons, CarrierKind::KvTokens, CarrierKind::Dense] {
        for arm in Arm::ALL {
            let (mut target, ready) = prepared(&config(arm.name(), carrier)).unwrap();
            let exact: f64 = ready.facts["exactness"].parse().unwrap();
            assert!(exact <= 1e-5, "{carrier:?} {arm:?}: {exact}");
            let mut blocks = Vec::new();
            target.iterate(5, &mut |i| blocks.push(i.metrics["blocks_read"])).unwrap();
            assert_eq!(blocks.len(), 5);
            let all = if carrier == CarrierKind::KvTokens { 4.0 } else { 10.0 };
            assert!(blocks.iter().all(|b| (1.0..=all).contains(b)), "{blocks:?}");
            if carrier == CarrierKind::Dense {
                assert_eq!(blocks, [10.0; 5]);
                assert_eq!(ready.facts["output_error"], "0.000000");
            }
            assert_eq!(target.outputs().unwrap().map(|h| h.len()), Some(64));
            let files: Vec<&str> = ready
                .notes
                .iter()
                .filter_map(|n| match n {
                    Note::File { name, .. } => Some(name.as_str()),
                    _ => None,
                })
                .collect();
            for wanted in
                ["W.csr.json", "perm_before.json", "perm_after.json", "stats_before.json", "arms.json"]
            {
                assert!(files.contains(&wanted), "{files:?}");
            }
        }
    }
}

#[test]
fn what_is_left_out_is_the_error_and_nothing_left_out_is_none() {
    let mut whole = config("random", CarrierKind::FfnNeurons);
    whole.transform = TransformConfig::default();
    let error = |c: &SopConfig| prepared(c).unwrap().1.facts["output_error"].parse::<f64>().unwrap();
    assert!(error(&whole) < 1e-5);
    let selected = error(&config("random", CarrierKind::FfnNeurons));
    assert!(selected > 0.01, "{selected}");
    let mut dropped = config("random", CarrierKind::KvTokens);
    dropped.transform = TransformConfig { kv: Some(Default::default()), ..TransformConfig::default() };
    assert!(error(&dropped) > 1e-3);
    let mut rounded = whole.clone();
    rounded.transform.quant =
        Some(QuantConfig { format: stopwatt_layout::transform::quant::Format::Int4, group: 32 });
    assert!((1e-3..0.5).contains(&error(&rounded)));
}

#[test]
fn a_compacted_cache_reads_fewer_pages() {
    let mut c = config("identity", CarrierKind::KvTokens);
    c.transform = TransformConfig { kv: Some(Default::default()), ..TransformConfig::default() };
    c.target.layout.as_mut().unwrap().context = 512;
    if let Some(kv) = &mut c.transform.kv {
        (kv.drop, kv.recent) = (0.75, 8);
    }
    let pages = |mode: &str| {
        let mut config = c.clone();
        config.pipeline.mode = mode.to_owned();
        let (mut target, _) = prepared(&config).unwrap();
        let mut pages = 0.0;
        target.iterate(1, &mut |i| pages = i.metrics["blocks_read"]).unwrap();
        pages
    };
    // A quarter of 512 tokens in pages of 16 fills eight.
    assert_eq!(pages("once"), 8.0);
    assert!(pages("identity") > 20.0);
}

#[test]
fn settings_that_cannot_be_say_which() {
    let change = |f: fn(&mut SopConfig)| {
        let mut c = config("linear", CarrierKind::FfnNeurons);
        f(&mut c);
        reason(&c)
    };
    let layout = |c: &mut SopConfig| c.target.layout.as_mut().unwrap().block = 48;
    assert!(change(layout).contains("target.layout.block"));
    assert!(change(|c| c.target.layout.as_mut().unwrap().layer = Some(9)).contains("no layer 9"));
    assert!(change(|c| c.target.layout.as_mut().unwrap().preset = "huge".into()).contains("huge"));
    assert!(
        change(|c| c.transform.quant = Some(QuantConfig { group: 7, ..Default::default() }))
            .contains("quant.group")
    );
    assert!(change(|c| c.transform.kv = Some(Default::default())).contains("transform.kv"));
    assert!(change(|c| c.cost.g = 0).contains("cost.g"));
    assert!(
        change(|c| c.target.layout.as_mut().unwrap().text = Some("/nonexistent".into())).contains("text")
    );
    let mode = Layouts::of(&config("sideways", CarrierKind::Dense), &Stop::new());
    assert!(matches!(mode, Err(SopError::Setting { setting: "pipeline.mode", .. })));
}

#[test]
fn graphs_and_permutations_out_of_files_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let with = |f: &dyn Fn(&mut SopConfig)| {
        let mut c = config("linear", CarrierKind::FfnNeurons);
        f(&mut c);
        c
    };
    let negative = file("negative.jsonl", "{\"src\":0,\"dst\":1,\"w\":-1}");
    let trace = |path: &std::path::Path| {
        let path = path.to_owned();
        with(&move |c| {
            c.graph.source = GraphSource::Trace;
            c.graph.trace = Some(path.clone());
        })
    };
    assert!(reason(&trace(&negative)).contains("not negative"));
    assert!(reason(&trace(&file("nan.jsonl", "{\"src\":0,\"dst\":1,\"w\":NaN}"))).contains("line 1"));
    assert!(reason(&trace(&file("far.jsonl", "{\"src\":0,\"dst\":160}"))).contains("160"));
    assert!(prepared(&trace(&file("good.jsonl", "{\"src\":0,\"dst\":159}"))).is_ok());
    let mock = with(&|c| {
        c.graph.source = GraphSource::Mock;
        c.graph.mock.d = Some(3);
    });
    assert!(reason(&mock).contains("graph.mock.d"));
    let reuse = |path: std::path::PathBuf| with(&move |c| c.pipeline.reuse_perm = Some(path.clone()));
    assert!(reason(&reuse(file("short.json", "[1,0]"))).contains("2 units where 160"));
    assert!(reason(&reuse(file("twice.json", &format!("{:?}", [0; 160])))).contains("again"));
    let pi = stopwatt_layout::Permutation::random(160, 9);
    let path = file("pi.json", std::str::from_utf8(&pi.to_json()).unwrap());
    assert_eq!(prepared(&reuse(path)).unwrap().1.facts["permutation"], pi.sha256());
}

#[test]
fn a_solver_without_time_is_measured_and_told() {
    let mut c = config("iterative", CarrierKind::FfnNeurons);
    c.solver.time_budget_s = 0.0;
    let launch = Layouts::of(&c, &Stop::new()).unwrap();
    assert!(!launch.timed_out());
    let ready = launch.launch(&[]).unwrap().prepare(&occasion()).unwrap();
    assert!(launch.timed_out());
    let told = |n: &Note| matches!(n, Note::Warning(r) if r.code == Code::SolverTimeout);
    assert!(ready.notes.iter().any(told));
}

#[test]
fn perplexity_is_that_of_the_model_where_nothing_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    std::fs::write(&text, "The quick brown fox jumps over the lazy dog. ".repeat(20)).unwrap();
    let mut c = config("random", CarrierKind::FfnNeurons);
    c.quality.text = Some(text);
    c.quality.max_samples = Some(2);
    let items = |c: &SopConfig| perplexity(c, &Stop::new()).unwrap().items;
    c.transform = TransformConfig::default();
    for item in items(&c) {
        assert_eq!((item.score, item.kl_nats), (item.reference, Some(0.0)));
        assert!(item.score > Some(1.0));
    }
    c.transform.sparsity = Some(SparsityConfig { energy: 0.3, ..SparsityConfig::default() });
    assert!(items(&c).iter().all(|i| i.kl_nats > Some(1e-6) && i.score != i.reference));
}
