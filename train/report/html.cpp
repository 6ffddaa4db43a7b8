#include "train/report/html.h"

#include <fmt/format.h>

#include "core/error.h"
#include "train/report/charts.h"

namespace wt {
namespace {

// The page's own parts have no class that Svg::sheet() strokes (grid, axis): the words of pictures inside would inherit
// it. Neither this nor the script holds <, > or &: they would have to be written differently in HTML and in XML.
constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1f2328; --soft: #656d76; --edge: #d8dee4;
  --panel: #f6f8fa; --good: #1a7f37; --bad: #cf222e; --note: #fff8c5; --note-edge: #d4a72c; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3; --soft: #9198a1; --edge: #30363d;
  --panel: #161b22; --good: #3fb950; --bad: #f85149; --note: #272115; --note-edge: #9e6a03; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 0 20px 40px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 Inter, "Helvetica Neue", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 28px 0 4px; } h2 { font-size: 20px; margin: 36px 0 12px; }
h3 { font-size: 15px; margin: 22px 0 8px; } p { margin: 6px 0; }
td, th, pre, li, .run, h1, summary { unicode-bidi: isolate; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.legend { position: sticky; top: 0; z-index: 1; background: var(--ground); border-bottom: 1px solid var(--edge);
  padding: 8px 0; display: flex; flex-wrap: wrap; gap: 4px 20px; }
.run { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; max-width: 100%; }
.key { width: 24px; height: 8px; margin-right: 7px; vertical-align: middle; }
.notes { background: var(--note); border-left: 4px solid var(--note-edge); margin: 14px 0; padding: 8px 14px; }
.notes ul { margin: 0; padding-left: 20px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 8px 24px; }
.curves input { margin: 0 4px 0 12px; } .curves .over { display: none; }
#axis-steps:checked ~ .over-steps, #axis-tokens:checked ~ .over-tokens, #axis-hours:checked ~ .over-hours { display: grid; }
figure { margin: 0; overflow-x: auto; break-inside: avoid; }
figure svg { display: block; height: auto; max-width: 100%; min-width: 340px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 8px 0; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { border-bottom: 1px solid var(--edge); padding: 5px 10px; text-align: left; vertical-align: top; }
td.named { min-width: 9em; }
th { background: var(--panel); white-space: nowrap; } th.n, td.n { text-align: right; white-space: nowrap; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid currentColor; }
th[aria-sort="ascending"] button::after { content: " \2191"; } th[aria-sort="descending"] button::after { content: " \2193"; }
td.right { color: var(--good); } td.wrong { color: var(--bad); }
pre { background: var(--panel); padding: 12px; overflow-x: auto; font-size: 12.5px; line-height: 1.4; }
summary { cursor: pointer; padding: 4px 0; }
@media (max-width: 560px) { body { padding: 0 12px 24px; } h1 { font-size: 22px; } th, td { padding: 4px 7px; } }
)";

// Behind the sheet of the charts, which it overrides on paper.
constexpr const char* kPrintStyle = R"(
@media print {
  :root { color-scheme: light; --ground: #ffffff; --ink: #000000; --soft: #444444; --edge: #bbbbbb; --panel: #f4f4f4;
    --good: #116329; --bad: #a40e26; --note: #ffffff; --note-edge: #888888; }
  svg .bg { fill: #ffffff; } svg .ink { fill: #000000; } svg .soft { fill: #444444; } svg .hole { fill: #eeeeee; }
  svg .grid { stroke: #dddddd; } svg .axis { stroke: #999999; }
  body { max-width: none; padding: 0; font-size: 11pt; } .legend { position: static; }
  .charts { grid-template-columns: 1fr 1fr; } figure svg { min-width: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3 { break-after: avoid; } tr { break-inside: avoid; } pre { white-space: pre-wrap; }
}
)";

constexpr const char* kScript = R"(
document.querySelectorAll("table").forEach(function (table) {
  var heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach(function (head, column) {
    var button = document.createElement("button");
    button.type = "button";
    button.title = "sort by this column";
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", function () {
      var rising = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      var rows = Array.from(table.tBodies[0].rows);
      rows.sort(function (a, b) {
        var x = a.cells[column], y = b.cells[column];
        var order = x.dataset.key !== undefined ? Number(x.dataset.key) - Number(y.dataset.key)
                                                : x.textContent.localeCompare(y.textContent, "en", {numeric: true});
        return rising ? order : -order;
      });
      rows.forEach(function (row) { table.tBodies[0].appendChild(row); });
    });
  });
});
window.addEventListener("beforeprint", function () {
  document.querySelectorAll("details").forEach(function (part) { part.open = true; });
});
)";

}  // namespace

HtmlCell text_cell(const std::string& text) {
  HtmlCell cell;
  cell.text = text;
  return cell;
}

HtmlCell number_cell(const std::string& text, double value) {
  HtmlCell cell;
  cell.text = text;
  cell.sort_key = fmt::format("{}", value);
  return cell;
}

std::string html_escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of("\n\t");
    out += xml_escaped(text.substr(0, end));
    if (end == std::string_view::npos) break;
    out += text[end];
    text.remove_prefix(end + 1);
  }
  return out;
}

HtmlTable::HtmlTable(std::vector<std::string> columns, std::size_t first_number)
    : columns_(std::move(columns)), first_number_(first_number) {}

void HtmlTable::add_row(std::vector<HtmlCell> cells) {
  WT_CHECK(cells.size() == columns_.size(), "table: ", cells.size(), " cells for ", columns_.size(), " columns");
  rows_.push_back(std::move(cells));
}

std::string HtmlTable::str() const {
  std::string out = "<div class=\"wide\"><table><thead><tr>";
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    out += fmt::format("<th{}>{}</th>", i >= first_number_ ? " class=\"n\"" : "", html_escaped(columns_[i]));
  }
  out += "</tr></thead><tbody>\n";
  for (const std::vector<HtmlCell>& row : rows_) {
    out += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      const HtmlCell& cell = row[i];
      out += "<td";
      if (i >= first_number_) {
        out += " class=\"n\"";
      } else if (!cell.before.empty()) {
        out += " class=\"named\"";
      }
      if (!cell.sort_key.empty()) out += fmt::format(" data-key=\"{}\"", html_escaped(cell.sort_key));
      if (!cell.style.empty()) out += fmt::format(" style=\"{}\"", html_escaped(cell.style));
      if (!cell.tooltip.empty()) out += fmt::format(" title=\"{}\"", html_escaped(cell.tooltip));
      out += ">" + cell.before + html_escaped(cell.text) + "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string html_page(const std::string& title, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
         "script-src 'unsafe-inline'\"/>\n<title>" +
         html_escaped(title) + "</title>\n<style>" + kStyle + Svg::sheet() + kPrintStyle +
         "</style>\n</head>\n<body>\n" + body + "<script>" + kScript + "</script>\n</body>\n</html>\n";
}

}  // namespace wt
