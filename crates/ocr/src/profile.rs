//! Types of documents, and what is asked of each: tokens, critical fields, limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A type of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocType {
    /// 처방전.
    Prescription,
    /// 검사결과지.
    LabResult,
    /// 진단서.
    Diagnosis,
    /// 퇴원요약서.
    DischargeSummary,
    /// 의무기록.
    MedicalRecord,
}

impl DocType {
    /// Every type.
    pub const ALL: [Self; 5] =
        [Self::Prescription, Self::LabResult, Self::Diagnosis, Self::DischargeSummary, Self::MedicalRecord];

    /// Its Korean name, as it stands in the truth.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prescription => "처방전",
            Self::LabResult => "검사결과지",
            Self::Diagnosis => "진단서",
            Self::DischargeSummary => "퇴원요약서",
            Self::MedicalRecord => "의무기록",
        }
    }

    /// Its name in identifiers and files.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Prescription => "prescription",
            Self::LabResult => "lab_result",
            Self::Diagnosis => "diagnosis",
            Self::DischargeSummary => "discharge_summary",
            Self::MedicalRecord => "medical_record",
        }
    }

    /// The type of a name, Korean (also with spaces, as `검사 결과지`) or English.
    pub fn from_name(name: &str) -> Option<Self> {
        let plain: String = name.chars().filter(|c| !c.is_whitespace()).collect();
        let plain = plain.to_lowercase().replace('-', "_");
        Self::ALL.into_iter().find(|t| plain == t.name() || plain == t.id())
    }

    /// What is asked of it.
    pub fn profile(self) -> Profile {
        let of = |cer, latency_s, input_tokens, output_tokens, critical_fields| Profile {
            cer,
            latency_s,
            input_tokens,
            output_tokens,
            critical_fields,
        };
        match self {
            Self::Prescription => {
                of(0.01, 3.0, [500, 1500], [200, 400], &["약물명", "용량", "투여횟수", "투여경로"])
            }
            Self::LabResult => {
                of(0.005, 5.0, [1000, 3000], [300, 600], &["검사항목", "수치", "단위", "참고치"])
            }
            Self::Diagnosis => of(0.01, 4.0, [800, 2000], [200, 500], &["환자명", "진단명", "진단코드"]),
            Self::DischargeSummary => {
                of(0.02, 10.0, [3000, 8000], [500, 1500], &["입원일", "퇴원일", "주진단", "경과", "추후계획"])
            }
            Self::MedicalRecord => {
                of(0.02, 8.0, [2000, 6000], [400, 1000], &["환자정보", "주소", "현병력", "과거력"])
            }
        }
    }
}

/// What is asked of a type of document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Largest character error rate.
    pub cer: f64,
    /// Longest time of a page, in seconds.
    pub latency_s: f64,
    /// Input tokens of a page, least and most.
    pub input_tokens: [u32; 2],
    /// Output tokens of a page, least and most.
    pub output_tokens: [u32; 2],
    /// Fields that must be right.
    pub critical_fields: &'static [&'static str],
}

/// Share of right values from which on a critical field is OK.
pub const FIELD_OK: f64 = 0.95;
/// Share of right values from which on a critical field is only a warning.
pub const FIELD_WARN: f64 = 0.90;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_of_the_same_name_have_the_same_tokens() {
        use stopwatt_serving::workload::Profile as Workload;
        for (t, (name, id, input, output)) in DocType::ALL.into_iter().zip(Workload::DOCUMENT_TYPES) {
            let profile = t.profile();
            assert_eq!((t.name(), t.id()), (name, id));
            assert_eq!((profile.input_tokens, profile.output_tokens), (input, output));
        }
    }

    #[test]
    fn types_are_known_by_both_names() {
        for t in DocType::ALL {
            assert_eq!((DocType::from_name(t.name()), DocType::from_name(t.id())), (Some(t), Some(t)));
        }
        assert_eq!(DocType::from_name("검사 결과지"), Some(DocType::LabResult));
        assert_eq!(DocType::from_name("Lab-Result"), Some(DocType::LabResult));
        assert_eq!(DocType::from_name("영수증"), None);
    }
}
