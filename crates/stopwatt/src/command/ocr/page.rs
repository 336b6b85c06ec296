//! A run of `ocr run` as a page: which figures it shows, in words.

use std::collections::BTreeMap;

use stopwatt_core::text::{Lang, Text, fill};
use stopwatt_ocr::confusion::{Class, Part, Told, parts};
use stopwatt_ocr::evidence::{self, Evidence, Mark, SettingEvidence, WorstPage};
use stopwatt_ocr::profile::DocType;
use stopwatt_ocr::read::echo::is_truth_echo;
use stopwatt_ocr::run::{RunDoc, Setting, SweepPoint, TypeResult};
use stopwatt_ocr::verdict::{Check, Verdict};
use stopwatt_quality::summary::{Rate, Summary};
use stopwatt_report::{
    Bar, Block, Cell, Document, LineChart, Measured, OcrPage, OcrStanding as Standing, Piece, Section,
    Series, Tone,
};

use super::table::{failure_text, number, quantity, reason, verdict_text};
use crate::command::columns::seconds;

/// Lines of reasons at the head of the page.
const REASONS: usize = 12;
/// Rows of each table of confusions.
const CONFUSIONS: usize = 30;
/// Fewest errors of a kind that a page made to be shared tells.
const SHARED_LEAST: u64 = 5;

/// What the page is made of.
pub(super) struct Pages<'a> {
    /// The run.
    pub(super) doc: &'a RunDoc,
    /// Content of documents, where it may be shown.
    pub(super) evidence: Option<&'a Evidence>,
    /// Whether the page is made to be passed on.
    pub(super) share: bool,
    /// Language of the page.
    pub(super) lang: Lang,
}

