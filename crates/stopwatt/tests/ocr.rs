//! `stopwatt ocr` from the outside.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::{Place, follows};
use serde_json::{Value, json};
use stopwatt_record::{Chunks, Run};

/// Writes a file of JSON lines.
fn lines(place: &Place, name: &str, values: &[Value]) -> String {
    let text: String = values.iter().map(|v| format!("{v}\n")).collect();
    std::fs::write(place.path(name), text).unwrap();
    name.to_owned()
}

#[test]
fn readings_are_scored_without_a_word_of_them() {
    let place = Place::new();
    let field = json!({"name": "용량", "value": "50mg"});
    let truth = lines(
        &place,
        "truth.jsonl",
        &[
            json!({"id": "canary-1", "type": "처방전", "text": "카나리아정 50mg 매일", "fields": [field]}),
            json!({"id": "canary-2", "type": "진단서", "text": "카나리아 진단"}),
        ],
    );
    let read = lines(
        &place,
        "read.jsonl",
        &[
            json!({"id": "canary-1", "text": "카나리아정 5.0mg 매일"}),
            json!({"id": "canary-2", "text": "카나리아 진단"}),
        ],
    );
    let score = ["ocr", "score", "--truth", &truth, "--pred", &read];
    let doc = place.run(&[&score[..], &["--format", "json", "--pages", "pages.jsonl"]].concat()).expect(0);
    let value = doc.json();
    follows("ocr-score.schema.json", &value);
    // One point added among 13 + 7 characters.
    assert_eq!((value["cer_micro"].as_f64(), value["insertions"].as_u64()), (Some(1.0 / 20.0), Some(1)));
    assert_eq!(value["all"]["all_fields"]["quantities"]["decimal"], 1);
    for lang in ["en", "ko"] {
        let text = place.run(&[&score[..], &["--lang", lang]].concat()).expect(0).stdout;
        assert!(!text.contains("카나리아") && !text.contains("canary"), "{text}");
    }
    assert!(!doc.stdout.contains("카나리아") && !doc.stdout.contains("canary"));
    let pages = std::fs::read_to_string(place.path("pages.jsonl")).unwrap();
    assert!(pages.lines().count() == 2 && !pages.contains("카나리아"));
    follows("ocr-page.schema.json", &serde_json::from_str(pages.lines().next().unwrap()).unwrap());

    // A page without truth, and a normalisation that does not exist.
    let stray = lines(&place, "stray.jsonl", &[json!({"id": "canary-9", "text": "x"})]);
    let ended = place.run(&["ocr", "score", "--truth", &truth, "--pred", &stray]).expect(1);
    assert!(ended.stderr.contains("line 1: no page of the truth") && !ended.stderr.contains("canary"));
    place.run(&[&score[..], &["--norm", "nfkc"]].concat()).expect(1);
}

#[test]
fn a_wrong_truth_is_found() {
    let place = Place::new();
    let page =
        |value: &str| json!({"id": "a", "text": "용량 5mg", "fields": [{"name": "용량", "value": value}]});
    let good = lines(&place, "good.jsonl", &[page("5mg")]);
    let bad = lines(&place, "bad.jsonl", &[page("경구")]);
    let doc = place.run(&["ocr", "verify", &good, "--format", "json"]).expect(0).json();
    follows("ocr-verify.schema.json", &doc);
    let text = place.run(&["ocr", "verify", &bad]).expect(10).stdout;
    assert!(text.contains("line 1, field 1: its value does not stand in the text"), "{text}");
    place.run(&["ocr", "verify", &good, "--min-samples", "50"]).expect(11);
}

/// Prescriptions whose "images" are files with their text, so that `cat` reads them without an error.
fn echoed(place: &Place, documents: usize, synthetic: bool) {
    echoed_in(place, "data", documents, synthetic);
}

/// Prescriptions as [`echoed`] has them, each with another file of an image: pages are known by its hash.
fn echoed_apart(place: &Place, documents: usize) {
    echoed(place, documents, true);
    let truth = std::fs::read_to_string(place.path("data/truth.jsonl")).unwrap();
    let mut pages: Vec<Value> = truth.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for (i, page) in pages.iter_mut().enumerate() {
        let text = format!("{} {i}", page["text"].as_str().unwrap());
        std::fs::write(place.path("data").join(page["image"].as_str().unwrap()), &text).unwrap();
        page["text"] = text.into();
    }
    lines(place, "data/truth.jsonl", &pages);
}

