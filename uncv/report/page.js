// Makes the still figures of a report interactive: zoom, hover, rounds by a slider, keys, themes.
"use strict";
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const options = {
    responsive: true, displaylogo: false, doubleClick: "reset",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  let colours = {};

  function readTheme() {
    const style = getComputedStyle(root);
    for (const name of ["text", "soft", "line", "page", "plot", "c0", "c1", "c2", "c3", "c4", "c5"])
      colours[name] = style.getPropertyValue(`--${name}`).trim();
  }

  // "@c0" is a colour of the theme, "@c0~" the same thinned out, "@light" whether it is light.
  function painted(value) {
    if (Array.isArray(value)) return value.some((v) => typeof v === "object") ? value.map(painted) : value;
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v)]));
    if (typeof value !== "string" || value[0] !== "@") return value;
    if (value === "@light") return !dark.matches;
    return value.endsWith("~") ? colours[value.slice(1, -1)] + "33" : colours[value.slice(1)];
  }

  function layoutOf(panel, turn) {
    const axis = {
      gridcolor: colours.line, linecolor: colours.soft, zeroline: false, automargin: true,
      tickfont: { color: colours.text, size: 12 }, ticks: "outside", tickcolor: colours.soft,
    };
    const given = panel.layout;
    const layout = {
      ...given,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: colours.plot, hovermode: "closest",
      font: { color: colours.text, family: "system-ui, sans-serif", size: 13 },
      margin: { l: 58, r: 14, t: given.title ? 40 : 30, b: 48 }, uirevision: turn,
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, traceorder: "normal" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.soft, activecolor: colours.text },
      hoverlabel: { bgcolor: colours.page, bordercolor: colours.soft, font: { color: colours.text } },
      xaxis: { ...axis, ...given.xaxis }, yaxis: { ...axis, ...given.yaxis },
    };
    for (const one of [layout.xaxis, layout.yaxis])
      one.title = { ...one.title, font: { size: 13 }, standoff: 8 };
    if (given.title) layout.title = { ...given.title, font: { size: 14 }, x: 0.02, xanchor: "left" };
    return layout;
  }

  class Chart {
    constructor(element) {
      this.element = element;
      this.live = element.querySelector(".live");
      const data = JSON.parse(element.querySelector("script").textContent);
      this.panels = data.panels;
      this.slider = data.slider;
      this.at = this.slider.length - 1;
      this.drawn = false;
      this.turn = 0;
    }

    async draw() {
      const first = !this.drawn;
      this.drawn = true;
      const shown = this.slider.length ? [this.panels[this.at]] : this.panels;
      this.element.classList.add("drawn");
      if (first) this.addPlots(shown);
      const plots = this.live.querySelectorAll(".plot");
      await Promise.all(shown.map((panel, i) =>
        Plotly.react(plots[i], painted(panel.data), layoutOf(panel, this.turn), options)));
      if (this.slider.length) this.element.dataset.shown = this.slider[this.at];
      this.element.dataset.drawn = "yes";
    }

    addPlots(shown) {
      const grid = this.live.appendChild(document.createElement("div"));
      grid.className = "panels";
      for (const panel of shown) {
        const plot = grid.appendChild(document.createElement("div"));
        plot.className = panel.square ? "plot square" : "plot";
      }
      this.live.tabIndex = 0;
      this.live.addEventListener("keydown", (event) => this.key(event));
    }

    key(event) {
      if (event.target !== this.live || event.ctrlKey || event.metaKey || event.altKey) return;
      const moves = {
        "+": [0.2, 0.2, 0, 0], "=": [0.2, 0.2, 0, 0], "-": [-0.333, -0.333, 0, 0],
        ArrowLeft: [0, 0, -0.1, 0], ArrowRight: [0, 0, 0.1, 0],
        ArrowUp: [0, 0, 0, 0.1], ArrowDown: [0, 0, 0, -0.1],
      };
      if (event.key === "0" || event.key === "Escape") {
        this.turn += 1;
        this.live.querySelectorAll(".plot").forEach((plot) => Plotly.purge(plot));
        this.draw();
      } else if (moves[event.key]) {
        const [zx, zy, px, py] = moves[event.key];
        for (const plot of this.live.querySelectorAll(".plot")) {
          const { xaxis, yaxis } = plot._fullLayout;
          Plotly.relayout(plot, {
            "xaxis.range": ranged(xaxis.range, zx, px), "yaxis.range": ranged(yaxis.range, zy, py),
          });
        }
      } else return;
      event.preventDefault();
    }
  }

  function ranged([low, high], zoom, pan) {
    const width = high - low;
    return [low + width * (zoom / 2 + pan), high - width * (zoom / 2 - pan)];
  }

  function watchSlider(box, charts) {
    const input = box.querySelector("input"), said = box.querySelector("output");
    const names = JSON.parse(box.dataset.names);
    const own = charts.filter((c) => c.slider.length && box.parentElement.contains(c.element));
    const show = (at) => {
      input.value = at;
      said.textContent = names[at];
      input.setAttribute("aria-valuetext", names[at]);
      for (const chart of own) {
        chart.at = at;
        if (chart.drawn) chart.draw();
      }
    };
    show(names.length - 1);
    return { input, names, show };
  }

  // All sliders go to the same round, where they have it.
  function linkSliders(charts) {
    const boxes = [...document.querySelectorAll(".slider")];
    const sliders = boxes.map((box) => watchSlider(box, charts));
    for (const { input, names } of sliders)
      input.addEventListener("input", () => {
        for (const other of sliders) {
          const at = other.names.indexOf(names[input.value]);
          if (at >= 0) other.show(at);
        }
      });
  }

  async function loadPlotly() {
    const packed = document.getElementById("plotly").textContent.trim();
    const bytes = await (await fetch(`data:application/gzip;base64,${packed}`)).blob();
    const stream = bytes.stream().pipeThrough(new DecompressionStream("gzip"));
    const code = await new Response(stream).blob();
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    await new Promise((done, failed) => {
      script.onload = done;
      script.onerror = () => failed(new Error("plotly.js could not be loaded"));
      document.head.append(script);
    });
  }

  const idle = (work) => (window.requestIdleCallback || setTimeout)(work, { timeout: 300 });

  async function begin() {
    const charts = [...document.querySelectorAll("figure.chart")].map((e) => new Chart(e));
    if (!charts.length || !window.DecompressionStream) return;
    readTheme();
    try {
      await loadPlotly();
    } catch {
      root.dataset.figures = "still";
      return;
    }
    root.classList.add("scripted");
    linkSliders(charts);
    dark.addEventListener("change", () => {
      readTheme();
      charts.filter((c) => c.drawn).forEach((c) => c.draw());
    });
    // What is looked at is drawn at once, the rest whenever nothing else is to do.
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const chart = charts.find((c) => c.element === entry.target);
        if (entry.isIntersecting && !chart.drawn) chart.draw();
      }
    });
    charts.forEach((c) => seen.observe(c.element));
    const next = async () => {
      const chart = charts.find((c) => !c.drawn);
      if (chart) {
        await chart.draw();
        idle(next);
      } else root.dataset.figures = "ready";
    };
    idle(next);
  }

  if (document.readyState === "complete") idle(begin);
  else window.addEventListener("load", () => idle(begin));
})();
