//! The highest load at which something holds, when a look at one load may leave it open.
//!
//! ```text
//! double until it fails ─► halve the gap ─► look at both sides of the edge once more ─► Edge
//! ```
//!
//! A look answers [`Seen::Holds`], [`Seen::Fails`] or, when its budget is spent, [`Seen::Unclear`]. Loads that stay
//! unclear are not guessed: the gap on either side of them is narrowed instead, and they are reported. The search
//! measures nothing and draws nothing, so the same answers give the same questions.

/// What looking at one load said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It holds, with the confidence asked for.
    Holds,
    /// It does not, likewise.
    Fails,
    /// The looks allowed do not tell.
    Unclear,
}

/// Where to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The first load.
    pub start: f64,
    /// No load below this one is tried.
    pub floor: f64,
    /// No load above this one is tried.
    pub ceiling: f64,
    /// Relative width of the gap at which halving ends, for instance 0.05.
    pub precision: f64,
    /// Whether loads are whole numbers; halving then ends at neighbours.
    pub whole: bool,
}

/// The next thing to look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// The load.
    pub load: f64,
    /// Whether it was looked at before: the answer must then rest on new observations alone.
    pub again: bool,
}

/// Where the edge is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edge {
    /// The highest load below any failure at which it holds.
    pub holds: Option<f64>,
    /// The lowest load at which it fails.
    pub fails: Option<f64>,
    /// Loads between the two that stayed unclear.
    pub unclear: Vec<f64>,
    /// Whether a second, independent look at `holds` said the same.
    pub confirmed: bool,
}

/// Looks at the sides of the edge again at most so often.
const CONFIRMATIONS: usize = 4;
/// Loads tried at most.
const LOADS: usize = 40;

/// A search in progress.
#[derive(Debug, Clone)]
pub struct EdgeSearch {
    options: Options,
    /// Every load tried, in order, with what holds of it now.
    seen: Vec<(f64, Seen)>,
    /// Loads looked at twice, with the second answer.
    again: Vec<(f64, Seen)>,
}

impl EdgeSearch {
    /// A search that has seen nothing.
    pub fn new(options: Options) -> Self {
        Self { options, seen: Vec::new(), again: Vec::new() }
    }

    /// What to look at next; `None` when there is nothing left to find out.
    pub fn next(&self) -> Option<Look> {
        if self.seen.len() >= LOADS {
            return None;
        }
        let edge = self.edge();
        let new = |load: f64| {
            let load = self.options.clip(load);
            let known = self.seen.iter().any(|(l, _)| *l == load);
            (!known).then_some(Look { load, again: false })
        };
        let look = match (edge.holds, edge.fails) {
            (None, None) if self.seen.is_empty() => new(self.options.start),
            // Whatever was unclear so far, a lower load may hold.
            (None, _) => new(self.lowest()? / 2.0),
            (Some(_), None) => new(self.highest()? * 2.0),
            (Some(holds), Some(fails)) => self.between(holds, &edge.unclear, fails).and_then(new),
        };
        look.or_else(|| self.confirmation(&edge))
    }

    /// Takes the answer to the look that was asked for.
    pub fn saw(&mut self, look: Look, seen: Seen) {
        if !look.again {
            self.seen.push((look.load, seen));
            return;
        }
        self.again.push((look.load, seen));
        for (load, first) in &mut self.seen {
            // Two answers that contradict each other are none.
            if *load == look.load && seen != Seen::Unclear && seen != *first {
                *first = Seen::Unclear;
            }
        }
    }

    /// The edge as far as it is known.
    pub fn edge(&self) -> Edge {
        let with = |wanted: Seen| self.seen.iter().filter(move |(_, s)| *s == wanted).map(|(l, _)| *l);
        let fails = with(Seen::Fails).reduce(f64::min);
        // A load that holds above one that fails is luck or a machine that changed: the lower answer counts.
        let holds = with(Seen::Holds).filter(|l| fails.is_none_or(|f| *l < f)).reduce(f64::max);
        let inside = |l: &f64| holds.is_none_or(|h| *l > h) && fails.is_none_or(|f| *l < f);
        let mut unclear: Vec<f64> = with(Seen::Unclear).filter(inside).collect();
        unclear.sort_by(f64::total_cmp);
        let confirmed = holds.is_some_and(|h| self.again.contains(&(h, Seen::Holds)));
        Edge { holds, fails, unclear, confirmed }
    }

    fn lowest(&self) -> Option<f64> {
        self.seen.iter().map(|(l, _)| *l).reduce(f64::min)
    }

    fn highest(&self) -> Option<f64> {
        self.seen.iter().map(|(l, _)| *l).reduce(f64::max)
    }

    /// The middle of the wider gap beside the unclear loads; `None` when both are narrow.
    fn between(&self, holds: f64, unclear: &[f64], fails: f64) -> Option<f64> {
        let low = (holds, unclear.first().copied().unwrap_or(fails));
        let high = (unclear.last().copied().unwrap_or(holds), fails);
        let (from, to) = if high.1 / high.0 > low.1 / low.0 { high } else { low };
        let wide = match self.options.whole {
            true => to - from > 1.0,
            false => to > from * (1.0 + self.options.precision),
        };
        wide.then(|| (from * to).sqrt()).map(|middle| {
            // The geometric middle of 1 and 3 is 1.7; a neighbour would be asked for twice.
            if self.options.whole { middle.round().clamp(from + 1.0, to - 1.0) } else { middle }
        })
    }

