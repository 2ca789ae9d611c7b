"use strict";
// The page of results: a grid that holds only what is visible, and one large view. No library, no request but for the
// files beside the page.

const content = JSON.parse(document.getElementById("content").textContent);
const results = content.results;
const GAP = 12, CAPTION = 70, NARROWEST = 120;  // pixels
const SPEEDS = [0.1, 0.25, 0.5, 1, 2];
const $ = id => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function fill(select, values, chosen) {
  select.replaceChildren(...values.map(([value, label]) => element("option", { value }, label)));
  select.value = chosen;
}

function shown(value) {
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : String(value);
}

// ---- time: everything that plays follows a clock, so that all of it is in step

class Clock {
  constructor(playing) { this.base = 0; this.since = performance.now(); this.speed = 1; this.playing = playing; }
  now() { return this.base + (this.playing ? (performance.now() - this.since) / 1000 * this.speed : 0); }
  set(time) { this.base = time; this.since = performance.now(); }
  change(values) { this.set(this.now()); Object.assign(this, values); }
}

function follow(video, clock, tolerance) {
  // Videos of other lengths repeat, each from its own start, in the clock's time.
  const length = video.duration;
  if (!(length > 0)) return;
  const time = clock.now() % length, off = Math.abs(video.currentTime - time);
  if (Math.min(off, length - off) > tolerance && !video.seeking) video.currentTime = time;
  if (video.playbackRate !== clock.speed) video.playbackRate = clock.speed;
  if (clock.playing && video.paused) video.play().catch(() => {});  // a tab in the background may not play
  if (!clock.playing && !video.paused) video.pause();
}

function frameFile(result, frame) {
  return `${result.file}/${String(frame).padStart(6, "0")}.png`;
}

// ---- which results, in which order

const isNumber = value => typeof value === "number";
const names = [...new Set(results.flatMap(result => Object.keys(result.facts)))];
const numeric = new Set(names.filter(name => results.every(
  result => !(name in result.facts) || isNumber(result.facts[name]))));
const state = { filter: "", sort: "", order: "", size: 192, open: null };
let chosen = results.map((_, index) => index);

function orders(name) {
  if (!name) return [["", "as made"]];
  if (!numeric.has(name)) return [["up", "A to Z"], ["down", "Z to A"]];
  const better = content.better[name];
  if (better === "lower") return [["down", "worst first"], ["up", "best first"]];
  if (better === "like truth") return [["down", "worst first"], ["up", "best first"]];
  if (better === "higher") return [["up", "worst first"], ["down", "best first"]];
  return [["down", "largest first"], ["up", "smallest first"]];
}

const COMPARED = {
  "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "=": (a, b) => a === b,
};

function condition(term) {
  // A term is words that any name or fact contains, "fact: words", or "fact > number".
  const compared = term.match(/^(.*?)\s*(<=|>=|<|>|=)\s*(-?[\d.]+(?:e-?\d+)?)$/i);
  if (compared && names.includes(compared[1])) {
    const [, name, sign, number] = compared;
    return result => isNumber(result.facts[name]) && COMPARED[sign](result.facts[name], Number(number));
  }
  const told = term.match(/^([^:]+):\s*(.*)$/);
  if (told && names.includes(told[1])) {
    const words = told[2].toLowerCase();
    return result => told[1] in result.facts && String(result.facts[told[1]]).toLowerCase().includes(words);
  }
  if (compared && compared[1]) return null;
  const words = term.toLowerCase();
  return result => result.name.toLowerCase().includes(words) || Object.entries(result.facts).some(
    ([name, value]) => `${name}: ${shown(value)}`.toLowerCase().includes(words));
}

function sortedBy(facts, name) {
  if (content.better[name] !== "like truth" || !(name in facts)) return facts[name];
  return Math.abs(facts[name] - (facts[`${name}.truth`] ?? 0));
}

