//! The five types of documents: what stands where.

use stopwatt_serving::random::Draws;

use super::GenerateError;
use super::font::Style;
use super::sheet::{LEFT, Sheet, label, value};
use super::vocabulary::{
    CITIES, COURSES, Diagnosis, FAMILIES, FREQUENCIES, GIVEN, HISTORIES, HOSPITALS, PLANS, Vocabulary,
};
use crate::profile::DocType;

/// Draws a document of a type.
pub(super) fn draw(
    doc_type: DocType,
    sheet: &mut Sheet<'_>,
    words: &Vocabulary,
    draws: &mut Draws,
) -> Result<(), GenerateError> {
    match doc_type {
        DocType::Prescription => prescription(sheet, words, draws)?,
        DocType::LabResult => lab_result(sheet, words, draws)?,
        DocType::Diagnosis => diagnosis(sheet, words, draws)?,
        DocType::DischargeSummary => discharge(sheet, words, draws)?,
        DocType::MedicalRecord => record(sheet, words, draws)?,
    }
    sheet.foot()?;
    sheet.line(&[label("가상 문서 - 실제 환자 및 기관과 무관함")])
}

fn pick<'a, T>(draws: &mut Draws, list: &'a [T]) -> &'a T {
    &list[draws.below(list.len() as u32) as usize]
}

fn word<'a>(draws: &mut Draws, list: &[&'a str]) -> &'a str {
    list[draws.below(list.len() as u32) as usize]
}

/// Several of a list, each once.
fn some<'a, T>(draws: &mut Draws, list: &'a [T], count: usize) -> Vec<&'a T> {
    let mut order: Vec<&T> = list.iter().collect();
    for i in 0..count.min(order.len()) {
        let j = i + draws.below((order.len() - i) as u32) as usize;
        order.swap(i, j);
    }
    order.truncate(count);
    order
}

fn between(draws: &mut Draws, least: u32, most: u32) -> u32 {
    least + draws.below(most - least + 1)
}

fn person(draws: &mut Draws) -> String {
    format!("{}{}", pick(draws, &FAMILIES), pick(draws, &GIVEN))
}

fn date(draws: &mut Draws, year: u32) -> String {
    let (month, day) = (between(draws, 1, 12), between(draws, 1, 28));
    format!("{year}-{month:02}-{day:02}")
}

fn address(draws: &mut Draws) -> String {
    format!(
        "{} {}, {}동 {}호",
        pick(draws, &CITIES),
        between(draws, 1, 320),
        between(draws, 101, 118),
        between(draws, 101, 2004)
    )
}

/// A number in the form of a resident registration number that cannot be one: its check digit is wrong.
pub(super) fn resident_number(draws: &mut Draws) -> String {
    let year = between(draws, 40, 99);
    let mut digits = format!("{year:02}{:02}{:02}", between(draws, 1, 12), between(draws, 1, 28));
    digits.push_str(&between(draws, 1, 2).to_string());
    digits.push_str(&format!("{:05}", draws.below(100_000)));
    let right = check_digit(&digits);
    let wrong = (right + between(draws, 1, 9)) % 10;
    format!("{}-{}{wrong}", &digits[..6], &digits[6..])
}

/// (11 − Σ digit × weight mod 11) mod 10, weights 2 to 9 and again from 2.
pub(super) fn check_digit(digits: &str) -> u32 {
    let sum: u32 = digits.bytes().zip((2..=9).cycle()).map(|(d, weight)| u32::from(d - b'0') * weight).sum();
    (11 - sum % 11) % 10
}

