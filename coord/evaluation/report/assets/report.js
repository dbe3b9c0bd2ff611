"use strict";
// Plays recorded games on a canvas. No library, no network: sprites and states are in the page.
(() => {
  const ACTIONS = ["↑ north", "↓ south", "→ east", "← west", "· stay", "✋ interact"];
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  const load = (uri) => new Promise((done, fail) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = fail;
    image.src = uri;
  });

  function painter(canvas, game, sheet, picture) {
    const [width, height] = game.size;
    const { size, columns } = sheet;
    const cell = size * Math.max(3, Math.floor(600 / (size * width))); // whole sprite pixels stay sharp
    canvas.width = width * cell;
    canvas.height = height * cell;
    const pen = canvas.getContext("2d");
    const sprite = (number, x, y) => {
      const left = (number % columns) * size;
      const top = Math.floor(number / columns) * size;
      pen.drawImage(picture, left, top, size, size, x * cell, y * cell, cell, cell);
    };
    const clock = (ticks, x, y) => {
      pen.font = `bold ${Math.round(cell * 0.3)}px system-ui, sans-serif`;
      pen.textAlign = "center";
      pen.lineWidth = cell * 0.07;
      pen.strokeStyle = "#000";
      pen.fillStyle = "#fff";
      pen.strokeText(ticks, (x + 0.5) * cell, (y + 0.38) * cell);
      pen.fillText(ticks, (x + 0.5) * cell, (y + 0.38) * cell);
    };
    return ([, , players, objects]) => {
      pen.imageSmoothingEnabled = false;
      game.tiles.forEach((row, y) => row.forEach((number, x) => sprite(number, x, y)));
      for (const [x, y, chef, hat] of players) { sprite(chef, x, y); sprite(hat, x, y); }
      for (const [x, y, number] of objects) sprite(number, x, y);
      for (const [x, y, , left] of objects) if (left >= 0) clock(left, x, y);
    };
  }

  function control(figure, game, paint) {
    const part = (name) => figure.querySelector(`[data-part="${name}"]`);
    const last = game.ticks.length - 1;
    let tick = 0;
    let timer = null;

    const show = () => {
      const [score, acts] = game.ticks[tick];
      paint(game.ticks[tick]);
      part("time").value = tick;
      part("time").setAttribute("aria-valuetext", `tick ${tick} of ${last}, ${score} points`);
      part("status").textContent = `tick ${tick} of ${last} · ${score} points`;
      figure.querySelectorAll(".did").forEach((place, seat) => { place.textContent = acts ? ACTIONS[acts[seat]] : ""; });
    };
    const go = (to) => { tick = Math.min(Math.max(to, 0), last); show(); if (tick === last) stop(); };
    const stop = () => { clearInterval(timer); timer = null; part("play").textContent = "▶ Play"; };
    const start = () => {
      if (tick === last) go(0);
      clearInterval(timer);
      timer = setInterval(() => go(tick + 1), 1000 / Number(part("speed").value));
      part("play").textContent = "⏸ Pause";
    };
    const toggle = () => (timer === null ? start() : stop());
    const step = (by) => { stop(); go(tick + by); };

    part("play").addEventListener("click", toggle);
    figure.querySelector("canvas").addEventListener("click", toggle);
    part("back").addEventListener("click", () => step(-1));
    part("next").addEventListener("click", () => step(1));
    part("time").addEventListener("input", (event) => { stop(); go(Number(event.target.value)); });
    part("speed").addEventListener("change", () => { if (timer !== null) start(); });
    const keys = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => step(-last), End: () => step(last), " ": toggle };
    figure.addEventListener("keydown", (event) => {
      const busy = event.target.matches("select") || (event.key === " " && event.target.matches("button"));
      if (busy || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
    part("time").max = last;
    for (let i = 1; i <= last; i += 1) {
      if (game.ticks[i][0] === game.ticks[i - 1][0]) continue;
      const mark = document.createElement("i");
      mark.style.left = `${(100 * i) / last}%`;
      part("soups").append(mark);
    }
    show();
  }

  async function main() {
    const figures = document.querySelectorAll("[data-game]");
    if (!figures.length) return;
    const sheet = read("game-sprites");
    const games = read("game-states");
    const picture = await load(sheet.uri);
    for (const figure of figures) {
      const game = games[Number(figure.dataset.game)];
      control(figure, game, painter(figure.querySelector("canvas"), game, sheet, picture));
    }
  }

  main();
})();
