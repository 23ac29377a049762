"use strict";
// Everything works without this file; it saves a few clicks.
(() => {
  const live = () => document.getElementById("live");

  // Copy buttons: what stands beside them, or what they carry.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const code = button.parentElement.querySelector("code");
    const text = button.dataset.copy || (code && code.textContent) || "";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      if (code) getSelection().selectAllChildren(code);
      return;
    }
    const before = button.textContent;
    button.textContent = button.dataset.copied;
    if (live()) live().textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = before; }, 2000);
  });

  // Lists and jobs come again in parts. What is new in them is said once.
  let said = "";
  document.addEventListener("htmx:after:swap", () => {
    lost(false);
    const text = document.querySelector("[data-say]")?.textContent.trim() ?? "";
    if (live() && text !== said) live().textContent = text;
    said = text;
    document.querySelectorAll("input[name=return]").forEach((field) => { if (!field.closest("#list")) field.value = location.pathname + location.search; });
  });

  // A server that does not answer is asked again: by jobs at their next look, by lists here.
  const lost = (gone) => { const note = document.getElementById("lost"); if (note) note.hidden = !gone; };
  let again;
  const retry = (source) => {
    lost(true);
    clearTimeout(again);
    if (source.matches?.("form")) again = setTimeout(() => { if (source.isConnected) source.requestSubmit(); }, 2000);
  };
  document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx && !event.detail.ctx.text) retry(event.target);
  });
  document.addEventListener("htmx:before:response", (event) => {
    if (event.detail.ctx.response.status < 500) return;
    event.preventDefault();
    retry(event.target);
  });

  // With the shift key, all boxes from the last one to this one follow it.
  let last;
  document.addEventListener("click", (event) => {
    const box = event.target.closest?.("td.pick input");
    if (!box) return;
    const boxes = [...box.closest("table").querySelectorAll("td.pick input")];
    const from = boxes.indexOf(last);
    if (event.shiftKey && from >= 0) {
      const ends = [from, boxes.indexOf(box)].sort((one, other) => one - other);
      boxes.slice(ends[0], ends[1] + 1).forEach((between) => { between.checked = box.checked; });
    }
    last = box;
  });

  // One menu at a time; a click beside it or Escape closes it.
  const close = (except) => document.querySelectorAll("details.menu[open]").forEach((menu) => {
    if (menu !== except) menu.open = false;
  });
  document.addEventListener("click", (event) => close(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const menu = document.querySelector("details.menu[open]");
      if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
    }
    const off = document.documentElement.dataset.shortcuts === "off";
    const typing = off || event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const search = document.querySelector("[data-search]");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    }
  });
})();
