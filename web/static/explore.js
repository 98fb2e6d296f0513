// What Explore does beyond HTML: suggestions as one types, the place of a mistake, the table as the chart's legend.
"use strict";

(() => {
  const told = document.getElementById("completion-count");
  for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;

  // Suggestions. The server makes the options; here they are shown, chosen and taken. The focus stays in the field.
  const complete = (field) => {
    const list = document.getElementById(field.dataset.list);
    let chosen = -1;
    const options = () => [...list.querySelectorAll("[role=option]")];
    const choose = (index) => {
      const all = options();
      chosen = all.length ? (index + all.length) % all.length : -1;
      all.forEach((option, at) => option.setAttribute("aria-selected", String(at === chosen)));
      if (chosen < 0) return field.removeAttribute("aria-activedescendant");
      field.setAttribute("aria-activedescendant", all[chosen].id);
      all[chosen].scrollIntoView({ block: "nearest" });
    };
    const close = () => {
      list.hidden = true;
      chosen = -1;
      told.textContent = "";
      field.removeAttribute("aria-activedescendant");
    };
    const ask = () => field.dispatchEvent(new Event("complete"));
    const take = (option) => {
      const { start, end, written } = option.dataset;
      close();
      field.focus();
      field.setRangeText(written, Number(start), Number(end), "end");
      if (/[=(,{]$/.test(written)) ask(); // What comes next is known as well: a value, an argument.
    };
    field.addEventListener("htmx:configRequest", (event) => {
      event.detail.parameters.expression = field.value; // Of this row alone: other fields of the form have the same name.
      event.detail.parameters.cursor = field.selectionStart;
    });
    list.addEventListener("htmx:afterSwap", () => {
      if (document.activeElement !== field) list.replaceChildren(); // The options of two lists would have the same ids.
      const all = options();
      const isAll = all.length === 1 && all[0].dataset.written === field.value.slice(all[0].dataset.start, all[0].dataset.end);
      list.hidden = !all.length || isAll;
      chosen = -1;
      told.textContent = list.hidden ? "" : `${all.length} ${all.length === 1 ? "suggestion" : "suggestions"}`;
      field.removeAttribute("aria-activedescendant");
      list.scrollTop = 0;
    });
    field.addEventListener("keydown", (event) => {
      const isOpen = !list.hidden;
      if (event.key === " " && event.ctrlKey) ask();
      else if (isOpen && event.key === "ArrowDown") choose(chosen + 1);
      else if (isOpen && event.key === "ArrowUp") choose(chosen < 0 ? -1 : chosen - 1);
      else if (isOpen && event.key === "Escape") close();
      else if (isOpen && chosen >= 0 && (event.key === "Enter" || event.key === "Tab")) take(options()[chosen]);
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) field.form.requestSubmit();
      else return;
      event.preventDefault();
    });
    field.addEventListener("blur", () => { close(); list.replaceChildren(); });
    list.addEventListener("mousedown", (event) => { // Before the field loses the focus.
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option) take(option);
    });
  };
  const fields = [...document.querySelectorAll("[data-expression-field]")];
  fields.forEach(complete);
  const empty = fields.find((field) => !field.value);
  if (empty && fields.length > 1) empty.focus(); // A row that was just added.

  // A mistake: the cursor stands at its place, where it is to be mended.
  const mark = document.querySelector("mark[data-start]");
  if (mark) {
    const field = document.getElementById(mark.dataset.field);
    field.focus();
    field.setSelectionRange(Number(mark.dataset.start), Number(mark.dataset.end));
  }

  // The link to share, as this browser reaches the page. Without TLS there is no clipboard but the old one.
  const link = document.getElementById("share-link");
  if (link) link.value = new URL(link.dataset.path, location.href).href;
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copies-field]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copiesField);
    try {
      if (navigator.clipboard) await navigator.clipboard.writeText(source.value);
      else { source.select(); document.execCommand("copy"); }
      button.textContent = "Copied";
    } catch {
      source.select();
      button.textContent = "Press Ctrl C to copy";
    }
  });

  // The tables under the chart are its legend: a row brings its line forward, a name shows it alone.
  const chart = document.querySelector("[data-chart][data-legend]");
  if (!chart) return;
  const rows = [...document.querySelectorAll("[data-legend-of] [data-series]")];
  const isOf = (row, series) => series !== null && row.dataset.series === series.name && Number(row.dataset.row) === series.row;
  let alone = null;
  const indexOf = (row) => (chart.answer?.series.findIndex((series) => isOf(row, series)) ?? -1) + 1;
  const focusOn = (row) => {
    if (chart.chart) chart.chart.setSeries(row && indexOf(row) > 0 ? indexOf(row) : null, { focus: true });
  };
  const showAlone = () => {
    for (const row of rows) {
      row.classList.toggle("off", alone !== null && row !== alone);
      row.querySelector("button").setAttribute("aria-pressed", String(row === alone));
    }
    if (!chart.chart) return;
    chart.chart.batch(() => chart.answer.series.forEach((series, at) =>
      chart.chart.setSeries(at + 1, { show: alone === null || isOf(alone, series) })));
  };
  for (const row of rows) {
    const name = row.querySelector("[data-alone]");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "name";
    button.textContent = name.textContent;
    button.setAttribute("aria-pressed", "false");
    name.replaceWith(button);
    button.addEventListener("click", () => { alone = alone === row ? null : row; showAlone(); });
    for (const [begins, ends] of [["mouseenter", "mouseleave"], ["focusin", "focusout"]]) {
      row.addEventListener(begins, () => focusOn(row));
      row.addEventListener(ends, () => focusOn(null));
    }
  }
  chart.addEventListener("chart-drawn", () => { if (alone !== null) showAlone(); });

  // With many lines: which one is under the pointer, and its value there.
  const reading = document.createElement("p");
  reading.className = "reading small";
  if (rows.length > 6) chart.after(reading); // Of fewer, the chart's own legend tells it.
  let focused = null;
  const tell = () => {
    const at = chart.chart?.cursor?.idx;
    const series = focused === null ? null : chart.answer?.series[focused - 1] ?? null;
    const value = series && at != null ? series.values[at] : null;
    reading.textContent = value === null ? "" : `${series.label ?? series.name}: ${chart.format(value)}`;
    for (const row of rows) row.classList.toggle("focused", isOf(row, series));
  };
  chart.addEventListener("chart-focus", (event) => { focused = event.detail; tell(); });
  chart.addEventListener("chart-cursor", tell);
})();
