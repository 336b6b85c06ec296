// The panels that are tables: upstreams, alerts, incidents, groups, variants, cost.

import { say, clock } from "/page/chart.js";

function panel(id, t) {
  const box = document.createElement("article");
  box.className = "panel";
  box.id = "table-" + id;
  const head = box.appendChild(document.createElement("div"));
  head.className = "head";
  head.appendChild(document.createElement("h2")).textContent = t("table_" + id);
  return box;
}

function words(box, text, kind = "none") {
  const p = box.appendChild(document.createElement("p"));
  p.className = kind;
  p.textContent = text;
}

// `columns`: texts; `rows`: lists of texts or {text, kind}.
function grid(box, columns, rows) {
  const scroll = box.appendChild(document.createElement("div"));
  scroll.className = "scroll";
  scroll.tabIndex = 0;
  const table = scroll.appendChild(document.createElement("table"));
  const head = table.createTHead().insertRow();
  for (const text of columns) {
    const th = head.appendChild(document.createElement("th"));
    th.scope = "col";
    th.textContent = text;
  }
  const body = table.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    for (const cell of cells) {
      const td = row.insertCell();
      td.textContent = cell?.text ?? cell ?? "–";
      if (cell?.kind) td.className = cell.kind;
    }
  }
}

const moment = (ms) => clock(ms / 1000, 90000, true);
const failures = (s) => Object.values(s.failed).reduce((a, b) => a + b, 0);
const bad = (n, text) => ({ text, kind: n > 0 ? "bad" : "" });

function upstreams(state, t) {
  const box = panel("upstreams", t);
  if (!state.upstreams?.length) return words(box, t("only_live")), box;
  grid(box, ["upstream", "variant", "health", "given", "in_flight", "running", "waiting", "kv"].map(t), state.upstreams.map((u) => [
    u.name, u.variant,
    { text: t("state_" + u.health), kind: { stalled: "bad", dead: "bad", saturated: "warn", progressing: "good" }[u.health] ?? "" },
    u.ejected ? { text: t("out_" + u.ejected), kind: "bad" } : t("yes"),
    say(u.in_flight, "whole"), say(u.running, "whole"), say(u.waiting, "whole"), say(u.kv_usage, "share"),
  ]));
  return box;
}

function alerts(state, t) {
  const box = panel("alerts", t);
  if (!state.alerts) return words(box, t("only_live")), box;
  if (!state.alerts.length) return words(box, t("no_alerts")), box;
  grid(box, ["alert", "severity", "since", "value", "why"].map(t), state.alerts.map((a) => [
    a.subject, { text: t("severity_" + a.severity), kind: a.severity === "page" ? "bad" : "warn" }, moment(a.since_ms), say(a.value), { text: a.summary, kind: "wrap" },
  ]));
  return box;
}

function incidents(state, t) {
  const box = panel("incidents", t);
  const a = state.availability;
  grid(box, ["what", "count", "open_now", "out_for", "mttr"].map(t), ["service", "upstream", "alert"].map((kind) => [
    t("kind_" + kind), bad(kind === "service" ? a[kind].count : 0, say(a[kind].count, "whole")), bad(a[kind].open, say(a[kind].open, "whole")), say(a[kind].out_s, "s"), say(a[kind].mttr_s, "s"),
  ]));
  if (!state.incidents.length) return words(box, t("no_incidents")), box;
  grid(box, ["began", "kind", "what", "took", "why"].map(t), state.incidents.slice(0, 12).map((i) => {
    const took = i.ended_unix_ns === null ? { text: t("goes_on"), kind: "bad" } : (i.cut ? "≥ " : "") + say((i.ended_unix_ns - i.began_unix_ns) / 1e9, "s");
    return [moment(i.began_unix_ns / 1e6), t("kind_" + i.kind), i.subject || "–", took, { text: i.kind === "upstream" ? t("why_" + i.reason) : i.kind === "service" ? t("all_out") : i.reason, kind: "wrap" }];
  }));
  return box;
}

