"use strict";
(() => {
  const holder = document.getElementById("map");
  if (!holder) return;
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const NS = "http://www.w3.org/2000/svg";
  const WIDE = 1000, HIGH = 600, EDGE = 20;
  const color = (k) => `hsl(${Math.round((k * 360) / Math.max(data.classes.length, 1)) + 215}, 65%, 48%)`;
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`);
  const tip = document.getElementById("tip");
  holder.insertBefore(svg, tip);

  const show = (point, event) => {
    tip.replaceChildren();
    const picture = document.createElement(point.picture ? "img" : "div");
    if (point.picture) { picture.src = point.picture; picture.alt = ""; }
    else { picture.className = "gone large"; picture.textContent = "picture not at hand"; }
    const line = (text, name) => {
      const p = document.createElement("p");
      p.textContent = text;
      if (name) p.className = name;
      return p;
    };
    const right = point.label === point.predicted;
    const [label, given] = point.words ?? [
      data.classes[point.label] ?? "none",
      `${data.classes[point.predicted]}, ${point.probability.toFixed(4)}`,
    ];
    tip.append(
      picture,
      line(`label: ${label}`),
      line(`given: ${given}`, right ? "" : "wrong"),
      line(`${point.path} (${point.split})`, "soft"),
    );
    tip.hidden = false;
    const box = holder.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    tip.style.left = `${x > box.width / 2 ? x - tip.offsetWidth - 12 : x + 12}px`;
    tip.style.top = `${Math.min(y + 12, box.height - tip.offsetHeight - 4)}px`;
  };

  const dots = data.points.map((point) => {
    const dot = document.createElementNS(NS, "circle");
    const wrong = point.label !== point.predicted;
    dot.setAttribute("r", wrong ? "6" : "4");
    dot.setAttribute("fill", color(point.label));
    dot.setAttribute("fill-opacity", "0.75");
    if (wrong) { dot.setAttribute("stroke", "#d1242f"); dot.setAttribute("stroke-width", "2"); }
    dot.addEventListener("mouseenter", (event) => show(point, event));
    dot.addEventListener("mouseleave", () => { tip.hidden = true; });
    return dot;
  });
  const order = dots.map((_, i) => i).sort((a, b) => {
    const wrong = (i) => Number(data.points[i].label !== data.points[i].predicted);
    return wrong(a) - wrong(b);
  });
  svg.append(...order.map((i) => dots[i]));

  const buttons = [...document.querySelectorAll("[data-way]")];
  const place = (way) => {
    const at = data.points.map((point) => point.at[way]);
    const most = [0, 1].map((axis) => Math.max(...at.map((xy) => xy[axis]), 1e-9));
    dots.forEach((dot, i) => {
      dot.setAttribute("cx", EDGE + (at[i][0] / most[0]) * (WIDE - 2 * EDGE));
      dot.setAttribute("cy", EDGE + (at[i][1] / most[1]) * (HIGH - 2 * EDGE));
    });
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.way) === way)));
  };
  buttons.forEach((button) => button.addEventListener("click", () => place(Number(button.dataset.way))));
  document.querySelectorAll("[data-class]").forEach((mark) => mark.setAttribute("fill", color(Number(mark.dataset.class))));
  place(buttons.length - 1);
})();