/// The same in a folder of another name.
fn echoed_in(place: &Place, folder: &str, documents: usize, synthetic: bool) {
    let values = [("약물명", "카나리아정"), ("용량", "50mg"), ("투여횟수", "1일 2회"), ("투여경로", "경구")];
    let text = values.map(|(_, v)| v).join(" ");
    std::fs::create_dir(place.path(folder)).unwrap();
    let fields: Vec<Value> = values.iter().map(|(n, v)| json!({"name": n, "value": v})).collect();
    let pages: Vec<Value> = (0..documents)
        .map(|i| {
            let image = format!("canary-{i}.png");
            std::fs::write(place.path(folder).join(&image), &text).unwrap();
            json!({"id": format!("canary-{i}"), "type": "처방전", "text": text, "fields": fields, "image": image,
                "dpi": 150, "synthetic": synthetic})
        })
        .collect();
    lines(place, &format!("{folder}/truth.jsonl"), &pages);
}

#[test]
fn what_cannot_be_read_or_drawn_is_told() {
    let place = Place::new();
    // Images that are none: the program that reads says so, and the pages have failed.
    echoed(&place, 3, true);
    let run = |out: &str| {
        let ended =
            place.run(&["ocr", "run", "--data", "data", "--exec", "grep -c PNG {image}", "--out", out]);
        ended.expect(10);
        place.run(&["report", out]).expect(0).stdout
    };
    assert!(run("garbled").contains("program ended with an error: 3"));
    // One that is gone.
    std::fs::remove_file(place.path("data/canary-1.png")).unwrap();
    let text = run("gone");
    assert!(text.contains("image not readable: 1") && !text.contains("canary"), "{text}");
    // A font that is not there.
    let ended =
        place.run(&["ocr", "gen", "--count", "1", "--font", "/nowhere/none.ttf", "--out", "made"]).expect(1);
    assert!(ended.stderr.contains("failed to open none.ttf"), "{}", ended.stderr);
}

#[test]
fn a_perfect_reader_passes_and_a_blind_one_fails() {
    let place = Place::new();
    echoed(&place, 80, true);
    let run = |command: &str, code: i32| {
        place
            .run(&["ocr", "run", "--data", "data", "--exec", command, "--format", "json"])
            .expect(code)
            .json()
    };
    let doc = run("cat {image}", 0);
    follows("ocr-run.schema.json", &doc);
    assert_eq!((doc["verdict"].as_str(), doc["synthetic"].as_bool()), (Some("pass"), Some(true)));
    let timing = &doc["settings"][0]["types"]["처방전"]["timing"];
    assert!(timing["pages"] == 80 && timing["documents_per_min"].as_f64().unwrap() > 0.0, "{timing}");
    assert_eq!(run("echo {image}", 10)["verdict"], "fail");
    // A type that was asked for and is not there never passes.
    let few = ["ocr", "run", "--data", "data", "--exec", "cat {image}", "--types", "처방전,lab_result"];
    let text = place.run(&[&few[..], &["--verdict", "point", "--lang", "ko"]].concat()).expect(11).stdout;
    assert!(text.contains("판단 불가") && text.contains("검사결과지"), "{text}");
    let ended = place.run(&["ocr", "run", "--data", "data", "--exec", "no-such-reader {image}"]).expect(3);
    assert!(ended.stderr.contains("hint: is the program installed"), "{}", ended.stderr);
    let ended = place.run(&["ocr", "run", "--data", "data", "--exec", "cat"]).expect(1);
    assert!(ended.stderr.contains("must hold {image}"), "{}", ended.stderr);
}

