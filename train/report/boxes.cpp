// Distributions: charts.h's box_statistics() and box_plot_svg().
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/error.h"
#include "train/report/charts.h"

namespace wt {
namespace {

constexpr double kMargin = 28, kAxisWidth = 62, kGap = 22;
constexpr double kPlotHeight = 270, kAbove = 30, kBelow = 62;  // of a panel: heading; names and counts
constexpr double kNarrowest = 82, kWidestRow = 1060;
constexpr double kWidestFont = 1.12;  // fonts are up to this much wider than text_width() says
constexpr double kLargest = 1e30;     // beyond it differences are not finite any more

double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const double rest = at - static_cast<double>(below);
  return rest == 0 ? sorted[below] : sorted[below] + rest * (sorted[below + 1] - sorted[below]);
}

struct Span {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(const BoxStatistics& box) {
    low = std::min(low, box.outliers.empty() ? box.low : std::min(box.low, box.outliers.front()));
    high = std::max(high, box.outliers.empty() ? box.high : std::max(box.high, box.outliers.back()));
  }
  // Room around the values, so that nothing lies on the frame and the ends differ.
  Span with_room() const {
    if (low > high) return {0, 1};
    const double room = high > low ? 0.05 * (high - low) : std::max(0.1 * std::abs(high), 0.5);
    return {low - room, high + room};
  }
};

std::string tooltip_of(const Box& box, const BoxPanel& panel) {
  const BoxStatistics& s = *box.statistics;
  return fmt::format(
      "{}, {}: median {:.4g}, quartiles {:.4g} and {:.4g}, whiskers {:.4g} to {:.4g}, mean {:.4g}; {} "
      "value{}, {} outside",
      box.name, panel.title, s.median, s.q1, s.q3, s.low, s.high, s.mean, s.count, s.count == 1 ? "" : "s",
      s.outliers.size());
}

template <class AtY>
void draw_box(Svg& svg, const BoxStatistics& box, double middle, const std::string& colour, const AtY& at_y) {
  const double half = 21, cap = 10;
  const double left = middle - half, right = middle + half, top = at_y(box.q3), bottom = at_y(box.q1);
  for (const auto& [quartile, end] : {std::pair(box.q3, box.high), std::pair(box.q1, box.low)}) {
    svg.polyline({{middle, at_y(quartile)}, {middle, at_y(end)}}, colour, 1.6);
    svg.polyline({{middle - cap, at_y(end)}, {middle + cap, at_y(end)}}, colour, 1.6);
  }
  svg.polygon({{left, top}, {right, top}, {right, bottom}, {left, bottom}}, colour, 0.22);
  svg.polyline({{left, top}, {right, top}, {right, bottom}, {left, bottom}, {left, top}}, colour, 1.6);
  svg.polyline({{left, at_y(box.median)}, {right, at_y(box.median)}}, colour, 3.2);
  for (const double value : box.outliers) svg.circle(middle, at_y(value), 2.6, colour);
}

void draw_panel(Svg& svg, const BoxPanel& panel, const Span& span, double x, double y, double slot) {
  const double left = x + kAxisWidth, top = y + kAbove, bottom = top + kPlotHeight;
  const double right = left + slot * static_cast<double>(panel.boxes.size());
  const auto at_y = [&](double value) { return bottom - kPlotHeight * (value - span.low) / (span.high - span.low); };
  svg.text(left, y + 8, panel.title, {.size = 13.5, .bold = true});
  for (const double tick : axis_ticks(span.low, span.high, 6, false)) {
    svg.line(left, at_y(tick), right, at_y(tick), "grid", 1);
    svg.text(left - 9, at_y(tick), fmt::format("{:.4g}", tick + 0.0),
             {.size = 12, .anchor = Anchor::kEnd, .paint = "soft"});
  }
  svg.line(left, bottom, right, bottom, "axis", 1);
  svg.text(x + 8, (top + bottom) / 2, panel.axis,
           {.size = 12, .anchor = Anchor::kMiddle, .paint = "soft", .turned = -90});
  for (std::size_t i = 0; i < panel.boxes.size(); ++i) {
    const Box& box = panel.boxes[i];
    const double middle = left + slot * (static_cast<double>(i) + 0.5);
    svg.text(middle, bottom + 18, box.name, {.size = 13, .anchor = Anchor::kMiddle});
    const std::size_t count = box.statistics ? box.statistics->count : 0;
    svg.text(middle, bottom + 36, fmt::format("n = {}", count),
             {.size = 11.5, .anchor = Anchor::kMiddle, .paint = "soft"});
    if (!box.statistics) continue;
    svg.open_group(tooltip_of(box, panel));
    draw_box(svg, *box.statistics, middle, line_colour(i), at_y);
    svg.close_group();
  }
}

}  // namespace

