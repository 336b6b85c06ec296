// The page: what comes is kept for the last minutes, and drawn.

import { Chart, say } from "/page/chart.js";
import { tables } from "/page/tables.js";
import { ask, follow, token } from "/page/stream.js";

const CHARTS = [
  { id: "load", keys: ["requests_per_s"] },
  { id: "tokens", keys: ["tokens_per_s"] },
  { id: "queue", keys: ["in_flight", "running", "waiting"] },
  { id: "ttft", unit: "s", keys: ["ttft_p50", "ttft_p95", "ttft_p99"] },
  { id: "itl", unit: "s", keys: ["itl_p50", "itl_p95", "itl_p99"] },
  { id: "e2e", unit: "s", keys: ["e2e_p50", "e2e_p95", "e2e_p99"] },
  { id: "errors", keys: [] },
  { id: "kv", unit: "share", most: 1, keys: ["kv_usage", "prefix_hits"] },
  { id: "host", unit: "share", most: 1, keys: ["cpu", "memory"] },
  { id: "gpu", unit: "share", most: 1, keys: ["gpu_use", "gpu_memory"] },
  { id: "power", unit: "watts", none: "gpu", keys: ["gpu_power"] },
  { id: "temperature", unit: "celsius", none: "gpu", keys: ["gpu_temperature"] },
  { id: "quality", unit: "share", keys: ["bad_answers"] },
  { id: "cost_hour", unit: "dollars", none: "cost", keys: ["dollars_per_hour"] },
  { id: "cost_mtok", unit: "dollars", none: "cost", keys: ["dollars_per_mtok"] },
];
const SPANS = [0, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400];

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
let lang = parameters.get("lang") ?? localStorage.getItem("stopwatt-lang") ?? (navigator.language.startsWith("ko") ? "ko" : "en");
if (lang !== "ko") lang = "en";
let texts = {};
const t = (key) => texts[key]?.[lang] ?? key;

let about = null;
let live = { frames: [], state: null };
let past = null;
let span = 0;
let link = "wait";
let charts = [];