#[test]
fn what_was_read_of_real_pages_is_not_kept() {
    let place = Place::new();
    echoed(&place, 3, false);
    let run = |out: &str, more: &[&str], code: i32| {
        let args = ["ocr", "run", "--data", "data", "--exec", "cat {image}", "--out", out];
        place.run(&[&args[..], more].concat()).expect(code)
    };
    let ended = run("private", &[], 11);
    let kept: Vec<String> = std::fs::read_dir(place.path("private"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            // Parquet is no text, and its strings stand in it as they are.
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains("카나리아") && !text.contains("canary"), "{}", path.display());
            path.file_name().unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    let mut kept = kept;
    kept.sort();
    let expected = [
        "config.lock.json",
        "events.parquet",
        "metrics.json",
        "ocr.json",
        "pages.jsonl",
        "report.csv",
        "report.html",
        "run.log",
        "streams.parquet",
    ];
    assert_eq!(kept, expected);
    assert!(!(ended.stdout + &ended.stderr).contains("canary"));
    run("private", &[], 1);
    run("stored", &["--store-text"], 11);
    assert!(std::fs::read_to_string(place.path("stored/readings.jsonl")).unwrap().contains("카나리아"));
    let url = ["ocr", "run", "--data", "data", "--url", "http://192.0.2.1", "--model", "m"];
    let ended = place.run(&url).expect(1);
    assert!(ended.stderr.contains("not marked as made up"), "{}", ended.stderr);
}

#[test]
fn a_run_stands_in_the_catalogue_and_is_compared_as_any_other() {
    let place = Place::new();
    echoed(&place, 12, true);
    let run = |out: &[&str], more: &[&str]| {
        let args = ["ocr", "run", "--data", "data", "--exec", "cat {image}", "--repeat", "3"];
        place.run(&[&args[..], out, more].concat()).expect(11)
    };
    run(&["--out", "a"], &[]);
    run(&[], &["--concurrency", "1,2"]);
    let metrics: Value =
        serde_json::from_str(&std::fs::read_to_string(place.path("a/metrics.json")).unwrap()).unwrap();
    follows("metrics.schema.json", &metrics);
    let e2e = &metrics["points"][0]["metrics"]["e2e"]["mean"];
    assert_eq!((e2e["n"].as_u64(), e2e["trials"].as_u64()), (Some(36), Some(3)), "{e2e}");
    assert!(e2e["interval"].is_object(), "{e2e}");
    assert_eq!(metrics["custom"]["cer"]["value"].as_f64(), Some(0.0));
    let doc: Value =
        serde_json::from_str(&std::fs::read_to_string(place.path("a/ocr.json")).unwrap()).unwrap();
    assert!(doc["resources"]["client_cpu_s"].is_number(), "{}", doc["resources"]);
    assert!(
        doc["resources"]["missing"]["gpu_energy_j"].is_string()
            || doc["resources"]["gpu_energy_j"].is_number()
    );

    let listed = place.run(&["runs", "list", "--format", "json"]).expect(0).json();
    assert_eq!(listed.as_array().or(listed["runs"].as_array()).map(Vec::len), Some(2), "{listed}");
    place.run(&["runs", "tag", "latest", "second"]).expect(0);
    place.run(&["runs", "show", "second"]).expect(0);
    let told = place.run(&["report", "second", "--format", "json"]).expect(0).json();
    assert_eq!(told["sweep"].as_array().map(Vec::len), Some(2));

    run(&["--out", "b"], &[]);
    let compared = place.run(&["compare", "a", "b", "--format", "json"]).expect(0);
    assert!(compared.stdout.contains("\"e2e\""), "{}", compared.stdout);
}

/// A real socket, a real image field, a real stream: the truth passes, a blind reader fails, few documents decide nothing.
#[test]
fn the_built_in_endpoint_gives_a_pass_a_fail_and_neither() {
    let place = Place::new();
    echoed(&place, 80, true);
    let truth = place.path("data/truth.jsonl");
    let echo = common::Exact::of_kind("ocr", &["--echo", truth.to_str().unwrap(), "--itl", "1ms"]);
    let model = "stopwatt-truth-echo-synthetic";
    let run = |url: &str, model: &str, out: &str, more: &[&str], code: i32| {
        let args = ["ocr", "run", "--data", "data", "--url", url, "--model", model, "--out", out];
        place.run(&[&args[..], &["--format", "json"], more].concat()).expect(code).json()
    };
    let doc = run(&echo.url, model, "pass", &[], 0);
    assert_eq!((doc["verdict"].as_str(), doc["reader"]["name"].as_str()), (Some("pass"), Some(model)));
    assert!(doc["notes"][0].as_str().unwrap().contains("echo of the truth (synthetic)"), "{}", doc["notes"]);
    let timing = &doc["settings"][0]["types"]["처방전"]["timing"];
    assert_eq!((timing["output_tokens"].as_f64(), timing["ttft_s"]["n"].as_u64()), (Some(5.0), Some(80)));
    assert!(timing["tpot_s"]["p50"].as_f64().unwrap() >= 0.0009, "{timing}");
    let page = std::fs::read_to_string(place.path("pass/report.html")).unwrap();
    assert!(page.contains("✓") && page.contains("echo of the truth") && page.contains(model));
    // The name of an echo says so, whatever is asked for.
    let named = common::Exact::of_kind("ocr", &["--echo", truth.to_str().unwrap(), "--model-name", "gpt"]);
    run(&named.url, "gpt-truth-echo-synthetic", "named", &["--verdict", "point"], 0);

    let blind = common::Exact::of_kind("ocr", &["--exec", "echo {image}", "--model-name", "blind"]);
    let doc = run(&blind.url, "blind", "fail", &[], 10);
    assert_eq!((doc["verdict"].as_str(), doc["notes"].as_array().map(Vec::len)), (Some("fail"), Some(0)));

    let few = place.path("few");
    std::fs::create_dir(&few).unwrap();
    let lines = std::fs::read_to_string(&truth).unwrap();
    std::fs::write(few.join("truth.jsonl"), lines.lines().take(20).collect::<Vec<_>>().join("\n")).unwrap();
    for i in 0..20 {
        let image = format!("canary-{i}.png");
        std::fs::copy(place.path("data").join(&image), few.join(&image)).unwrap();
    }
    let args = ["ocr", "run", "--data", "few", "--url", &echo.url, "--model", model];
    let text = place.run(&args).expect(11).stdout;
    assert!(text.contains("INCONCLUSIVE") && text.contains("needs about 30 more documents"), "{text}");
}

#[test]
fn images_are_sent_in_every_form_again_and_again() {
    let place = Place::new();
    let data = ["ocr", "gen", "--types", "진단서", "--count", "2", "--dpi", "72", "--out", "data"];
    if place.run(&data).code != Some(0) {
        // Without fonts there are no pages; `.ci/run` has them.
        if cfg!(feature = "external-tests") {
            panic!("no documents could be made");
        }
        return;
    }
    let truth = place.path("data/truth.jsonl");
    let echo = common::Exact::of_kind("ocr", &["--echo", truth.to_str().unwrap()]);
    let model = "stopwatt-truth-echo-synthetic";
    let base = ["ocr", "run", "--data", "data", "--url", &echo.url, "--model", model, "--format", "json"];
    for form in ["image-url", "image-url-string", "input-image", "source", "inline-data", "base64"] {
        let doc = place.run(&[&base[..], &["--image-form", form]].concat()).expect(11).json();
        assert_eq!(doc["settings"][0]["score"]["cer_micro"], 0.0, "{form}");
    }
    // Other pixels in the margin each time, and the page is still the page.
    let more = ["--repeat", "3", "--concurrency", "4,2", "--out", "again"];
    let doc = place.run(&[&base[..], &more].concat()).expect(11).json();
    assert_eq!((doc["repeat"].as_u64(), doc["settings"][0]["repeatable"].as_f64()), (Some(3), Some(1.0)));
    assert_eq!(doc["settings"][0]["score"]["cer_micro"], 0.0);
    let sweep: Vec<_> = doc["sweep"].as_array().unwrap().iter().map(|p| p["concurrency"].as_u64()).collect();
    assert_eq!(sweep, [Some(4), Some(2)]);
    follows("ocr-run.schema.json", &doc);
}

#[test]
fn two_runs_are_compared_page_by_page() {
    let place = Place::new();
    echoed_apart(&place, 40);
    let run = |command: &str, out: &str| {
        place.run(&["ocr", "run", "--data", "data", "--exec", command, "--warmup", "0", "--out", out]);
    };
    run("cat {image}", "right");
    run("head -c 18 {image}", "wrong");
    let doc = place.run(&["ocr", "compare", "wrong", "right", "--format", "json"]).expect(0).json();
    follows("ocr-compare.schema.json", &doc);
    let cer = &doc["figures"][0];
    assert_eq!((cer["figure"].as_str(), cer["verdict"].as_str()), (Some("cer"), Some("improved")));
    assert!(cer["interval"][1].as_f64().unwrap() < 0.0 && cer["candidate"] == 0.0, "{cer}");
    let back = place.run(&["ocr", "compare", "right", "wrong", "--lang", "ko"]).expect(0).stdout;
    assert!(back.contains("악화") && back.contains("40쪽"), "{back}");
    let same = place.run(&["ocr", "compare", "right", "right", "--format", "csv"]).expect(0).stdout;
    assert!(same.lines().any(|l| l.starts_with("all,cer,40,40,0,0,0,,,,0,0,same")), "{same}");
    let ended = place.run(&["ocr", "compare", "right", "data"]).expect(1);
    assert!(ended.stderr.contains("hint: `stopwatt ocr run --out` writes it"), "{}", ended.stderr);
}

/// What must stay: no artefact of a run over pages that are not made up holds a word of them, whatever read them.
#[test]
fn no_artefact_holds_a_word_of_real_pages() {
    let place = Place::new();
    echoed(&place, 12, false);
    std::fs::write(place.path("loud.sh"), "cat \"$1\"; echo '카나리아 canary 50mg' >&2; exit 1").unwrap();
    let runs = [("read", "cat {image}"), ("cut", "head -c 19 {image}"), ("loud", "sh loud.sh {image}")];
    let mut said = String::new();
    for (out, command) in runs {
        let ended = place.run(&["ocr", "run", "--data", "data", "--exec", command, "--out", out]);
        said += &(ended.stdout + &ended.stderr);
        for args in [&["report", out][..], &["report", out, "--share", "--lang", "ko"]] {
            let ended = place.run(args);
            said += &(ended.stdout + &ended.stderr);
        }
    }
    let blind = common::Exact::of_kind("ocr", &["--exec", "cat {image}", "--model-name", "m"]);
    let sent = ["ocr", "run", "--data", "data", "--url", &blind.url, "--model", "m", "--out", "sent"];
    let ended = place.run(&sent);
    said += &(ended.stdout + &ended.stderr);
    let ended = place.run(&["ocr", "compare", "read", "sent"]).expect(0);
    said += &(ended.stdout + &ended.stderr);
    let (mut files, mut requests) = (0, 0);
    for out in ["read", "cut", "loud", "sent"] {
        let Ok(entries) = std::fs::read_dir(place.path(out)) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            for word in ["카나리아", "canary", "50mg"] {
                assert!(!text.contains(word), "{word} in {}", path.display());
            }
            files += 1;
        }
        // Pages of Parquet are compressed, so its rows are looked at and not its bytes.
        let rows = Run::open(&place.path(out)).unwrap().requests(Chunks::Read).unwrap();
        for row in rows.map(Result::unwrap) {
            let text = format!("{row:?}");
            for word in ["카나리아", "canary", "50mg"] {
                assert!(!text.contains(word), "{word} in {text}");
            }
            requests += 1;
        }
    }
    assert!(requests >= 36, "{requests} rows");
    assert!(files >= 16, "{files} files");
    for word in ["카나리아", "canary", "50mg"] {
        assert!(!said.contains(word), "{word}: {said}");
    }
}

