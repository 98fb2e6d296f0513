// Draws every [data-chart] with uPlot from /api/v1/chart, or first from answers that the page brings along. Tables beside the charts tell the same without script.
"use strict";

(() => {
  const SERIES_COLOURS = 8;
  const SHADES = 3; // Of one expression of several.
  const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3], [4, 4], [14, 6], [1, 6]]; // The same colour again; .dash-N of the tables.
  const REFRESH_MS = 15000;

  // Colours are names in the style sheet that depend on the theme; a probe element resolves them.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (className, property = "color") => {
    probe.className = className;
    return getComputedStyle(probe)[property];
  };

  const scaled = (value, steps) => {
    const size = Math.abs(value);
    for (const [limit, divisor, unit] of steps) if (size >= limit) return [value / divisor, unit];
    const [, divisor, unit] = steps[steps.length - 1];
    return [value / divisor, unit];
  };
  const digits = (value) => {
    const size = Math.abs(value);
    if (value === 0) return "0";
    if (size >= 100 || Number.isInteger(value)) return value.toLocaleString("en", { maximumFractionDigits: 0 });
    return value.toLocaleString("en", { maximumSignificantDigits: 3 });
  };
  const bytes = [[2 ** 40, 2 ** 40, "TiB"], [2 ** 30, 2 ** 30, "GiB"], [2 ** 20, 2 ** 20, "MiB"], [2 ** 10, 2 ** 10, "KiB"], [0, 1, "B"]];
  const formats = {
    s: (value) => { const [v, u] = scaled(value, [[1, 1, "s"], [1e-3, 1e-3, "ms"], [0, 1e-6, "µs"]]); return value === 0 ? "0" : `${digits(v)} ${u}`; },
    B: (value) => { const [v, u] = scaled(value, bytes); return `${digits(v)} ${u}`; },
    "%": (value) => `${digits(value)} %`,
    "": (value) => {
      const [v, u] = scaled(value, [[1e12, 1e12, "T"], [1e9, 1e9, "G"], [1e6, 1e6, "M"], [1e4, 1e3, "k"], [0, 1, ""]]);
      return `${digits(v)}${u}`;
    },
  };
  const formatFor = (unit) => formats[unit] ?? ((value) => `${formats[""](value)} ${unit}`);

  // The time axis in the reader's zone: hours and minutes, with the date where days matter.
  const clocks = new Map();
  const clockFor = (increment) => {
    const style = increment >= 86400 ? { month: "short", day: "numeric" }
      : increment >= 21600 ? { weekday: "short", hour: "2-digit", minute: "2-digit", hour12: false }
      : increment >= 60 ? { hour: "2-digit", minute: "2-digit", hour12: false }
      : { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
    const key = JSON.stringify(style);
    if (!clocks.has(key)) clocks.set(key, new Intl.DateTimeFormat("en-GB", style));
    return (second) => clocks.get(key).format(new Date(second * 1000));
  };
  const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

  const message = (element, text) => {
    element.replaceChildren();
    const note = document.createElement("p");
    note.className = "message";
    note.textContent = text;
    element.append(note);
  };

  const labelFor = (series, only) => {
    if (only) return series.labels[only] ?? series.name;
    const name = series.label ?? series.name;
    return name.length > 90 ? `${name.slice(0, 89)}…` : name;
  };

  const draw = (element, answer) => {
    const format = formatFor(element.dataset.unit ?? "");
    const text = colour("muted"), line = colour("chart-line", "borderTopColor");
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const single = answer.series.length === 1;
    const options = {
      width: element.clientWidth,
      height: element.classList.contains("small") ? 170 : answer.series.length > 12 ? 380 : 280,
      cursor: { focus: { prox: 24 }, drag: { x: true, y: false } },
      focus: { alpha: 0.35 },
      legend: { live: true },
      scales: { x: { time: true, range: [answer.start_ms / 1000, answer.end_ms / 1000] }, y: { range: (_u, low, high) => {
        if (low === null) return [0, 1];
        const floor = low >= 0 && low < high * 0.6 ? 0 : low;
        const room = (high - floor || Math.abs(high) || 1) * 0.08;
        return [floor === 0 && low >= 0 ? 0 : floor - room, high + room];
      } } },
      axes: [{ ...axis, size: 30, values: (_u, splits, _a, _s, increment) => splits.map(clockFor(increment)) }, { ...axis, size: 64, values: (_u, splits) => splits.map(format) }],
      series: [{ label: "Time", value: (_u, second) => (second === null ? "" : moment.format(new Date(second * 1000))) }, ...answer.series.map((series, index) => ({
        label: labelFor(series, element.dataset.label),
        stroke: colour(series.style ?? `series-${index % SERIES_COLOURS}`),
        dash: DASHES[(series.dash ?? Math.floor(index / SERIES_COLOURS)) % DASHES.length],
        width: 1.5,
        fill: single ? colour("chart-fill", "backgroundColor") : undefined,
        // A lone value between gaps has no line; few values are drawn as points as well.
        points: { size: 4, show: series.values.filter((value) => value !== null).length <= 30 },
        spanGaps: false,
        // Without a pointer in the chart the legend tells the latest value.
        value: (chart, value) => {
          if (value === null || value === undefined) value = chart?.cursor?.idx == null ? series.values.findLast((known) => known !== null) : null;
          return value === null || value === undefined ? "–" : format(value);
        },
      }))],
    };
    const tells = (name, detail) => element.dispatchEvent(new CustomEvent(name, { detail }));
    options.hooks = { setSeries: [(_u, index, change) => { if (change.focus !== undefined) tells("chart-focus", index); }], setCursor: [() => tells("chart-cursor")] };
    if (!single && answer.series.length > 6) options.legend.show = false; // The table below names them.
    element.replaceChildren();
    element.chart?.destroy();
    element.chart = new uPlot(options, [answer.time_s, ...answer.series.map((series) => series.values)], element);
    element.answer = answer;
    element.format = format;
    tells("chart-drawn");
  };

  // The answers of several expressions as one, each series with its row; they stand on one grid of times.
  const LETTERS = "ABCDEFGH";
  const joined = (element, asked, answers) => {
    const several = "several" in element.dataset;
    const series = answers.flatMap((answer, at) => answer.series.map((entry, index) => {
      const { row } = asked[at];
      if (!several) return { ...entry, row };
      const style = `series-${row} shade-${index % SHADES}`;
      return { ...entry, row, style, dash: Math.floor(index / SHADES), label: `${LETTERS[row]} ${entry.name}` };
    }));
    return { ...answers[0], series };
  };
  const show = (element, answer) => {
    if (!answer.series.some((series) => series.values.some((value) => value !== null))) {
      return message(element, element.dataset.empty ?? "Nothing was stored in this time.");
    }
    draw(element, answer);
  };
  // What the page brings along was evaluated for its tables; it is not asked for a second time.
  const brought = (element) => {
    const holder = element.dataset.answers && document.getElementById(element.dataset.answers);
    if (!holder) return false;
    const asked = JSON.parse(holder.content.textContent);
    element.asked = asked.map(({ row, expression }) => ({ row, expression }));
    show(element, joined(element, asked, asked.map((entry) => entry.answer)));
    return true;
  };

  const load = async (element) => {
    const fixed = element.dataset.endMs;
    const end = fixed ? Number(fixed) : Date.now();
    const start = fixed ? Number(element.dataset.startMs) : end - Number(element.dataset.rangeMs);
    const asked = element.asked ?? [{ row: 0, expression: element.dataset.expression }];
    const ask = async ({ expression }) => {
      const query = new URLSearchParams({ expression, start_ms: start, end_ms: end });
      if (element.dataset.stepMs) query.set("step_ms", element.dataset.stepMs);
      const response = await fetch(`/api/v1/chart?${query}`, { headers: { Accept: "application/json" } });
      return [response.ok, await response.json()];
    };
    try {
      const answers = await Promise.all(asked.map(ask));
      const refused = answers.find(([isOk]) => !isOk);
      if (refused) return message(element, refused[1].error.message);
      show(element, joined(element, asked, answers.map(([, answer]) => answer)));
    } catch {
      message(element, "The chart could not be loaded; it is tried again.");
    }
  };

  const all = () => document.querySelectorAll("[data-chart]");
  const start = () => {
    for (const element of all()) {
      if (!brought(element)) load(element);
      new ResizeObserver(() => {
        if (element.chart && element.clientWidth) element.chart.setSize({ width: element.clientWidth, height: element.chart.height });
      }).observe(element);
    }
  };
  setInterval(() => {
    if (document.hidden) return;
    for (const element of all()) if (!element.dataset.endMs && !element.matches(":hover")) load(element);
  }, REFRESH_MS);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const element of all()) if (element.answer) draw(element, element.answer);
  });
  start();
})();
