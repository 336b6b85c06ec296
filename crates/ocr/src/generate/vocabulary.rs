//! Words of made-up documents. Names of drugs are generic, ranges of values only illustrate: none of it is for
//! clinical use. A user's own words come from a file of lines `drug⇥NAME⇥DOSE,DOSE⇥ROUTE`, `lab⇥ITEM⇥UNIT⇥LOW⇥HIGH` or
//! `diagnosis⇥CODE⇥NAME`.

use super::GenerateError;

/// A drug.
#[derive(Debug, Clone)]
pub(super) struct Drug {
    pub(super) name: String,
    pub(super) doses: Vec<String>,
    pub(super) route: String,
}

/// An item of a laboratory report.
#[derive(Debug, Clone)]
pub(super) struct Lab {
    pub(super) item: String,
    pub(super) unit: String,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Digits behind the point.
    pub(super) decimals: usize,
}

/// A diagnosis.
#[derive(Debug, Clone)]
pub(super) struct Diagnosis {
    pub(super) code: String,
    pub(super) name: String,
}

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    pub(super) drugs: Vec<Drug>,
    pub(super) labs: Vec<Lab>,
    pub(super) diagnoses: Vec<Diagnosis>,
}

const DRUGS: &str = "\
아스피린장용정\t100mg,75mg\t경구
아테놀올정\t25mg,50mg\t경구
아토르바스타틴정\t10mg,20mg,40mg\t경구
암로디핀정\t2.5mg,5mg,10mg\t경구
로사르탄칼륨정\t50mg,100mg\t경구
메트포르민정\t500mg,850mg,1,000mg\t경구
글리메피리드정\t1mg,2mg,0.5mg\t경구
글리클라지드정\t30mg,60mg\t경구
레보티록신나트륨정\t50μg,75μg,100μg\t경구
와파린나트륨정\t1mg,2mg,5mg\t경구
디곡신정\t0.125mg,0.25mg\t경구
푸로세미드정\t40mg,20mg\t경구
스피로노락톤정\t25mg,50mg\t경구
오메프라졸캡슐\t20mg,40mg\t경구
란소프라졸캡슐\t15mg,30mg\t경구
파모티딘정\t20mg\t경구
아목시실린캡슐\t250mg,500mg\t경구
세파클러캡슐\t250mg\t경구
클래리트로마이신정\t250mg,500mg\t경구
레보플록사신정\t250mg,500mg\t경구
아세트아미노펜정\t500mg,650mg\t경구
이부프로펜정\t200mg,400mg\t경구
나프록센정\t250mg,500mg\t경구
트라마돌캡슐\t50mg\t경구
프레드니솔론정\t5mg,2.5mg\t경구
메틸프레드니솔론정\t4mg,1mg\t경구
세티리진정\t10mg,5mg\t경구
로라타딘정\t10mg\t경구
몬테루카스트정\t10mg,5mg\t경구
알프라졸람정\t0.25mg,0.5mg\t경구
졸피뎀정\t5mg,10mg\t경구
에스시탈로프람정\t5mg,10mg\t경구
가바펜틴캡슐\t100mg,300mg\t경구
인슐린글라진주\t10 IU,16 IU\t피하주사
덱사메타손주사액\t5mg/mL\t정맥주사
세프트리악손주\t1g,2g\t정맥주사
살부타몰흡입액\t2.5mg\t흡입
플루티카손흡입제\t125μg,250μg\t흡입
히알루론산점안액\t0.1%,0.3%\t점안
무피로신연고\t2%\t외용";

const LABS: &str = "\
백혈구(WBC)\t10³/μL\t4.0\t10.0
적혈구(RBC)\t10⁶/μL\t4.20\t6.30
혈색소(Hb)\tg/dL\t13.0\t17.0
적혈구용적률(Hct)\t%\t39.0\t52.0
혈소판(PLT)\t10³/μL\t130\t400
평균적혈구용적(MCV)\tfL\t80.0\t98.0
적혈구침강속도(ESR)\tmm/hr\t0\t20
AST(SGOT)\tU/L\t0\t40
ALT(SGPT)\tU/L\t0\t41
감마지티피(γ-GTP)\tU/L\t10\t71
총빌리루빈\tmg/dL\t0.2\t1.2
총단백\tg/dL\t6.6\t8.7
알부민\tg/dL\t3.5\t5.2
혈액요소질소(BUN)\tmg/dL\t8.0\t20.0
크레아티닌\tmg/dL\t0.70\t1.20
사구체여과율(eGFR)\tmL/min/1.73m²\t60.0\t120.0
공복혈당\tmg/dL\t70\t99
당화혈색소(HbA1c)\t%\t4.0\t5.6
총콜레스테롤\tmg/dL\t120\t200
중성지방\tmg/dL\t40\t150
HDL 콜레스테롤\tmg/dL\t40\t60
나트륨(Na)\tmmol/L\t136\t145
칼륨(K)\tmmol/L\t3.5\t5.1
염소(Cl)\tmmol/L\t98\t107
칼슘(Ca)\tmg/dL\t8.6\t10.2
요산\tmg/dL\t3.4\t7.0
C-반응단백(CRP)\tmg/dL\t0.00\t0.50
갑상선자극호르몬(TSH)\tμIU/mL\t0.27\t4.20
유리 T4\tng/dL\t0.93\t1.70
페리틴\tng/mL\t30.0\t400.0
비타민 D\tng/mL\t30.0\t100.0
트로포닌 I\tng/mL\t0.00\t0.04";

