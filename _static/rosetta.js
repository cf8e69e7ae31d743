// The table of all differences: show one topic's rows, or those with some words.
document.addEventListener("DOMContentLoaded", () => {
  const rows = [...document.querySelectorAll(".all-differences tbody tr")];
  if (!rows.length) return;
  const topics = [...new Set(rows.map((row) => row.querySelector("em").textContent))];
  const form = document.createElement("form");
  form.innerHTML = `<label>Topic <select name="topic"><option value="">all</option>${topics
    .map((topic) => `<option>${topic}</option>`).join("")}</select></label>
    <label>Words <input name="words" type="search" placeholder="Adam, padding …"></label><output></output>`;
  const show = () => {
    const words = form.words.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const own = !form.topic.value || row.querySelector("em").textContent === form.topic.value;
      row.hidden = !own || words.some((word) => !row.textContent.toLowerCase().includes(word));
    }
    form.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".all-differences").prepend(form);
  show();
});
