//! What a layout leaves beside its run: the artefacts of the original project under its names, where these are true.
//!
//! | file | what |
//! |---|---|
//! | `W.csr.json`, `w.meta.json` | the graph that `perm_before.json` was solved on, and where it comes from |
//! | `perm_before.json`, `perm_after.json` | π before and after the transform, each with its SHA-256 |
//! | `stats_before.json`, `stats_after.json` | J of both on one graph, that of what the transform reads |
//! | `arms.json` | all five arms: J, modelled misses on held-out steps, error, rounds of the solver, rank correlation |
//! | `matrix_before.png`, `matrix_after.png` | W of what the transform reads, in the order of both |

use serde_json::json;
use stopwatt_layout::{Graph, Permutation};

use super::super::config::SopConfig;
use super::super::target::Note;
use super::arms::Arm;
use super::solved::Solved;

/// Widest picture, in points.
const WIDEST: usize = 384;

pub(super) fn notes(solved: &Solved, config: &SopConfig) -> Result<Vec<Note>, String> {
    let found = solved.found();
    let pi = solved.permutation();
    let reads =
        solved.with_problem(config, |problem| Ok(problem.graph_of(&problem.trace(&problem.train, pi)?)))?;
    let json = |value: serde_json::Value| {
        let mut bytes = serde_json::to_vec_pretty(&value).expect("numbers and text are JSON");
        bytes.push(b'\n');
        bytes
    };
    let file = |name: &str, bytes| Note::File { name: name.to_owned(), bytes };
    let stage = |name: &str| Note::Stage(name.to_owned());
    let meta = json!({
        "d": solved.graph.d(), "nnz": solved.graph.nnz(), "source": config.graph.source,
        "normalize": config.graph.normalize, "layer": solved.material.layer,
    });
    let mut notes = vec![
        stage("W_BUILT"),
        file("W.csr.json", solved.graph.to_json()),
        file("w.meta.json", json(meta)),
        stage("PERMUTED"),
        file("perm_before.json", found.before.to_json()),
        file("stats_before.json", json(json!({"sha256": found.before.sha256(), "cost": found.j_before}))),
        file("matrix_before.png", picture(&reads, &found.before)),
        stage("TRANSFORMED"),
    ];
    if matches!(solved.arm, Arm::Once | Arm::Iterative) {
        notes.push(stage("REPERMUTED"));
    }
    let after = json!({
        "sha256": pi.sha256(), "cost": found.j_after, "delta_J": found.j_after.j - found.j_before.j,
        "held_out": found.held_out, "rounds": found.rounds, "timed_out": found.timed_out,
    });
    notes.push(file("perm_after.json", pi.to_json()));
    notes.push(file("stats_after.json", json(after)));
    notes.push(file("matrix_after.png", picture(&reads, pi)));
    let arms = serde_json::to_value(&solved.arms).map_err(|e| e.to_string())?;
    notes.push(file("arms.json", json(arms)));
    Ok(notes)
}

/// The weights in the order of a layout, darker where there is more; on a root scale, since they spread widely.
fn picture(graph: &Graph, pi: &Permutation) -> Vec<u8> {
    let d = graph.d();
    let side = d.min(WIDEST);
    let mut sums = vec![0.0; side * side];
    let point = |unit: u32| pi.position()[unit as usize] as usize * side / d;
    for (i, j, w) in graph.pairs() {
        let (a, b) = (point(i), point(j));
        sums[a * side + b] += w;
        sums[b * side + a] += w;
    }
    let most = sums.iter().copied().fold(0.0f64, f64::max).max(f64::MIN_POSITIVE);
    let pixels: Vec<u8> = sums.iter().map(|s| 255 - (255.0 * (s / most).sqrt()) as u8).collect();
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, side as u32, side as u32);
    encoder.set_color(png::ColorType::Grayscale);
    let written = encoder.write_header().and_then(|mut w| w.write_image_data(&pixels));
    written.expect("writing an image of the stated size to memory cannot fail");
    out
}