const DIAGNOSES: &str = "\
I10\t본태성 고혈압
E11.9\t합병증을 동반하지 않은 2형 당뇨병
E78.0\t순수고콜레스테롤혈증
E03.9\t상세불명의 갑상선기능저하증
I20.9\t상세불명의 협심증
I48.9\t상세불명의 심방세동
I50.0\t울혈성 심부전
I63.9\t상세불명의 뇌경색증
J00\t급성 비인두염
J18.9\t상세불명의 폐렴
J20.9\t상세불명의 급성 기관지염
J30.4\t상세불명의 알레르기비염
J45.9\t상세불명의 천식
K21.0\t식도염을 동반한 위식도역류병
K25.9\t출혈 또는 천공이 없는 위궤양
K29.7\t상세불명의 위염
K35.8\t상세불명의 급성 충수염
K52.9\t상세불명의 비감염성 위장염 및 결장염
K80.2\t담낭염을 동반하지 않은 담낭의 결석
L20.9\t상세불명의 아토피피부염
M17.9\t상세불명의 무릎관절증
M51.1\t신경뿌리병증을 동반한 추간판장애
M54.5\t요통
M81.9\t상세불명의 골다공증
N18.3\t만성 신장병(3기)
N20.0\t신장의 결석
N39.0\t부위가 명시되지 않은 요로감염
N40\t전립선증식증
D50.9\t상세불명의 철결핍빈혈
F32.9\t상세불명의 우울에피소드
G43.9\t상세불명의 편두통
G47.0\t수면 개시 및 유지 장애
H10.9\t상세불명의 결막염
H25.9\t상세불명의 노년백내장
S52.5\t요골 하단의 골절
S93.4\t발목의 염좌 및 긴장
Z01.8\t기타 명시된 특수검사";

impl Vocabulary {
    /// The built-in words, and those of a user's file before them where it has any of a kind.
    pub(super) fn new(user: Option<&str>) -> Result<Self, GenerateError> {
        let own = |kind: &str| -> String {
            let lines = user.unwrap_or("").lines().filter_map(|l| l.strip_prefix(kind)?.strip_prefix('\t'));
            lines.map(|l| format!("{l}\n")).collect()
        };
        for (i, line) in user.unwrap_or("").lines().enumerate() {
            let kind = line.split('\t').next().unwrap_or_default();
            let known =
                kind.is_empty() || kind.starts_with('#') || ["drug", "lab", "diagnosis"].contains(&kind);
            let columns = line.split('\t').count();
            let needed = match kind {
                "drug" => 4,
                "lab" => 5,
                "diagnosis" => 3,
                _ => columns,
            };
            if !known || columns != needed {
                return Err(GenerateError::Vocabulary { line: i + 1 });
            }
        }
        let of = |kind: &str, built_in: &str| match own(kind) {
            own if own.is_empty() => built_in.to_owned(),
            own => own,
        };
        let wrong = || GenerateError::Vocabulary { line: 0 };
        let mut out = Self { drugs: Vec::new(), labs: Vec::new(), diagnoses: Vec::new() };
        for line in of("drug", DRUGS).lines() {
            let [name, doses, route] = columns(line).ok_or_else(wrong)?;
            // A comma between digits is part of a dose.
            let mut list: Vec<String> = Vec::new();
            for part in doses.split(',') {
                match list.last_mut() {
                    Some(last) if last.chars().all(|c| c.is_ascii_digit()) => {
                        last.push(',');
                        last.push_str(part);
                    }
                    _ => list.push(part.to_owned()),
                }
            }
            out.drugs.push(Drug { name, doses: list, route });
        }
        for line in of("lab", LABS).lines() {
            let [item, unit, low, high] = columns(line).ok_or_else(wrong)?;
            let decimals = high.split_once('.').map_or(0, |(_, d)| d.len());
            let number = |t: &str| t.parse::<f64>().map_err(|_| wrong());
            out.labs.push(Lab { item, unit, low: number(&low)?, high: number(&high)?, decimals });
        }
        for line in of("diagnosis", DIAGNOSES).lines() {
            let [code, name] = columns(line).ok_or_else(wrong)?;
            out.diagnoses.push(Diagnosis { code, name });
        }
        Ok(out)
    }
}