impl Pages<'_> {
    /// The page.
    pub(super) fn page(&self) -> OcrPage {
        let doc = self.doc;
        let first = doc.settings.first();
        let data = if doc.synthetic { Text::OcrReportMade } else { Text::OcrReportReal };
        let fact = |name: Text, value: String| (self.text(name).to_owned(), value);
        let pages: u64 = doc.settings.iter().map(|s| s.score.pages).sum();
        let mut facts = vec![
            fact(Text::OcrReportReader, format!("{} ({})", doc.reader.name, doc.reader.kind)),
            fact(Text::OcrPages, pages.to_string()),
            fact(Text::OcrReportAtOnce, doc.reader.concurrency.to_string()),
            fact(Text::OcrReportData, self.text(data).to_owned()),
        ];
        facts.extend(first.map(|s| fact(Text::OcrReportNorm, s.score.normalisation.id().to_owned())));
        let private = self.evidence.is_some_and(|e| !e.synthetic);
        let (reasons, hidden) = self.reasons();
        let passed = doc.verdict == Verdict::Pass;
        let beside = match (passed, hidden) {
            (true, _) => self.text(Text::OcrReportAllMet).to_owned(),
            (false, 0) => self.text(Text::OcrReportReasons).to_owned(),
            (false, n) => format!("{} (+{n})", self.text(Text::OcrReportReasons)),
        };
        let sections = [
            self.types(),
            self.bars(),
            self.map(),
            self.speed(),
            self.confused(),
            self.order(),
            self.worst(),
            self.failures(),
        ];
        let synthetic = if doc.synthetic { self.text(Text::OcrSynthetic) } else { "" };
        OcrPage {
            brand: self.text(Text::OcrReport).to_owned(),
            title: doc.reader.name.clone(),
            facts,
            standing: standing(doc.verdict),
            verdict: self.text(verdict_text(doc.verdict)).to_owned(),
            beside,
            reasons,
            banner: is_truth_echo(&doc.reader.name).then(|| self.text(Text::OcrReportEcho).to_owned()),
            content: private.then(|| self.text(Text::OcrReportContent).to_owned()),
            sections: sections.into_iter().filter(|s| !s.blocks.is_empty()).collect(),
            foot: fill(self.text(Text::OcrReportLimits), &[synthetic]),
        }
    }

    fn text(&self, text: Text) -> &'static str {
        text.get(self.lang)
    }

    fn texts(&self, texts: &[Text]) -> Vec<String> {
        texts.iter().map(|t| self.text(*t).to_owned()).collect()
    }

    fn section(&self, id: &'static str, title: Text, note: Option<Text>, blocks: Vec<Block>) -> Section {
        let note = note.map_or_else(String::new, |note| self.text(note).to_owned());
        Section { id, title: self.text(title).to_owned(), note, blocks }
    }

    /// Every type at every setting, in the order of the run.
    fn groups(&self) -> impl Iterator<Item = (&Setting, &str, &TypeResult)> {
        self.doc
            .settings
            .iter()
            .flat_map(|s| s.types.iter().map(move |(name, result)| (s, name.as_str(), result)))
    }

    /// A line for each type that does not pass: the limits it misses or may miss. And how many lines were too many.
    fn reasons(&self) -> (Vec<(Standing, String)>, usize) {
        let mut all = Vec::new();
        for (setting, name, result) in self.groups() {
            let Some(verdict) = result.verdict.filter(|v| *v != Verdict::Pass) else { continue };
            let of: Vec<&Check> = result.checks.iter().filter(|c| c.verdict == verdict).collect();
            let shown: Vec<String> = of.iter().take(3).map(|c| reason(c, self.lang)).collect();
            let more = of.len().saturating_sub(3);
            let more = if more > 0 { format!(" · +{more}") } else { String::new() };
            let place = format!("{name} {}", shown_setting(setting));
            all.push((standing(verdict), format!("{}: {}{more}", place.trim_end(), shown.join(" · "))));
        }
        all.sort_by_key(|(standing, _)| *standing != Standing::Fail);
        let hidden = all.len().saturating_sub(REASONS);
        all.truncate(REASONS);
        (all, hidden)
    }

    fn types(&self) -> Section {
        let mut titles = self.texts(&[
            Text::OcrType,
            Text::OcrDegrade,
            Text::OcrDocuments,
            Text::OcrReportCer,
            Text::OcrReportLatency,
            Text::OcrReportFieldCheck,
            Text::OcrPerMinute,
            Text::OcrVerdict,
        ]);
        titles.insert(4, "WER".to_owned());
        let rows = self.groups().map(|(setting, name, result)| {
            let scores = setting.score.types.get(name);
            let check = |what: &str| result.checks.iter().find(|c| c.what == what);
            let fields: Vec<&Check> = result.checks.iter().filter(|c| c.status.is_some()).collect();
            let right = fields.iter().filter(|c| c.verdict == Verdict::Pass).count();
            let worst = fields.iter().map(|c| c.verdict).max();
            let low = fields.iter().min_by(|a, b| a.value.unwrap_or(0.0).total_cmp(&b.value.unwrap_or(0.0)));
            let field_cell = match (low, worst) {
                (Some(low), Some(worst)) => Cell {
                    text: format!("{right}/{}", fields.len()),
                    small: format!("{} {}", low.what, percent(low.value.unwrap_or(0.0))),
                    tone: tone(worst),
                },
                _ => Cell::of("–"),
            };
            let p95 = result.timing.as_ref().and_then(|t| t.latency_s).map(|s| s.p95);
            let latency = check("latency");
            let cer_cell = Cell {
                text: limited(scores.and_then(|s| s.cer.micro.value).map(rate), check("cer"), rate),
                small: scores.and_then(|s| interval(&s.cer.micro)).unwrap_or_default(),
                tone: check("cer").map_or(Tone::Plain, |c| tone(c.verdict)),
            };
            let latency_cell = Cell {
                text: limited(latency.and_then(|c| c.value).or(p95).map(seconds), latency, seconds),
                small: String::new(),
                tone: latency.map_or(Tone::Plain, |c| tone(c.verdict)),
            };
            vec![
                Cell::of(name),
                Cell::of(shown_setting(setting)),
                Cell::of(scores.map_or(0, |s| s.documents).to_string()),
                cer_cell,
                Cell::of(scores.and_then(|s| s.wer.micro.value).map_or_else(dash, rate)),
                latency_cell,
                field_cell,
                Cell::of(result.timing.as_ref().map_or_else(dash, |t| format!("{:.1}", t.documents_per_min))),
                Cell {
                    text: result
                        .verdict
                        .map_or_else(dash, |v| format!("{} {}", mark(v), self.text(verdict_text(v)))),
                    small: String::new(),
                    tone: result.verdict.map_or(Tone::Plain, tone),
                },
            ]
        });
        let table = Block::Table(titles, 2, rows.collect());
        self.section("types", Text::OcrReportTypes, Some(Text::OcrReportTypesNote), vec![table])
    }

    /// Bars of the setting with the fewest errors; the others open when asked.
    fn bars(&self) -> Section {
        let cer = |s: &&Setting| s.score.cer_micro.unwrap_or(f64::INFINITY);
        let best = self.doc.settings.iter().min_by(|a, b| cer(a).total_cmp(&cer(b)));
        let (mut blocks, mut folded) = (Vec::new(), Vec::new());
        for setting in &self.doc.settings {
            let mut bars = Vec::new();
            for (name, result) in &setting.types {
                for check in result.checks.iter().filter(|c| c.status.is_some()) {
                    let Some(value) = check.value else { continue };
                    let status = check.status.clone().unwrap_or_default();
                    bars.push(Bar {
                        group: name.clone(),
                        name: check.what.clone(),
                        value,
                        interval: check.interval.map(|i| (i.lo, i.hi)),
                        shown: (
                            percent(value),
                            check.interval.map_or_else(String::new, |i| {
                                format!("[{}, {}]", percent(i.lo), percent(i.hi))
                            }),
                        ),
                        tone: match status.as_str() {
                            "OK" => Tone::Good,
                            "WARN" => Tone::Warn,
                            _ => Tone::Bad,
                        },
                        status,
                    });
                }
            }
            if bars.is_empty() {
                continue;
            }
            let title = shown_setting(setting);
            if best.is_some_and(|b| std::ptr::eq(b, setting)) {
                blocks.extend([Block::Title(title), Block::Bars(bars)]);
            } else {
                folded.push(Block::Folded(title, vec![Block::Bars(bars)]));
            }
        }
        blocks.extend(folded);
        if let Some(numbers) = self.numbers() {
            blocks.extend([Block::Title(self.text(Text::OcrReportNumbers).to_owned()), numbers]);
        }
        self.section("fields", Text::OcrReportBars, Some(Text::OcrReportBarsNote), blocks)
    }

    /// How quantities were read, a row a setting.
    fn numbers(&self) -> Option<Block> {
        let of =
            |s: &Setting| s.score.all.all_fields.as_ref().map(|f| f.quantities.clone()).unwrap_or_default();
        let mut classes = BTreeMap::new();
        for setting in &self.doc.settings {
            of(setting).into_keys().for_each(|class| _ = classes.insert(class, ()));
        }
        if classes.is_empty() {
            return None;
        }
        let mut titles = vec![self.text(Text::OcrDegrade).to_owned()];
        titles.extend(classes.keys().map(|class| self.text(quantity(*class)).to_owned()));
        let row = |setting: &Setting| {
            let counts = of(setting);
            let cells = classes.keys().map(|c| Cell::of(counts.get(c).map_or_else(dash, u64::to_string)));
            [Cell::of(shown_setting(setting))].into_iter().chain(cells).collect()
        };
        Some(Block::Table(titles, 1, self.doc.settings.iter().map(row).collect()))
    }

    /// CER by resolution and degradation; nothing where there is but one of each.
    fn map(&self) -> Section {
        let settings = &self.doc.settings;
        let mut blocks = Vec::new();
        let resolutions: BTreeMap<u32, ()> = settings.iter().filter_map(|s| Some((s.dpi?, ()))).collect();
        let degradations: BTreeMap<&str, ()> = settings.iter().map(|s| (degradation(s), ())).collect();
        if settings.len() > 1 && !resolutions.is_empty() {
            let rates = settings.iter().filter_map(|s| s.score.cer_micro);
            let (low, high) = rates.fold((f64::INFINITY, 0.0_f64), |(a, b), v| (a.min(v), b.max(v)));
            let level = |v: f64| if high > low { ((v - low) / (high - low) * 4.0).round() as u8 } else { 0 };
            let mut titles = vec!["DPI".to_owned()];
            titles.extend(degradations.keys().map(|d| (*d).to_owned()));
            let rows = resolutions.keys().map(|dpi| {
                let cell = |name: &&str| {
                    let setting = settings.iter().find(|s| s.dpi == Some(*dpi) && degradation(s) == *name);
                    let Some((s, cer)) = setting.and_then(|s| Some((s, s.score.cer_micro?))) else {
                        return Cell::of(dash());
                    };
                    let mut small: Vec<String> = interval(&s.score.all.cer.micro).into_iter().collect();
                    let timing = s.types.values().find_map(|t| t.timing.as_ref());
                    if let Some(tokens) = timing.and_then(|t| t.image_tokens) {
                        small.push(format!("{} {tokens:.0}", self.text(Text::OcrReportImageTokens)));
                    }
                    if let Some(ttft) = timing.and_then(|t| t.ttft_s) {
                        small.push(format!("TTFT {}", seconds(ttft.p50)));
                    }
                    Cell { text: rate(cer), small: small.join(" · "), tone: Tone::Heat(level(cer)) }
                };
                [Cell::of(dpi.to_string())].into_iter().chain(degradations.keys().map(cell)).collect()
            });
            blocks.push(Block::Table(titles, 1, rows.collect()));
        }
        if resolutions.len() > 1 {
            blocks.push(self.curves(&degradations));
            blocks.extend(self.knee().map(Block::Note));
        }
        self.section("map", Text::OcrReportMap, Some(Text::OcrReportMapNote), blocks)
    }

    fn curves(&self, degradations: &BTreeMap<&str, ()>) -> Block {
        let series = degradations.keys().map(|name| {
            let of = self.doc.settings.iter().filter(|s| degradation(s) == *name);
            let points = of.filter_map(|s| {
                let rate = &s.score.all.cer.micro;
                let interval = rate.interval.map(|i| (i.lo, i.hi));
                Some(Measured { at: f64::from(s.dpi?), value: rate.value?, interval })
            });
            Series { name: (*name).to_owned(), points: points.collect() }
        });
        Block::Lines(LineChart {
            title: self.text(Text::OcrReportCurve).to_owned(),
            caption: String::new(),
            axes: ("DPI".to_owned(), "CER".to_owned()),
            series: series.collect(),
        })
    }

    /// The smallest resolution that is not clearly worse than the best, of the first degradation.
    fn knee(&self) -> Option<String> {
        let name = degradation(self.doc.settings.first()?);
        let of: Vec<_> = self
            .doc
            .settings
            .iter()
            .filter(|s| degradation(s) == name)
            .filter_map(|s| Some((s.dpi?, s.score.all.cer.micro.value?, s.score.all.cer.micro.interval?)))
            .collect();
        let best = of.iter().min_by(|a, b| a.1.total_cmp(&b.1))?.2;
        let smallest = of.iter().filter(|(_, _, i)| i.lo <= best.hi).map(|(dpi, ..)| *dpi).min()?;
        let said = fill(self.text(Text::OcrReportSmallest), &[&smallest.to_string()]);
        Some(format!("{name}: {said}"))
    }

    fn speed(&self) -> Section {
        let mut titles = self.texts(&[Text::OcrType, Text::OcrDegrade, Text::OcrReportPages]);
        titles.extend(["p50", "p95", "p99", "TLR", "TTFT p50", "TPOT p50"].map(str::to_owned));
        titles.extend(self.texts(&[
            Text::OcrReportTokens,
            Text::OcrReportImageTokens,
            Text::OcrReportOutside,
            Text::OcrPerMinute,
        ]));
        let rows = self.groups().filter_map(|(setting, name, result)| {
            let t = result.timing.as_ref()?;
            let whole = |v: Option<f64>| v.map_or_else(dash, |v| format!("{v:.0}"));
            let tokens = match (t.input_tokens, t.output_tokens) {
                (None, None) => dash(),
                (a, b) => format!("{} / {}", whole(a), whole(b)),
            };
            let time = |v: Option<f64>| v.map_or_else(dash, seconds);
            let l = t.latency_s;
            let cells = [
                name.to_owned(),
                shown_setting(setting),
                t.pages.to_string(),
                time(l.map(|l| l.p50)),
                time(l.map(|l| l.p95)),
                time(l.and_then(|l| l.p99)),
                t.tail_latency_ratio.map_or_else(dash, |r| format!("{r:.2}")),
                time(t.ttft_s.map(|s| s.p50)),
                time(t.tpot_s.map(|s| s.p50)),
                tokens,
                whole(t.image_tokens),
                t.outside_token_range.map_or_else(dash, |n| n.to_string()),
                format!("{:.1}", t.documents_per_min),
            ];
            Some(cells.into_iter().map(Cell::of).collect())
        });
        let mut blocks = vec![Block::Table(titles, 2, rows.collect())];
        blocks.extend(self.sweep());
        blocks.extend(self.resources());
        self.section("speed", Text::OcrReportSpeed, Some(Text::OcrReportSpeedNote), blocks)
    }

    /// Documents a minute by pages at once.
    fn sweep(&self) -> Vec<Block> {
        let point = |p: &SweepPoint| Measured {
            at: p.concurrency as f64,
            value: p.documents_per_min,
            interval: None,
        };
        let points: Vec<Measured> = self.doc.sweep.iter().map(point).collect();
        if points.len() < 2 {
            return Vec::new();
        }
        let mut titles = self.texts(&[Text::OcrReportAtOnce, Text::OcrReportPages, Text::OcrPerMinute]);
        titles.extend(["p50", "p95", "p99", "TTFT p50"].map(str::to_owned));
        titles.push(self.text(Text::OcrReportFailures).to_owned());
        let time = |v: Option<f64>| v.map_or_else(dash, seconds);
        let row = |p: &SweepPoint| {
            let cells = [
                p.concurrency.to_string(),
                p.pages.to_string(),
                format!("{:.1}", p.documents_per_min),
                time(p.latency_s.map(|l| l.p50)),
                time(p.latency_s.map(|l| l.p95)),
                time(p.latency_s.and_then(|l| l.p99)),
                time(p.ttft_s.map(|t| t.p50)),
                p.failed.to_string(),
            ];
            cells.into_iter().map(Cell::of).collect()
        };
        let name = self.text(Text::OcrPerMinute).to_owned();
        let lines = Block::Lines(LineChart {
            title: self.text(Text::OcrReportSweep).to_owned(),
            caption: String::new(),
            axes: (self.text(Text::OcrReportAtOnce).to_owned(), name.clone()),
            series: vec![Series { name, points }],
        });
        vec![lines, Block::Table(titles, 0, self.doc.sweep.iter().map(row).collect())]
    }

    /// What reading took of this machine, a line each for Stopwatt, the program and the GPUs.
    fn resources(&self) -> Vec<Block> {
        let Some(r) = &self.doc.resources else { return Vec::new() };
        let cpu = |s: Option<f64>| s.map(|s| fill(self.text(Text::CpuSeconds), &[&format!("{s:.1}")]));
        let bytes = |b: u64| format!("{:.0} MiB", b as f64 / 1_048_576.0);
        let peak = |b: Option<u64>| b.map(|b| fill(self.text(Text::PeakMemory), &[&bytes(b)]));
        let line = |name: &str, values: [Option<String>; 2], keys: [&str; 2]| {
            let shown = values.into_iter().zip(keys).map(|(value, key)| {
                let why = || r.missing.get(key).map_or_else(dash, |why| format!("– ({why})"));
                value.unwrap_or_else(why)
            });
            let mut shown: Vec<String> = shown.collect();
            shown.dedup();
            Block::Note(format!("{name}: {}", shown.join(" · ")))
        };
        let mut lines = vec![line(
            self.text(Text::Client),
            [cpu(r.client_cpu_s), peak(r.client_rss_bytes)],
            ["client_cpu_s", "client_rss_bytes"],
        )];
        if self.doc.reader.kind == "exec" {
            let values = [cpu(r.program_cpu_s), peak(r.program_rss_bytes)];
            lines.push(line(&self.doc.reader.name, values, ["program_cpu_s", "program_rss_bytes"]));
        }
        let energy = r.gpu_energy_j.map(|j| format!("{j:.0} J"));
        lines.push(line(
            self.text(Text::GpuMemoryTitle),
            [r.gpu_memory_bytes.map(bytes), energy],
            ["gpu_memory_bytes", "gpu_energy_j"],
        ));
        lines
    }

    fn confused(&self) -> Section {
        let mut blocks = Vec::new();
        let several = self.doc.settings.len() > 1;
        for (i, setting) in self.doc.settings.iter().enumerate() {
            let characters = self.evidence.and_then(|e| e.settings.get(i)).map_or(&[][..], |e| &e.confusions);
            let mut tables = Vec::new();
            if !characters.is_empty() {
                let apart =
                    |text: &str| text.chars().next().and_then(parts).map(|p| p.concat()).unwrap_or_default();
                let rows = characters.iter().take(CONFUSIONS).map(|c| {
                    let cell =
                        |text: &str| Cell { text: visible(text), small: apart(text), tone: Tone::Plain };
                    vec![cell(&c.truth), cell(&c.read), Cell::of(c.count.to_string())]
                });
                let titles = self.texts(&[Text::OcrReportTruth, Text::OcrReportRead, Text::OcrReportTimes]);
                let title = self.text(Text::OcrReportCharacters).to_owned();
                tables.push((title, Block::Table(titles, 2, rows.collect())));
            }
            tables.extend(self.told(&setting.confused));
            if tables.is_empty() {
                continue;
            }
            let table = Block::Beside(tables);
            blocks.push(if several { Block::Folded(shown_setting(setting), vec![table]) } else { table });
        }
        self.section("confused", Text::OcrReportConfused, Some(Text::OcrReportConfusedNote), blocks)
    }

    fn told(&self, told: &Told) -> Vec<(String, Block)> {
        let least = if self.share { SHARED_LEAST } else { 1 };
        let mut tables = Vec::new();
        let jamo: Vec<Vec<Cell>> = told
            .jamo
            .iter()
            .filter(|e| e.count >= least)
            .take(CONFUSIONS)
            .map(|e| {
                let part = match e.part {
                    Part::Initial => Text::OcrReportInitial,
                    Part::Vowel => Text::OcrReportVowel,
                    Part::Final => Text::OcrReportFinal,
                };
                let jamo = |text: &str| if text.is_empty() { dash() } else { text.to_owned() };
                let cells = [self.text(part).to_owned(), jamo(&e.truth), jamo(&e.read), e.count.to_string()];
                cells.into_iter().map(Cell::of).collect()
            })
            .collect();
        if !jamo.is_empty() {
            let titles = self.texts(&[
                Text::OcrReportPart,
                Text::OcrReportTruth,
                Text::OcrReportRead,
                Text::OcrReportTimes,
            ]);
            tables.push((self.text(Text::OcrReportJamo).to_owned(), Block::Table(titles, 3, jamo)));
        }
        let classes: Vec<Vec<Cell>> = told
            .classes
            .iter()
            .filter(|e| e.count >= least)
            .map(|e| {
                let cells =
                    [self.class(e.truth).to_owned(), self.class(e.read).to_owned(), e.count.to_string()];
                cells.into_iter().map(Cell::of).collect()
            })
            .collect();
        if !classes.is_empty() {
            let titles = self.texts(&[Text::OcrReportTruth, Text::OcrReportRead, Text::OcrReportTimes]);
            tables.push((self.text(Text::OcrReportKinds).to_owned(), Block::Table(titles, 2, classes)));
        }
        tables
    }

    fn class(&self, class: Class) -> &'static str {
        self.text(match class {
            Class::Hangul => Text::OcrReportHangul,
            Class::Digit => Text::OcrReportDigit,
            Class::Latin => Text::OcrReportLatin,
            Class::Space => Text::OcrReportSpace,
            Class::Sign => Text::OcrReportSign,
            Class::Letter => Text::OcrReportLetter,
            Class::Nothing => Text::OcrReportNothing,
        })
    }

    fn order(&self) -> Section {
        let mut titles = self.texts(&[Text::OcrType, Text::OcrDegrade]);
        titles.push("CER".to_owned());
        titles.extend(self.texts(&[Text::OcrNoSpace, Text::OcrJamo, Text::OcrAnyOrder, Text::OcrWordsF1]));
        let rows = self.groups().filter_map(|(setting, name, _)| {
            let s: &Summary = setting.score.types.get(name)?;
            let value = |r: Option<f64>| r.map_or_else(dash, rate);
            let cells = [
                name.to_owned(),
                shown_setting(setting),
                value(s.cer.micro.value),
                value(s.cer_nospace.micro.value),
                value(s.cer_jamo.micro.value),
                value(s.cer_any_order.micro.value),
                value(s.bag_of_words.f1),
            ];
            Some(cells.into_iter().map(Cell::of).collect())
        });
        let blocks = vec![Block::Table(titles, 2, rows.collect())];
        self.section("order", Text::OcrReportOrder, Some(Text::OcrReportOrderNote), blocks)
    }

    fn worst(&self) -> Section {
        let Some(evidence) = self.evidence else {
            let note = Block::Note(self.text(Text::OcrReportNotKept).to_owned());
            return self.section("worst", Text::OcrReportWorst, None, vec![note]);
        };
        let of = |(setting, e): (&Setting, &SettingEvidence)| {
            e.worst.iter().map(|page| self.document(setting, page)).collect::<Vec<_>>()
        };
        let documents: Vec<Document> =
            self.doc.settings.iter().zip(&evidence.settings).flat_map(of).collect();
        let blocks = if documents.is_empty() { vec![] } else { vec![Block::Documents(documents)] };
        self.section("worst", Text::OcrReportWorst, Some(Text::OcrReportWorstNote), blocks)
    }

    fn document(&self, setting: &Setting, page: &WorstPage) -> Document {
        let name = page.doc_type.clone().unwrap_or_else(dash);
        let name = DocType::from_name(&name).map_or(name, |t| t.name().to_owned());
        let [wrong, all] = page.fields_wrong.map(|n| n.to_string());
        let values = [name.as_str(), &shown_setting(setting), &rate(page.cer), &wrong, &all];
        let line = |pieces: &Vec<evidence::Piece>| {
            let piece = |p: &evidence::Piece| {
                let text = p.text.clone();
                let shown = match p.mark {
                    Mark::Same => Piece::Same(text),
                    Mark::Missing => Piece::Missing(text),
                    Mark::Added => Piece::Added(text),
                };
                (shown, p.field.clone())
            };
            pieces.iter().map(piece).collect()
        };
        Document {
            title: fill(self.text(Text::OcrReportWorstTitle), &values),
            image: page.image.clone(),
            lines: page.lines.iter().map(line).collect(),
        }
    }

    fn failures(&self) -> Section {
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        for (setting, name, result) in self.groups() {
            let mut put = |what: &str, n: u64| {
                if n > 0 {
                    let cells = [name.to_owned(), shown_setting(setting), what.to_owned(), n.to_string()];
                    rows.push(cells.into_iter().map(Cell::of).collect());
                }
            };
            for (failure, n) in result.timing.iter().flat_map(|t| &t.failures) {
                put(self.text(failure_text(*failure)), *n);
            }
            let Some(s) = setting.score.types.get(name) else { continue };
            put(self.text(Text::OcrLoops), s.anomalies.repetition_loops);
            put(self.text(Text::OcrRefusals), s.anomalies.refusals);
            put(self.text(Text::OcrChatter), s.anomalies.chatter);
            put(self.text(Text::OcrCutOff), s.anomalies.cut_off);
            put(self.text(Text::OcrCleaned), s.anomalies.cleaned);
            put(self.text(Text::OcrSpurious), s.spurious_fields);
        }
        let block = if rows.is_empty() {
            Block::Note(self.text(Text::OcrReportNoFailure).to_owned())
        } else {
            let mut titles = self.texts(&[Text::OcrType, Text::OcrDegrade, Text::OcrReportFailures]);
            titles.push(self.text(Text::OcrReportTimes).to_owned());
            Block::Table(titles, 3, rows)
        };
        let notes = self.doc.notes.iter().map(|n| Block::Note(n.clone()));
        self.section("failures", Text::OcrReportFailures, None, [block].into_iter().chain(notes).collect())
    }
}