#[test]
fn the_built_in_endpoint_refuses_in_words() {
    let place = Place::new();
    echoed(&place, 2, true);
    let truth = place.path("data/truth.jsonl");
    let echo = common::Exact::of_kind("ocr", &["--echo", truth.to_str().unwrap()]);
    let model = "stopwatt-truth-echo-synthetic";
    let ask = |content: Value| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": content}]}).to_string();
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        let mut socket = TcpStream::connect(echo.url.strip_prefix("http://").unwrap()).unwrap();
        write!(socket, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let status: u16 = answer[9..12].parse().unwrap();
        (status, serde_json::from_str::<Value>(answer.split_once("\r\n\r\n").unwrap().1).unwrap())
    };
    // What the pages say, in base64.
    let known = "data:image/png;base64,7Lm064KY66as7JWE7KCVIDUwbWcgMeydvCAy7ZqMIOqyveq1rA==";
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let (status, answer) = ask(json!([{"type": "text", "text": "read"}, image(known)]));
    assert_eq!(
        (status, &answer["choices"][0]["message"]["content"]),
        (200, &json!("카나리아정 50mg 1일 2회 경구"))
    );
    assert_eq!(answer["usage"]["completion_tokens"], 5);
    for (content, what) in [
        (json!("read"), "one image is read; 0 were sent"),
        (json!([image(known), image(known)]), "one image is read; 2 were sent"),
        (json!([image("data:image/png;base64,eA==")]), "none of the pages of --echo"),
        (json!([image("http://127.0.0.1/a.png")]), "neither a data URI in base64 nor base64"),
    ] {
        let (status, answer) = ask(content);
        assert_eq!(status, 400);
        assert!(answer["error"]["message"].as_str().unwrap().contains(what), "{answer}");
    }
    // The truth of real pages is not served, and something must read.
    echoed_in(&place, "real", 1, false);
    let ended = place.run(&["serve", "--kind", "ocr", "--echo", "real/truth.jsonl"]).expect(1);
    assert!(ended.stderr.contains("not marked as made up"), "{}", ended.stderr);
    place.run(&["serve", "--kind", "ocr"]).expect(1);
}