fn columns<const N: usize>(line: &str) -> Option<[String; N]> {
    line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into().ok()
}

/// Family names and given names; put together they are nobody in particular.
pub(super) const FAMILIES: [&str; 12] =
    ["김", "이", "박", "최", "정", "강", "조", "윤", "장", "임", "한", "오"];
pub(super) const GIVEN: [&str; 16] = [
    "가상", "보기", "예시", "시험", "모의", "연습", "가온", "나래", "다솜", "라온", "마루", "바름", "새봄",
    "아름", "한결", "하늘",
];
pub(super) const HOSPITALS: [&str; 8] = [
    "가상대학교병원",
    "모의의료원",
    "예시종합병원",
    "시험내과의원",
    "보기가정의학과의원",
    "가온병원",
    "연습정형외과의원",
    "한결의료원",
];
pub(super) const CITIES: [&str; 6] = [
    "가상시 모의구 예시로",
    "시험도 보기시 연습로",
    "모의시 가온구 나래길",
    "예시군 한결읍 다솜로",
    "가상도 라온시 마루길",
    "보기시 새봄구 하늘로",
];
pub(super) const FREQUENCIES: [&str; 8] =
    ["1일 1회", "1일 2회", "1일 3회", "1일 4회", "12시간마다", "8시간마다", "필요시 1회", "주 1회"];
pub(super) const COURSES: [&str; 10] = [
    "입원 후 수액 및 항생제 투여를 시작하였으며 3일째부터 발열이 호전됨.",
    "흉부 X선에서 우하엽의 침윤이 감소하였고 산소포화도는 97%로 유지됨.",
    "혈압은 138/86 mmHg로 조절되었고 어지러움은 호소하지 않음.",
    "공복혈당은 112 mg/dL, 당화혈색소는 7.2%로 확인되어 약물 용량을 조정함.",
    "복부 초음파에서 담낭 결석(1.2 cm)이 관찰되었으나 담낭벽 비후는 없음.",
    "수술 부위의 발적이나 삼출물은 없었으며 통증은 NRS 2점으로 감소함.",
    "심전도에서 정상 동율동이 확인되었고 트로포닌 I는 <0.01 ng/mL였음.",
    "식이는 유동식에서 일반식으로 진행하였고 오심이나 구토는 없었음.",
    "물리치료를 병행하여 보행기로 50 m 보행이 가능해짐.",
    "크레아티닌은 1.8에서 1.1 mg/dL로 호전되어 이뇨제를 감량함.",
];
pub(super) const PLANS: [&str; 6] = [
    "2주 후 외래에서 혈액검사(CBC, CRP)를 추적할 예정.",
    "퇴원약을 14일분 처방하였으며 복용법을 교육함.",
    "저염식(나트륨 2 g/일 이하)과 규칙적인 운동을 권고함.",
    "발열(38.0 ℃ 이상), 호흡곤란이 있으면 응급실로 내원하도록 설명함.",
    "3개월 후 심장초음파를 시행하기로 함.",
    "1주 후 실밥을 제거하고 상처 상태를 확인할 예정.",
];
pub(super) const HISTORIES: [&str; 8] = [
    "3일 전부터 시작된 기침과 가래로 내원하였으며 체온은 38.2 ℃였음.",
    "내원 당일 아침부터 명치 부위 통증이 있었고 식후에 악화됨.",
    "5년 전 고혈압을 진단받고 암로디핀 5mg을 1일 1회 복용 중임.",
    "계단을 오를 때 숨이 차는 증상이 2개월 전부터 심해짐.",
    "우측 무릎 통증이 6주 이상 지속되어 진통제를 복용하였음.",
    "최근 1개월 동안 체중이 4 kg 감소하였고 식욕이 저하됨.",
    "어지러움이 하루 2~3회 발생하며 이명은 동반하지 않음.",
    "약물 알레르기는 없으며 흡연 20갑년, 음주는 주 1~2회임.",
];