fn prescription(sheet: &mut Sheet<'_>, words: &Vocabulary, draws: &mut Draws) -> Result<(), GenerateError> {
    let (patient, doctor) = (person(draws), person(draws));
    let number = format!("{}-{:05}", date(draws, 2026), draws.below(100_000));
    let illness = pick(draws, &words.diagnoses).code.clone();
    sheet.heading("처방전", 1.8)?;
    sheet.rule();
    sheet.line(&[
        label("의료기관"),
        label(word(draws, &HOSPITALS)),
        label("교부번호").at(110.0),
        label(&number),
    ])?;
    sheet.line(&[
        label("환자명"),
        value(&patient, "환자명"),
        label("주민등록번호").at(110.0),
        label(&resident_number(draws)),
    ])?;
    sheet.line(&[
        label("질병분류기호"),
        value(&illness, "질병코드"),
        label("처방의").at(110.0),
        label(&doctor),
    ])?;
    sheet.rule();
    let top = sheet.y();
    let at = [LEFT + 1.0, 78.0, 103.0, 137.0, 162.0];
    let head = ["약물명", "용량", "투여횟수", "투여경로", "투약일수"];
    sheet.line(&head.iter().zip(at).map(|(h, x)| label(h).at(x)).collect::<Vec<_>>())?;
    sheet.rule();
    let count = between(draws, 3, 7) as usize;
    for (i, drug) in some(draws, &words.drugs, count).into_iter().enumerate() {
        let row = i as u32;
        let (dose, often) = (pick(draws, &drug.doses), pick(draws, &FREQUENCIES));
        let days = format!("{}일", pick(draws, &[3, 5, 7, 14, 28, 30, 60, 90]));
        sheet.line(&[
            value(&drug.name, "약물명").row(row).at(at[0]),
            value(dose, "용량").row(row).at(at[1]),
            value(often, "투여횟수").row(row).at(at[2]),
            value(&drug.route, "투여경로").row(row).at(at[3]),
            label(&days).at(at[4]),
        ])?;
    }
    sheet.rule();
    sheet.uprights(top, &[at[1] - 1.5, at[2] - 1.5, at[3] - 1.5, at[4] - 1.5]);
    sheet.gap(4.0);
    sheet.line(&[
        label("사용기간"),
        label("교부일로부터 3일간"),
        label("대체조제"),
        label(word(draws, &["가능", "불가"])),
    ])?;
    sheet.line(&[
        label("조제 시 참고사항:"),
        label(word(draws, &["식후 30분 복용", "취침 전 복용", "공복 시 복용", "없음"])),
    ])
}

fn lab_result(sheet: &mut Sheet<'_>, words: &Vocabulary, draws: &mut Draws) -> Result<(), GenerateError> {
    let patient = person(draws);
    let number = format!("{:08}", draws.below(100_000_000));
    sheet.heading("검사결과지", 1.8)?;
    sheet.rule();
    sheet.line(&[
        label("의료기관"),
        label(word(draws, &HOSPITALS)),
        label("등록번호").at(110.0),
        label(&number),
    ])?;
    sheet.line(&[
        label("환자명"),
        value(&patient, "환자명"),
        label("보고일").at(110.0),
        label(&date(draws, 2026)),
    ])?;
    sheet.rule();
    let top = sheet.y();
    let at = [LEFT + 1.0, 78.0, 104.0, 116.0, 150.0];
    let head = ["검사항목", "수치", "판정", "단위", "참고치"];
    sheet.line(&head.iter().zip(at).map(|(h, x)| label(h).at(x)).collect::<Vec<_>>())?;
    sheet.rule();
    let count = between(draws, 10, 18) as usize;
    for (i, lab) in some(draws, &words.labs, count).into_iter().enumerate() {
        let row = i as u32;
        let width = lab.high - lab.low;
        let reading = (lab.low + width * (draws.normal() * 0.45 + 0.5)).max(0.0);
        let digits = lab.decimals;
        let smallest = 0.1_f64.powi(digits as i32);
        let mut text = format!("{reading:.digits$}");
        if digits == 2 && reading < smallest {
            text = format!("<{smallest:.digits$}");
        }
        let flag = match reading {
            r if r > lab.high => pick(draws, &["H", "▲"]),
            r if r < lab.low => pick(draws, &["L", "▼"]),
            _ => &"",
        };
        let range = match lab.low {
            0.0 => format!("<{:.digits$}", lab.high),
            low => format!("{low:.digits$}{}{:.digits$}", pick(draws, &["~", "-"]), lab.high),
        };
        let mut pieces =
            vec![value(&lab.item, "검사항목").row(row).at(at[0]), value(&text, "수치").row(row).at(at[1])];
        if !flag.is_empty() {
            pieces.push(label(flag).at(at[2]));
        }
        pieces.push(value(&lab.unit, "단위").row(row).at(at[3]));
        pieces.push(value(&range, "참고치").row(row).at(at[4]));
        sheet.line(&pieces)?;
    }
    sheet.rule();
    // A rule may touch the values of its column.
    sheet.uprights(top, &[at[1] - 0.6, at[3] - 1.0, at[4] - 1.0]);
    sheet.gap(3.0);
    sheet.line(&[label("검사자"), label(&person(draws)), label("확인의").at(110.0), label(&person(draws))])
}

