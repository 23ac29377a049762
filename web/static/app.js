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
