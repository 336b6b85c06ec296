//! Named workload profiles: the built-in ones and those of users' files.
//!
//! The specification gives the profiles' lengths and batch sizes as numbers, but concurrency and prefix sharing as
//! words. The words mean this here:
//!
//! | profile | word for concurrency | concurrency | word for prefix sharing | ratio | groups |
//! |---|---|---|---|---|---|
//! | `chat` | high | 8, the top of its batch range 1–8 | low | 0.2 | 1: one system prompt |
//! | `document` | medium | 32, the (geometric) middle of 16–64 | medium | 0.4 | 4: templates |
//! | `medical-ocr` | medium | 16, the (geometric) middle of 8–32 | high | 0.7 | 5: one a document type |
//!
//! The ratio is the share of each prompt's tokens that its group has in common. It bounds the hit rate of a prefix
//! cache from above; whole blocks only can hit, so that 16-token blocks make about 0.14 of the 0.2 of `chat`.

//! Profiles `ocr:TYPE` have the tokens that the specification states of a type of document (Korean name or
//! identifier), the batches and the sharing of `medical-ocr`, and one group: all requests of a type begin alike.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Length, PrefixShare, Recorded, Workload};

/// Begin of the names of profiles of documents.
const OCR: &str = "ocr:";

/// Batch sizes a profile is meant for, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRange {
    /// Smallest batch.
    pub lo: u32,
    /// Largest batch.
    pub hi: u32,
}

impl BatchRange {
    /// The sizes of a sweep: `lo`, doubled until `hi`, and `hi`.
    pub fn doublings(self) -> Vec<u32> {
        let mut sizes: Vec<u32> = std::iter::successors(Some(self.lo.max(1)), |n| n.checked_mul(2))
            .take_while(|&n| n < self.hi)
            .collect();
        sizes.push(self.hi);
        sizes
    }
}

/// A profile as a file writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileSpec {
    /// Name for people and records.
    pub name: String,
    /// Prompt lengths, in tokens.
    pub input: Length,
    /// Output lengths, in tokens.
    pub output: Length,
    /// Batch sizes the profile is meant for.
    pub batch: BatchRange,
    /// Requests kept in flight by default; inside `batch`.
    pub concurrency: u32,
    /// How much of the prompts is shared.
    #[serde(default = "nothing_shared")]
    pub prefix_share: PrefixShare,
}

fn nothing_shared() -> PrefixShare {
    PrefixShare::NONE
}

/// A checked profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ProfileSpec", into = "ProfileSpec")]
pub struct Profile {
    spec: ProfileSpec,
    recorded: Option<Arc<Recorded>>,
}

/// Why a profile makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// An empty batch range or one in the wrong order.
    #[error("batch range {lo}..{hi} is empty")]
    Batch {
        /// Smallest batch.
        lo: u32,
        /// Largest batch.
        hi: u32,
    },
    /// A concurrency that the batch range excludes.
    #[error("concurrency {concurrency} lies outside the batch range {lo}..{hi}")]
    Concurrency {
        /// The value.
        concurrency: u32,
        /// Smallest batch.
        lo: u32,
        /// Largest batch.
        hi: u32,
    },
    /// No built-in profile has this name.
    #[error("no built-in workload profile is named `{name}`")]
    Unknown {
        /// The name.
        name: String,
    },
}

impl ProfileError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        matches!(self, Self::Unknown { .. })
            .then_some("use chat, document, medical-ocr, ocr:TYPE (처방전, 검사결과지, 진단서, 퇴원요약서, 의무기록), or the path of a profile file")
    }
}

impl Profile {
    /// Names of the built-in profiles.
    pub const BUILT_IN: [&str; 3] = ["chat", "document", "medical-ocr"];

    /// Types of documents: name, identifier, input and output tokens.
    pub const DOCUMENT_TYPES: [(&str, &str, [u32; 2], [u32; 2]); 5] = [
        ("처방전", "prescription", [500, 1500], [200, 400]),
        ("검사결과지", "lab_result", [1000, 3000], [300, 600]),
        ("진단서", "diagnosis", [800, 2000], [200, 500]),
        ("퇴원요약서", "discharge_summary", [3000, 8000], [500, 1500]),
        ("의무기록", "medical_record", [2000, 6000], [400, 1000]),
    ];

