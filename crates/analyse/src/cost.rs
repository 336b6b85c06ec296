//! The cost block of the document: rates of the points at the price that was given.

use stopwatt_core::Metric;
use stopwatt_core::clock::Nanos;
use stopwatt_core::cost::{Alternative, Cost, CostAt, PriceUsed};
use stopwatt_core::metrics_doc::{self, Estimate};
use stopwatt_serving::cost::{interactivity, per_million, scaled, with_idle};
use stopwatt_serving::price::Price;

use crate::measured::Measured;
use crate::point::good_tokens;
use crate::settings::{CostSettings, Settings};

const NO_POINT: &str = "no point was measured";
const NO_SENSOR: &str = "no GPU sensor was read";
const NO_UTILISATION: &str = "no share of time in use was given (--utilisation)";

/// What the run cost; `None` without a price.
pub(crate) fn cost(
    measured: &Measured<'_>,
    points: &[metrics_doc::Point],
    headline: Option<usize>,
    settings: &Settings,
    t0_unix_ns: Option<Nanos>,
) -> Option<Cost> {
    let given = settings.cost.as_ref()?;
    let per_hour = given.price.per_hour();
    let points_at: Vec<CostAt> = points.iter().map(|p| as_measured(p, per_hour)).collect();
    let measured_at = headline.map_or_else(|| nothing(NO_POINT), |h| points_at[h].clone());
    let peak_goodput = at_peak(measured, points, settings, per_hour);
    let busy = if peak_goodput.output_per_1m.value.is_some() { &peak_goodput } else { &measured_at };
    let idle_inclusive = idle(busy, given);
    let alternatives = given.others.iter().map(|other| alternative(other, per_hour, &measured_at)).collect();
    Some(Cost {
        price: used(given, t0_unix_ns),
        utilisation: given.utilisation,
        peak_goodput,
        measured: measured_at,
        idle_inclusive,
        points: points_at,
        alternatives,
    })
}

fn used(given: &CostSettings, t0_unix_ns: Option<Nanos>) -> PriceUsed {
    let spec = given.price.spec();
    PriceUsed {
        id: spec.id.clone(),
        provider: spec.provider.clone(),
        accelerator: spec.accelerator.clone(),
        count: spec.count,
        kind: spec.kind.name().to_owned(),
        currency: spec.currency.clone(),
        per_hour: given.price.per_hour(),
        date: spec.date.clone(),
        source: spec.source.clone(),
        age_days: t0_unix_ns.map(|t| given.price.age_days(t)),
    }
}

fn mean(point: &metrics_doc::Point, metric: Metric) -> Estimate {
    point.metrics.get(metric.name()).map_or_else(|| Estimate::unavailable("not measured"), |m| m.mean.clone())
}

/// One point at given rates of output tokens and of all tokens.
fn at(point: &metrics_doc::Point, per_hour: f64, output: Estimate, total: &Estimate) -> CostAt {
    CostAt {
        label: Some(point.label.clone()),
        concurrency: point.concurrency,
        output_per_1m: per_million(per_hour, &output),
        total_per_1m: per_million(per_hour, total),
        output_tokens_s: output,
        interactivity: interactivity(&mean(point, Metric::Tpot)),
        per_stream_hour: point.concurrency.filter(|c| *c > 0).map(|c| per_hour / f64::from(c)),
        gpu_utilisation: Estimate::unavailable(NO_SENSOR),
    }
}

fn as_measured(point: &metrics_doc::Point, per_hour: f64) -> CostAt {
    at(point, per_hour, mean(point, Metric::OutputThroughput), &mean(point, Metric::TotalThroughput))
}

/// The point with the highest goodput, by the tokens of requests that met every objective.
fn at_peak(
    measured: &Measured<'_>,
    points: &[metrics_doc::Point],
    settings: &Settings,
    per_hour: f64,
) -> CostAt {
    let goodput = |i: &usize| mean(&points[*i], Metric::Goodput).value.unwrap_or(f64::NEG_INFINITY);
    // On a tie the earlier point stands, as for the headline.
    let best = (0..points.len()).reduce(|best, i| if goodput(&i) > goodput(&best) { i } else { best });
    let Some(best) = best else { return nothing(NO_POINT) };
    let known = mean(&points[best], Metric::Goodput);
    if known.value.is_none() {
        return nothing(known.reason.as_deref().unwrap_or(NO_POINT));
    }
    let (output, total) = good_tokens(&measured.points[best], settings);
    at(&points[best], per_hour, output, &total)
}

