//! The highest load whose objectives hold: which loads to try is decided by [`stopwatt_stats::edge`], what a load says
//! by [`stopwatt_analyse::objective`]; here they are measured.
//!
//! A trial is one stretch of load whose first requests only fill the engine. It is long enough that an overload of
//! [`HIDDEN`] moves the last requests beyond the longest latency limit, so that a short run cannot hide a queue that
//! grows slowly; a shorter one is said to be.

use stopwatt_analyse::objective::{Judged, Sample, judge, requests_needed, without_statistic};
use stopwatt_analyse::search::seen;
use stopwatt_analyse::slo::{Slo, Statistic};
use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::log::{Fact, PlannedPoint};
use stopwatt_core::search::{FindKind, SearchLook, Verdict};
use stopwatt_core::verdict::{Code, Remark};
use stopwatt_core::{Metric, Nanos};
use stopwatt_load::Client;
use stopwatt_stats::edge::{EdgeSearch, Look, Options};

use super::config::{ArrivalKind, BenchConfig};
use super::error::BenchError;
use super::progress::Progress;
use super::scenario::{self, EngineLimits, Extent, LoadPlan, Plan, PointPlan};
use super::session::Session;
use super::stretch::nanos;

/// Overload that a trial must be long enough to show.
const HIDDEN: f64 = 0.05;
/// Shortest trial in seconds, unless the user asks for another.
const SHORTEST_S: f64 = 5.0;
/// Requests at a load, as a multiple of what its highest percentile needs when they are independent and none is late.
const TIMES: f64 = 4.0;
/// Fewest requests of a trial.
const FEWEST: u64 = 20;
/// Requests that only fill the engine, per measured one.
const SETTLE: f64 = 0.25;
/// Where the search begins, as a share of capacity.
const BEGIN: f64 = 0.5;
/// The lowest load tried, as a share of the first.
const FLOOR: f64 = 1.0 / 64.0;
/// Loads below the edge, as shares of it, that are measured for the curve.
const CURVE: [f64; 3] = [0.25, 0.5, 0.75];
/// Trials at each of those.
const CURVE_TRIALS: u32 = 2;

/// What to search for.
#[derive(Debug, Clone)]
pub(super) struct Find {
    kind: FindKind,
    objectives: Vec<Slo>,
    arrival: ArrivalKind,
    /// Confidence of each bound: two of them enclose the edge with the level asked for.
    level: f64,
}

/// What is being searched, and how far it is.
struct Progressed<'a> {
    find: &'a Find,
    template: &'a PointPlan,
    client: Client,
    next_id: u64,
    /// Every load measured, in order: the points of the run, with the trials each has had.
    points: Vec<(f64, PlannedPoint, u32)>,
    /// End of the time budget, on the monotonic clock.
    until: Nanos,
}

impl Find {
    /// The search that is asked for; `None` when none is.
    pub(super) fn of(config: &BenchConfig, objectives: Vec<Slo>) -> Result<Option<Self>, BenchError> {
        let Some(kind) = config.find.load else { return Ok(None) };
        let refuse =
            |setting, problem: &str| Err(BenchError::Setting { setting, problem: problem.to_owned() });
        let (find, load) = (&config.find, &config.load);
        if objectives.is_empty() {
            return refuse(
                "slo",
                "a search needs objectives, for instance `p99 ttft < 500ms, p99 itl < 50ms`",
            );
        }
        if let Some(bare) = without_statistic(&objectives) {
            let problem =
                format!("`{bare}` says nothing of a load as a whole; write for instance `p99 {bare}`");
            return refuse("slo", &problem);
        }
        if !(find.precision > 0.0 && find.precision < 1.0) {
            return refuse("find.precision", "the relative width must be between 0 and 1, for instance 0.05");
        }
        if !(find.budget_s > 0.0 && find.budget_s < 1e7) {
            return refuse("find.budget_s", "a time must be positive and below 10,000,000 seconds");
        }
        if find.ceiling.is_some_and(|c| !(c.is_finite() && c > 0.0)) {
            return refuse("find.ceiling", "the highest load must be a positive number");
        }
        if find.trials < 2 {
            return refuse("find.trials", "a search needs at least 2 trials at a load");
        }
        if !load.rate.is_empty() || !load.concurrency.is_empty() {
            return refuse(
                "find.load",
                "a search chooses the load itself; leave out --rate and --concurrency",
            );
        }
        let arrival = match (kind, load.arrival) {
            (_, None) => ArrivalKind::Poisson,
            (
                FindKind::MaxRate,
                Some(kind @ (ArrivalKind::Poisson | ArrivalKind::Constant | ArrivalKind::Gamma)),
            ) => kind,
            (FindKind::MaxConcurrency, Some(ArrivalKind::Closed)) => ArrivalKind::Closed,
            _ => {
                return refuse(
                    "load.arrival",
                    "max-rate takes poisson, constant or gamma; max-concurrency is a closed loop",
                );
            }
        };
        let level = 1.0 - (1.0 - config.analysis.level) / 2.0;
        Ok(Some(Self { kind, objectives, arrival, level }))
    }