function groups(state, t) {
  const box = panel("groups", t);
  if (!state.groups.length) return words(box, t("no_requests")), box;
  const all = state.total.requests;
  grid(box, ["model", "template", "length", "requests", "share", "rate", "ttft50", "ttft95", "tpot50", "failed", "tokens", "cost"].map(t), state.groups.map(({ group: g, summary: s }) => [
    g.model ?? "–", { text: g.template ? g.template.slice(0, 8) : "–", kind: "text" }, g.up_to_tokens ? "≤ " + say(g.up_to_tokens, "whole") : "–",
    say(s.requests, "whole"), say(s.requests / all, "share"), say(s.requests_per_s) + " /s", say(s.ttft_s?.p50, "s"), say(s.ttft_s?.p95, "s"), say(s.tpot_s?.p50, "s"),
    bad(failures(s), say(failures(s), "whole")), say(s.tokens), say(s.cost_dollars, "dollars"),
  ]));
  if (state.other_groups_requests) words(box, t("other_groups").replace("{}", say(state.other_groups_requests, "whole")), "hint");
  words(box, t("sessions_users").replace("{}", say(state.sessions, "whole")).replace("{}", say(state.users, "whole")), "hint");
  return box;
}

function variants(state, t) {
  const box = panel("variants", t);
  if (!state.variants.length) return words(box, t("one_variant")), box;
  for (const v of state.variants) {
    const unit = (d) => (d.metric === "failed_share" ? "share" : "s");
    grid(box, [t("metric"), v.baseline + " (" + say(v.requests[0], "whole") + ")", v.candidate + " (" + say(v.requests[1], "whole") + ")", t("difference"), t("interval"), t("verdict")], v.differences.map((d) => {
      const [lo, hi] = d.interval ?? [null, null];
      const verdict = d.interval === null ? t("few_blocks").replace("{}", say(d.n, "whole")) : hi < 0 ? t("better") : lo > 0 ? t("worse") : t("no_difference");
      return [t("metric_" + d.metric), say(d.baseline, unit(d)), say(d.candidate, unit(d)), (d.difference > 0 ? "+" : "") + say(d.difference, unit(d)),
        d.interval ? say(lo, unit(d)) + " … " + say(hi, unit(d)) : "–", { text: verdict, kind: d.interval ? (hi < 0 ? "good" : lo > 0 ? "bad" : "") : "wrap" }];
    }));
  }
  words(box, t("variants_note"), "hint");
  return box;
}

function cost(state, t, mean, hours) {
  const box = panel("cost", t);
  const hour = mean("dollars_per_hour");
  if (hour === null) return words(box, t("none_cost")), box;
  const { total } = state;
  const per = total.tokens > 0 && total.cost_dollars !== null ? (total.cost_dollars / total.tokens) * 1e6 : null;
  grid(box, ["what", "value"].map(t), [
    [t("per_hour"), say(hour, "dollars")], [t("per_day"), say(hour * 24, "dollars")], [t("per_month"), say(hour * 730, "dollars")],
    [t("busy_share"), total.cost_dollars === null ? "–" : say(hours > 0 ? total.cost_dollars / (hour * hours) : null, "share")],
    [t("per_mtok_busy"), say(per, "dollars")], [t("per_mtok_all"), say(mean("dollars_per_mtok"), "dollars")],
  ]);
  words(box, t("cost_note"), "hint");
  return box;
}

function errors(state, t) {
  const box = panel("errors", t);
  const { total } = state;
  const kinds = Object.entries(total.failed).sort((a, b) => b[1] - a[1]);
  if (!kinds.length) words(box, total.requests ? t("no_errors") : t("no_requests"));
  else grid(box, ["kind", "requests", "share"].map(t), kinds.map(([kind, n]) => [t("end_" + kind), say(n, "whole"), say(n / total.requests, "share")]));
  words(box, t("also").replace("{}", say(total.client_gone, "whole")).replace("{}", say(total.retried, "whole")), "hint");
  return box;
}

// `mean(key)` is the mean of a number over the frames that are shown, `hours` the time in which somebody watched.
export function tables(state, t, mean, hours) {
  return [upstreams(state, t), alerts(state, t), groups(state, t), incidents(state, t), errors(state, t), variants(state, t), cost(state, t, mean, hours)];
}