#[test]
fn a_report_shows_content_of_made_up_pages_alone() {
    let place = Place::new();
    echoed(&place, 3, false);
    let run = ["ocr", "run", "--data", "data", "--exec", "head -c 20 {image}", "--out", "private"];
    // A third of the text is missing, of three documents: the fields alone say no.
    place.run(&run).expect(10);
    let page = || std::fs::read_to_string(place.path("private/report.html")).unwrap();
    assert!(!page().contains("카나") && !page().contains("canary"));
    let text = place.run(&["report", "private", "--lang", "ko"]).expect(0).stdout;
    assert!(text.contains("불합격") && text.contains("report.html"), "{text}");
    let ended = place.run(&["report", "private", "--include-documents"]).expect(1);
    assert!(ended.stderr.contains("--store-text"), "{}", ended.stderr);

    place.run(&[&run[..7], &["stored", "--store-text"]].concat()).expect(10);
    let stored = || std::fs::read_to_string(place.path("stored/report.html")).unwrap();
    assert!(!stored().contains("카나"), "content is shown only when asked for");
    place.run(&["report", "stored", "--include-documents"]).expect(0);
    assert!(stored().contains("카나") && stored().contains("not to be passed on"));
    place.run(&["report", "stored", "--share"]).expect(0);
    assert!(!stored().contains("카나"));
}

