"use strict";
// Draws the figures of the page's data as SVG. Nothing is computed here but positions: every number and
// every word of a tooltip comes from the data. No storage, no request: it runs in a sandboxed frame.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const NEAR = 22; // pixels within which a point is hovered
  const data = JSON.parse(document.getElementById("figures").textContent);
  const tip = document.getElementById("tip");
  const linked = location.protocol === "file:";

  function element(name, attributes, parent, text) {
    const made = name.startsWith("svg:")
      ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }
  const ink = (colour) => (colour === "ink" ? "var(--ink)" : colour);

  // Scales: from values to 0..1 and back to ticks.
  function niceStep(span, count) {
    const rough = span / count, power = 10 ** Math.floor(Math.log10(rough));
    return power * ([1, 2, 5].find((f) => f * power >= rough) || 10);
  }
  function plain(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e5 || size < 1e-4 ? value.toExponential(0).replace("e+", "e") : String(+value.toPrecision(4));
  }
  function linearTicks(low, high, count) {
    const step = niceStep(high - low, count), ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(i * step);
    return ticks;
  }
  function logTicks(low, high) {
    for (const factors of [[1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]) {
      const ticks = [];
      for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high) + 1; e++)
        for (const f of factors) if (f * 10 ** e >= low * 0.999 && f * 10 ** e <= high * 1.001) ticks.push(f * 10 ** e);
      if (ticks.length <= 7) return ticks;
    }
    return [low, high];
  }
  function symTicks(low, high) {
    const every = [0];
    for (const v of [1, 3, 10, 30, 100, 300, 1000, 1e4, 1e5]) every.push(v, -v);
    const seen = every.filter((v) => v >= low && v <= high).sort((a, b) => a - b);
    return seen.length > 8 ? seen.filter((v) => !/^-?3/.test(String(v))) : seen;
  }
  function scale(axis, values, count) {
    const kind = axis.scale || "linear", factor = axis.factor || 1;
    if (kind === "names") {
      const n = axis.names.length;
      return { at: (v) => (v + 0.5) / n, ticks: axis.names.map((name, i) => [i, name]) };
    }
    const good = values.filter((v) => v !== null && (kind !== "log" || v > 0));
    let low = Math.min(...good), high = Math.max(...good);
    if (!good.length) [low, high] = [0, 1];
    const forward = { linear: (v) => v, log: Math.log10, symlog: (v) => Math.sign(v) * Math.log10(1 + Math.abs(v)) }[kind];
    const back = { linear: (v) => v, log: (v) => 10 ** v, symlog: (v) => Math.sign(v) * (10 ** Math.abs(v) - 1) }[kind];
    let a = forward(low), b = forward(high);
    if (b - a < 1e-9) {
      const pad = kind === "linear" ? Math.max(Math.abs(a) * 0.1, 0.5) : 0.3;
      a -= pad; b += pad;
    }
    const pad = 0.06 * (b - a);
    a -= pad; b += pad;
    const ends = [back(a), back(b)];
    const ticks = axis.ticks ? axis.ticks
      : (kind === "log" ? logTicks(ends[0] * factor, ends[1] * factor)
        : (kind === "symlog" ? symTicks : linearTicks)(ends[0] * factor, ends[1] * factor, count)
      ).map((v) => [v / factor, plain(v)]);
    return { at: (v) => (forward(v) - a) / (b - a), ticks, zero: kind !== "log" && ends[0] < 0 && ends[1] > 0 };
  }

  // Markers, with Matplotlib's letters.
  function marker(shape, x, y, r) {
    const p = (points) => "M" + points.map(([dx, dy]) => `${x + dx * r} ${y + dy * r}`).join("L") + "Z";
    const c = 0.36;
    const plus = [[-c, -1], [c, -1], [c, -c], [1, -c], [1, c], [c, c], [c, 1], [-c, 1], [-c, c], [-1, c], [-1, -c], [-c, -c]];
    const turned = plus.map(([a, b]) => [(a - b) * 0.75, (a + b) * 0.75]);
    switch (shape) {
      case "s": return p([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]);
      case "^": return p([[0, -1.15], [1.05, 0.85], [-1.05, 0.85]]);
      case "v": return p([[0, 1.15], [1.05, -0.85], [-1.05, -0.85]]);
      case ">": return p([[1.15, 0], [-0.85, 1.05], [-0.85, -1.05]]);
      case "D": return p([[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]]);
      case "P": return p(plus);
      case "X": return p(turned);
      case "x": return `M${x - r * 0.8} ${y - r * 0.8}L${x + r * 0.8} ${y + r * 0.8}M${x - r * 0.8} ${y + r * 0.8}L${x + r * 0.8} ${y - r * 0.8}`;
      case "": return "";
    }
    const q = shape === "." ? r * 0.6 : r;
    return `M${x - q} ${y}a${q} ${q} 0 1 0 ${2 * q} 0a${q} ${q} 0 1 0 ${-2 * q} 0Z`;
  }
  function drawMark(parent, series, x, y, r, faint) {
    const colour = ink(series.colour), open = series.hollow || series.marker === "x";
    return element("svg:path", {
      d: marker(series.marker || "", x, y, r), stroke: colour, "stroke-width": open ? 1.6 : 0.6,
      fill: open ? (series.marker === "x" ? "none" : "var(--page)") : colour, opacity: faint ? 0.3 : 1,
    }, parent);
  }

  function showTip(lines, left, top) {
    tip.replaceChildren(...data.texts[lines].map((line) => element("div", {}, null, line)));
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), wide = document.documentElement.clientWidth;
    tip.style.left = `${Math.max(4, Math.min(left + 14, wide - box.width - 6)) + scrollX}px`;
    tip.style.top = `${(top + box.height + 24 > innerHeight ? top - box.height - 12 : top + 16) + scrollY}px`;
  }
  const hideTip = () => { tip.hidden = true; };

  // Whatever can be hovered: targets with a position in the SVG's units and lines of text.
  function hoverable(svg, targets, within) {
    const ring = element("svg:circle", { r: 9, fill: "none", stroke: "var(--ink)", "stroke-width": 1.6, visibility: "hidden" }, svg);
    let index = -1;
    function select(target) {
      index = targets.indexOf(target);
      if (!target) { ring.setAttribute("visibility", "hidden"); hideTip(); return; }
      const box = svg.getBoundingClientRect(), zoom = box.width / svg.viewBox.baseVal.width;
      if (!target.tile) {
        ring.setAttribute("cx", target.x); ring.setAttribute("cy", target.y);
        ring.setAttribute("visibility", "visible");
      }
      showTip(target.hover, box.left + target.x * zoom, box.top + target.y * zoom);
    }
    function nearest(event) {
      const box = svg.getBoundingClientRect(), zoom = box.width / svg.viewBox.baseVal.width;
      const x = (event.clientX - box.left) / zoom, y = (event.clientY - box.top) / zoom;
      let best = null, least = Infinity;
      for (const t of targets) {
        const d = within(t, x, y) + (t.faint ? 3 : 0) + (t.quiet ? 5 : 0);
        if (d < least) { least = d; best = t; }
      }
      return least <= NEAR ? best : null;
    }
    svg.addEventListener("pointermove", (event) => select(nearest(event)));
    svg.addEventListener("pointerdown", (event) => select(nearest(event)));
    svg.addEventListener("pointerleave", () => select(null));
    svg.addEventListener("blur", () => select(null));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") select(null);
      if (!step || !targets.length) return;
      event.preventDefault();
      select(targets[(index + step + targets.length) % targets.length]);
    });
  }

  function textWidth(text) { return text.length * 6.9; }
  function lines(svg, text, x, y, attributes) {
    const made = element("svg:text", { x, y, ...attributes }, svg);
    text.split("\n").forEach((line, i) => element("svg:tspan", { x, dy: i ? 14 : 0 }, made, line));
    return made;
  }
  function wrapped(text, width) {
    const out = [];
    for (const word of text.split(" ")) {
      const last = out[out.length - 1];
      if (last !== undefined && textWidth(`${last} ${word}`) <= width) out[out.length - 1] = `${last} ${word}`;
      else out.push(word);
    }
    return out.join("\n");
  }

  function frame(panel, width, height, x, y) {
    const names = y.ticks.flatMap(([, text]) => text.split("\n"));
    const label = panel.y.label ? wrapped(panel.y.label, Math.max(130, height - 90)) : "";
    const left = Math.max(...names.map(textWidth), 12) + 12 + (label ? 16 * label.split("\n").length : 0);
    const xLabel = panel.x.label ? wrapped(panel.x.label, width - left - 20) : "";
    const tall = Math.max(...x.ticks.map(([, t]) => t.split("\n").length), 1);
    const bottom = 12 + 14 * tall + 15 * xLabel.split("\n").length + 4;
    const box = { left, right: width - 12, top: 10, bottom: height - bottom };
    const svg = element("svg:svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0, "aria-label": `${panel.title || ""}: ${panel.y.label || ""} over ${panel.x.label}` });
    const px = (v) => box.left + x.at(v) * (box.right - box.left);
    const py = (v) => box.bottom - y.at(v) * (box.bottom - box.top);
    if (label) {
      const middle = (box.top + box.bottom) / 2;
      lines(svg, label, 0, 0, { "text-anchor": "middle", transform: `translate(12 ${middle}) rotate(-90)` });
    }
    lines(svg, xLabel, (box.left + box.right) / 2, box.bottom + 18 + 14 * tall + 4, { "text-anchor": "middle" });
    return { svg, box, px, py };
  }
  function ticks(f, x, y, grid) {
    const { svg, box, px, py } = f;
    let end = -Infinity;
    for (const [value, text] of x.ticks) {
      const at = px(value), wide = Math.max(...text.split("\n").map(textWidth));
      if (grid) element("svg:line", { x1: at, x2: at, y1: box.top, y2: box.bottom, stroke: "var(--grid)" }, svg);
      if (grid && at - wide / 2 < end + 4) continue;
      lines(svg, text, at, box.bottom + 17, { "text-anchor": "middle", class: "tick" });
      end = at + wide / 2;
    }
    for (const [value, text] of y.ticks) {
      const at = py(value), rows = text.split("\n").length;
      if (grid) element("svg:line", { x1: box.left, x2: box.right, y1: at, y2: at, stroke: "var(--grid)" }, svg);
      lines(svg, text, box.left - 7, at + 4 - 7 * (rows - 1), { "text-anchor": "end", class: "tick" });
    }
  }

  function drawPanel(panel, width, hidden) {
    const all = (panel.series || []), shown = all.filter((s) => !hidden.has(s.label));
    const points = all.flatMap((s) => s.points || []);
    const byNames = panel.y.scale === "names";
    const height = byNames ? 70 + 52 * panel.y.names.length : Math.round(Math.min(400, Math.max(290, width * 0.72)));
    const ends = (key) => points.flatMap((p) => [p[key], ...(p[`${key}_range`] || [])]);
    let xs = ends("x"), ys = ends("y");
    if (panel.diagonal) xs = ys = [...xs, ...ys];
    const x = scale(panel.x, xs, Math.max(3, Math.round(width / 90))), y = scale(panel.y, ys, 6);
    const f = frame(panel, width, height, x, y), { svg, box, px, py } = f;
    if (panel.empty) {
      lines(svg, wrapped(panel.empty, width - 60), width / 2, height / 2, { "text-anchor": "middle" });
      return svg;
    }
    ticks(f, x, y, true);
    const axis = (line) => element("svg:line", { stroke: "var(--soft)", "stroke-width": 1, ...line }, svg);
    axis({ x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
    axis({ x1: box.left, x2: box.left, y1: box.top, y2: box.bottom });
    if (y.zero && !byNames) axis({ x1: box.left, x2: box.right, y1: py(0), y2: py(0) });
    if (x.zero) axis({ x1: px(0), x2: px(0), y1: box.top, y2: box.bottom });
    if (panel.diagonal && points.length) {
      const good = xs.filter((v) => v !== null && (panel.x.scale !== "log" || v > 0));
      const [low, high] = [Math.min(...good), Math.max(...good)];
      axis({ x1: px(low), y1: py(low), x2: px(high), y2: py(high) });
    }
    const targets = [];
    for (const series of shown) {
      const own = (series.points || []).filter((p) => p.x !== null && p.y !== null && (panel.x.scale !== "log" || p.x > 0) && (panel.y.scale !== "log" || p.y > 0));
      const solid = own.filter((p) => !p.faint);
      if (series.line && solid.length > 1) {
        element("svg:polyline", {
          points: solid.map((p) => `${px(p.x)},${py(p.y)}`).join(" "), fill: "none", stroke: ink(series.colour),
          "stroke-width": 1.8, "stroke-dasharray": series.dashed ? "5 4" : "none",
        }, svg);
      }
      for (const p of own) {
        const bar = (line) => element("svg:line", { stroke: ink(series.colour), "stroke-width": 1.3, ...line }, svg);
        if (p.y_range) bar({ x1: px(p.x), x2: px(p.x), y1: py(p.y_range[0]), y2: py(p.y_range[1]) });
        if (p.x_range) bar({ y1: py(p.y), y2: py(p.y), x1: px(p.x_range[0]), x2: px(p.x_range[1]) });
      }
      for (const p of own) {
        const at = { x: px(p.x), y: py(p.y), hover: p.hover, faint: p.faint, quiet: !series.marker };
        drawMark(svg, series, at.x, at.y, p.faint ? 3.2 : 5, p.faint).setAttribute("class", "mark");
        targets.push(at);
      }
    }
    for (const series of shown) for (const p of series.points || [])
      if (p.note) {
        const top = p.y_range ? Math.min(py(p.y_range[1]), py(p.y)) : py(p.y);
        lines(svg, p.note, px(p.x), top - 8, { "text-anchor": "middle", class: "note" }).style.fill = ink(series.colour);
      }
    hoverable(svg, targets, (t, mx, my) => Math.hypot(t.x - mx, t.y - my));
    return svg;
  }

  // Cividis (Nunez et al., 2018): the same to readers with and without colour vision deficiency.
  const palette = data.palette;
  function colourAt(share) {
    return palette[Math.max(0, Math.min(palette.length - 1, Math.round(share * (palette.length - 1))))];
  }
  function isDark(hex) {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return 0.299 * r + 0.587 * g + 0.114 * b < 128;
  }
  let patterns = 0;
  function drawMap(panel, width) {
    const x = scale(panel.x, [], 0), y = scale(panel.y, [], 0);
    const height = 90 + Math.max(34, Math.min(72, 260 / panel.y.names.length)) * panel.y.names.length;
    const f = frame(panel, width, height, x, y), { svg, box, px, py } = f;
    const id = `hatch${patterns++}`;
    const hatch = element("svg:pattern", { id, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, element("svg:defs", {}, svg));
    element("svg:rect", { width: 7, height: 7, fill: "var(--panel)" }, hatch);
    element("svg:line", { x1: 0, x2: 0, y1: 0, y2: 7, stroke: "var(--missing)", "stroke-width": 2 }, hatch);
    const known = panel.tiles.map((t) => t.value).filter((v) => v !== undefined && v !== null);
    const low = Math.min(...known), span = Math.max(...known) - low || 1;
    const wide = (box.right - box.left) / panel.x.names.length, tall = (box.bottom - box.top) / panel.y.names.length;
    const targets = [];
    for (const tile of panel.tiles) {
      const cx = px(tile.x), cy = py(tile.y), here = known.length && tile.value !== undefined && tile.value !== null;
      const fill = here ? colourAt((tile.value - low) / span) : `url(#${id})`;
      element("svg:rect", { x: cx - wide / 2 + 1, y: cy - tall / 2 + 1, width: wide - 2, height: tall - 2, fill, class: "mark" }, svg);
      const over = here && isDark(fill) ? "#ffffff" : "#000000";
      if (tile.partial) element("svg:rect", { x: cx - wide / 2 + 4, y: cy - tall / 2 + 4, width: wide - 8, height: tall - 8, fill: "none", stroke: over, "stroke-dasharray": "2 3", "stroke-width": 1.4 }, svg);
      if (here && textWidth(tile.text) < wide - 4) lines(svg, tile.text, cx, cy + 4, { "text-anchor": "middle" }).style.fill = over;
      targets.push({ x: cx, y: cy, hover: tile.hover, tile: true });
    }
    ticks(f, x, y, false);
    hoverable(svg, targets, (t, mx, my) => (Math.abs(t.x - mx) <= wide / 2 && Math.abs(t.y - my) <= tall / 2 ? 0 : Infinity));
    return svg;
  }

  function drawLegend(parent, panels, hidden, redraw) {
    const seen = new Map();
    for (const panel of panels) for (const s of panel.series || []) {
      const old = seen.get(s.label);
      if (!old || (!old.marker && s.marker)) seen.set(s.label, s);
    }
    if (seen.size < 2) return;
    const box = element("div", { class: "legend" }, parent);
    for (const series of seen.values()) {
      const button = element("button", { type: "button", "aria-pressed": String(!hidden.has(series.label)), title: "show or hide" }, box);
      const icon = element("svg:svg", { width: 24, height: 14, viewBox: "0 0 24 14", "aria-hidden": "true" }, button);
      if (series.line) element("svg:line", { x1: 0, x2: 24, y1: 7, y2: 7, stroke: ink(series.colour), "stroke-width": 1.8, "stroke-dasharray": series.dashed ? "5 4" : "none" }, icon);
      drawMark(icon, series, 12, 7, 5, false);
      button.append(series.label);
      button.addEventListener("click", () => {
        if (!hidden.delete(series.label)) hidden.add(series.label);
        redraw();
      });
    }
  }

  function drawFigure(figure) {
    const host = document.getElementById(`figure-${figure.name}`);
    const chosen = [...(figure.variants[figure.start || 0].choice || [])], hidden = new Set();
    const choices = element("div", { class: "choices" }, host);
    const panels = element("div", { class: "panels" }, host);
    const legend = element("div", {}, host);
    const caption = element("figcaption", {}, host);
    // The options of a selector are those that go with what is chosen before it.
    const open = (level) => [...new Set(figure.variants
      .filter((v) => (v.choice || []).slice(0, level).every((c, i) => c === chosen[i]))
      .map((v) => v.choice[level]))];
    const selects = (figure.selectors || []).map((name, level) => {
      const label = element("label", {}, choices, name), select = element("select", {}, label);
      select.addEventListener("change", () => { chosen[level] = select.value; refresh(level + 1); });
      return select;
    });
    function refresh(from) {
      selects.forEach((select, level) => {
        const names = open(level);
        if (level >= from && !names.includes(chosen[level])) chosen[level] = names[0];
        select.replaceChildren(...names.map((n) => element("option", { value: n }, null, n)));
        select.value = chosen[level];
        select.parentElement.hidden = names.length < 2;
      });
      draw();
    }
    function draw() {
      hideTip();
      const variant = figure.variants.find((v) => (v.choice || []).every((c, i) => c === chosen[i]));
      panels.replaceChildren();
      const drawn = variant.panels.map((panel) => {
        const box = element("div", { class: "panel" }, panels);
        element("h4", {}, box, panel.title);
        return [box, panel];
      });
      for (const [box, panel] of drawn) {
        const width = Math.max(260, Math.round(box.clientWidth));
        box.append(panel.tiles ? drawMap(panel, width) : drawPanel(panel, width, hidden));
      }
      legend.replaceChildren();
      drawLegend(legend, variant.panels, hidden, draw);
      caption.textContent = `${variant.caption} ${figure.note || ""} `;
      (variant.files || []).forEach((file, i) => {
        caption.append(i ? ", " : "Static: ");
        caption.append(linked ? element("a", { href: encodeURIComponent(file) }, null, file) : file);
      });
    }
    refresh(0);
    let before = panels.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(panels.clientWidth - before) < 2) return;
      before = panels.clientWidth;
      requestAnimationFrame(draw);
    }).observe(panels);
  }
  data.figures.forEach(drawFigure);
})();