fn idle(busy: &CostAt, given: &CostSettings) -> CostAt {
    let Some(share) = given.utilisation else {
        let absent = || Estimate::unavailable(NO_UTILISATION);
        return CostAt { output_per_1m: absent(), total_per_1m: absent(), ..busy.clone() };
    };
    CostAt {
        output_per_1m: with_idle(&busy.output_per_1m, share),
        total_per_1m: with_idle(&busy.total_per_1m, share),
        ..busy.clone()
    }
}

fn alternative(other: &Price, per_hour: f64, measured: &CostAt) -> Alternative {
    let ratio = other.per_hour() / per_hour;
    Alternative {
        id: other.spec().id.clone(),
        kind: other.spec().kind.name().to_owned(),
        per_hour: other.per_hour(),
        ratio,
        output_per_1m: scaled(&measured.output_per_1m, ratio),
    }
}

fn nothing(reason: &str) -> CostAt {
    let absent = || Estimate::unavailable(reason);
    CostAt {
        output_tokens_s: absent(),
        output_per_1m: absent(),
        total_per_1m: absent(),
        interactivity: absent(),
        gpu_utilisation: Estimate::unavailable(NO_SENSOR),
        ..CostAt::default()
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::metrics_doc::MetricsDoc;

    use super::*;
    use crate::testing::{log, whole_requests, whole_run};
    use crate::{Input, Recorded, analyse, slo};

    fn price(id: &str, per_hour: f64, date: &str) -> Price {
        let row = serde_json::json!({
            "id": id, "provider": "P", "accelerator": "A", "count": 1, "currency": "USD", "kind": "on-demand",
            "per_hour": per_hour, "date": date, "source": "s",
        });
        serde_json::from_value(row).unwrap()
    }

    fn document(slos: &str, utilisation: Option<f64>, date: &str) -> MetricsDoc {
        let others = vec![price("b", 1.8, "1970-01-01")];
        let cost = CostSettings { price: price("a", 3.6, date), others, utilisation };
        let slos = slo::parse(slos).unwrap();
        let settings = Settings { resamples: 20, slos, cost: Some(cost), ..Settings::default() };
        let record = Recorded::of(&whole_requests());
        analyse(&Input { log: &log(&whole_run()), record: &record, settings: &settings })
    }

    fn value(estimate: &Estimate) -> f64 {
        estimate.value.unwrap()
    }

    #[test]
    fn by_hand() {
        // 3.6 an hour is 0.001 a second. The points make 4 and 6 output tokens a second, of 20 and 30 in all; the
        // requests of the first trial meet the objective, so that good tokens are 6/s in one trial and 0 in the other.
        let cost = document("ttft < 105ms", Some(0.5), "1970-01-01").cost.unwrap();
        let close =
            |e: &Estimate, expected: f64| assert!((value(e) - expected).abs() < 1e-9 * expected, "{e:?}");
        close(&cost.measured.output_per_1m, 1e3 / 6.0);
        close(&cost.measured.total_per_1m, 1e3 / 30.0);
        close(&cost.points[0].output_per_1m, 1e3 / 4.0);
        close(&cost.measured.interactivity, 50.0);
        assert_eq!((cost.measured.per_stream_hour, cost.points[0].per_stream_hour), (Some(1.8), Some(3.6)));
        close(&cost.peak_goodput.output_per_1m, 1e3 / 3.0);
        assert!(cost.peak_goodput.output_per_1m.interval.is_none(), "6 and 0 a second reach below zero");
        close(&cost.idle_inclusive.output_per_1m, 2e3 / 3.0);
        let [other] = &cost.alternatives[..] else { panic!("one other offer") };
        assert_eq!((other.id.as_str(), other.ratio), ("b", 0.5));
        close(&other.output_per_1m, 0.5e3 / 6.0);
        assert_eq!(cost.measured.gpu_utilisation.reason.as_deref(), Some(NO_SENSOR));
    }

    #[test]
    fn what_is_not_known_has_a_reason() {
        let cost = document("", None, "1970-01-01").cost.unwrap();
        assert_eq!(cost.peak_goodput.output_per_1m.reason.as_deref(), Some("no objective was given (--slo)"));
        assert_eq!(cost.idle_inclusive.output_per_1m.reason.as_deref(), Some(NO_UTILISATION));
        let none = analyse(&Input { log: &[], record: &Recorded::of(&[]), settings: &Settings::default() });
        assert_eq!((none.cost, none.reasons["cost"].as_str()), (None, "no price was given (--price)"));
    }

    #[test]
    fn an_old_price_is_marked() {
        // The run of the tests was measured at the begin of 1970.
        let codes =
            |date| document("", None, date).validity.reasons.into_iter().map(|r| r.code).collect::<Vec<_>>();
        assert!(codes("1969-10-04").is_empty()); // 89 days
        assert_eq!(codes("1969-10-02"), ["price_stale"]); // 91 days
    }
}
