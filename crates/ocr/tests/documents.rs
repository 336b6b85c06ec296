//! Documents that are made are what their truth says. Needs the fonts of fonts-nanum, fonts-nanum-extra and
//! fonts-dejavu-core.
#![cfg(feature = "external-tests")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use stopwatt_ocr::generate::{GenerateError, Plan, generate};
use stopwatt_ocr::input;
use stopwatt_ocr::profile::DocType;
use stopwatt_ocr::verify::verify;

fn plan() -> Plan {
    Plan {
        types: DocType::ALL.to_vec(),
        count: 40,
        dpi: vec![40],
        degrade: vec!["clean".to_owned()],
        seed: 7,
        fonts: Vec::new(),
        hand_fonts: Vec::new(),
        points: 10.0,
        vocabulary: None,
    }
}

fn truth(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("truth.jsonl")).unwrap()
}

#[test]
fn every_value_stands_on_its_page_and_every_image_has_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let made = generate(&plan(), dir.path(), |_| {}).unwrap();
    assert!(made.documents == 200 && made.images == 200 && made.handwriting_like, "{made:?}");
    let pages = input::truth(&dir.path().join("truth.jsonl")).unwrap();
    let doc = verify(&pages, dir.path(), 40);
    assert!(doc.problems.is_empty() && doc.remarks.is_empty(), "{doc:?}");
    for t in DocType::ALL {
        let page = pages.iter().find(|p| p.value.truth.doc_type.as_deref() == Some(t.name())).unwrap();
        for field in t.profile().critical_fields {
            assert!(page.value.truth.fields.iter().any(|f| f.name == *field), "{} {field}", t.name());
        }
    }
    assert!(matches!(generate(&plan(), dir.path(), |_| {}), Err(GenerateError::Occupied)));
}

#[test]
fn one_seed_makes_one_set_and_resolutions_differ_in_nothing_else() {
    let make = |seed, dpi: &[u32], degrade: &str| {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan { count: 1, seed, dpi: dpi.to_vec(), degrade: vec![degrade.to_owned()], ..plan() };
        generate(&plan, dir.path(), |_| {}).unwrap();
        dir
    };
    let (a, b, c) = (make(1, &[40], "phone"), make(1, &[40], "phone"), make(2, &[40], "phone"));
    let image = |dir: &tempfile::TempDir| {
        std::fs::read(dir.path().join("images/prescription-0001-40-phone.png")).unwrap()
    };
    assert!(truth(a.path()) == truth(b.path()) && image(&a) == image(&b) && image(&a) != image(&c));
    let both = make(1, &[40, 80], "clean");
    let pages = input::truth(&both.path().join("truth.jsonl")).unwrap();
    assert_eq!(pages[0].value.truth.text, pages[1].value.truth.text);
    assert_eq!(pages[0].value.truth.fields, pages[1].value.truth.fields);
}

#[test]
fn a_character_that_no_font_has_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let latin = PathBuf::from("/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf");
    let result = generate(&Plan { fonts: vec![latin], ..plan() }, dir.path(), |_| {});
    assert!(matches!(result, Err(GenerateError::MissingGlyph { .. })), "{result:?}");
    let result = generate(&Plan { fonts: vec!["/dev/null".into()], ..plan() }, dir.path(), |_| {});
    assert!(matches!(result, Err(GenerateError::NotAFont { .. })));
    let result = generate(&Plan { degrade: vec!["mud".into()], ..plan() }, dir.path(), |_| {});
    assert!(matches!(result, Err(GenerateError::Degradation { .. })));
    let result = generate(&Plan { vocabulary: Some("drug\tA".into()), ..plan() }, dir.path(), |_| {});
    assert!(matches!(result, Err(GenerateError::Vocabulary { line: 1 })));
}
