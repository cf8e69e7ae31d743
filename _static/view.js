// One switch a page: the three frameworks in tabs, or abreast. The choice is
// remembered, and `?view=columns` in an address sets it. Tabs themselves,
// their synchronisation and their memory are sphinx-design's.
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
  const asked = new URLSearchParams(location.search).get("view");
  const known = (view) => (view === "columns" || view === "tabs" ? view : null);
  // Set before the page is drawn, so that nothing jumps; where this script
  // does not run, the style sheet shows the three below each other.
  root.dataset.view = stored(known(asked)) === "columns" ? "columns" : "tabs";

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
    button.addEventListener("click", () => {
      // The reader's place must not move when the page is laid out anew.
      const article = document.querySelector(".bd-article");
      const seen = [...article.querySelectorAll("h1, h2, h3, p, .three-ways")]
        .find((e) => e.getBoundingClientRect().top >= 0);
      const top = seen?.getBoundingClientRect().top;
      show(root.dataset.view === "columns" ? "tabs" : "columns");
      stored(root.dataset.view);
      if (seen) scrollBy({ top: seen.getBoundingClientRect().top - top, behavior: "instant" });
    });
    place.prepend(button);
  });
})();
