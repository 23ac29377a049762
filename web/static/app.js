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
  });
})();

// Single keys: off while somebody types, and for who wants none. Which key does what stands in the page.
(() => {
  const find = (selector) => document.querySelector(selector);
  const dialog = find("dialog[data-keys]");
  const help = find("[data-keys-open]");
  let went = 0;

  // From one row to the next; the link of a row has the focus, so that Enter opens it.
  const step = (row, by) => {
    const links = [...document.querySelectorAll("main tbody tr")]
      .map((each) => each.querySelector("th a, td a"))
      .filter(Boolean);
    const now = row ? links.findIndex((link) => row.contains(link)) : -1;
    const next = links[now < 0 ? (by > 0 ? 0 : -1) : now + by];
    if (next) next.focus();
  };

  if (help) {
    help.hidden = false;
    help.addEventListener("click", () => dialog.showModal());
  }
  document.addEventListener("keydown", (event) => {
    if (document.documentElement.dataset.shortcuts === "off" || find("dialog[open]")) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input:not([type=checkbox],[type=radio]), textarea, select, [contenteditable]")) return;
    const row = event.target.closest("main tbody tr");
    const after = went && Date.now() - went < 1500;
    went = event.key === "g" && !after ? Date.now() : 0;
    const to = after && find(`[aria-keyshortcuts="g ${CSS.escape(event.key)}"]`);
    if (to) {
      to.click();
    } else if (after || went) {
      return;
    } else if (event.key === "/" && find("[data-search]")) {
      find("[data-search]").focus();
      find("[data-search]").select();
    } else if (event.key === "?" && dialog) {
      dialog.showModal();
    } else if (event.key === "j" || event.key === "k") {
      step(row, event.key === "j" ? 1 : -1);
    } else if (event.key === "x" && row && row.querySelector("input[type=checkbox]")) {
      row.querySelector("input[type=checkbox]").click();
    } else if (event.key === "c") {
      const copy = (row && row.querySelector("[data-copy]")) || find("main [aria-keyshortcuts=c]");
      if (!copy) return;
      copy.click();
    } else {
      return;
    }
    event.preventDefault();
  });
})();

// Moments in the zone of who looks at them; without scripts they are in UTC, and say so.
(() => {
  const two = "2-digit";
  const parts = { year: "numeric", month: two, day: two, hour: two, minute: two, second: two, timeZoneName: "short" };
  const own = (time) => new Date(time.dateTime).toLocaleString("sv-SE", parts);
  document.querySelectorAll("main time[datetime]").forEach((time) => {
    if (time.textContent.endsWith(" UTC")) time.textContent = own(time);
  });
  document.addEventListener("mouseover", (event) => {
    const time = event.target.closest("time[title]");
    if (time && time.title.endsWith(" UTC")) time.title = own(time);
  });
})();
