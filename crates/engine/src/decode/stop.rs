//! Stop strings: finds them across pieces of text, and holds back what may be the begin of one.

/// Looks for the stop strings of one request.
#[derive(Debug, Default)]
pub(super) struct StopScanner {
    stops: Vec<String>,
    /// Text that may be the begin of a stop string.
    held: String,
}

impl StopScanner {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes the next piece; returns what is certain to be shown, and the index of the stop string that ends it.
    /// `last` shows what would be held back.
    pub(super) fn push(&mut self, piece: String, last: bool) -> (String, Option<usize>) {
        if self.stops.is_empty() {
            return (piece, None);
        }
        let mut text = std::mem::take(&mut self.held) + &piece;
        let first =
            self.stops.iter().enumerate().filter_map(|(i, s)| Some((text.find(s.as_str())?, i))).min();
        if let Some((at, index)) = first {
            text.truncate(at);
            return (text, Some(index));
        }
        if !last {
            let hold = self.stops.iter().map(|s| overlap(&text, s)).max().unwrap_or(0);
            self.held = text.split_off(text.len() - hold);
        }
        (text, None)
    }

    pub(super) fn name(&self, index: usize) -> &str {
        &self.stops[index]
    }
}

/// Length of the longest end of `text` that is a begin of `stop`, but not all of it.
fn overlap(text: &str, stop: &str) -> usize {
    let begins = stop.char_indices().map(|(i, _)| i).rev().filter(|i| *i > 0);
    begins.into_iter().find(|i| text.ends_with(&stop[..*i])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the characters of `text` in pieces of `step`; returns what is shown and what stopped it.
    fn scan(stops: &[&str], text: &str, step: usize) -> (String, Option<String>) {
        let mut scanner = StopScanner::new(stops.iter().map(|s| (*s).to_owned()).collect());
        let chars: Vec<char> = text.chars().collect();
        let pieces: Vec<String> = chars.chunks(step).map(|c| c.iter().collect()).collect();
        let mut shown = String::new();
        for (i, piece) in pieces.iter().enumerate() {
            let (text, stop) = scanner.push(piece.clone(), i + 1 == pieces.len());
            shown += &text;
            if let Some(index) = stop {
                return (shown, Some(scanner.name(index).to_owned()));
            }
        }
        (shown, None)
    }

    #[track_caller]
    fn check(stops: &[&str], text: &str, shown: &str, stop: Option<&str>) {
        for step in 1..=text.chars().count() {
            assert_eq!(
                scan(stops, text, step),
                (shown.to_owned(), stop.map(str::to_owned)),
                "pieces of {step}"
            );
        }
    }

    #[test]
    fn a_stop_string_is_found_however_it_is_cut() {
        check(&["END"], "one END two", "one ", Some("END"));
        check(&["aab"], "aaaab", "aa", Some("aab"));
        check(&["끝났다"], "이제 끝났다.", "이제 ", Some("끝났다"));
        check(&["xyz", "b"], "abxyz", "a", Some("b"));
    }

    #[test]
    fn what_only_looks_like_one_is_shown() {
        check(&["END"], "one EN", "one EN", None);
        check(&["END", "\n\n"], "E\nN\nD", "E\nN\nD", None);
        check(&[], "anything", "anything", None);
    }

    #[test]
    fn nothing_is_held_back_without_need() {
        let mut scanner = StopScanner::new(vec!["END".to_owned()]);
        assert_eq!(scanner.push("abc".to_owned(), false), ("abc".to_owned(), None));
        assert_eq!(scanner.push("dE".to_owned(), false), ("d".to_owned(), None));
        assert_eq!(scanner.push("f".to_owned(), false), ("Ef".to_owned(), None));
    }
}
