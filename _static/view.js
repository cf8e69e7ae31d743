// One switch a page: the three frameworks in tabs, or abreast. The choice is
// remembered and stands in the address, with that of the framework, so that a
// link shows what its sender saw. Tabs themselves, their synchronisation and
// their memory are sphinx-design's.
(() => {
  const root = document.documentElement;
  const key = "three-ways-view";
  const stored = (value) => {
    try {
      if (value) localStorage.setItem(key, value);
      return localStorage.getItem(key);
    } catch {
      return value; // Storage is blocked: the choice lasts as long as the page.
    }
  };
  const address = (name, value) => {
    const url = new URL(location.href);
    url.searchParams.set(name, value);
    try {
      history.replaceState(history.state, "", url);
    } catch {
      // A page opened as a file may not change its address.
    }
  };
  const asked = new URLSearchParams(location.search).get("view");
  const known = (view) => (view === "columns" || view === "tabs" ? view : null);
  // Set before the page is drawn, so that nothing jumps; where this script
  // does not run, the style sheet shows the three below each other.
  // The landing page shows off the columns whatever was chosen.
  const landing = /\/chapters\/(index\.html)?$/.test(location.pathname);
  const chosen = known(asked) ?? (landing ? "columns" : known(stored()));
  root.dataset.view = chosen ?? "tabs";
  if (known(asked)) stored(asked);

  // A formula that is wider than its page can be scrolled by keyboard.
  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    for (const formula of document.querySelectorAll("mjx-container[display]")) {
      if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
    }
  });

  document.addEventListener("DOMContentLoaded", () => {
    const place = document.querySelector(".header-article-items__end .article-header-buttons");
    if (!place || !document.querySelector(".three-ways")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm view-switch";
    button.textContent = "Side by side";
    button.title = "Show NumPy, TensorFlow and PyTorch in three columns";
    const show = (view) => {
      root.dataset.view = view;
      button.setAttribute("aria-pressed", String(view === "columns"));
    };
    show(root.dataset.view);
    if (chosen && !landing) address("view", chosen);
    const tabs = [...document.querySelectorAll(".three-ways > input")];
    const way = (input) => input.nextElementSibling.dataset.syncId;
    const first = tabs.find((tab) => tab.checked);
    if (first && first !== first.parentElement.firstElementChild) address("framework", way(first));
    for (const tab of tabs) tab.addEventListener("change", () => address("framework", way(tab)));
    button.addEventListener("click", () => {
      // The reader's place must not move when the page is laid out anew.
      const article = document.querySelector(".bd-article");
      const seen = [...article.querySelectorAll("h1, h2, h3, p, .three-ways")]
        .find((e) => e.getBoundingClientRect().top >= 0);
      const top = seen?.getBoundingClientRect().top;
      show(root.dataset.view === "columns" ? "tabs" : "columns");
      stored(root.dataset.view);
      address("view", root.dataset.view);
      if (seen) scrollBy({ top: seen.getBoundingClientRect().top - top, behavior: "instant" });
    });
    place.prepend(button);
  });
})();