    /// A second look at the side of the edge that had none.
    fn confirmation(&self, edge: &Edge) -> Option<Look> {
        if self.again.len() >= CONFIRMATIONS {
            return None;
        }
        let sides = [edge.holds, edge.fails].into_iter().flatten();
        let once = |load: &f64| !self.again.iter().any(|(l, _)| l == load);
        sides.into_iter().find(once).map(|load| Look { load, again: true })
    }
}

impl Options {
    fn clip(&self, load: f64) -> f64 {
        let load = if self.whole { load.round() } else { load };
        load.clamp(self.floor, self.ceiling)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPTIONS: Options =
        Options { start: 10.0, floor: 1.0, ceiling: 1000.0, precision: 0.05, whole: false };

    fn find(options: Options, answer: impl Fn(f64) -> Seen) -> (Edge, usize) {
        let mut search = EdgeSearch::new(options);
        let mut looks = 0;
        while let Some(look) = search.next() {
            search.saw(look, answer(look.load));
            looks += 1;
            assert!(looks < 60, "it does not end: {search:?}");
        }
        (search.edge(), looks)
    }

    fn step(at: f64) -> impl Fn(f64) -> Seen {
        move |load| if load <= at { Seen::Holds } else { Seen::Fails }
    }

    #[test]
    fn a_clear_edge_is_enclosed_and_confirmed() {
        let (edge, looks) = find(OPTIONS, step(73.0));
        let (holds, fails) = (edge.holds.unwrap(), edge.fails.unwrap());
        assert!(holds <= 73.0 && fails > 73.0 && fails <= holds * 1.05, "{edge:?}");
        assert!(edge.confirmed && edge.unclear.is_empty());
        // 10, 20, 40, 80, then a factor of two in 4 halvings (2^(1/16) < 1.05 < 2^(1/8)), then both sides again.
        assert_eq!(looks, 4 + 4 + 2);
    }

    #[test]
    fn whole_numbers_end_at_neighbours() {
        let options = Options { start: 1.0, floor: 1.0, ceiling: 64.0, precision: 0.05, whole: true };
        for at in 1..64 {
            let edge = find(options, step(f64::from(at))).0;
            assert_eq!((edge.holds, edge.fails), (Some(f64::from(at)), Some(f64::from(at + 1))), "{at}");
        }
        assert_eq!(find(options, step(64.0)).0.fails, None);
    }

    #[test]
    fn what_never_or_always_holds_has_one_side() {
        let never = find(OPTIONS, |_| Seen::Fails).0;
        assert_eq!((never.holds, never.fails, never.confirmed), (None, Some(1.0), false));
        let always = find(OPTIONS, |_| Seen::Holds).0;
        assert_eq!((always.holds, always.fails, always.confirmed), (Some(1000.0), None, true));
        assert_eq!(find(OPTIONS, |_| Seen::Unclear).0.holds, None);
    }

    #[test]
    fn an_unclear_zone_is_enclosed_from_both_sides() {
        let zone = |load: f64| match load {
            l if l <= 60.0 => Seen::Holds,
            l if l >= 72.0 => Seen::Fails,
            _ => Seen::Unclear,
        };
        let edge = find(OPTIONS, zone).0;
        let (holds, fails) = (edge.holds.unwrap(), edge.fails.unwrap());
        assert!(!edge.unclear.is_empty());
        let (first, last) = (edge.unclear[0], edge.unclear[edge.unclear.len() - 1]);
        assert!(holds <= 60.0 && first <= holds * 1.05 && fails >= 72.0 && fails <= last * 1.05, "{edge:?}");
    }

    #[test]
    fn a_second_look_that_disagrees_takes_the_first_back() {
        let mut search = EdgeSearch::new(OPTIONS);
        let mut lucky = None;
        while let Some(look) = search.next() {
            let seen = if look.again && lucky.is_none() {
                lucky = Some(look.load);
                Seen::Fails
            } else {
                step(73.0)(look.load)
            };
            search.saw(look, seen);
        }
        let edge = search.edge();
        assert!(edge.holds.unwrap() < lucky.unwrap() && edge.unclear.contains(&lucky.unwrap()), "{edge:?}");
    }

    proptest! {
        #[test]
        fn any_answers_end(answers in prop::collection::vec(0..3u8, 80), whole in any::<bool>()) {
            let mut search = EdgeSearch::new(Options { whole, ..OPTIONS });
            let mut looks = 0;
            while let Some(look) = search.next() {
                prop_assert!((1.0..=1000.0).contains(&look.load) && (!whole || look.load.fract() == 0.0));
                search.saw(look, [Seen::Holds, Seen::Fails, Seen::Unclear][usize::from(answers[looks])]);
                looks += 1;
                prop_assert!(looks < 60);
            }
            let edge = search.edge();
            if let (Some(holds), Some(fails)) = (edge.holds, edge.fails) {
                prop_assert!(holds < fails);
            }
        }
    }
}