function choose() {
  const terms = state.filter.split(",").map(term => term.trim()).filter(Boolean);
  const conditions = terms.map(condition), unknown = terms.filter((_, index) => !conditions[index]);
  chosen = results.map((_, index) => index).filter(index => conditions.every(test => !test || test(results[index])));
  const { sort, order } = state, sign = order === "down" ? -1 : 1;
  if (sort) {
    const value = index => sort === "name" ? results[index].name : sortedBy(results[index].facts, sort);
    const compare = numeric.has(sort) ? (a, b) => a - b
      : (a, b) => String(a).localeCompare(String(b), undefined, { numeric: true });
    chosen.sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      if (one === undefined || other === undefined) return (one === undefined) - (other === undefined);
      return sign * compare(one, other) || a - b;
    });
  }
  const all = chosen.length === results.length ? `${results.length} results` : `${chosen.length} of ${results.length}`;
  $("count").textContent = unknown.length ? `${all}; no fact called ${unknown.join(", ")}` : all;
  arrange();
}

// ---- the grid: rows are laid out in numbers, cards exist where they are seen

const motionUnwanted = matchMedia("(prefers-reduced-motion: reduce)").matches;
const gridClock = new Clock(!motionUnwanted);
const grid = $("grid");
const cards = new Map();  // index -> { item, picture, video }
let rows = [];  // { top, items: [{ index, place, left, width }] }

function arrange() {
  const width = grid.clientWidth, height = state.size + CAPTION;
  rows = [];
  let row = null, left = 0;
  for (const [place, index] of chosen.entries()) {
    const { width: w, height: h } = results[index];
    const wide = Math.min(width, Math.max(NARROWEST, Math.round(state.size * w / h) + 2));
    if (!row || left + wide > width) {
      row = { top: rows.length * (height + GAP), items: [] };
      rows.push(row);
      left = 0;
    }
    row.items.push({ index, place, left, width: wide });
    left += wide + GAP;
  }
  grid.style.height = `${rows.length * (height + GAP)}px`;
  draw();
}

function visibleRows(margin) {
  const top = -grid.getBoundingClientRect().top - margin, step = state.size + CAPTION + GAP;
  const first = Math.max(0, Math.floor(top / step));
  return rows.slice(first, Math.max(first, Math.ceil((top + innerHeight + 2 * margin) / step)));
}

