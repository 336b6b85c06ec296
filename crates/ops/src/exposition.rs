//! A page in the Prometheus text format 0.0.4 in the making, and the parts that write on it.

use std::fmt::Write as _;

use crate::fleet::Fleet;

/// A part of Stopwatt that has families of its own on the page.
pub type Source = Box<dyn Fn(&mut Page, &Fleet) + Send + Sync>;

/// A page in the making.
#[derive(Debug, Default)]
pub struct Page {
    out: String,
}

impl Page {
    /// An empty page with room.
    pub fn new() -> Self {
        Self { out: String::with_capacity(32 << 10) }
    }

    /// Name, kind and meaning of a family; they stand once before its lines.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample. `labels` is `a="b",c="d"`, or empty.
    pub fn line(&mut self, name: &str, labels: &str, value: f64) {
        let _ = if labels.is_empty() {
            writeln!(self.out, "{name} {value}")
        } else {
            writeln!(self.out, "{name}{{{labels}}} {value}")
        };
    }

    /// A family of which something is there: name, kind and meaning, and its samples. Without samples nothing is
    /// written, since what is not known is left out.
    pub fn family(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, Option<f64>)>,
    ) {
        let mut named = false;
        for (labels, value) in samples {
            let Some(value) = value else { continue };
            if !std::mem::replace(&mut named, true) {
                self.head(name, kind, help);
            }
            self.line(name, &labels, value);
        }
    }

    /// For what writes the format itself.
    pub fn text(&mut self) -> &mut String {
        &mut self.out
    }

    /// The page.
    pub fn finish(self) -> String {
        self.out
    }
}