fn diagnoses(sheet: &mut Sheet<'_>, list: &[&Diagnosis]) -> Result<(), GenerateError> {
    let at = [LEFT + 1.0, 40.0, 160.0];
    sheet.line(&[label("구분").at(at[0]), label("진단명").at(at[1]), label("진단코드").at(at[2])])?;
    sheet.rule();
    for (i, diagnosis) in list.iter().enumerate() {
        sheet.line(&[
            label(if i == 0 { "주상병" } else { "부상병" }).at(at[0]),
            value(&diagnosis.name, "진단명").row(i as u32).at(at[1]),
            value(&diagnosis.code, "진단코드").row(i as u32).at(at[2]),
        ])?;
    }
    sheet.rule();
    Ok(())
}

fn diagnosis(sheet: &mut Sheet<'_>, words: &Vocabulary, draws: &mut Draws) -> Result<(), GenerateError> {
    let patient = person(draws);
    sheet.heading("진단서", 1.8)?;
    sheet.rule();
    sheet.line(&[
        label("환자명"),
        value(&patient, "환자명"),
        label("주민등록번호").at(110.0),
        label(&resident_number(draws)),
    ])?;
    sheet.line(&[label("주소"), label(&address(draws))])?;
    sheet.rule();
    let count = between(draws, 1, 4) as usize;
    diagnoses(sheet, &some(draws, &words.diagnoses, count))?;
    sheet.line(&[
        label("발병일"),
        label(&date(draws, 2025)),
        label("진단일").at(110.0),
        label(&date(draws, 2026)),
    ])?;
    sheet.gap(2.0);
    sheet.line(&[label("치료 내용 및 소견")])?;
    let course: Vec<&str> = some(draws, &COURSES, 3).into_iter().copied().collect();
    sheet.paragraph(&course.join(" "), "소견")?;
    sheet.line(&[label(&format!(
        "향후 약 {}주간의 치료와 안정이 필요할 것으로 판단됨.",
        between(draws, 2, 12)
    ))])?;
    sheet.gap(4.0);
    sheet.line(&[label("위와 같이 진단함.")])?;
    let licence = format!("제 {} 호", between(draws, 900_000, 999_999));
    sheet.line(&[
        label("의료기관"),
        label(word(draws, &HOSPITALS)),
        label("면허번호").at(110.0),
        label(&licence),
    ])?;
    sheet.line(&[label("의사"), label(&person(draws)), label("(인)")])
}