    fn load(&self, load: f64) -> LoadPlan {
        match self.kind {
            FindKind::MaxRate => LoadPlan::Open { arrival: self.arrival, rate: load },
            FindKind::MaxConcurrency => LoadPlan::Closed { concurrency: load as u32 },
        }
    }

    /// The longest latency that an objective allows, in seconds.
    fn longest_limit(&self) -> f64 {
        let latency = |m: Metric| !matches!(m, Metric::Tpot | Metric::Itl | Metric::ErrorRate);
        self.objectives.iter().filter(|o| latency(o.metric)).map(|o| o.limit).fold(0.0, f64::max)
    }

    /// Requests of one trial, so that `trials` of them with a few late ones, in runs, can show the highest percentile
    /// to hold.
    fn needed(&self, trials: u32) -> u64 {
        let allowed = |o: &Slo| match o.statistic {
            Some(Statistic::Percentile(p)) if o.metric != Metric::Itl => Some(1.0 - p / 100.0),
            _ if o.metric == Metric::ErrorRate => Some(o.limit),
            _ => None,
        };
        let needed = |allowed| requests_needed(allowed, self.level, trials as usize);
        let most = self.objectives.iter().filter_map(allowed).map(needed).max().unwrap_or(0);
        ((TIMES * most as f64 / f64::from(trials)).ceil() as u64).max(FEWEST)
    }
}

