//! HTML and SVG that cannot be written unescaped.
//!
//! Tags and attribute names are literals of this crate; every value and every text is escaped here and nowhere else.
//! The page's own style and script enter through [`Markup::literal`], which takes only `'static` text.

use crate::table::inert;

/// Markup being written.
#[derive(Debug, Default)]
pub(crate) struct Markup(String);

/// Attributes of an element.
pub(crate) type Attributes<'a> = [(&'static str, &'a str)];

impl Markup {
    /// The finished text.
    pub(crate) fn finish(self) -> String {
        self.0
    }

    /// Markup from this crate's own source.
    pub(crate) fn literal(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// A text, escaped.
    pub(crate) fn text(&mut self, text: &str) {
        escape(&mut self.0, text);
    }

    /// An element with content.
    pub(crate) fn el(
        &mut self,
        tag: &'static str,
        attributes: &Attributes<'_>,
        content: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes);
        self.0.push('>');
        content(self);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// An element that holds only a text.
    pub(crate) fn el_text(&mut self, tag: &'static str, attributes: &Attributes<'_>, text: &str) {
        self.el(tag, attributes, |m| m.text(text));
    }

    /// An element that holds lines, as `pre` shows them.
    pub(crate) fn el_lines(&mut self, tag: &'static str, attributes: &Attributes<'_>, lines: &str) {
        self.el(tag, attributes, |m| {
            for (i, line) in lines.lines().enumerate() {
                if i > 0 {
                    m.literal("\n");
                }
                m.text(line);
            }
        });
    }

    /// An element without content: `meta`, or a shape of an SVG.
    pub(crate) fn leaf(&mut self, tag: &'static str, attributes: &Attributes<'_>) {
        self.open(tag, attributes);
        self.0.push_str("/>");
    }

    fn open(&mut self, tag: &'static str, attributes: &Attributes<'_>) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            escape(&mut self.0, value);
            self.0.push('"');
        }
    }
}

fn escape(out: &mut String, text: &str) {
    for c in inert(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let mut m = Markup::default();
        m.el("p", &[("title", "\"onload='x'")], |m| m.text("</style><script>alert(1)</script>&\x1b\u{202e}"));
        assert_eq!(
            m.finish(),
            "<p title=\"&quot;onload=&#39;x&#39;\">&lt;/style&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;\u{fffd}\u{fffd}</p>"
        );
    }

    #[test]
    fn lines_stay_lines() {
        let mut m = Markup::default();
        m.el_lines("pre", &[], "a \\\n  <b>");
        assert_eq!(m.finish(), "<pre>a \\\n  &lt;b&gt;</pre>");
    }

    #[test]
    fn leaves_close_themselves() {
        let mut m = Markup::default();
        m.leaf("circle", &[("r", "3")]);
        assert_eq!(m.finish(), "<circle r=\"3\"/>");
    }
}
