// Tables: a caption for who cannot see the heading above, numbers to the right, a name for each cell on a phone.

import { h } from "../dom.js";

/**
 * `columns`: `{ head, cell(row), number?, wide? }`. `key(row)` says who a row is. The first column names the row.
 * `empty` stands there when there are no rows.
 */
export function table({ caption, columns, rows, key, empty }) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const classes = (column) => [column.number && "number", column.wide && "wide", column.tail && "tail"]
    .filter(Boolean).join(" ") || null;
  const head = columns.map((column) => h("th", { scope: "col", class: classes(column) }, column.head));
  const line = (row) => h("tr", { key: key(row) }, columns.map((column, at) =>
    h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : null, class: classes(column), "data-head": column.head },
      column.cell(row))));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, rows.map(line))));
}
