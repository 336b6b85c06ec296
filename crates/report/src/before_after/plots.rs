//! Trials, single requests and sensor readings of both sides in one picture each.

use stopwatt_core::comparison::MetricComparison;
use stopwatt_core::text::Text;
use stopwatt_core::{Metric, RequestRow};

use super::Page;
use crate::comparison::Shown;
use crate::figures;
use crate::html::{plots, section};
use crate::markup::Markup;
use crate::quantity::{Kind, Scale, kind};
use crate::svg::{Axis, Chart, Height, Layer, Line, POINTS_AT_MOST};

/// Sensor columns worth a picture, with the words and the unit of their axis.
const SENSORS: [(&str, Text, &str); 4] = [
    ("power_w", Text::BaPower, "W"),
    ("sm_clock_mhz", Text::BaSmClock, "MHz"),
    ("cpu_freq_mhz", Text::BaCpuClock, "MHz"),
    ("temp_c", Text::BaTemperature, "°C"),
];
/// Pictures of trials, at most: a sweep has many points.
const PICTURES: usize = 8;

impl Page<'_> {
    /// The values that every interval rests on.
    pub(super) fn trials(&self, m: &mut Markup) {
        let charts: Vec<Chart> =
            self.judged().filter_map(|row| self.trial_chart(row)).take(PICTURES).collect();
        if charts.is_empty() {
            return;
        }
        section(m, "trials", self.text(Text::BaTrials), |m| {
            m.el_text("p", &[("class", "note")], self.text(Text::BaTrialsNote));
            plots(m, "plots", &charts);
        });
    }

    fn trial_chart(&self, row: &MetricComparison) -> Option<Chart> {
        let known = Metric::from_name(&row.metric);
        let all: Vec<f64> = row.values.iter().flatten().copied().flatten().collect();
        let (lo, hi) = all.iter().fold((f64::MAX, f64::MIN), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
        let most = row.values.iter().map(Vec::len).max().filter(|n| *n > 0 && !all.is_empty())?;
        let scale = known.map_or(Scale::of(Kind::Plain, 1.), |m| Scale::for_all(kind(m), all));
        // Some room, also where every trial has the same value.
        let room = ((hi - lo) * 0.15).max(hi.abs() * 0.01).max(f64::MIN_POSITIVE);
        let names = [self.doc().baseline.name.as_str(), row.run.as_str()];
        let line = |side: usize| Line {
            name: names[side].to_owned(),
            color: side,
            points: (1..).zip(&row.values[side]).filter_map(|(i, v)| Some((f64::from(i), (*v)?))).collect(),
            steps: false,
            dots: true,
            area: false,
        };
        let ticks = (1..=u32::try_from(most).ok()?).map(f64::from).collect();
        let title = Shown::of(row, self.view.lang).name;
        Some(Chart {
            title: self.place(row).map_or_else(|| title.clone(), |place| format!("{title} · {place}")),
            caption: String::new(),
            x: Axis::range(0.5, most as f64 + 0.5, Scale::of(Kind::Plain, 1.), self.text(Text::BaTrialAxis))
                .with_ticks(ticks),
            y: Axis::range(lo - room, hi + room, scale, ""),
            y_ticks: true,
            layers: [0, 1].map(line).map(Layer::Line).to_vec(),
            height: Height::Normal,
        })
    }

    /// Single requests at the headline point of each side.
    pub(super) fn requests(&self, m: &mut Markup) {
        let runs: Vec<(String, Vec<&RequestRow>)> = self
            .sides()
            .filter_map(|(run, side)| Some((run.name.clone(), figures::headline_requests(&side.view?))))
            .collect();
        if runs.len() < 2 {
            return;
        }
        let charts: Vec<Chart> = [Metric::Ttft, Metric::E2e]
            .into_iter()
            .filter_map(|metric| figures::distribution::compared(metric, &runs, self.view.lang))
            .collect();
        if !charts.is_empty() {
            section(m, "requests", self.text(Text::BaRequests), |m| {
                m.el_text("p", &[("class", "note")], self.text(Text::BaRequestsNote));
                plots(m, "plots", &charts);
            });
        }
    }

    /// Power, clocks and temperature over time, one line a run.
    pub(super) fn sensors(&self, m: &mut Markup) {
        let charts: Vec<Chart> = SENSORS.iter().filter_map(|s| self.sensor_chart(s)).collect();
        if !charts.is_empty() {
            section(m, "sensors", self.text(Text::BaSensors), |m| {
                m.el_text("p", &[("class", "note")], self.text(Text::BaSensorsNote));
                plots(m, "plots", &charts);
            });
        }
    }

    fn sensor_chart(&self, &(column, title, unit): &(&str, Text, &'static str)) -> Option<Chart> {
        let lines: Vec<Line> = self
            .sides()
            .zip(0..)
            .filter_map(|((run, side), color)| {
                let series = side.sensors?.series(column);
                let every = series.len().div_ceil(POINTS_AT_MOST).max(1);
                let points: Vec<(f64, f64)> = series.into_iter().step_by(every).collect();
                let name = run.name.clone();
                (!points.is_empty()).then_some(Line {
                    name,
                    color,
                    points,
                    steps: false,
                    dots: false,
                    area: false,
                })
            })
            .collect();
        let points = || lines.iter().flat_map(|l| &l.points);
        let end = points().map(|p| p.0).fold(0.0, f64::max);
        let scale = Scale { unit, factor: 1.0 };
        (!lines.is_empty()).then(|| Chart {
            title: self.text(title).to_owned(),
            caption: String::new(),
            x: Axis::range(0.0, end, Scale::of(Kind::Time, end.max(1.0)), self.text(Text::TimeAxis)),
            y: Axis::from_zero(points().map(|p| p.1), scale, ""),
            y_ticks: true,
            layers: lines.clone().into_iter().map(Layer::Line).collect(),
            height: Height::Normal,
        })
    }
}