    /// Whether it is that of a type of document, which states what tokens its requests have.
    pub fn is_document_type(&self) -> bool {
        self.spec.name.starts_with(OCR)
    }

    fn document_type(name: &str) -> Option<Self> {
        let plain: String = name.strip_prefix(OCR)?.chars().filter(|c| !c.is_whitespace()).collect();
        let plain = plain.to_lowercase().replace('-', "_");
        let (name, _, input, output) =
            Self::DOCUMENT_TYPES.into_iter().find(|(name, id, ..)| plain == *name || plain == *id)?;
        let batches = Self::built_in("medical-ocr").ok()?.spec;
        let uniform = |[lo, hi]: [u32; 2]| Length::uniform(lo, hi).ok();
        let spec = ProfileSpec {
            name: format!("{OCR}{name}"),
            input: uniform(input)?,
            output: uniform(output)?,
            prefix_share: PrefixShare::new(batches.prefix_share.ratio(), 1).ok()?,
            ..batches
        };
        Self::try_from(spec).ok()
    }

    /// The built-in profile of this name.
    pub fn built_in(name: &str) -> Result<Self, ProfileError> {
        if let Some(profile) = Self::document_type(name) {
            return Ok(profile);
        }
        let (input, output, batch, concurrency, share) = match name {
            "chat" => ((50, 200), (100, 500), (1, 8), 8, (0.2, 1)),
            "document" => ((1000, 4000), (200, 1000), (16, 64), 32, (0.4, 4)),
            "medical-ocr" => ((2000, 8000), (200, 800), (8, 32), 16, (0.7, 5)),
            _ => return Err(ProfileError::Unknown { name: name.to_owned() }),
        };
        let uniform =
            |(lo, hi)| Length::uniform(lo, hi).expect("the table above holds ordered bounds above zero");
        Self::try_from(ProfileSpec {
            name: name.to_owned(),
            input: uniform(input),
            output: uniform(output),
            batch: BatchRange { lo: batch.0, hi: batch.1 },
            concurrency,
            prefix_share: PrefixShare::new(share.0, share.1)
                .expect("the table above holds ratios below 1 and at least one group"),
        })
    }

    /// All built-in profiles.
    pub fn built_ins() -> impl Iterator<Item = Self> {
        Self::BUILT_IN
            .iter()
            .map(|name| Self::built_in(name).expect("every name of BUILT_IN is in the table"))
    }

    /// Name for people and records.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Batch sizes the profile is meant for.
    pub fn batch(&self) -> BatchRange {
        self.spec.batch
    }

    /// Requests kept in flight by default.
    pub fn concurrency(&self) -> u32 {
        self.spec.concurrency
    }

    /// How much of the prompts is shared.
    pub fn prefix_share(&self) -> PrefixShare {
        self.spec.prefix_share
    }

    /// The profile as written in a file.
    pub fn spec(&self) -> &ProfileSpec {
        &self.spec
    }

    /// The same with recorded requests in place of drawn ones. They are not part of the profile's file.
    pub fn with_recorded(self, recorded: Arc<Recorded>) -> Self {
        Self { recorded: Some(recorded), ..self }
    }

    /// The workload of the profile.
    pub fn workload(&self) -> Workload {
        let mut workload = Workload::new(self.spec.input.clone(), self.spec.output.clone());
        workload.prefix_share = self.spec.prefix_share;
        if let Some(recorded) = &self.recorded {
            let spans = [recorded.span(|t| t.input), recorded.span(|t| t.output)];
            for (length, span) in [&mut workload.input, &mut workload.output].into_iter().zip(spans) {
                if let Some(Ok(span)) = span {
                    *length = span;
                }
            }
            workload.recorded = Some(Arc::clone(recorded));
        }
        workload
    }
}

impl TryFrom<ProfileSpec> for Profile {
    type Error = ProfileError;

    fn try_from(spec: ProfileSpec) -> Result<Self, ProfileError> {
        let BatchRange { lo, hi } = spec.batch;
        if lo == 0 || lo > hi {
            return Err(ProfileError::Batch { lo, hi });
        }
        if !(lo..=hi).contains(&spec.concurrency) {
            return Err(ProfileError::Concurrency { concurrency: spec.concurrency, lo, hi });
        }
        Ok(Self { spec, recorded: None })
    }
}