function theme() {
  return document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function label() {
  document.documentElement.lang = lang;
  for (const el of document.querySelectorAll("[data-t]")) el.textContent = t(el.dataset.t);
  $("lang").textContent = lang === "ko" ? "English" : "한국어";
  $("lang").lang = lang === "ko" ? "en" : "ko";
  $("theme").textContent = theme() === "dark" ? t("light") : t("dark");
  const select = $("span");
  select.replaceChildren(...SPANS.map((s) => {
    const option = new Option(s === 0 ? t("live") : t("last").replace("{}", say(s, "s")), s);
    option.disabled = s > 0 && !about?.store;
    return option;
  }));
  select.value = String(span);
  select.title = about && !about.store ? t("needs_store") : "";
  said();
}

function said() {
  const p = $("link");
  p.className = link;
  p.textContent = t("link_" + link);
}

function build() {
  for (const chart of charts) chart.forget();
  charts = CHARTS.map((spec) => new Chart(spec, t));
  $("charts").replaceChildren(...charts.map((c) => c.box));
}

const shown = () => (span === 0 ? live : past);

// A column of the frames that are shown; a pause is a gap.
function columns(frames) {
  const at = (key) => about.keys.indexOf(key);
  const x = frames.map((f) => f[0] / 1000);
  const of = (key) => { const i = at(key); return frames.map((f) => (i < 0 ? null : f[1][i])); };
  return { x, of };
}

function mean(key) {
  const { of } = columns(shown().frames);
  const values = of(key).filter((v) => v !== null);
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
}

// Hours of the span in which somebody watched: a pause has frames of nulls, or none.
function hours() {
  const { frames, step_s: step } = shown();
  let seconds = 0;
  for (let i = 1; i < frames.length; i++) {
    const from = (frames[i][0] - frames[i - 1][0]) / 1000;
    if (frames[i][1].some((v) => v !== null)) seconds += Math.min(from, step ?? 10);
  }
  return seconds / 3600;
}

function draw() {
  const now = shown();
  if (!about || !now) return;
  const { x, of } = columns(now.frames);
  for (const chart of charts) {
    const { id, keys } = chart.spec;
    if (id === "errors") {
      const kinds = [...new Set(now.frames.flatMap((f) => Object.keys(f[2])))].sort();
      const y = kinds.map((k) => now.frames.map((f) => (f[1][0] === null ? null : f[2][k] ?? 0)));
      chart.draw({ x, y, names: kinds.map((k) => t("end_" + k)) });
    } else {
      chart.draw({ x, y: keys.map(of), names: keys.map((k) => t("key_" + k)) });
    }
  }
  tiles(now, of);
}

function tiles(now, of) {
  const last = (key) => of(key).at(-1) ?? null;
  const s = now.state;
  const tile = (id, value, sub, kind) => {
    const div = document.createElement("div");
    div.className = "tile";
    div.append(document.createElement("h3"), document.createElement("p"), document.createElement("p"));
    div.children[0].textContent = t("tile_" + id);
    div.children[1].textContent = value;
    if (kind) div.children[1].classList.add(kind);
    div.children[2].className = "sub";
    div.children[2].textContent = sub ?? "";
    return div;
  };
  const past = span > 0;
  const value = (key) => (past ? mean(key) : last(key));
  const up = s?.upstreams ? s.upstreams.filter((u) => !u.ejected).length + " / " + s.upstreams.length : "–";
  const out = s?.upstreams?.some((u) => u.ejected);
  const available = s?.total.availability ?? null;
  const pages = s?.alerts?.length ?? 0;
  const total = (key, p) => (past ? s?.total[key]?.[p] : last(key.replace("_s", "") + "_" + p));
  $("tiles").replaceChildren(
    tile("availability", say(available, "share"), t("of_requests").replace("{}", say(s?.total.requests ?? 0, "whole")), available !== null && available < 0.99 ? "bad" : ""),
    tile("upstreams", past ? "–" : up, past ? t("only_live") : out ? t("some_out") : t("all_in"), out ? "bad" : ""),
    tile("load", say(past ? s?.total.requests_per_s : value("requests_per_s")) + " /s", t("tokens_rate").replace("{}", say(value("tokens_per_s")))),
    tile("ttft", say(total("ttft_s", "p50"), "s"), "p95 " + say(total("ttft_s", "p95"), "s")),
    tile("itl", say(total("itl_s", "p50"), "s"), "p95 " + say(total("itl_s", "p95"), "s")),
    tile("queue", say(value("waiting"), past ? "" : "whole"), t("kv_use").replace("{}", say(value("kv_usage"), "share"))),
    tile("cost", say(value("dollars_per_hour"), "dollars") + " /h", t("month").replace("{}", say(value("dollars_per_hour") === null ? null : value("dollars_per_hour") * 730, "dollars"))),
    tile("alerts", past ? "–" : String(pages), past ? t("only_live") : pages ? s.alerts[0].subject : t("no_alerts_short"), pages ? "bad" : ""),
  );
}

function lists() {
  const s = shown()?.state;
  if (!s) return;
  // Somebody who reads or scrolls in a table keeps his place.
  const places = [...$("tables").querySelectorAll(".scroll")].map((e) => e.scrollLeft);
  $("tables").replaceChildren(...tables(s, t, mean, hours()));
  $("tables").querySelectorAll(".scroll").forEach((e, i) => { e.scrollLeft = places[i] ?? 0; });
  const notes = [];
  if (s.rows_lost) notes.push(["", t("rows_lost").replace("{}", say(s.rows_lost, "whole"))]);
  if (s.store?.lost) notes.push(["page", t("store_lost").replace("{}", say(s.store.lost, "whole"))]);
  else if (s.store?.failed) notes.push(["", t("store_failed")]);
  $("notes").replaceChildren(...notes.map(([kind, text]) => {
    const p = document.createElement("p");
    p.className = "note " + kind;
    p.textContent = text;
    return p;
  }));
  $("kept").textContent = s.store ? t("kept").replace("{}", say(s.store.bytes, "bytes")) : about?.store ? "" : t("not_kept");
}

async function look() {
  if (span === 0) return;
  const wanted = span;
  try {
    const answer = await ask("/page/history?seconds=" + wanted);
    if (!answer.ok) throw new Error(String(answer.status));
    const seen = await answer.json();
    if (span !== wanted) return;
    past = seen;
    draw();
    lists();
  } catch {
    link = "down";
    said();
  }
}

function denied(wrong) {
  $("main").hidden = true;
  $("login").hidden = false;
  $("wrong").textContent = wrong ? t("token_wrong") : "";
  token.drop();
  $("token").focus();
  return new Promise((go) => {
    $("login").onsubmit = (event) => {
      event.preventDefault();
      token.set($("token").value);
      $("token").value = "";
      $("login").hidden = true;
      go();
    };
  });
}

async function begin() {
  texts = await (await fetch("/page/texts.json")).json();
  const kept = localStorage.getItem("stopwatt-theme");
  if (kept) document.documentElement.dataset.theme = kept;
  label();
  build();
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
    localStorage.setItem("stopwatt-theme", theme());
    label();
    build();
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { label(); build(); draw(); });
  $("lang").addEventListener("click", () => {
    lang = lang === "ko" ? "en" : "ko";
    localStorage.setItem("stopwatt-lang", lang);
    label();
    build();
    draw();
    lists();
  });
  $("span").addEventListener("change", (event) => {
    span = Number(event.target.value);
    past = null;
    if (span === 0) { draw(); lists(); } else look();
  });
  setInterval(look, 30000);
  follow({
    hello(data) {
      about = data;
      $("main").hidden = false;
      $("version").textContent = "Stopwatt " + data.version;
      // After a restart frames may come that are here already.
      const last = live.frames.at(-1)?.[0] ?? 0;
      live.frames.push(...data.frames.filter((f) => f[0] > last));
      live.state = data.state ?? live.state;
      label();
      draw();
      lists();
    },
    frame(data) {
      live.frames.push(data.frame);
      const oldest = data.frame[0] - about.recent_s * 1000;
      while (live.frames[0][0] < oldest) live.frames.shift();
      if (data.state) live.state = data.state;
      if (span === 0 && !document.hidden) {
        draw();
        if (data.state) lists();
      }
    },
    state(now) {
      if (now !== link) {
        link = now;
        said();
      }
    },
    denied,
  });
}

begin();