impl Session<'_> {
    /// Searches, then measures what the curve below the edge still lacks.
    pub(super) fn find(
        &self,
        find: &Find,
        plan: &Plan,
        limits: EngineLimits,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        let Some(template) = plan.points.first() else { return Ok(()) };
        let client = self.begin(plan, watch)?;
        self.writer.log(Fact::SearchStarted {
            find: find.kind,
            objectives: find.objectives.iter().map(Slo::to_string).collect(),
            level: self.config.analysis.level,
        })?;
        let until = monotonic_raw() + nanos(self.config.find.budget_s);
        let mut at = Progressed { find, template, client, next_id: 0, points: Vec::new(), until };
        self.watched(|| {
            let Some(options) = self.range(&mut at, limits, watch)? else { return Ok(()) };
            let (stopped, edge) = self.search(&mut at, options, watch)?;
            self.writer.log(Fact::SearchEnded { stopped })?;
            if let Some(edge) = edge {
                self.curve(&mut at, edge, watch)?;
            }
            self.take_failure()
        })
    }

    /// Where to search; `None` when interrupted.
    fn range(
        &self,
        at: &mut Progressed<'_>,
        limits: EngineLimits,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Option<Options>, BenchError> {
        let (precision, ceiling) = (self.config.find.precision, self.config.find.ceiling);
        if at.find.kind == FindKind::MaxConcurrency {
            let ceiling = ceiling.unwrap_or(65_536.0).floor().max(1.0);
            return Ok(Some(Options { start: 1.0, floor: 1.0, ceiling, precision, whole: true }));
        }
        let concurrency = limits.saturating_concurrency();
        let capacity = self.capacity(&mut at.client, at.template, concurrency, &mut at.next_id, watch)?;
        let ceiling = ceiling.unwrap_or(f64::MAX);
        Ok(capacity.map(|capacity| {
            let start = (BEGIN * capacity).min(ceiling);
            Options { start, floor: FLOOR * start, ceiling, precision, whole: false }
        }))
    }

    /// Asks and answers until nothing is left to find out, or why it stopped before; with the load found to hold.
    fn search(
        &self,
        at: &mut Progressed<'_>,
        options: Options,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(Option<String>, Option<f64>), BenchError> {
        let mut search = EdgeSearch::new(options);
        let mut stopped = None;
        while let Some(look) = search.next() {
            let judged = self.look(at, look, watch)?;
            if self.stop.is_interrupted() {
                stopped = Some("interrupted".to_owned());
                break;
            }
            search.saw(look, seen(judged));
            if monotonic_raw() >= at.until {
                stopped = search.next().map(|_| "the time budget was spent".to_owned());
                break;
            }
        }
        let holds = search.edge().holds.filter(|_| !self.stop.is_interrupted());
        Ok((stopped, holds))
    }

    /// Repeats trials at one load until they tell, or their number or time is spent.
    fn look(
        &self,
        at: &mut Progressed<'_>,
        look: Look,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verdict, BenchError> {
        let (index, plan) = self.place(at, look.load, watch)?;
        let mut trials: Vec<Vec<Sample>> = Vec::new();
        let judge = |trials: &[Vec<Sample>]| {
            let (most, open) = (self.config.find.trials as usize, at.find.kind == FindKind::MaxRate);
            judge(&at.find.objectives, trials, most, open, at.find.level)
        };
        let mut judged = judge(&trials);
        for _ in 0..self.config.find.trials {
            let samples =
                self.measured(&mut at.client, &mut at.next_id, &mut at.points[index].2, index, &plan, watch)?;
            if self.stop.is_interrupted() {
                return Ok(Verdict::Unclear);
            }
            trials.push(samples);
            judged = judge(&trials);
            if judged.verdict != Verdict::Unclear || monotonic_raw() >= at.until {
                break;
            }
        }
        let Judged { verdict, veto, objectives, queue_growth } = judged;
        let requests = trials.iter().map(|t| t.len() as u64).sum();
        let found = SearchLook {
            point: index as u32,
            load: look.load,
            again: look.again,
            trials: trials.len() as u64,
            requests,
            verdict,
            veto: veto.map(str::to_owned),
            objectives,
            queue_growth,
        };
        watch(Progress::Looked(found.clone()));
        self.writer.log(Fact::SearchLook { look: found })?;
        Ok(verdict)
    }

    /// Measures loads below the edge that the search passed over, so that the curve and its knee can be seen.
    fn curve(
        &self,
        at: &mut Progressed<'_>,
        edge: f64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        for share in CURVE {
            let load = edge * share;
            let load = if at.find.kind == FindKind::MaxConcurrency { load.round() } else { load };
            let near = at.points.iter().any(|(l, ..)| (l / load - 1.0).abs() < 0.15);
            if load <= 0.0 || near || self.stop.is_interrupted() || monotonic_raw() >= at.until {
                continue;
            }
            let (index, plan) = self.place(at, load, watch)?;
            for _ in 0..CURVE_TRIALS {
                self.measured(&mut at.client, &mut at.next_id, &mut at.points[index].2, index, &plan, watch)?;
            }
        }
        Ok(())
    }

    /// The point of a load, new in the plan when it was not measured yet.
    fn place(
        &self,
        at: &mut Progressed<'_>,
        load: f64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(usize, PointPlan), BenchError> {
        let mut plan = self.planned(at.find, at.template, load);
        let index = match at.points.iter().position(|(l, ..)| *l == load) {
            Some(index) => index,
            None => {
                at.points.push((load, plan.planned.clone(), 0));
                let points = at.points.iter().map(|(_, planned, _)| planned.clone()).collect();
                self.writer.log(Fact::Plan { points, trials: self.config.find.trials })?;
                at.points.len() - 1
            }
        };
        plan.trials += at.points[index].2;
        watch(Progress::Point { index, of: at.points.len(), label: plan.planned.label.clone() });
        if at.points.len() == 1 && at.points[0].2 == 0 {
            self.warm_up(0, &plan, &mut at.client, &mut at.next_id, watch)?;
            self.tell_short(at.find, &plan, load, watch)?;
        }
        Ok((index, plan))
    }

    fn planned(&self, find: &Find, template: &PointPlan, load: f64) -> PointPlan {
        let measure = &self.config.measure;
        let least = find.needed(self.config.find.trials);
        let requests = match (measure.requests, measure.duration_s, find.kind) {
            (Some(n), ..) => n,
            (None, Some(s), FindKind::MaxRate) => ((s * load).ceil() as u64).max(1),
            (None, _, FindKind::MaxRate) => {
                let seconds = SHORTEST_S.max(find.longest_limit() / HIDDEN);
                least.max((seconds * load).ceil() as u64)
            }
            (None, _, FindKind::MaxConcurrency) => least.max(2 * load as u64),
        };
        let settle = match find.kind {
            FindKind::MaxRate => (SETTLE * requests as f64).ceil() as u64,
            // The first of each stream meet an empty engine.
            FindKind::MaxConcurrency => load as u64,
        };
        let plan = find.load(load);
        let (concurrency, rate_rps) = match plan {
            LoadPlan::Closed { concurrency } => (Some(concurrency), None),
            _ => (None, Some(load)),
        };
        let shown = match find.kind {
            // A rate of many digits is no better to read.
            FindKind::MaxRate => LoadPlan::Open { arrival: find.arrival, rate: (load * 1e3).round() / 1e3 },
            FindKind::MaxConcurrency => plan,
        };
        let label = scenario::label(shown, &template.workload, self.config.workload.speedup);
        let planned = PlannedPoint { label, concurrency, rate_rps, ..template.planned.clone() };
        PointPlan {
            planned,
            load: plan,
            extent: Extent::Requests(requests),
            settle,
            trials: self.config.find.trials,
            ..template.clone()
        }
    }

    /// Says so when trials are too short to show a small overload.
    fn tell_short(
        &self,
        find: &Find,
        plan: &PointPlan,
        load: f64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        let (Extent::Requests(n), FindKind::MaxRate) = (plan.extent, find.kind) else { return Ok(()) };
        let hidden = find.longest_limit() * load / n as f64;
        if hidden <= HIDDEN * 1.01 {
            return Ok(());
        }
        let values = [format!("{:.1}", n as f64 / load), format!("{:.0}", hidden * 100.0)];
        self.warn(&Remark::new(Code::ShortTrials, values), watch)
    }

    /// One trial, as far as objectives ask.
    fn measured(
        &self,
        client: &mut Client,
        next_id: &mut u64,
        trials: &mut u32,
        index: usize,
        plan: &PointPlan,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Vec<Sample>, BenchError> {
        let mut samples = Vec::new();
        let trial = *trials;
        self.trial(index as u32, plan, trial, client, next_id, watch, &mut |record| {
            samples.extend(Sample::of(record));
        })?;
        *trials += 1;
        samples.sort_by(|a, b| a.begin_s.total_cmp(&b.begin_s));
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_analyse::slo::parse;

    use super::*;

    fn find(slo: &str, change: &dyn Fn(&mut BenchConfig)) -> Result<Option<Find>, BenchError> {
        let mut config = BenchConfig::default();
        config.find.load = Some(FindKind::MaxRate);
        change(&mut config);
        Find::of(&config, parse(slo).unwrap())
    }

    #[test]
    fn a_search_without_sense_is_refused() {
        let ok = "p99 ttft < 500ms";
        let refused = |slo: &str, change: &dyn Fn(&mut BenchConfig)| {
            matches!(find(slo, change), Err(BenchError::Setting { .. }))
        };
        assert!(!refused(ok, &|_| ()));
        assert!(refused("", &|_| ()) && refused("ttft < 500ms", &|_| ()));
        assert!(refused(ok, &|c| c.find.precision = 0.0));
        assert!(refused(ok, &|c| c.find.budget_s = -1.0));
        assert!(refused(ok, &|c| c.find.ceiling = Some(0.0)));
        assert!(refused(ok, &|c| c.find.trials = 1));
        assert!(refused(ok, &|c| c.load.rate = vec![3.0]));
        assert!(refused(ok, &|c| c.load.arrival = Some(ArrivalKind::Closed)));
        assert!(find(ok, &|c| c.find.load = None).unwrap().is_none());
    }

    #[test]
    fn trials_are_large_enough_for_the_percentile() {
        let needed = |slo: &str| find(slo, &|_| ()).unwrap().unwrap().needed(8);
        // The last of eight looks may err with 0.025·(1 − (7/8)³) = 0.008 25: ln 0.008 25/ln 0.99 = 477.4 requests
        // without a late one, four times as many in eight trials; 45.5 for p90.
        assert_eq!(needed("p99 ttft < 1s"), 239);
        assert_eq!(needed("p90 ttft < 1s, mean e2e < 3s"), 23);
        assert_eq!(needed("p99 itl < 50ms"), 20);
    }
}