impl From<Profile> for ProfileSpec {
    fn from(profile: Profile) -> Self {
        profile.spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_profiles_have_the_numbers_of_the_specification() {
        let rows: Vec<_> = Profile::built_ins()
            .map(|p| {
                let w = p.workload();
                let BatchRange { lo, hi } = p.batch();
                (p.name().to_owned(), w.input.bounds(), w.output.bounds(), (lo, hi), p.concurrency())
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("chat".to_owned(), (50, 200), (100, 500), (1, 8), 8),
                ("document".to_owned(), (1000, 4000), (200, 1000), (16, 64), 32),
                ("medical-ocr".to_owned(), (2000, 8000), (200, 800), (8, 32), 16),
            ]
        );
        let ratios: Vec<f64> = Profile::built_ins().map(|p| p.prefix_share().ratio()).collect();
        assert!(ratios.is_sorted(), "low, medium, high: {ratios:?}");
        let unknown = Profile::built_in("chatt").unwrap_err();
        assert!(matches!(unknown, ProfileError::Unknown { .. }) && unknown.hint().is_some());
    }

    #[test]
    fn types_of_documents_have_their_own_tokens() {
        for name in ["ocr:검사 결과지", "ocr:lab-result", "ocr:검사결과지"] {
            let profile = Profile::built_in(name).unwrap();
            assert_eq!((profile.name(), profile.is_document_type()), ("ocr:검사결과지", true));
            let w = profile.workload();
            assert_eq!((w.input.bounds(), w.output.bounds()), ((1000, 3000), (300, 600)));
            assert_eq!((profile.concurrency(), profile.prefix_share().groups()), (16, 1));
        }
        assert!(!Profile::built_in("medical-ocr").unwrap().is_document_type());
        assert!(Profile::built_in("ocr:영수증").is_err());
    }

    const FILE: &str = r#"
        name = "support"
        input = { lognormal = { mean = 600.0, std = 400.0, lo = 16, hi = 4000 } }
        output = { uniform = { lo = 50, hi = 300 } }
        batch = { lo = 4, hi = 24 }
        concurrency = 12
        prefix_share = { ratio = 0.5, groups = 3 }
    "#;

    #[test]
    fn a_users_file_is_the_same_type_and_survives_writing() {
        let profile: Profile = toml::from_str(FILE).unwrap();
        assert_eq!((profile.concurrency(), profile.prefix_share().groups()), (12, 3));
        assert_eq!(profile.workload().output.to_string(), "50:300");
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
    }

    #[track_caller]
    fn check_refused(from: &str, to: &str, message: &str) {
        assert!(FILE.contains(from));
        let error = toml::from_str::<Profile>(&FILE.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn a_bad_file_is_refused_when_it_is_read() {
        check_refused(
            "concurrency = 12",
            "concurrency = 25",
            "concurrency 25 lies outside the batch range 4..24",
        );
        check_refused("lo = 4, hi = 24", "lo = 30, hi = 24", "batch range 30..24 is empty");
        check_refused("ratio = 0.5", "ratio = 1.0", "prefix share 1 is not in 0..1");
        check_refused("groups = 3", "groups = 0", "0 groups");
        check_refused("lo = 50, hi = 300", "lo = 500, hi = 300", "wrong order");
        check_refused("lo = 50, hi = 300", "low = 50, hi = 300", "lo, hi");
        check_refused("concurrency = 12", "concurency = 12", "concurency");
    }

    #[test]
    fn the_schema_shows_what_a_file_may_hold() {
        let schema = serde_json::to_value(schemars::schema_for!(Profile)).unwrap();
        let text = schema.to_string();
        for key in ["concurrency", "prefix_share", "lognormal", "empirical", "groups"] {
            assert!(text.contains(key), "{key} is missing in {text}");
        }
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn a_sweep_doubles_through_its_range() {
        assert_eq!(BatchRange { lo: 1, hi: 8 }.doublings(), [1, 2, 4, 8]);
        assert_eq!(BatchRange { lo: 16, hi: 64 }.doublings(), [16, 32, 64]);
        assert_eq!(BatchRange { lo: 3, hi: 20 }.doublings(), [3, 6, 12, 20]);
        assert_eq!(BatchRange { lo: 5, hi: 5 }.doublings(), [5]);
    }
}