BoxStatistics box_statistics(std::vector<double> values) {
  WT_CHECK(!values.empty(), "box_statistics: no values");
  BoxStatistics box;
  box.count = values.size();
  for (const double value : values) {
    WT_CHECK(std::abs(value) <= kLargest, "box_statistics: a value is ", value, ", expected a finite one");
    box.mean += value;
  }
  box.mean /= static_cast<double>(values.size());
  std::sort(values.begin(), values.end());
  box.q1 = quantile(values, 0.25);
  box.median = quantile(values, 0.5);
  box.q3 = quantile(values, 0.75);
  const double reach = 1.5 * (box.q3 - box.q1);
  box.low = box.q1;
  box.high = box.q3;
  for (const double value : values) {
    if (value < box.q1 - reach || value > box.q3 + reach) {
      box.outliers.push_back(value);
    } else {
      box.low = std::min(box.low, value);
      box.high = std::max(box.high, value);
    }
  }
  return box;
}

std::string box_plot_svg(const std::string& title, const std::string& subtitle, const std::vector<BoxPanel>& panels) {
  std::map<std::string, Span> spans;
  double slot = kNarrowest, panel_words = 0;
  std::size_t boxes = 0;
  for (const BoxPanel& panel : panels) {
    Span& span = spans[panel.axis];
    for (const Box& box : panel.boxes) {
      if (box.statistics) span.add(*box.statistics);
      slot = std::max(slot, kWidestFont * text_width(box.name, 13) + 16);
    }
    boxes = std::max(boxes, panel.boxes.size());
    panel_words = std::max(panel_words, kWidestFont * text_width(panel.title, 13.5, true));
  }
  WT_CHECK(boxes > 0, "box plot `", title, "`: nothing to draw");
  const double panel_width = kAxisWidth + std::max(slot * static_cast<double>(boxes), panel_words);
  const double panel_height = kAbove + kPlotHeight + kBelow;
  const auto fit = static_cast<std::size_t>(std::max(1.0, std::floor((kWidestRow + kGap) / (panel_width + kGap))));
  const std::size_t columns = std::min(fit, panels.size()), rows = (panels.size() + columns - 1) / columns;
  const double top = subtitle.empty() ? 70 : 92;
  const double words = kWidestFont * std::max(text_width(title, 18, true), text_width(subtitle, 13));
  const double wide = static_cast<double>(columns) * (panel_width + kGap) - kGap;
  Svg svg(2 * kMargin + std::max(wide, words), top + static_cast<double>(rows) * panel_height + 4, title);
  svg.text(kMargin, kMargin + 9, title, {.size = 18, .bold = true});
  if (!subtitle.empty()) svg.text(kMargin, kMargin + 35, subtitle, {.size = 13, .paint = "soft"});
  for (std::size_t i = 0; i < panels.size(); ++i) {
    const std::size_t row = i / columns, column = i % columns;
    draw_panel(svg, panels[i], spans.at(panels[i].axis).with_room(),
               kMargin + static_cast<double>(column) * (panel_width + kGap),
               top + static_cast<double>(row) * panel_height, slot);
  }
  return svg.str();
}

}  // namespace wt