fn discharge(sheet: &mut Sheet<'_>, words: &Vocabulary, draws: &mut Draws) -> Result<(), GenerateError> {
    let patient = person(draws);
    let (admitted, left) = (date(draws, 2025), date(draws, 2026));
    sheet.heading("퇴원요약서", 1.8)?;
    sheet.rule();
    sheet.line(&[
        label("환자명"),
        value(&patient, "환자명"),
        label("의료기관").at(110.0),
        label(word(draws, &HOSPITALS)),
    ])?;
    sheet.line(&[
        label("입원일"),
        value(&admitted, "입원일"),
        label("퇴원일").at(110.0),
        value(&left, "퇴원일"),
    ])?;
    let main = pick(draws, &words.diagnoses);
    sheet.line(&[label("주진단"), value(&main.name, "주진단"), value(&main.code, "진단코드")])?;
    sheet.rule();
    sheet.heading("경과", 1.15)?;
    let course: Vec<&str> = some(draws, &COURSES, 7).into_iter().copied().collect();
    sheet.paragraph(&course.join(" "), "경과")?;
    sheet.gap(2.0);
    sheet.heading("퇴원약", 1.15)?;
    let count = between(draws, 3, 6) as usize;
    for drug in some(draws, &words.drugs, count) {
        let (dose, often) = (pick(draws, &drug.doses), pick(draws, &FREQUENCIES));
        sheet.line(&[label("-"), label(&drug.name), label(dose), label(often), label(&drug.route)])?;
    }
    sheet.gap(2.0);
    sheet.heading("추후계획", 1.15)?;
    let plan: Vec<&str> = some(draws, &PLANS, 4).into_iter().copied().collect();
    sheet.paragraph(&plan.join(" "), "추후계획")?;
    sheet.gap(3.0);
    sheet.line(&[label("작성자"), label(&person(draws))])
}

fn record(sheet: &mut Sheet<'_>, words: &Vocabulary, draws: &mut Draws) -> Result<(), GenerateError> {
    let about = format!("{} ({}/{}세)", person(draws), pick(draws, &["남", "여"]), between(draws, 19, 92));
    sheet.heading("의무기록", 1.8)?;
    sheet.rule();
    sheet.line(&[
        label("환자정보"),
        value(&about, "환자정보"),
        label("기록일").at(110.0),
        label(&date(draws, 2026)),
    ])?;
    sheet.line(&[label("주소"), value(&address(draws), "주소")])?;
    sheet.rule();
    let history: Vec<&str> = some(draws, &HISTORIES, 6).into_iter().copied().collect();
    for (name, text) in [("현병력", history[..4].join(" ")), ("과거력", history[4..].join(" "))] {
        sheet.heading(name, 1.15)?;
        sheet.style(Style::Hand);
        sheet.paragraph(&text, name)?;
        sheet.style(Style::Print);
        sheet.gap(2.0);
    }
    sheet.heading("활력징후", 1.15)?;
    let vital = format!(
        "혈압 {}/{} mmHg, 맥박 {}회/분, 호흡 {}회/분, 체온 {}.{} ℃",
        between(draws, 95, 165),
        between(draws, 55, 98),
        between(draws, 55, 110),
        between(draws, 12, 24),
        between(draws, 36, 38),
        draws.below(10)
    );
    sheet.line(&[label(&vital)])?;
    sheet.heading("평가 및 계획", 1.15)?;
    for (i, diagnosis) in some(draws, &words.diagnoses, 2).into_iter().enumerate() {
        sheet.line(&[
            label(&format!("{}.", i + 1)),
            label(&diagnosis.name),
            label(&format!("({})", diagnosis.code)),
        ])?;
    }
    sheet.style(Style::Hand);
    sheet.line(&[label(word(draws, &PLANS))])?;
    sheet.style(Style::Print);
    sheet.line(&[label("담당의"), label(&person(draws))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopwatt_serving::random::Purpose;

    #[test]
    fn resident_numbers_are_never_valid() {
        // The check digit of 000101-100000: Σ = 0·2 … + 1·5 + 0·6 + 1·7 + 1·8 = 20; 11 − 20 mod 11 = 2.
        assert_eq!(check_digit("000101100000"), 2);
        let mut draws = Draws::new(Purpose::Document, [3, 0, 0, 0]);
        for _ in 0..2000 {
            let digits = resident_number(&mut draws).replace('-', "");
            assert!(digits.len() == 13 && digits[12..] != check_digit(&digits[..12]).to_string(), "{digits}");
        }
    }
}
