"use strict";
// Draws the figures of the page's data with Vega-Lite, and answers pointer, keys and legends. No number and
// no word is computed here. No storage, no request: it runs in a sandboxed frame, without eval.
(() => {
  const NEAR = 22; // pixels within which a point is pointed at
  const data = JSON.parse(document.getElementById("figures").textContent);
  const tip = document.getElementById("tip");
  const night = matchMedia("(prefers-color-scheme: dark)"), paper = matchMedia("print");

  function element(name, attributes, parent, text) {
    const svg = name.startsWith("svg:");
    const made = svg
      ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }
  function coloured(value) {
    let text = JSON.stringify(value);
    for (const [name, colour] of Object.entries(data.themes[night.matches ? "dark" : "light"]))
      text = text.replaceAll(JSON.stringify(name), JSON.stringify(colour));
    return JSON.parse(text);
  }
  // Paper is white: what is drawn for a dark screen changes at once, for printing waits for nothing.
  function whiten(host) {
    const { light, dark } = data.themes, to = new Map(Object.keys(dark).map((name) => [dark[name], light[name]]));
    for (const node of host.querySelectorAll("svg *")) for (const name of ["fill", "stroke"])
      if (to.has(node.getAttribute(name))) node.setAttribute(name, to.get(node.getAttribute(name)));
  }

  function showTip(lines, left, top) {
    tip.replaceChildren(...data.texts[lines].map((line) => element("div", {}, null, line)));
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), wide = document.documentElement.clientWidth;
    tip.style.left = `${Math.max(4, Math.min(left + 14, wide - box.width - 6)) + scrollX}px`;
    tip.style.top = `${(top + box.height + 24 > innerHeight ? top - box.height - 12 : top + 16) + scrollY}px`;
  }
  const hideTip = () => { tip.hidden = true; };

  // What can be pointed at: the marks that say something, where they are now.
  function targets(host) {
    return [...host.querySelectorAll(".mark-symbol path, .mark-rect path")]
      .filter((node) => node.__data__ && node.__data__.datum && node.__data__.datum.t !== undefined)
      .map((node) => ({ node, datum: node.__data__.datum, box: node.getBoundingClientRect() }));
  }
  const middle = (box) => [box.x + box.width / 2, box.y + box.height / 2];
  function explorable(host) {
    let current = null;
    function select(target) {
      if (current) current.classList.remove("pointed");
      current = target ? target.node : null;
      if (!target) return hideTip();
      current.classList.add("pointed");
      showTip(target.datum.t, ...middle(target.box));
    }
    function pointed(event) {
      let best = null, least = Infinity;
      for (const target of targets(host)) {
        const { box, datum } = target, [x, y] = middle(box);
        const inside = datum.x2 !== undefined && Math.abs(event.clientX - x) <= box.width / 2
          && Math.abs(event.clientY - y) <= box.height / 2;
        const far = inside ? 0 : Math.hypot(event.clientX - x, event.clientY - y) + (datum.f ? 3 : 0);
        if (far < least) { least = far; best = target; }
      }
      select(least <= NEAR ? best : null);
    }
    host.addEventListener("pointermove", pointed);
    host.addEventListener("pointerdown", pointed);
    host.addEventListener("pointerleave", () => select(null));
    host.addEventListener("blur", () => select(null));
    host.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") select(null);
      const all = targets(host);
      if (!step || !all.length) return;
      event.preventDefault();
      const index = all.findIndex((target) => target.node === current);
      select(all[index < 0 ? (step > 0 ? 0 : all.length - 1) : (index + step + all.length) % all.length]);
    });
  }

  function shown(panel, hidden, width) {
    const spec = coloured(panel);
    const without = (layer) => ({
      ...layer, data: { values: layer.data.values.filter((row) => !hidden.has(row.s)) },
      encoding: layer.encoding && layer.encoding.shape
        ? { ...layer.encoding, shape: { ...layer.encoding.shape, legend: null } } : layer.encoding,
    });
    if (spec.layer) spec.layer = spec.layer.map(without);
    // The page has a legend of buttons in place of the picture's.
    if (spec.encoding && spec.encoding.color) spec.encoding.color.legend = null;
    const config = coloured(data.config);
    // The size of a panel of the page has its axes in it.
    const height = spec.height + 58;
    // The box around it has the figure's name and its points as a table: a list of coordinates says less.
    return { ...spec, title: null, description: title(panel), width, height,
      autosize: { type: "fit", contains: "padding" }, config: { ...config, background: null, padding: 2, aria: false } };
  }
  const title = (panel) => [].concat(panel.title.text).join(" ");

  // The last entries may say what filled and hollow marks are: they hide nothing.
  function drawLegend(host, legend, faces, hidden, redraw) {
    if (legend.length < 2) return;
    for (const [index, [label, colour, shape]] of legend.entries()) {
      const explains = index >= legend.length - faces;
      const attributes = { type: "button", "aria-pressed": String(!hidden.has(label)), title: "show or hide" };
      const button = explains ? element("span", { class: "face" }, host) : element("button", attributes, host);
      const icon = element("svg:svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, button);
      element("svg:path", { d: shape, fill: coloured(colour), stroke: coloured(colour), transform: "scale(5)", "stroke-width": 0.2 }, icon);
      button.append(label);
      if (!explains) button.addEventListener("click", () => {
        if (!hidden.delete(label)) hidden.add(label);
        redraw();
      });
    }
  }

  // The numbers behind a figure, for those who read rather than look.
  function drawTable(host, variant) {
    host.replaceChildren();
    variant.spec.concat.forEach((panel, index) => {
      const rows = new Map();
      for (const layer of panel.layer || []) for (const row of layer.data.values)
        if (row.t !== undefined && !rows.has(row.t)) rows.set(row.t, row.v || [row.x, row.y]);
      if (!rows.size) return;
      const [x, y] = variant.columns[index];
      const columns = [[x, 0], [y, 1]].filter(([name]) => name);
      const box = element("div", { class: "wide" }, host), table = element("table", { class: "sortable" }, box);
      element("caption", {}, table, title(panel));
      const head = element("tr", {}, element("thead", {}, table)), body = element("tbody", {}, table);
      element("th", {}, head, "what");
      for (const [name] of columns) element("th", { class: "number" }, head, name);
      const lists = [...rows.keys()].map((text) => data.texts[text].slice(1)), keyed = byHeading(lists);
      for (const name of keyed.heads) element("th", {}, head, name.startsWith(" ") ? "more" : name);
      for (const [place, [text, at]] of [...rows].entries()) {
        const line = element("tr", {}, body), own = keyed.rows[place];
        element("td", {}, line, data.texts[text][0]);
        for (const [, i] of columns) element("td", { class: "number" }, line, at[i].toPrecision ? String(+at[i].toPrecision(4)) : String(at[i]));
        for (const name of keyed.heads) element("td", {}, line, own.get(name) || "");
      }
      sortable(table);
    });
  }

  // What a line begins with, up to its first number, is the heading of its column: a row that lacks a line
  // has an empty cell there, and what follows stays under its own heading.
  function byHeading(lists) {
    const words = (line) => {
      const all = line.split(" "), count = all.findIndex((word) => word === "-" || /\d/.test(word));
      return [all, Math.max(count, 0)];
    };
    const start = (line) => { const [all, count] = words(line); return all.slice(0, count).join(" "); };
    // Several lines of one row that begin alike, such as seeds, are told apart by the number that follows.
    const alike = new Set(lists.flatMap((lines) => lines.map(start).filter((name, i, all) => name && all.indexOf(name) !== i)));
    const heads = [];
    const rows = lists.map((lines) => {
      const own = new Map();
      let before = -1, unnamed = 0;
      for (const line of lines) {
        const [all, count] = words(line), more = alike.has(start(line)) ? 1 : 0;
        const name = all.slice(0, count + more).join(" ").replace(/[:;,]$/, "") || " ".repeat(++unnamed);
        own.set(name, all.slice(count + more).join(" "));
        if (!heads.includes(name)) heads.splice(before + 1, 0, name);
        before = heads.indexOf(name);
      }
      return own;
    });
    return { heads, rows };
  }

  function sortable(table) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const number = (text) => parseFloat(text.replace("\u2212", "-").replace(/^[^-+.\dA-Za-z]+/, ""));
    heads.forEach((head, column) => {
      const button = element("button", { type: "button", title: `sort by ${head.textContent}` }, null, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down < 0 ? "descending" : "ascending");
        const rows = [...body.rows].map((row) => [row.cells[column].textContent, row]);
        rows.sort(([a], [b]) => {
          const [p, q] = [number(a), number(b)];
          if (isNaN(p) || isNaN(q)) return isNaN(p) - isNaN(q) || -down * a.localeCompare(b);
          return down * (p - q);
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  function drawFigure(figure, host) {
    const chosen = [...(figure.variants[figure.start].choice)], hidden = new Set();
    const choices = element("div", { class: "choices" }, host);
    const panels = element("div", { class: "panels" }, host);
    const legend = element("div", { class: "legend" }, host);
    const caption = element("figcaption", {}, host);
    const behind = element("details", {}, host);
    element("summary", {}, behind, "The numbers as a table");
    const numbers = element("div", {}, behind);
    const current = () => figure.variants.find((v) => v.choice.every((c, i) => c === chosen[i]));
    // The options of a selector are those that go with what is chosen before it.
    const open = (depth) => [...new Set(figure.variants
      .filter((v) => v.choice.slice(0, depth).every((c, i) => c === chosen[i])).map((v) => v.choice[depth]))];
    const selects = figure.selectors.map((name, depth) => {
      const label = element("label", {}, choices, name), select = element("select", {}, label);
      select.addEventListener("change", () => { chosen[depth] = select.value; refresh(depth + 1); unfold(); });
      return select;
    });
    function refresh(from) {
      selects.forEach((select, depth) => {
        const names = open(depth);
        if (depth >= from && !names.includes(chosen[depth])) chosen[depth] = names[0];
        select.replaceChildren(...names.map((n) => element("option", { value: n }, null, n)));
        select.value = chosen[depth];
        select.parentElement.hidden = names.length < 2;
      });
      draw();
    }
    // Tables of one choice each: that of the picture is open.
    function unfold() {
      document.querySelectorAll(`details[data-figure="${figure.name}"]`).forEach((part) => {
        const wanted = part.dataset.choice === chosen.join(" ");
        if (wanted && !part.open) part.open = part.dataset.unfolded = true;
        // What a reader opened stays open.
        else if (!wanted && part.dataset.unfolded) { part.open = false; delete part.dataset.unfolded; }
      });
    }
    behind.addEventListener("toggle", () => { if (behind.open) drawTable(numbers, current()); });
    function draw() {
      hideTip();
      const variant = current();
      panels.replaceChildren();
      const boxes = variant.spec.concat.map((panel) => {
        const box = element("div", { class: "panel" }, panels);
        element("h4", {}, box, title(panel));
        // There even if empty: what panels of a row have at one height stays at one height.
        element("p", { class: "soft" }, box, panel.title.subtitle || "");
        return element("div", { class: "plot", tabindex: 0, role: "img", "aria-label": `${title(panel)}. ${variant.caption}` }, box);
      });
      variant.spec.concat.forEach((panel, index) => {
        const width = Math.max(240, Math.floor(boxes[index].clientWidth));
        vegaEmbed(boxes[index], shown(panel, hidden, width), { mode: "vega-lite", ast: true, actions: false, renderer: "svg", tooltip: false })
          .catch((error) => console.error(figure.name, error));
        explorable(boxes[index]);
      });
      legend.replaceChildren();
      drawLegend(legend, variant.legend, variant.faces, hidden, draw);
      caption.textContent = `${variant.caption} ${figure.note} `;
      if (variant.file) ["png", "svg"].forEach((suffix, i) => {
        const name = `${variant.file}.${suffix}`;
        caption.append(i ? ", " : "Static: ");
        caption.append(location.protocol === "file:" ? element("a", { href: encodeURIComponent(name) }, null, name) : name);
      });
      if (behind.open) drawTable(numbers, variant);
    }
    refresh(0);
    let before = panels.clientWidth;
    new ResizeObserver(() => {
      if (paper.matches || !panels.clientWidth || Math.abs(panels.clientWidth - before) < 2) return;
      before = panels.clientWidth;
      requestAnimationFrame(draw);
    }).observe(panels);
    night.addEventListener("change", () => { if (!paper.matches) draw(); });
    paper.addEventListener("change", () => { if (paper.matches) whiten(host); else draw(); });
  }

  // A folded figure is drawn when it is opened: closed, it has no width.
  const waiting = new Map(data.figures.map((figure) => [document.getElementById(`figure-${figure.name}`), figure]));
  function drawOpen() {
    for (const [host, figure] of waiting) if (host && !host.closest("details:not([open])")) {
      waiting.delete(host);
      drawFigure(figure, host);
    }
  }
  document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", drawOpen));
  document.querySelectorAll("table.sortable").forEach(sortable);
  // A link to a folded part opens it.
  addEventListener("hashchange", opened);
  function opened() {
    const part = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (part && part.tagName === "DETAILS") part.open = true;
  }
  opened();
  drawOpen();
})();
