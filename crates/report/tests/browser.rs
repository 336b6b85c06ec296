//! The page in a real browser: what it shows, what it refuses, how it looks.
//!
//! Runs under the feature `external-tests` and needs Chromium in `PATH`; without one these tests fail.

mod sample;

use std::path::{Path, PathBuf};
use std::process::Command;

use sample::{Plan, Sample};
use stopwatt_core::text::Lang;
use stopwatt_report::html;
use tempfile::TempDir;

/// A folder with a page in it, and a browser to look at it.
struct Browser {
    dir: TempDir,
    page: PathBuf,
}

impl Browser {
    fn open(page: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let page = (dir.path().join("report.html"), std::fs::write(dir.path().join("report.html"), page)).0;
        Self { dir, page }
    }

    /// Standard output and standard error of one headless visit.
    fn visit(&self, page: &Path, flags: &[&str]) -> (String, String) {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
        let output = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
            ])
            .args(quiet)
            .args(["--enable-logging=stderr", "--log-level=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(flags)
            .arg(format!("file://{}", page.display()))
            .output()
            .expect("chromium starts; these tests need it in PATH");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    }

    /// The document after its script ran, and what the console said.
    fn dom(&self) -> (String, String) {
        let (dom, log) = self.visit(&self.page, &["--dump-dom"]);
        (dom, log.lines().filter(|l| l.contains("CONSOLE")).collect())
    }

    /// Pixels of a screenshot, row by row.
    fn screenshot(&self, flags: &[&str]) -> Vec<[u8; 3]> {
        let file = self.dir.path().join("shot.png");
        let target = format!("--screenshot={}", file.display());
        self.visit(&self.page, &[&[target.as_str(), "--window-size=1280,1600"], flags].concat());
        let mut reader =
            png::Decoder::new(std::io::BufReader::new(std::fs::File::open(file).expect("a screenshot")))
                .read_info()
                .expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
        let info = reader.next_frame(&mut pixels).expect("a whole picture");
        let channels = info.color_type.samples();
        pixels.chunks_exact(channels).map(|p| [p[0], p[1], p[2]]).collect()
    }
}

/// The words a reader sees: everything outside tags, style and script.
fn words(dom: &str) -> String {
    let mut text = String::new();
    let mut rest =
        &dom[dom.find("<main").expect("the page has a main part")..dom.find("</main>").expect("it ends")];
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        text.push(' ');
        rest = &rest[at + rest[at..].find('>').expect("a tag ends") + 1..];
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_shows_its_numbers_and_its_script_runs() {
    let run = Sample::new(&Plan::sweep());
    let (dom, console) = Browser::open(&html(&run.view(Lang::En))).dom();
    assert_eq!(console, "", "the browser complained");
    let seen = words(&dom);
    let ttft = run.doc.metrics["ttft"].p50.value.expect("it was measured") * 1e3;
    let tokens = run.doc.throughput_toks_s.expect("it was measured");
    for text in [
        "SmolLM2-135M-Instruct",
        "✓ Valid run",
        &format!("TTFT p50 {ttft:.1} ms"),
        &format!("Output tokens/s {tokens:.0} ±"),
    ] {
        assert!(seen.contains(text), "`{text}` is not shown: {}", &seen[..600]);
    }
    assert!(dom.contains("class=\"tip\""), "the script did not run");
    assert!(dom.matches("aria-label=").count() >= 10, "plots say in words what they show");
}

#[test]
fn hostile_texts_run_nothing() {
    let (dom, console) = Browser::open(&html(&Sample::hostile().view(Lang::En))).dom();
    assert_eq!(console, "", "something was tried and refused, so it was markup");
    let title = &dom[dom.find("<title>").expect("a title") + 7..dom.find("</title>").expect("it ends")];
    assert!(title.contains("Benchmark report"), "a script changed the title to {title}");
    assert!(
        words(&dom).contains("&lt;script&gt;document.title='owned'&lt;/script&gt;"),
        "it is shown as text"
    );
}

#[test]
fn an_injected_script_would_be_refused() {
    let page = html(&Sample::new(&Plan::single()).view(Lang::En));
    let injected =
        page.replacen("<main>", "<main><script>document.title='owned'</script><img src=\"x.png\">", 1);
    assert_ne!(page, injected);
    let (dom, console) = Browser::open(&injected).dom();
    assert!(!dom.contains("<title>owned"), "the content policy let a foreign script run");
    assert!(console.contains("Content Security Policy"), "the browser did not refuse: {console}");
}

#[test]
fn both_themes_are_drawn() {
    let browser = Browser::open(&html(&Sample::new(&Plan::sweep()).view(Lang::Ko)));
    for (scheme, ground) in [("1", [255, 255, 255]), ("0", [16, 19, 23])] {
        let pixels = browser.screenshot(&[&format!("--blink-settings=preferredColorScheme={scheme}")]);
        assert_eq!(pixels.len(), 1280 * 1600);
        let drawn = pixels.iter().filter(|p| **p != ground).count();
        let share = drawn as f64 / pixels.len() as f64;
        assert!((0.02..0.5).contains(&share), "{share:.3} of the picture is not ground");
        let colours: std::collections::BTreeSet<_> = pixels.iter().collect();
        assert!(colours.len() > 100, "{} colours", colours.len());
    }
}

/// The page in a frame of a page that looks into it.
fn framed(browser: &Browser, width: u32, look: &str) -> String {
    let frame = format!(
        "<iframe id=f src=report.html width={width} height=2000></iframe><p id=p></p><script>f.onload=()=>{{const d=f.contentDocument;{look}}}</script>"
    );
    let wrapper = browser.dir.path().join("frame.html");
    std::fs::write(&wrapper, frame).expect("a page beside the page");
    let (dom, _) = browser.visit(&wrapper, &["--dump-dom", "--allow-file-access-from-files"]);
    let text = dom.rsplit_once("<p id=\"p\">").expect("the place for the answer").1;
    text.split_once("</p>").expect("it ends").0.to_owned()
}

#[test]
fn a_phone_needs_no_sideways_scrolling() {
    for run in [Sample::new(&Plan::sweep()), Sample::hostile(), Sample::cut_off()] {
        let browser = Browser::open(&html(&run.view(Lang::Ko)));
        assert_eq!(framed(&browser, 390, "p.textContent=d.documentElement.scrollWidth"), "390");
    }
}

#[test]
fn the_pointer_shows_the_values_of_a_point() {
    let run = Sample::new(&Plan::sweep());
    let browser = Browser::open(&html(&run.view(Lang::En)));
    let point = "const c=d.querySelectorAll('svg.chart')[1],r=c.getBoundingClientRect();\
                 c.dispatchEvent(new f.contentWindow.PointerEvent('pointermove',{clientX:r.right-20,clientY:r.top+90}));\
                 p.textContent=[...d.querySelector('.tip').children].map(e=>e.textContent).join('|')";
    let shown = framed(&browser, 1200, point);
    let parts: Vec<&str> = shown.split('|').collect();
    assert_eq!(parts[0], "16", "the last setting of the sweep: {shown}");
    let ttft = run.doc.points[4].metrics["ttft"].p50.value.expect("it was measured") * 1e3;
    let read: f64 = parts[1].trim_start_matches("p50: ").trim_end_matches(" ms").parse().expect("a number");
    assert!((read - ttft).abs() < 0.2, "{read} is shown, {ttft} was measured");
}