fn standing(verdict: Verdict) -> Standing {
    match verdict {
        Verdict::Pass => Standing::Pass,
        Verdict::Fail => Standing::Fail,
        Verdict::Inconclusive => Standing::Open,
    }
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Pass => Tone::Good,
        Verdict::Fail => Tone::Bad,
        Verdict::Inconclusive => Tone::Warn,
    }
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Fail => "✗",
        Verdict::Inconclusive => "?",
    }
}

/// `150 DPI clean`.
fn shown_setting(setting: &Setting) -> String {
    let dpi = setting.dpi.map_or_else(String::new, |d| format!("{d} DPI"));
    let how = setting.degrade.as_deref().unwrap_or_default();
    format!("{dpi} {how}").trim().to_owned()
}

fn degradation(setting: &Setting) -> &str {
    setting.degrade.as_deref().unwrap_or("–")
}

fn dash() -> String {
    "–".to_owned()
}

fn rate(value: f64) -> String {
    number(value)
}

fn percent(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
}

fn interval(rate: &Rate) -> Option<String> {
    rate.interval.map(|i| format!("[{}, {}]", number(i.lo), number(i.hi)))
}

/// `✗ 0.0481 ≤ 0.01`: a value beside its limit, with its mark so that colour alone says nothing.
fn limited(value: Option<String>, check: Option<&Check>, show: impl Fn(f64) -> String) -> String {
    let value = value.unwrap_or_else(dash);
    match check {
        Some(c) => format!("{} {value} (≤ {})", mark(c.verdict), show(c.limit)),
        None => value,
    }
}

/// White space as a sign.
fn visible(text: &str) -> String {
    text.replace(' ', "␣").replace('\n', "↵")
}
