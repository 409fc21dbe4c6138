(function () {
  "use strict";
  document.documentElement.classList.add("scripted");
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));

  // Exclusive views: a group of radio buttons shows the block that carries its value.
  function show(name, attribute) {
    const radios = all('input[name="' + name + '"]');
    const update = () => {
      const chosen = radios.find((radio) => radio.checked);
      all("[" + attribute + "]").forEach((block) => {
        block.hidden = Boolean(chosen) && block.getAttribute(attribute) !== chosen.value;
      });
    };
    radios.forEach((radio) => radio.addEventListener("change", update));
    if (radios.length) update();
  }
  show("normalisation", "data-normalisation");

  all('input[name="maps"]').forEach((radio) =>
    radio.addEventListener("change", () =>
      document.getElementById("gallery").classList.toggle("maps-alone", radio.value === "alone")));

  // Tooltips: text only, never markup.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest && event.target.closest("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.getAttribute("data-tip");
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = (event.clientY + 18 + box.height > innerHeight
      ? event.clientY - box.height - 10 : event.clientY + 18) + "px";
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

  // Sorting: every header button sorts by the cells' data-sort, as numbers where they are numbers.
  function sortBy(header) {
    const table = header.closest("table");
    const column = Array.from(header.parentNode.children).indexOf(header);
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const numeric = header.hasAttribute("data-numeric");
    const key = (row) => {
      const text = row.children[column].dataset.sort || "";
      return numeric ? Number(text) : text;
    };
    const body = table.tBodies[0];
    const rows = Array.from(body.rows).map((row) => [key(row), row]);
    const order = (a, b) => numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
    rows.sort((a, b) => (ascending ? 1 : -1) * order(a[0], b[0]));
    body.append(...rows.map((pair) => pair[1]));
  }
  all("th button").forEach((button) =>
    button.addEventListener("click", () => sortBy(button.closest("th"))));

  // Filtering: rows and samples carry the text to search and the facts to filter by.
  function filter(root) {
    const items = all("[data-search]", root);
    const search = root.querySelector("input[type=search]");
    const choice = root.querySelector("select");
    const enough = root.querySelector("input[type=checkbox]");
    const count = root.querySelector("[role=status]");
    const update = () => {
      const words = search.value.toLowerCase().trim();
      let shown = 0;
      items.forEach((item) => {
        const visible = item.dataset.search.toLowerCase().includes(words) &&
          (!choice || !choice.value || item.dataset.outcome === choice.value) &&
          (!enough || !enough.checked || !item.hasAttribute("data-few"));
        item.hidden = !visible;
        shown += visible;
      });
      count.textContent = shown + " of " + items.length + " shown";
    };
    [search, choice, enough].forEach((control) => control && control.addEventListener("input", update));
    update();
  }
  all("[data-filter]").forEach(filter);

  // Volumes: one slider moves every sheet of slices in its sample.
  all("[data-slices]").forEach((viewer) => {
    const slider = viewer.querySelector("input[type=range]");
    const names = viewer.dataset.slices.split("|");
    const columns = Number(viewer.dataset.columns), rows = Number(viewer.dataset.rows);
    const percent = (index, count) => (count > 1 ? 100 * index / (count - 1) : 0) + "%";
    slider.addEventListener("input", () => {
      const slice = Number(slider.value);
      viewer.style.setProperty("--x", percent(slice % columns, columns));
      viewer.style.setProperty("--y", percent(Math.floor(slice / columns), rows));
      viewer.querySelector("output").textContent = names[slice];
      slider.setAttribute("aria-valuetext", names[slice]);
    });
  });

  // Closed samples would be missing on paper.
  window.addEventListener("beforeprint", () => all("details.sample").forEach((item) => { item.open = true; }));
})();
