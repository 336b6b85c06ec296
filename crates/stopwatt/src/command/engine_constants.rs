//! What an engine and its host add to kernels: from a calibration, else from the one that comes with Stopwatt.

use std::path::Path;

use anyhow::Context as _;
use stopwatt_predict::corrector::Corrector;
use stopwatt_predict::engine::EngineVersion;
use stopwatt_predict::fit::CalibrationDoc;
use stopwatt_predict::hardware::Gpu;
use stopwatt_predict::regime::Spreads;
use stopwatt_predict::simulate::Frontend;

use super::predict::EngineName;
use super::predict_measured;

/// vLLM 0.26 on one H100 and its host; `benchmarks/prediction` says how it was fitted.
const BUILT_IN: &str = include_str!("../../../../hardware/vllm-0.26.json");

/// What an engine and its host add to kernels.
#[derive(Debug, Clone)]
pub(super) struct Constants {
    pub(super) corrector: Corrector,
    pub(super) frontend: Frontend,
    /// How far calibrated predictions may be off; `None` where other devices or none were fitted.
    pub(super) spreads: Option<Spreads>,
    /// Where they are from; `None` for published guesses.
    pub(super) calibration: Option<CalibrationDoc>,
    /// Whether nobody asked for that calibration.
    built_in: bool,
    /// What differs from where it was fitted, so that its intervals do not count.
    elsewhere: Option<&'static str>,
}

impl Constants {
    /// Guesses that no engine was fitted for.
    pub(super) fn guessed(frontend: Frontend) -> Self {
        Self {
            corrector: Corrector::default(),
            frontend,
            spreads: None,
            calibration: None,
            built_in: false,
            elsewhere: None,
        }
    }

    /// Those of a file, else those that come with Stopwatt.
    pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let doc = match file {
            Some(path) => predict_measured::read(path)?,
            None => serde_json::from_str(BUILT_IN).context("the calibration that is built in is broken")?,
        };
        Ok(Self {
            corrector: doc.corrector,
            frontend: doc.frontend,
            spreads: Some(doc.spreads.clone()),
            calibration: Some(doc),
            built_in: file.is_none(),
            elsewhere: None,
        })
    }

    /// The same for an engine. The rules of what comes with Stopwatt are vLLM's.
    pub(super) fn under(mut self, engine: EngineName) -> Self {
        if self.built_in && engine != EngineName::Vllm {
            self.spreads = None;
            self.elsewhere = Some("another engine");
        }
        self
    }

    /// The same for a device and a version. What comes with Stopwatt keeps its intervals only where it was fitted; a file
    /// that was asked for keeps them with a warning.
    pub(super) fn of(&self, gpu: &Gpu, version: EngineVersion) -> Self {
        let mut own = self.clone();
        let Some(doc) = &self.calibration else { return own };
        let version = version.to_string();
        for (what, theirs, ours) in
            [("device", &doc.gpu, &gpu.name), ("engine version", &doc.engine_version, &version)]
        {
            if theirs == ours {
                continue;
            }
            if self.built_in {
                own.spreads = None;
                own.elsewhere = Some("another device or version");
            } else {
                eprintln!("warning: the calibration is of {what} {theirs}, the question of {ours}");
            }
        }
        own
    }

    /// What a reader should know of them.
    pub(super) fn note(&self) -> Option<String> {
        let doc = self.calibration.as_ref().filter(|_| self.built_in)?;
        let how_far = self.elsewhere.map_or_else(String::new, |what| {
            format!(", which is {what}: the interval is that of the kernels and a guess")
        });
        Some(format!(
            "what engine and host add is from {} loads of vLLM {} on one {}{how_far}; `--calibrate` fits your own",
            doc.loads.len(),
            doc.engine_version,
            doc.gpu
        ))
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_predict::hardware::preset;

    use super::*;

    #[test]
    fn what_is_built_in_is_read_and_keeps_its_intervals_where_it_was_fitted() {
        let built_in = Constants::read(None).unwrap();
        let (h100, h200) = (preset("h100-sxm").unwrap(), preset("h200-sxm").unwrap());
        let version = EngineVersion::parse("0.26").unwrap();
        let here = built_in.of(h100, version);
        assert!(
            here.spreads.is_some() && here.corrector.least_graph_s > 1e-3 && here.frontend.parsing_s > 0.0
        );
        assert!(here.note().unwrap().contains("vLLM 0.26"));
        let there = built_in.of(h200, version);
        assert!(there.spreads.is_none() && there.frontend == here.frontend);
        assert!(there.note().unwrap().contains("another device"));
        assert!(built_in.of(h100, EngineVersion::parse("0.20").unwrap()).spreads.is_none());
        let batches = built_in.of(h100, version).under(EngineName::Static);
        assert!(batches.spreads.is_none() && batches.note().unwrap().contains("another engine"));
        assert_eq!(Constants::guessed(Frontend::GUESS).note(), None);
    }
}