function draw() {
  const wanted = visibleRows(innerHeight / 2).flatMap(row => row.items.map(one => ({ ...one, top: row.top })));
  const kept = new Set(wanted.map(one => one.index));
  const focused = document.activeElement?.closest?.("#grid li");
  for (const [index, card] of cards) {
    if (kept.has(index) || (card.item === focused && chosen.includes(index))) continue;
    stop(card);
    card.item.remove();
    cards.delete(index);
  }
  let before = null;
  for (const { index, place, left, top, width } of wanted) {
    const card = cards.get(index) ?? newCard(index);
    Object.assign(card.item.style, {
      left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${state.size + CAPTION}px` });
    card.item.setAttribute("aria-posinset", place + 1);
    card.item.setAttribute("aria-setsize", chosen.length);
    caption(card, index);
    const next = before ? before.nextSibling : grid.firstChild;
    if (next !== card.item) grid.insertBefore(card.item, next);
    before = card.item;
  }
  clearTimeout(draw.later);
  draw.later = setTimeout(playVisible, 120);  // once the scrolling pauses
}

function newCard(index) {
  const result = results[index];
  const picture = element("span", { class: "picture" }), told = element("span", { class: "caption" });
  const button = element("button", { type: "button", class: "card" }, picture, told);
  const still = result.poster ?? (result.kind === "frames" ? frameFile(result, 0) : result.kind === "image" && result.file);
  if (still) picture.append(element("img", { src: still, alt: "", decoding: "async" }));
  const card = { item: element("li", {}, button), picture, told, video: null };
  button.onclick = () => openLarge(index);
  if (result.kind === "frames") {  // a file per frame: too many to play all that is visible
    button.onpointerenter = () => { card.animated = true; };
    button.onpointerleave = () => { card.animated = false; };
  }
  cards.set(index, card);
  return card;
}

function caption(card, index) {
  const { name, facts } = results[index];
  const first = [state.sort, ...Object.keys(content.better)].filter((key, place, all) =>
    key in facts && all.indexOf(key) === place);
  const line = first.slice(0, 2).map(key => `${key} ${shown(facts[key])}`).join(", ");
  const lines = [element("span", { title: name }, name)];
  if (line) lines.push(element("span", { class: "told" }, line));
  if (facts.damaged) lines.push(element("span", { class: "damaged" }, "damaged"));
  card.told.replaceChildren(...lines);
}

function playVisible() {
  const seen = new Set($("large").open ? [] : visibleRows(0).flatMap(row => row.items.map(one => one.index)));
  for (const [index, card] of cards) {
    if (seen.has(index) && gridClock.playing) start(card, results[index]);
    else if (!seen.has(index)) stop(card);
  }
}

function start(card, result) {
  if (card.video || result.kind !== "video") return;
  const video = element("video", { src: result.file, loop: "", playsinline: "", preload: "auto", tabindex: "-1" });
  video.muted = true;
  video.style.opacity = 0;  // until a frame is there: no flash between poster and video
  video.onloadeddata = () => { video.style.opacity = 1; follow(video, gridClock, 0.1); };
  card.video = video;
  card.picture.append(video);
}

function stop(card) {
  if (!card.video) return;
  // A video that is merely removed keeps its decoder until the garbage is collected.
  card.video.pause();
  card.video.removeAttribute("src");
  card.video.load();
  card.video.remove();
  card.video = null;
}

function tickGrid() {
  for (const [index, card] of cards) {
    if (card.video) follow(card.video, gridClock, gridClock.playing ? 0.12 : 0.01);
    const result = results[index];
    if (card.animated && gridClock.playing) {
      const frame = Math.floor(gridClock.now() * (result.rate ?? 25)) % (result.frames ?? 1);
      card.picture.firstChild.src = frameFile(result, frame);
    }
  }
}

function togglePlay(clock, button) {
  clock.change({ playing: !clock.playing });
  nameButton(clock, button);
}

function nameButton(clock, button) {
  button.textContent = clock.playing ? "pause" : "play";
}

// ---- the large view

const LAYOUTS = { beside: "side by side", wipe: "wipe", result: "the result alone" };
const largeClock = new Clock(true);
const dialog = $("large");
let view = null;  // what is shown: { index, frames, rate, panels, curves }

class VideoPanel {
  constructor(file) {
    this.node = element("video", { src: file, loop: "", playsinline: "", preload: "auto" });
    this.node.muted = true;
    this.node.onloadedmetadata = () => fitStage();
  }
  follow(clock, rate) { follow(this.node, clock, clock.playing ? 1.5 / rate : 0.2 / rate); }
  end() { this.node.pause(); this.node.removeAttribute("src"); this.node.load(); }
}

class FramesPanel {
  constructor(result) {
    this.result = result;
    this.node = element("img", { alt: "", src: frameFile(result, 0) });
    this.ahead = [];
  }
  follow(clock, rate) {
    const count = this.result.frames ?? 1, frame = Math.floor(clock.now() * rate + 1e-3) % count;
    if (frame === this.frame) return;
    this.frame = frame;
    this.node.src = frameFile(this.result, frame);
    // The next frames are read before they are due.
    this.ahead = [1, 2, 3, 4].map(more => {
      const image = new Image();
      image.src = frameFile(this.result, (frame + more) % count);
      return image;
    });
  }
  end() { this.ahead = []; }
}

class ImagePanel {
  constructor(file) { this.node = element("img", { src: file, alt: "" }); this.node.onload = () => fitStage(); }
  follow() {}
  end() {}
}

function panelOf(result) {
  if (result.kind === "video") return new VideoPanel(result.file);
  return result.kind === "frames" ? new FramesPanel(result) : new ImagePanel(result.file);
}

function openLarge(index) {
  closeView();
  const result = results[index];
  view = { index, result, rate: result.rate ?? 25, frames: result.frames ?? 1, curves: [], panels: {} };
  if (result.kind === "file") view.panels.result = { node: element("a", { href: result.file }, "open the file"), follow() {}, end() {} };
  else view.panels.result = panelOf(result);
  if (result.truth) view.panels.truth = new VideoPanel(result.truth);
  if (result.shown_source) view.panels.source = new ImagePanel(result.shown_source);
  if (result.beside) view.panels.beside = /\.(mp4|m4v|mov|mkv|webm)$/.test(result.beside)
    ? new VideoPanel(result.beside) : new ImagePanel(result.beside);
  $("large-name").textContent = result.name;
  const place = chosen.indexOf(index);
  $("large-number").textContent = `${place + 1} of ${chosen.length}`;
  $("before").disabled = place <= 0;
  $("after").disabled = place >= chosen.length - 1;
  $("seek").max = Math.max(0, view.frames - 1);
  $("transport").hidden = result.kind === "image" || result.kind === "file";
  $("layout-label").hidden = !result.truth;
  largeClock.set(0);
  tellFacts(result);
  buildStage();
  loadCurves(result);
  if (!dialog.open) dialog.showModal();
  playVisible();
  state.open = result.name;
  remember();
}

function tellFacts(result) {
  const rows = Object.entries(result.facts).flatMap(([name, value]) => [
    element("dt", {}, name), element("dd", name === "damaged" ? { class: "damaged" } : {}, shown(value))]);
  if (result.made !== undefined) {
    const link = element("a", { href: `#made${result.made}` }, "what made it");
    link.onclick = event => { event.preventDefault(); closeLarge(); showMaker(result.made); };
    rows.push(element("dt", {}, "made by"), element("dd", {}, link));
  }
  $("large-facts").replaceChildren(...rows);
}

function showMaker(number) {
  const told = $(`made${number}`);
  told.open = true;
  told.scrollIntoView();
  told.querySelector("summary").focus();
}

function buildStage() {
  const { panels, result } = view, layout = result.truth ? $("layout").value : "beside";
  const figures = [];
  const add = (label, ...nodes) => figures.push(
    element("figure", {}, element("div", { class: "shown" }, ...nodes), element("figcaption", {}, label)));
  if (layout === "wipe") {
    const edge = element("div", { class: "edge" });
    panels.result.node.classList.add("over");
    add("left: truth, right: result", panels.truth.node, panels.result.node, edge);
    dragWipe(figures[0].firstChild);
  } else {
    panels.result.node.classList.remove("over");
    if (layout === "beside" && panels.source) add("source", panels.source.node);
    if (layout === "beside" && panels.truth) add("truth", panels.truth.node);
    add("result", panels.result.node);
    if (layout === "beside" && panels.beside) add("beside it", panels.beside.node);
  }
  $("wipe-label").hidden = layout !== "wipe";
  $("stage").replaceChildren(...figures);
  wipe();
  fitStage();
}

function naturalSize(node) {
  const width = node.videoWidth || node.naturalWidth, height = node.videoHeight || node.naturalHeight;
  return width && height ? [width, height] : null;
}

function fitStage() {
  if (!view) return;
  const stage = $("stage"), all = [...stage.querySelectorAll(".shown")];
  const sizes = all.map(one => naturalSize(one.lastElementChild.className === "edge"
    ? one.children[1] : one.lastElementChild) ?? [view.result.width, view.result.height]);
  const across = innerWidth > 720;
  const ratios = sizes.map(([width, height]) => width / height);
  const total = across ? ratios.reduce((sum, ratio) => sum + ratio, 0) : Math.max(...ratios);
  const room = stage.clientWidth - (across ? 10 * (all.length - 1) : 0);
  const height = Math.floor(Math.max(96, Math.min(innerHeight * 0.58, room / total)));
  all.forEach((one, place) => Object.assign(one.style, {
    height: `${height}px`, width: `${Math.round(height * ratios[place])}px` }));
}

function dragWipe(area) {
  const move = event => {
    const box = area.getBoundingClientRect();
    $("wipe").value = 100 * (event.clientX - box.left) / box.width;
    wipe();
  };
  area.onpointerdown = event => { area.setPointerCapture(event.pointerId); move(event); };
  area.onpointermove = event => { if (event.buttons) move(event); };
}

function wipe() {
  const node = view.panels.result.node, part = $("wipe").value, wiped = node.classList.contains("over");
  node.style.clipPath = wiped ? `inset(0 0 0 ${part}%)` : "";
  const edge = $("stage").querySelector(".edge");
  if (edge) edge.style.left = `${part}%`;
}

function frameNow() {
  return Math.floor(largeClock.now() * view.rate + 1e-3) % view.frames;
}

function seekFrame(frame) {
  largeClock.change({ playing: false });
  // The middle of a frame's time: a time on its edge may show its neighbour.
  largeClock.set((Math.max(0, Math.min(view.frames - 1, frame)) + 0.5) / view.rate);
  nameButton(largeClock, $("large-play"));
  tickLarge();
}

function tickLarge() {
  if (!view) return;
  const { panels } = view, master = panels.result.node;
  if (largeClock.playing && master.duration > 0 && !master.seeking && !master.paused && master.readyState > 2) {
    largeClock.set(master.currentTime);  // what the others and the curves follow is the frame that is seen
  }
  for (const panel of Object.values(panels)) panel.follow(largeClock, view.rate);
  const frame = frameNow();
  if (frame === view.told) return;
  view.told = frame;
  $("seek").value = frame;
  $("frame").textContent = `frame ${frame} of ${view.frames}`;
  for (const tell of view.curves) tell(frame);
}

// ---- metrics of the frames

function showCurves(columns) {  // called by the scripts of .page/curves
  // The script of a result that was left before it was loaded runs nevertheless.
  if (!view || document.currentScript?.isConnected === false) return;
  view.told = undefined;
  const curves = Object.entries(columns).map(([name, values]) => curve(name, values));
  $("curves").replaceChildren(...curves.map(one => one.node));
  view.curves = curves.map(one => one.tell);
}

function loadCurves(result) {
  $("curves").replaceChildren();
  document.getElementById("curves-script")?.remove();
  if (result.curves) document.body.append(element("script", { id: "curves-script", src: result.curves }));
}

function curve(name, values) {
  const known = values.filter(value => value !== null), low = Math.min(...known), high = Math.max(...known);
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length, last = Math.max(1, values.length - 1);
  const height = value => 97 - 94 * (value - low) / (high - low || 1);
  let path = "";
  values.forEach((value, place) => {
    if (value !== null) path += `${place && values[place - 1] !== null ? "L" : "M"}${place} ${height(value).toFixed(2)}`;
  });
  const plot = element("div", { class: "plot" });
  plot.innerHTML = `<svg viewBox="0 0 ${last} 100" preserveAspectRatio="none" role="img"><path d="${path}"/></svg>`;
  plot.firstChild.setAttribute("aria-label", `${name}: ${shown(low)} to ${shown(high)}, mean ${shown(mean)}`);
  const head = element("div", { class: "head" }), now = element("output");
  plot.append(head);
  const better = content.better[name], worst = values.indexOf(better === "higher" ? low : high);
  const toWorst = element("button", { type: "button" }, better ? "worst frame" : "highest");
  toWorst.onclick = () => seekFrame(worst);
  plot.onpointerdown = event => {
    const box = plot.getBoundingClientRect();
    seekFrame(Math.round((event.clientX - box.left) / box.width * last));
  };
  return {
    node: element("div", { class: "curve" },
      element("span", {}, name, " ", toWorst), plot, element("span", {}, now, ` (mean ${shown(mean)})`)),
    tell: frame => {
      head.style.left = `${100 * frame / last}%`;
      now.textContent = values[frame] === null || values[frame] === undefined ? "none" : shown(values[frame]);
    },
  };
}

function closeView() {
  for (const panel of Object.values(view?.panels ?? {})) panel.end();
  view = null;
}

function closeLarge() {
  const index = view?.index;
  closeView();
  $("stage").replaceChildren();
  if (dialog.open) dialog.close();
  state.open = null;
  remember();
  if (index !== undefined) showCard(index);
}

function showCard(index) {
  const step = state.size + CAPTION + GAP, place = rows.findIndex(row => row.items.some(one => one.index === index));
  if (place < 0) return;
  const box = grid.getBoundingClientRect(), bar = $("tools").offsetHeight, top = box.top + place * step;
  if (top < bar || top + step > innerHeight) scrollBy(0, top - bar - GAP);
  draw();
  cards.get(index)?.item.firstChild.focus({ preventScroll: true });
}

function go(places) {
  const place = chosen.indexOf(view.index) + places;
  if (place >= 0 && place < chosen.length) openLarge(chosen[place]);
}

function nextLayout() {
  const select = $("layout");
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  buildStage();
}

const KEYS = {
  ArrowLeft: () => go(-1), ArrowRight: () => go(1), ",": () => seekFrame(frameNow() - 1), ".": () => seekFrame(frameNow() + 1),
  Home: () => seekFrame(0), End: () => seekFrame(view.frames - 1), " ": () => $("large-play").click(), w: nextLayout,
};

// ---- what the address keeps, and what the tools do

function remember() {
  const kept = Object.entries({ ...state, size: state.size === 192 ? "" : state.size }).filter(([name, value]) => value || (name === "sort" && content.order));
  history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  state.filter = kept.get("filter") ?? "";
  const sort = kept.get("sort") ?? content.order;  // empty: the order of the command
  state.sort = names.includes(sort) || sort === "name" ? sort : "";
  state.size = Math.min(768, Math.max(64, Number(kept.get("size")) || 192));
  $("filter").value = state.filter;
  $("size").value = state.size;
  fill($("sort"), [["", "order of the command"], ["name", "name"], ...names.map(name => [name, name])], state.sort);
  setOrders(kept.get("order"));
  return results.findIndex(result => result.name === kept.get("open"));
}

function setOrders(order) {
  const known = orders(state.sort);
  state.order = known.some(([value]) => value === order) ? order : known[0][0];
  fill($("order"), known, state.order);
}

function setSize() {
  document.documentElement.style.setProperty("--height", `${state.size}px`);
  document.documentElement.style.setProperty("--caption", `${CAPTION - 2}px`);
}

function connectTools() {
  const changed = () => { choose(); remember(); };
  $("filter").oninput = event => { state.filter = event.target.value; changed(); };
  $("sort").onchange = event => { state.sort = event.target.value; setOrders(null); changed(); };
  $("order").onchange = event => { state.order = event.target.value; changed(); };
  $("size").oninput = event => { state.size = Number(event.target.value); setSize(); arrange(); remember(); };
  $("play").onclick = () => { togglePlay(gridClock, $("play")); playVisible(); tickGrid(); };
  for (const [select, clock] of [[$("speed"), gridClock], [$("large-speed"), largeClock]]) {
    fill(select, SPEEDS.map(speed => [speed, `${speed} ×`]), 1);
    select.onchange = () => clock.change({ speed: Number(select.value) });
  }
  $("known").replaceChildren(...names.map(name => element("option", { value: numeric.has(name) ? `${name} > ` : `${name}: ` })));
  nameButton(gridClock, $("play"));
}

function connectLarge() {
  fill($("layout"), Object.entries(LAYOUTS), "beside");
  nameButton(largeClock, $("large-play"));
  $("before").onclick = () => go(-1);
  $("after").onclick = () => go(1);
  $("close").onclick = closeLarge;
  $("large-play").onclick = () => { togglePlay(largeClock, $("large-play")); tickLarge(); };
  $("step-back").onclick = KEYS[","];
  $("step-on").onclick = KEYS["."];
  $("seek").oninput = event => seekFrame(Number(event.target.value));
  $("layout").onchange = buildStage;
  $("wipe").oninput = wipe;
  dialog.oncancel = event => { event.preventDefault(); closeLarge(); };
  dialog.onkeydown = event => {
    // Sliders and lists keep the keys that they need; a button keeps the space.
    const own = event.target.matches("input, select") || (event.key === " " && event.target.matches("button"));
    if (own || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  };
}

function tick() {
  if (!document.hidden) view ? tickLarge() : tickGrid();
  requestAnimationFrame(tick);
}

connectTools();
connectLarge();
const opened = recall();
setSize();
choose();
addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
addEventListener("resize", () => { arrange(); fitStage(); });
if (opened >= 0) openLarge(opened);
tick();
