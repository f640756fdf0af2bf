"use strict";
(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  const stored = { get() { try { return localStorage.getItem("dlcli-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("dlcli-theme", value); } catch { /* a file may have no storage */ } } };
  let theme = themes.includes(stored.get()) ? stored.get() : "system";
  const show = () => { if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme; };
  show();

  function switchTheme(button) {
    const name = () => { button.textContent = "Colours: " + (theme === "system" ? "system default" : theme); };
    button.hidden = false;
    name();
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      stored.set(theme);
      show();
      name();
    });
  }

  function sortable(table) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => heading.querySelector("button")?.addEventListener("click", () => {
      const body = table.tBodies[0];
      const rows = [...body.rows];
      const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
      const numeric = rows.every((row) => "v" in row.cells[column].dataset);
      const before = heading.getAttribute("aria-sort");
      const order = before ? (before === "ascending" ? "descending" : "ascending") : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      const compare = new Intl.Collator(undefined, { numeric: true }).compare;
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (numeric && (x === "" || y === "")) return (x === "") - (y === "");
        return sign * (numeric ? x - y : compare(x, y));
      });
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      body.append(...rows);
    }));
  }

  function explorable(table) {
    const section = table.closest(".confusions");
    const tip = document.getElementById("tip");
    const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
    const rows = [...table.tBodies[0].rows];
    const at = (row, column) => rows[row]?.cells[column + 1];
    const place = (cell) => [cell.parentNode.sectionRowIndex, cell.cellIndex - 1];
    const words = (cell) => {
      const [row, column] = place(cell);
      const count = Number(cell.textContent || 0);
      const total = Number(rows[row].dataset.total);
      const share = total ? ` (${(100 * count / total).toFixed(1)} % of the label's ${total})` : "";
      return `label ${names[row]}, predicted ${names[column]}: ${count}${share}`;
    };
    const showTip = (cell, x, y) => {
      tip.textContent = words(cell);
      tip.hidden = false;
      const box = tip.getBoundingClientRect();
      tip.style.left = Math.max(8, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
      tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + "px";
    };
    const cellOf = (event) => event.target.closest("tbody td");
    let current = at(0, 0);
    const focus = (cell) => {
      current.removeAttribute("tabindex");
      current = cell;
      cell.tabIndex = 0;
      cell.setAttribute("aria-label", words(cell));
    };
    focus(current);
    table.addEventListener("pointermove", (event) => {
      const cell = cellOf(event);
      if (cell) showTip(cell, event.clientX, event.clientY); else tip.hidden = true;
    });
    table.addEventListener("pointerleave", () => { tip.hidden = true; });
    table.addEventListener("focusin", (event) => {
      const cell = cellOf(event);
      if (!cell) return;
      const box = cell.getBoundingClientRect();
      showTip(cell, box.left, box.top + box.height - 14);
    });
    table.addEventListener("focusout", () => { tip.hidden = true; });
    table.addEventListener("click", (event) => { const cell = cellOf(event); if (cell) { focus(cell); choose(cell); } });
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    table.addEventListener("keydown", (event) => {
      const cell = cellOf(event);
      if (!cell) return;
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(cell); return; }
      if (event.key === "Escape") { back(); return; }
      const move = moves[event.key];
      const [row, column] = place(cell);
      const next = move ? at(row + move[0], column + move[1])
        : event.key === "Home" ? at(row, 0) : event.key === "End" ? at(row, names.length - 1) : null;
      if (move || next) event.preventDefault();
      if (next && next.cellIndex > 0) { focus(next); next.focus(); }
    });
    const title = section.querySelector(".drilled");
    const before = title.textContent;
    const answer = section.querySelector(".answer");
    const button = section.querySelector(".back");
    const pairs = [...section.querySelectorAll(".pair")];
    function choose(cell) {
      const [row, column] = place(cell);
      const key = `${row}-${column}`;
      let hasExamples = false;
      pairs.forEach((pair) => { pair.hidden = pair.dataset.at !== key; hasExamples ||= !pair.hidden; });
      table.querySelector("[aria-selected]")?.removeAttribute("aria-selected");
      cell.setAttribute("aria-selected", "true");
      title.textContent = row === column ? `Correct: ${names[row]}` : `${names[row]} predicted as ${names[column]}`;
      const count = Number(cell.textContent || 0);
      answer.hidden = hasExamples;
      answer.textContent = row === column ? `${words(cell)}. Only errors have examples here.`
        : count ? `${words(cell)}. No example is stored here; predictions.csv in the run folder lists all of them.`
          : "There are no such examples.";
      button.hidden = false;
    }
    function back() {
      pairs.forEach((pair) => { pair.hidden = !("first" in pair.dataset); });
      table.querySelector("[aria-selected]")?.removeAttribute("aria-selected");
      title.textContent = before;
      answer.hidden = true;
      button.hidden = true;
    }
    button.addEventListener("click", back);
  }

  // A table that is wider than the screen shows each row as a list of its cells, named by their headings.
  function stackable(box) {
    const table = box.querySelector("table");
    if (!table?.tHead || table.classList.contains("matrix")) return;
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    [...table.tBodies[0].rows].forEach((row) => [...row.cells].forEach((cell, column) => { cell.dataset.name = names[column] ?? ""; }));
    const fit = () => {
      table.classList.remove("stacked");
      table.classList.toggle("stacked", innerWidth < 720 && box.scrollWidth > box.clientWidth + 1);
    };
    fit();
    addEventListener("resize", fit);
  }

  document.addEventListener("DOMContentLoaded", () => {
    switchTheme(document.getElementById("theme"));
    document.querySelectorAll("table.sort").forEach(sortable);
    document.querySelectorAll("table.matrix").forEach(explorable);
    document.querySelectorAll(".scroll").forEach(stackable);
    document.querySelectorAll("details").forEach((section) => section.addEventListener("toggle", () => dispatchEvent(new Event("resize"))));
    const open = () => { const target = location.hash ? document.getElementById(location.hash.slice(1)) : null; target?.closest("details")?.setAttribute("open", ""); };
    addEventListener("hashchange", open);
    open();
    let closed = [];
    addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("details:not([open])")]; closed.forEach((section) => { section.open = true; }); });
    addEventListener("afterprint", () => { closed.forEach((section) => { section.open = false; }); });
  });
})();
