// One chart: lines over time with units, and the same numbers as a table.

const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Short text of a value in its unit.
export function say(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const digits = (v, n = 3) => {
    // Rounded first: 9.998 is 10.0 and not 10.00.
    v = Number(v.toPrecision(n));
    const a = Math.abs(v);
    return a >= 100 ? v.toFixed(0) : a >= 10 ? v.toFixed(Math.max(0, n - 2)) : a >= 1 ? v.toFixed(n - 1) : a === 0 ? "0" : v.toPrecision(n);
  };
  const scaled = (v, steps) => {
    for (const [least, name] of steps) if (Math.abs(v) >= least) return digits(v / least) + " " + name;
    const [least, name] = steps[steps.length - 1];
    return digits(v / least) + " " + name;
  };
  switch (unit) {
    case "s": return value === 0 ? "0 s" : scaled(value, [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"], [1e-6, "µs"]]);
    case "share": return digits(value * 100) + " %";
    case "dollars": return "$" + (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : Math.abs(value) >= 0.01 || value === 0 ? value.toFixed(2) : value.toPrecision(2));
    case "bytes": return scaled(value, [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]]);
    case "watts": return digits(value) + " W";
    case "celsius": return digits(value) + " °C";
    case "whole": return Math.round(value).toLocaleString("en-US");
    default: return Number.isInteger(value) && Math.abs(value) < 1e4 ? String(value) : Math.abs(value) >= 1e4 ? scaled(value, [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) : digits(value);
  }
}

// Ticks are round numbers: zeros at their ends tell nothing.
function axisTicks(unit) {
  return (_, splits) => splits.map((v) => (v === null ? "" : say(v, unit).replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "")));
}

export class Chart {
  // `spec`: {id, unit, series: [{key, text}], most}; `t` tells texts.
  constructor(spec, t) {
    this.spec = spec;
    this.t = t;
    this.open = false;
    this.plot = null;
    this.box = document.createElement("article");
    this.box.className = "panel";
    this.box.id = "chart-" + spec.id;
    const head = this.box.appendChild(document.createElement("div"));
    head.className = "head";
    this.title = head.appendChild(document.createElement("h2"));
    this.unit = head.appendChild(document.createElement("span"));
    this.unit.className = "unit";
    this.button = head.appendChild(document.createElement("button"));
    this.button.type = "button";
    this.button.addEventListener("click", () => {
      this.open = !this.open;
      this.draw(this.data);
    });
    this.keys = this.box.appendChild(document.createElement("ul"));
    this.keys.className = "keys";
    this.body = this.box.appendChild(document.createElement("div"));
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.box);
  }

  size() {
    return { width: Math.max(160, this.box.clientWidth - 24), height: 168 };
  }

  forget() {
    this.plot?.destroy();
    this.plot = null;
    this.body.replaceChildren();
  }

  // `data`: {x: [seconds], y: [[…] a series], names: [a text a series]}; a new set of names makes a new plot.
  draw(data) {
    const { spec, t } = this;
    this.data = data;
    this.title.textContent = t("chart_" + spec.id);
    this.unit.textContent = t("unit_" + spec.id);
    this.button.textContent = this.open ? t("show_chart") : t("show_table");
    this.button.setAttribute("aria-pressed", String(this.open));
    this.button.setAttribute("aria-label", this.button.textContent + ": " + this.title.textContent);
    const known = data.y.some((ys) => ys.some((v) => v !== null));
    this.button.hidden = !known;
    this.legend(data, known);
    const way = !known ? "empty" : this.open ? "table" : "plot " + data.names.join("|");
    if (way !== this.way || way === "empty") {
      this.forget();
      this.way = way;
    }
    if (way === "empty") {
      const p = this.body.appendChild(document.createElement("p"));
      p.className = "empty";
      p.textContent = t("none_" + (spec.none || spec.id));
    } else if (way === "table") {
      this.table(data);
    } else if (this.plot) {
      this.plot.setData([data.x, ...data.y]);
    } else {
      const div = this.body.appendChild(document.createElement("div"));
      div.className = "plot";
      div.setAttribute("role", "img");
      this.plot = new uPlot(this.options(data), [data.x, ...data.y], div);
    }
    const div = this.body.querySelector(".plot");
    if (div) div.setAttribute("aria-label", this.title.textContent + ": " + this.keys.textContent);
  }

  legend(data, known) {
    const items = !known ? [] : data.names.map((name, i) => {
      const li = document.createElement("li");
      const mark = li.appendChild(document.createElement("i"));
      mark.className = "k" + ((i % COLOURS.length) + 1);
      li.append(name + " ");
      const value = li.appendChild(document.createElement("b"));
      const ys = data.y[i];
      value.textContent = say(ys[ys.length - 1], this.spec.unit);
      return li;
    });
    this.keys.replaceChildren(...items);
  }

  options(data) {
    const grid = { stroke: css("--grid"), width: 1 };
    const axis = { stroke: css("--soft"), font: "11px system-ui, sans-serif", grid, ticks: { show: false } };
    const most = this.spec.most;
    return {
      ...this.size(),
      padding: [8, 22, 0, 0],
      legend: { show: false },
      cursor: { points: { size: 5 }, drag: { x: false, y: false }, sync: { key: "stopwatt" } },
      scales: { x: { time: true }, y: { range: (_, lo, hi) => [Math.min(0, lo ?? 0), most ?? ((hi || 0) > 0 ? hi * 1.08 : 1)] } },
      axes: [
        { ...axis, space: 70, size: 24, gap: 3, values: (u, s) => {
          const wide = u.scales.x.max - u.scales.x.min;
          // The first would stand on the lowest number of the other axis.
          return s.map((v) => (v - u.scales.x.min < wide * 0.06 ? "" : clock(v, wide)));
        } },
        { ...axis, size: 62, gap: 4, space: 32, values: axisTicks(this.spec.unit) },
      ],
      series: [{}, ...data.names.map((label, i) => ({
        label, stroke: css(COLOURS[i % COLOURS.length]), width: 1.5, points: { show: false }, spanGaps: false,
      }))],
      hooks: { setCursor: [(u) => this.point(u)] },
    };
  }

  // The legend tells the values under the pointer.
  point(u) {
    const { data } = this;
    const i = u.cursor.idx;
    const marks = this.keys.querySelectorAll("b");
    marks.forEach((mark, s) => {
      const ys = data.y[s];
      mark.textContent = say(i === null || i === undefined ? ys[ys.length - 1] : ys[i], this.spec.unit);
    });
  }

  table(data) {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const text of [this.t("time"), ...data.names]) {
      const th = head.appendChild(document.createElement("th"));
      th.scope = "col";
      th.textContent = text;
    }
    const rows = table.createTBody();
    // Newest first, and no more rows than somebody reads.
    for (let i = data.x.length - 1, n = 0; i >= 0 && n < 120; i--, n++) {
      const row = rows.insertRow();
      row.insertCell().textContent = clock(data.x[i], data.x[data.x.length - 1] - data.x[0], true);
      for (const ys of data.y) row.insertCell().textContent = say(ys[i], this.spec.unit);
    }
    const div = document.createElement("div");
    div.className = "values";
    div.tabIndex = 0;
    div.append(table);
    this.body.replaceChildren(div);
  }
}

// Local time of a moment, with what a span of so many seconds needs.
export function clock(seconds, wide, exact) {
  const d = new Date(seconds * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const time = two(d.getHours()) + ":" + two(d.getMinutes());
  const day = two(d.getMonth() + 1) + "-" + two(d.getDate());
  if (wide > 2 * 86400 && !exact) return day;
  if (wide > 86400) return day + " " + time;
  return exact || wide < 180 ? time + ":" + two(d.getSeconds()) : time;
}
