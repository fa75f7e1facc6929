"use strict";
// Draws the curves and the maps, and answers buttons. No library, no network.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (query, root = document) => root.querySelector(query);
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const element = (name, attributes = {}, text = "") => {
    const made = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.textContent = text;
    return made;
  };
  const shape = (name, attributes = {}, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.textContent = text;
    return made;
  };
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // ------------------------------------------------------------ numbers

  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
    if (size !== 0 && size < 1e-3) return value.toExponential(1);
    return `${+value.toPrecision(4)}`;
  };
  const written = (axis) => (value) => (axis === "share" ? `${+(100 * value).toFixed(1)} %` : short(value));

  /** Round numbers that cover a range, about `count` of them. */
  const ticks = (low, high, count) => {
    const raw = (high - low || 1) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    const found = [];
    for (let i = first; i * step <= high + step * 1e-9; i += 1) found.push(i * step);
    return found;
  };

  // ------------------------------------------------------------ curves

  const HEIGHT = 190;
  const EDGE = { top: 8, bottom: 24, left: 46 };

  const range = (chart) => {
    const values = chart.curves.flatMap((c) => [...c.y, ...(c.low || []), ...(c.high || [])]);
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (chart.axis) low = Math.min(0, low);
    if (low === high) [low, high] = [low - Math.abs(low) / 2 - 1e-6, high + Math.abs(high) / 2 + 1e-6];
    const room = (high - low) * 0.06;
    return [chart.axis ? low : low - room, high + room];
  };

  const several = data.runs.length > 1;
  const looks = (chart) => {
    const metrics = [...new Set(chart.curves.map((curve) => curve.metric))];
    return chart.curves.map((curve) => {
      const place = metrics.indexOf(curve.metric);
      const colour = several ? curve.run : place;
      const run = data.runs[curve.run].name;
      const name = several ? (metrics.length > 1 ? `${run}, ${curve.name}` : run) : curve.name;
      return { colour: `k${colour % 10}`, dash: several ? `d${place % 4}` : "", name };
    });
  };

  const nearest = (xs, x) => {
    let [low, high] = [0, xs.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] <= x) low = middle; else high = middle;
    }
    return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
  };

  /** Names at the ends of the curves, moved apart where they would cover each other. */
  function endLabels(chart, look, sx, sy) {
    const ends = chart.curves.map((curve, i) => ({ i, x: sx(curve.x[curve.x.length - 1]), y: sy(curve.y[curve.y.length - 1]) }));
    ends.sort((a, b) => a.y - b.y);
    ends.forEach((end, place) => { if (place) end.y = Math.max(end.y, ends[place - 1].y + 13); });
    const below = ends[ends.length - 1].y - (HEIGHT - EDGE.bottom);
    if (below > 0) ends.forEach((end) => { end.y -= below; });
    const x = Math.max(...ends.map((end) => end.x)) + 7;
    return ends.map((end) => shape("text", { class: `label ${look[end.i].colour}`, x, y: end.y + 4 }, look[end.i].name.slice(0, 18)));
  }

  function drawChart(figure, chart) {
    const look = looks(chart);
    const word = written(chart.axis);
    const steps = [...new Set(chart.curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
    const width = Math.max(figure.clientWidth - 30, 220);
    const [low, high] = range(chart);
    const longest = Math.max(...look.map((one) => one.name.length));
    const direct = look.length > 1 && look.length < 5 && width > 300;
    const right = direct ? clamp(longest * 6.1 + 10, 40, 112) : 12;
    const last = steps[steps.length - 1];
    const first = Math.min(steps[0], 0);
    const sx = (x) => EDGE.left + ((x - first) / (last - first || 1)) * (width - EDGE.left - right);
    const sy = (y) => HEIGHT - EDGE.bottom - ((y - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
    const summary = chart.curves.map((c, i) => `${look[i].name} from ${word(c.y[0])} to ${word(c.y[c.y.length - 1])}`);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, tabindex: 0, role: "img", "aria-label": `${chart.title}: ${summary.join("; ")}. Arrow keys read values.` });

    ticks(low, high, 4).forEach((y) => {
      svg.append(shape("line", { class: "grid", x1: EDGE.left, x2: width - right, y1: sy(y), y2: sy(y) }));
      svg.append(shape("text", { x: EDGE.left - 6, y: sy(y) + 4, "text-anchor": "end" }, word(y)));
    });
    ticks(first, last, width > 420 ? 6 : 4).forEach((x) => {
      svg.append(shape("text", { x: sx(x), y: HEIGHT - 7, "text-anchor": x === first ? "start" : sx(x) > width - 24 ? "end" : "middle" }, short(x)));
    });
    svg.append(shape("line", { class: "axis", x1: EDGE.left, x2: width - right, y1: HEIGHT - EDGE.bottom, y2: HEIGHT - EDGE.bottom }));

    const line = (xs, ys) => xs.map((x, i) => `${sx(x).toFixed(1)},${sy(ys[i]).toFixed(1)}`).join(" ");
    chart.curves.forEach((curve, i) => {
      const colours = `${look[i].colour} ${look[i].dash}`;
      if (curve.low) {
        const back = line([...curve.x].reverse(), [...curve.low].reverse());
        svg.append(shape("polygon", { class: `band ${look[i].colour}`, points: `${line(curve.x, curve.high)} ${back}` }));
      }
      svg.append(shape("polyline", { class: `curve ${colours}`, points: line(curve.x, curve.y) }));
      if (curve.x.length < 12) curve.x.forEach((x, j) => svg.append(shape("circle", { class: `dot ${look[i].colour}`, cx: sx(x), cy: sy(curve.y[j]), r: 3.2 })));
    });

    if (direct) endLabels(chart, look, sx, sy).forEach((label) => svg.append(label));

    const cursor = shape("g");
    svg.append(cursor);
    const readout = $(".readout", figure);
    let at = null;
    const read = (step) => {
      at = step;
      cursor.replaceChildren();
      readout.replaceChildren();
      if (step !== null) cursor.append(shape("line", { class: "cursor", x1: sx(step), x2: sx(step), y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
      chart.curves.forEach((curve, i) => {
        const j = step === null ? curve.x.length - 1 : nearest(curve.x, step);
        const item = element("span", { class: `key ${look[i].colour}` }, `${look[i].name} `);
        item.append(element("b", {}, word(curve.y[j])));
        readout.append(item);
        if (step !== null) cursor.append(shape("circle", { class: `dot ${look[i].colour}`, cx: sx(curve.x[j]), cy: sy(curve.y[j]), r: 4 }));
      });
      readout.append(element("span", {}, `step ${(step === null ? last : step).toLocaleString("en")}`));
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * width;
      const step = first + ((x - EDGE.left) / (width - EDGE.left - right)) * (last - first);
      read(steps[nearest(steps, step)]);
    });
    svg.addEventListener("pointerleave", () => read(null));
    svg.addEventListener("blur", () => read(null));
    svg.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      event.preventDefault();
      const from = at === null ? steps.length - (move > 0 ? 1 : 0) : steps.indexOf(at);
      read(steps[clamp(from + move, 0, steps.length - 1)]);
    });
    read(null);
    $("svg", figure)?.remove();
    figure.append(svg);
  }

  const charts = $("#charts");
  const figures = data.charts.map((chart) => {
    const figure = element("figure", { class: "chart" });
    const title = element("h3", {}, chart.title);
    if (chart.unit && chart.unit !== "%") title.append(element("small", {}, chart.unit));
    figure.append(title, element("div", { class: "readout" }));
    charts.append(figure);
    return figure;
  });
  const drawCharts = () => figures.forEach((figure, i) => drawChart(figure, data.charts[i]));

  // ------------------------------------------------------------ the tip

  const tip = $("#tip");
  const showTip = (x, y, run, parts) => {
    tip.className = run.id;
    tip.replaceChildren(...parts);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${clamp(x + 16, 4, innerWidth - width - 4)}px`;
    tip.style.top = `${y + 20 + height > innerHeight ? Math.max(4, y - height - 14) : y + 16}px`;
  };
  const hideTip = () => { tip.hidden = true; };

  const tile = (run, number) => {
    const { columns } = run.sheet;
    const made = element("span", { class: "tile" });
    made.style.backgroundPosition = `calc(${-(number % columns)} * var(--side)) calc(${-Math.floor(number / columns)} * var(--side))`;
    return made;
  };

  // ------------------------------------------------------------ maps

  const MARGIN = 46;
  const SIZE = 1000 + 2 * MARGIN;

  function drawMap(root, run) {
    const map = run.map;
    const plot = $(".plot", root);
    const labels = Object.keys(map.names).map(Number).sort((a, b) => a - b);
    const colour = (i) => (map.labels ? `k${Math.max(0, labels.indexOf(map.labels[i])) % 10}` : "k0");
    const named = (i) => (map.labels && map.names[map.labels[i]]) || "no label";
    let [view, chosen, at] = [map.views[0], null, null];

    const draw = () => {
      const ys = view.y.length ? [Math.min(...view.y), Math.max(...view.y)] : [0, 1000];
      const scale = SIZE / Math.max(plot.clientWidth || 700, 280);
      const top = ys[0] - MARGIN - 10 * scale;
      const height = ys[1] - ys[0] + 2 * MARGIN + 28 * scale;
      const svg = shape("svg", { viewBox: `0 ${top} ${SIZE} ${height}`, tabindex: 0, role: "img", "aria-label": `${view.name} of ${map.shown} images. Arrow keys walk through them.` });
      const dots = view.x.map((x, i) => shape("circle", { class: colour(i), cx: x + MARGIN, cy: view.y[i], r: 4.2 * Math.min(scale, 1.9) }));
      svg.append(...dots);
      const axis = (y, text) => svg.append(shape("text", { x: MARGIN / 2, y, style: `font-size:${11 * scale}px` }, text));
      axis(top + 12 * scale, `↑ ${view.axes[1]}`);
      axis(top + height - 6 * scale, `→ ${view.axes[0]}`);
      const names = labels.length <= 12 ? labels.map((label) => nameAt(label, scale)) : [];
      svg.append(...names);

      const mark = () => dots.forEach((dot, i) => {
        dot.classList.toggle("off", chosen !== null && map.labels[i] !== chosen);
        dot.classList.toggle("on", i === at);
      });
      const select = (i) => {
        at = i;
        mark();
        if (i === null) { hideTip(); return; }
        const box = dots[i].getBoundingClientRect();
        const parts = map.tiles ? [tile(run, map.tiles[i])] : [];
        parts.push(element("strong", {}, named(i)), element("small", {}, map.ids[i] || ""));
        showTip(box.right, box.top, run, parts);
      };
      svg.addEventListener("pointermove", (event) => {
        const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        let [best, distance] = [null, (26 * scale) ** 2];
        view.x.forEach((x, i) => {
          if (chosen !== null && map.labels[i] !== chosen) return;
          const d = (x + MARGIN - point.x) ** 2 + (view.y[i] - point.y) ** 2;
          if (d < distance) [best, distance] = [i, d];
        });
        if (best !== at) select(best);
      });
      svg.addEventListener("pointerleave", () => select(null));
      svg.addEventListener("blur", () => select(null));
      svg.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
        if (!move) return;
        event.preventDefault();
        const order = [...view.x.keys()].filter((i) => chosen === null || map.labels[i] === chosen).sort((a, b) => view.x[a] - view.x[b]);
        select(order[clamp(at === null ? 0 : order.indexOf(at) + move, 0, order.length - 1)]);
      });
      mark();
      plot.replaceChildren(svg);
    };

    const nameAt = (label, scale) => {
      const own = [...map.labels.keys()].filter((i) => map.labels[i] === label);
      const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
      return shape("text", { class: "name", style: `font-size:${12.5 * Math.min(scale, 2.6)}px`, x: middle(own.map((i) => view.x[i])) + MARGIN, y: middle(own.map((i) => view.y[i])) }, map.names[label]);
    };

    const legend = $(".legend", root);
    labels.forEach((label, i) => {
      const button = element("button", { type: "button", class: `key k${i % 10}`, "aria-pressed": "false" }, map.names[label]);
      button.addEventListener("click", () => {
        chosen = chosen === label ? null : label;
        all("button", legend).forEach((other) => other.setAttribute("aria-pressed", String(other === button && chosen !== null)));
        draw();
      });
      legend.append(button);
    });
    press(root, "view", (value) => { view = map.views[Number(value)]; draw(); });
    draw();
    return draw;
  }

  // ------------------------------------------------------------ buttons

  /** A group of buttons of which one is pressed: `act` gets its data-<name>. */
  function press(root, name, act) {
    const buttons = all(`[data-${name}]`, root).filter((button) => button.tagName === "BUTTON");
    buttons.forEach((button) => button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      act(button.dataset[name]);
    }));
  }

  const maps = all(".map").map((root) => drawMap(root, data.runs.find((run) => run.id === root.dataset.run)));
  all(".gallery").forEach((root) => press(root, "filter", (value) => {
    root.dataset.show = value;
    const shown = all("li", root).some((item) => value === "all" || item.classList.contains(value));
    $(".none", root).hidden = shown;
  }));
  all(".tabs").forEach((root) => press(root, "tab", (value) => {
    all("[data-pane]", root).forEach((pane) => { pane.hidden = pane.dataset.pane !== value; });
  }));
  all("[data-copy]").forEach((button) => button.addEventListener("click", () => {
    const area = element("textarea", { style: "position:fixed;opacity:0" });
    area.value = button.dataset.copy;
    document.body.append(area);
    area.select();
    document.execCommand("copy");  // works from disk, where navigator.clipboard may not
    area.remove();
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }));

  // ------------------------------------------------------------ theme, size, place

  const root = document.documentElement;
  const remembered = () => { try { return localStorage.getItem("sslight-theme"); } catch { return null; } };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const wear = () => { root.dataset.theme = remembered() || (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", wear);
  $("#theme").addEventListener("click", () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("sslight-theme", next); } catch { /* from disk there may be none */ }
    root.dataset.theme = next;
  });
  wear();

  let pending = 0;
  const redraw = () => { drawCharts(); maps.forEach((draw) => draw()); };
  addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(redraw); });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  addEventListener("scroll", hideTip, { passive: true });
  drawCharts();

  const links = all("nav a");
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting) links.forEach((link) => link.classList.toggle("here", link.hash === `#${entry.target.id}`));
  }), { rootMargin: "-20% 0px -70% 0px" });
  all("main section").forEach((section) => seen.observe(section));
})();
