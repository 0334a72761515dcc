"use strict";
// Tables sort by the column that is pressed; once more, the other way round. What has no value stays last.
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const isFigure = head.classList.contains("figure");
      const was = head.getAttribute("aria-sort");
      const up = was === "none" || was === null ? !isFigure : was === "descending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => {
        const cell = row.cells[column];
        if (!isFigure) return cell.textContent.trim();
        return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
      };
      const rows = [...body.rows].map((row) => [value(row), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = isFigure ? a - b : a.localeCompare(b, "en", { numeric: true });
        return up ? order : -order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

// A POP that is pressed shows its catchment alone; hovering does so for a moment.
const chips = [...document.querySelectorAll(".chip")];
const marks = [...document.querySelectorAll("svg.map [data-pop]")];
let held = null;
const show = (pop) => {
  for (const map of document.querySelectorAll("svg.map")) map.classList.toggle("focused", pop !== null);
  for (const mark of marks) mark.classList.toggle("chosen", mark.dataset.pop === pop);
};
for (const chip of chips) {
  const pop = chip.dataset.pop;
  chip.addEventListener("click", () => {
    held = held === pop ? null : pop;
    for (const other of chips) other.setAttribute("aria-pressed", String(other.dataset.pop === held));
    show(held);
  });
  chip.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show(pop));
  chip.addEventListener("pointerleave", () => show(held));
}

// Values under the pointer, and the same time in all panels.
const tip = document.getElementById("tip");
const place = (event) => {
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const x = Math.min(event.clientX + 14, document.documentElement.clientWidth - box.width - 8);
  const y = event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18;
  tip.style.left = `${Math.max(8, x)}px`;
  tip.style.top = `${Math.max(8, y)}px`;
};
const line = (text, tag) => {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
};
const strips = [...document.querySelectorAll("svg.strip")];
for (const strip of strips) {
  const { left, right, every, end } = Object.fromEntries(
    ["left", "right", "every", "end"].map((key) => [key, Number(strip.dataset[key])]),
  );
  const series = JSON.parse(strip.dataset.series);
  const move = (event) => {
    const box = strip.getBoundingClientRect();
    const x = ((event.clientX - box.left) * strip.viewBox.baseVal.width) / box.width;
    const at = ((x - left) / (right - left)) * end;
    const number = Math.floor(at / every);
    if (x < left || x > right || !(number in series[0].values)) return leave();
    for (const other of strips) {
      const cursor = other.querySelector(".cursor");
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.classList.toggle("on", other.viewBox.baseVal.width === strip.viewBox.baseVal.width);
    }
    const shown = series.filter((one) => series.length < 8 || one.values[number] > 0);
    tip.replaceChildren(
      line(`${(number * every).toFixed(1)} s`, "b"),
      ...shown.map((one) => line(`${one.name}: ${one.values[number]}`, "div")),
    );
    place(event);
  };
  const leave = () => {
    tip.hidden = true;
    for (const other of strips) other.querySelector(".cursor").classList.remove("on");
  };
  strip.addEventListener("pointermove", move);
  strip.addEventListener("pointerdown", move);
  strip.addEventListener("pointerleave", leave);
}

// What a mark of a drawing is, at once and also where nothing can hover.
for (const title of document.querySelectorAll("svg title")) {
  const mark = title.parentNode;
  const text = title.textContent;
  title.remove();
  mark.setAttribute("aria-label", text);
  const tell = (event) => {
    tip.replaceChildren(line(text, "div"));
    place(event);
  };
  mark.addEventListener("pointermove", tell);
  mark.addEventListener("pointerdown", tell);
  mark.addEventListener("pointerleave", () => (tip.hidden = true));
}