/// A service that streams the text of every page: two tokens, 30 ms after each other. Without an image a request has 20
/// tokens, with one 1,020.
fn vision_service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            std::thread::spawn(move || answer(socket.unwrap()));
        }
    });
    url
}

fn answer(mut socket: TcpStream) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let tokens = if String::from_utf8_lossy(&body).contains("data:image/png;base64,") { 1020 } else { 20 };
    let event = |value: Value| format!("data: {value}\n\n");
    let delta = |text: &str| event(json!({"choices": [{"index": 0, "delta": {"content": text}}]}));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let end = event(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        + &event(json!({"choices": [], "usage": {"prompt_tokens": tokens, "completion_tokens": 2}}))
        + "data: [DONE]\n\n";
    for part in [head.to_owned() + &delta("카나리아정 50mg "), delta("1일 2회 경구"), end] {
        if socket.write_all(part.as_bytes()).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn a_service_is_asked_with_images_and_timed_by_its_stream() {
    let place = Place::new();
    echoed(&place, 6, true);
    let url = vision_service();
    let args = "--model m --concurrency 2 --warmup 1 --out read --format json";
    let mut command = vec!["ocr", "run", "--data", "data", "--url", &url];
    command.extend(args.split(' '));
    // Six documents are too few for a verdict.
    let doc = place.run(&command).expect(11).json();
    let timing = &doc["settings"][0]["types"]["처방전"]["timing"];
    let tpot = timing["tpot_s"]["p50"].as_f64().unwrap();
    assert!((0.029..0.5).contains(&tpot) && timing["image_tokens"] == 1000.0, "{timing}");
    assert_eq!(
        (doc["settings"][0]["score"]["cer_micro"].as_f64(), timing["output_tokens"].as_f64()),
        (Some(0.0), Some(2.0))
    );
    let read = std::fs::read_to_string(place.path("read/readings.jsonl")).unwrap();
    assert!(read.lines().count() == 6 && read.contains("\"finish_reason\":\"stop\""), "{read}");

    // The built-in engine takes no images.
    let exact = common::Exact::start(&["--ttft", "1ms", "--itl", "1ms"]);
    let refused = ["ocr", "run", "--data", "data", "--url", &exact.url, "--model", "stopwatt-exact"];
    let ended = place.run(&refused).expect(4);
    assert!(ended.stderr.contains("the service refused every page"), "{}", ended.stderr);
}
