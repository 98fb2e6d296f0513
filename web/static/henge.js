// What the pages do beyond HTML. Every page works without this file, charts excepted.
"use strict";

(() => {
  const csrfToken = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

  // htmx: our token with every change; no polling while nobody looks.
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.verb !== "get") event.detail.headers["X-CSRF-Token"] = csrfToken();
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.hasAttribute("data-poll")) event.preventDefault();
  });
  // An answer that is an error is shown where its result would stand.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status >= 400 && event.detail.elt.hasAttribute("data-shows-errors")) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });

  // Times: how long ago, kept fresh; and exact ones in the reader's zone.
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const duration = (seconds) => {
    const parts = [];
    for (const [size, name] of units) {
      const count = Math.floor(seconds / size);
      seconds -= count * size;
      if (count > 0) parts.push(`${count} ${name}`);
      else if (parts.length) break;
      if (parts.length === 2 || (parts.length && size === 60 && count >= 10)) break;
    }
    return parts.join(" ") || "0 s";
  };
  const freshen = (root) => {
    const now = Date.now();
    for (const element of root.querySelectorAll("time[data-ago]")) {
      const past = Math.round((now - Date.parse(element.dateTime)) / 1000);
      const text = Math.abs(past) < 2 ? "now" : past > 0 ? `${duration(past)} ago` : `in ${duration(-past)}`;
      if (element.textContent !== text) element.textContent = text;
    }
  };
  const lasting = (root) => {
    for (const element of root.querySelectorAll("time[data-lasting]")) {
      element.textContent = duration(Math.max(0, Math.round((Date.now() - Date.parse(element.dateTime)) / 1000)));
    }
  };
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const short = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const thisYear = new Date().getFullYear();
  const localise = (root) => {
    for (const element of root.querySelectorAll("time[data-local]")) {
      const at = new Date(element.dateTime);
      element.textContent = (at.getFullYear() === thisYear ? short : local).format(at).replace(",", "");
      element.title = local.format(at);
    }
    for (const element of root.querySelectorAll("time[data-ago]")) {
      element.title = local.format(new Date(element.dateTime));
    }
  };
  const show = (root) => { localise(root); freshen(root); lasting(root); };
  show(document);
  setInterval(() => { if (!document.hidden) { freshen(document); lasting(document); } }, 1000);
  document.addEventListener("htmx:afterSettle", (event) => {
    show(document);
    if (event.target.matches("#trial, #looked")) event.target.scrollIntoView({ block: "nearest" }); // On a phone it is below the form.
  });

  // A select that is a filter acts at once.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });

  // Menus close when something else is clicked or by Escape; "/" goes to the search.
  const closeMenus = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== except) menu.open = false;
  };
  document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const open = document.querySelector("details.menu[open]");
      if (open) { open.open = false; open.querySelector("summary").focus(); }
    }
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.target.matches("input, textarea, select")) {
      const search = document.querySelector("input[type=search], [data-search]");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    }
  });

  // What must not happen by one click asks once more.
  document.addEventListener("submit", (event) => {
    const question = event.target.getAttribute("data-confirm");
    if (question && !window.confirm(question)) event.preventDefault();
  });

  // "Line 4" beside a mistake goes to that line of the text.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-line]");
    const field = link && document.querySelector(link.getAttribute("href"));
    if (!field) return;
    event.preventDefault();
    const lines = field.value.split("\n");
    const line = Math.min(Number(link.dataset.line), lines.length) - 1;
    const start = lines.slice(0, line).reduce((size, text) => size + text.length + 1, 0);
    field.focus();
    field.setSelectionRange(start, start + lines[line].length);
    field.scrollTop = Math.max(0, line - 3) * (parseFloat(getComputedStyle(field).lineHeight) || 18);
  });

  // "Copy" beside a text that is shown once.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copies]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent.trim());
    button.textContent = "Copied";
  });
})();
