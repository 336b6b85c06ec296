// Shows the values under the pointer. The page is complete without it: everything read here is in the picture.
(() => {
  "use strict";
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  const axis = (text) => {
    const [lo, hi, log] = text.split(" ").map(Number);
    return (at) => (log ? lo * (hi / lo) ** at : lo + (hi - lo) * at);
  };
  const read = (value, unit) => {
    const size = Math.abs(value), whole = Math.abs(value - Math.round(value)) < 0.003 && size > 0.5;
    const digits = whole ? 0 : size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2;
    const text = size > 0 && size < 0.01 ? value.toPrecision(2) : value.toFixed(digits);
    return unit === "%" ? text + "%" : unit ? text + " " + unit : text;
  };
  // Vertices of a path of M, L, H and V commands.
  const vertices = (path) => {
    let x = 0, y = 0;
    return [...path.getAttribute("d").matchAll(/([MLHV])([-\d.]+)(?: ([-\d.]+))?/g)].map(([, c, a, b]) => {
      if (c === "H") x = +a;
      else if (c === "V") y = +a;
      else [x, y] = [+a, +b];
      return [x, y];
    });
  };

  for (const chart of document.querySelectorAll("svg.chart")) {
    const title = chart.querySelector("title");
    if (title) {
      chart.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    const series = [...chart.querySelectorAll("path[data-name]")].map((path) => ({
      name: path.dataset.name,
      steps: /[HV]/.test(path.getAttribute("d")),
      points: vertices(path),
    })).filter((s) => s.points.length);
    if (!series.length) continue;
    const toX = axis(chart.dataset.x), toY = axis(chart.dataset.y);
    const data = chart.querySelector(".data");
    const cross = document.createElementNS("http://www.w3.org/2000/svg", "line");
    cross.setAttribute("class", "cross");
    cross.setAttribute("y1", "0");
    cross.setAttribute("y2", "100%");
    cross.style.display = "none";
    chart.append(cross);

    const hide = () => { tip.hidden = true; cross.style.display = "none"; };
    const show = (event) => {
      const outer = chart.getBoundingClientRect(), style = getComputedStyle(chart);
      const left = outer.left + parseFloat(style.paddingLeft);
      const width = outer.width - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      const at = (event.clientX - left) / width * 1000;
      if (at < -10 || at > 1010) return hide();
      const near = (s) => s.points.reduce((best, p) =>
        s.steps ? (p[0] <= at ? p : best) : Math.abs(p[0] - at) < Math.abs(best[0] - at) ? p : best);
      const found = series.map((s) => [s, near(s)]);
      const place = found.every(([s]) => s.steps) ? Math.min(Math.max(at, 0), 1000) : found[0][1][0];
      tip.replaceChildren();
      const head = document.createElement("b");
      head.textContent = read(toX(place / 1000), chart.dataset.xUnit);
      tip.append(head);
      for (const [s, p] of found) {
        const row = document.createElement("div");
        row.textContent = s.name + ": " + read(toY(1 - p[1] / 1000), chart.dataset.yUnit);
        tip.append(row);
      }
      cross.setAttribute("x1", place / 10 + "%");
      cross.setAttribute("x2", place / 10 + "%");
      cross.style.display = "";
      tip.hidden = false;
      const size = tip.getBoundingClientRect();
      const right = event.clientX + 16 + size.width < innerWidth;
      tip.style.left = (right ? event.clientX + 16 : Math.max(4, event.clientX - 16 - size.width)) + "px";
      tip.style.top = Math.max(4, event.clientY - size.height - 12) + "px";
    };
    chart.addEventListener("pointermove", show);
    chart.addEventListener("pointerdown", show);
    chart.addEventListener("pointerleave", hide);
  }
})();
