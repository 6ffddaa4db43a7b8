#include "train/report/charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "train/report/svg.h"

namespace wt {
namespace {

constexpr double kMargin = 28;
constexpr double kCellWidth = 60, kCellHeight = 38, kGap = 3, kRadius = 5;
constexpr double kAverageGap = 10;    // before the averages
constexpr double kWidestFont = 1.12;  // fonts are up to this much wider than text_width() says
// The leaderboard's red, yellow and green, lighter, with an orange and a lime between, where a plain mix turns muddy.
const std::array<Rgb, 5> kScale{{{222, 60, 54}, {243, 142, 66}, {252, 220, 96}, {148, 203, 104}, {40, 154, 90}}};
constexpr std::array<const char*, 10> kLineColours{"#3b82f6", "#f08030", "#22a565", "#e5484d", "#8e63d8",
                                                   "#12a5b8", "#c2922e", "#d6559c", "#7d8590", "#8a6a4a"};
constexpr const char* kDarkWords = "#1b1f24";
constexpr const char* kLightWords = "#ffffff";

}  // namespace

std::string line_colour(std::size_t i) {
  return kLineColours[i % kLineColours.size()];
}

std::string line_dashes(std::size_t i) {
  return i / kLineColours.size() % 2 == 1 ? "2 6" : "";
}

Rgb accuracy_colour(double share) {
  const double at = std::clamp(share, 0.0, 1.0) * (kScale.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(at), kScale.size() - 2);
  return mix(kScale[below], kScale[below + 1], at - static_cast<double>(below));
}

std::string words_on(const Rgb& colour) {
  const double behind = colour.luminance() + 0.05;
  return 1.05 / behind >= behind / 0.0625 ? kLightWords : kDarkWords;
}

namespace {

void draw_cell(Svg& svg, double x, double y, const HeatmapCell& cell, bool bold) {
  if (!cell.tooltip.empty()) svg.open_group(cell.tooltip);
  if (cell.share) {
    const Rgb colour = accuracy_colour(*cell.share);
    svg.rect(x, y, kCellWidth, kCellHeight, kRadius, colour.hex());
    svg.text(x + kCellWidth / 2, y + kCellHeight / 2, fmt::format("{:.0f}", 100 * *cell.share),
             {.size = 14.5, .anchor = Anchor::kMiddle, .bold = bold, .paint = words_on(colour)});
  } else {
    svg.rect(x, y, kCellWidth, kCellHeight, kRadius, "hole");
  }
  if (!cell.tooltip.empty()) svg.close_group();
}

double panel_rows_height(const HeatmapPanel& panel) {
  return static_cast<double>(panel.rows.size()) * (kCellHeight + kGap) - kGap;
}

// Heading, cells, averages, names of the columns, their title.
double panel_height(const HeatmapPanel& panel) {
  return (panel.title.empty() ? 0 : 30) + panel_rows_height(panel) + kAverageGap + kCellHeight + 46;
}

void draw_scale(Svg& svg, double x, double y, double height) {
  std::vector<std::pair<double, Rgb>> stops;
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) stops.emplace_back(share, accuracy_colour(share));
  svg.gradient(x, y, 12, height, true, stops);
  for (const int percent : {0, 50, 100}) {
    svg.text(x + 20, y + height * (1 - percent / 100.0), fmt::format("{}", percent), {.size = 12, .paint = "soft"});
  }
  svg.text(x + 58, y + height / 2, "accuracy, %",
           {.size = 12, .anchor = Anchor::kMiddle, .paint = "soft", .turned = -90});
}

void draw_panel(Svg& svg, const HeatmapPanel& panel, double left, double top, double label_right) {
  double y = top;
  if (!panel.title.empty()) {
    svg.text(kMargin, y + 8, panel.title, {.size = 13, .paint = "soft"});
    y += 30;
  }
  const double grid_top = y;
  const auto column_x = [&](std::size_t column) { return left + static_cast<double>(column) * (kCellWidth + kGap); };
  const double average_x = column_x(panel.columns.size()) - kGap + kAverageGap;
  for (std::size_t row = 0; row < panel.rows.size(); ++row, y += kCellHeight + kGap) {
    svg.text(label_right, y + kCellHeight / 2, panel.rows[row], {.size = 13.5, .anchor = Anchor::kEnd});
    for (std::size_t column = 0; column < panel.columns.size(); ++column) {
      draw_cell(svg, column_x(column), y, panel.cells[row][column], false);
    }
    draw_cell(svg, average_x, y, panel.row_averages[row], true);
  }
  y += kAverageGap - kGap;
  svg.text(label_right, y + kCellHeight / 2, "mean", {.size = 13.5, .anchor = Anchor::kEnd, .paint = "soft"});
  for (std::size_t column = 0; column < panel.columns.size(); ++column) {
    draw_cell(svg, column_x(column), y, panel.column_averages[column], true);
  }
  draw_cell(svg, average_x, y, panel.average, true);
  y += kCellHeight + 16;
  for (std::size_t column = 0; column < panel.columns.size(); ++column) {
    svg.text(column_x(column) + kCellWidth / 2, y, panel.columns[column], {.size = 13.5, .anchor = Anchor::kMiddle});
  }
  svg.text(average_x + kCellWidth / 2, y, "mean", {.size = 13.5, .anchor = Anchor::kMiddle, .paint = "soft"});
  const double middle = (left + column_x(panel.columns.size()) - kGap) / 2;
  svg.text(middle, y + 23, "context length, tokens", {.size = 12, .anchor = Anchor::kMiddle, .paint = "soft"});
  draw_scale(svg, average_x + kCellWidth + 24, grid_top, panel_rows_height(panel) + kAverageGap + kCellHeight);
}

void check_panel(const HeatmapPanel& panel) {
  const std::size_t rows = panel.rows.size(), columns = panel.columns.size();
  bool fits = rows > 0 && columns > 0 && panel.cells.size() == rows && panel.row_averages.size() == rows &&
              panel.column_averages.size() == columns;
  for (const auto& row : panel.cells) fits = fits && row.size() == columns;
  WT_CHECK(fits, "heatmap `", panel.title, "`: cells and averages do not fit ", rows, " rows and ", columns,
           " columns");
}

}  // namespace

std::string heatmap_svg(const std::string& title, const std::vector<HeatmapPanel>& panels) {
  WT_CHECK(!panels.empty(), "heatmap `", title, "`: no panel");
  double labels = text_width("mean", 13.5), words = text_width(title, 18, true);
  std::size_t columns = 0;
  double height = 62 + kMargin;
  for (const HeatmapPanel& panel : panels) {
    check_panel(panel);
    for (const std::string& row : panel.rows) labels = std::max(labels, text_width(row, 13.5));
    words = std::max(words, text_width(panel.title, 13));
    columns = std::max(columns, panel.columns.size());
    height += panel_height(panel);
  }
  height += 28 * static_cast<double>(panels.size() - 1);
  const double label_right = kMargin + labels;
  const double left = label_right + 12;
  const double grid = static_cast<double>(columns) * (kCellWidth + kGap) - kGap + kAverageGap + kCellWidth;
  const double width = std::max(left + grid + 24 + 68 + kMargin, kWidestFont * words + 2 * kMargin);
  Svg svg(width, height, title);
  svg.text(kMargin, kMargin + 9, title, {.size = 18, .bold = true});
  double y = 62;
  for (const HeatmapPanel& panel : panels) {
    draw_panel(svg, panel, left, y, label_right);
    y += panel_height(panel) + 28;
  }
  return svg.str();
}

namespace {

// Moves labels apart, keeping their order, so that none is nearer than `distance` to the next, all within [low, high]
// if they can be.
void spread(std::vector<double>& positions, double distance, double low, double high) {
  std::vector<std::size_t> order(positions.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return positions[a] < positions[b]; });
  double next = low;
  for (const std::size_t i : order) {
    positions[i] = std::max(positions[i], next);
    next = positions[i] + distance;
  }
  double last = high;
  for (std::size_t k = order.size(); k-- > 0;) {
    positions[order[k]] = std::max(std::min(positions[order[k]], last), low + distance * static_cast<double>(k));
    last = positions[order[k]] - distance;
  }
}

Svg draw_lines(const std::string& title, double title_size, const std::string& subtitle, const std::string& x_title,
               const std::vector<std::string>& columns, const std::vector<ChartLine>& lines, const ChartScale& scale) {
  WT_CHECK(!columns.empty() && !lines.empty(), "chart `", title, "`: nothing to draw");
  double labels = 0;
  for (const ChartLine& line : lines) {
    WT_CHECK(line.values.size() == columns.size(), "chart `", title, "`: line ", line.name, " has ", line.values.size(),
             " points for ", columns.size(), " columns");
    WT_CHECK(line.ranges.empty() || line.ranges.size() == columns.size(), "chart `", title, "`: line ", line.name,
             " has ", line.ranges.size(), " ranges for ", columns.size(), " columns");
    labels = std::max(labels, text_width(line.name, 13));
  }
  const double step = std::clamp(560.0 / static_cast<double>(columns.size()), 52.0, 140.0);
  const double plot_width = std::max(step * static_cast<double>(columns.size()), 300.0);
  const double plot_height = std::max(280.0, 18.0 * static_cast<double>(lines.size()));
  const double left = kMargin + 52, top = subtitle.empty() ? 72 : 94;
  const double right = left + plot_width, bottom = top + plot_height;
  const double words = std::max(text_width(title, title_size, true), text_width(subtitle, 13));
  Svg svg(std::max(right + 34 + labels + kMargin, kWidestFont * words + 2 * kMargin), bottom + 74, title);
  svg.text(kMargin, kMargin + 9, title, {.size = title_size, .bold = true});
  if (!subtitle.empty()) svg.text(kMargin, kMargin + 35, subtitle, {.size = 13, .paint = "soft"});

  const auto at_x = [&](std::size_t column) {
    return left + plot_width * (static_cast<double>(column) + 0.5) / static_cast<double>(columns.size());
  };
  const auto at_y = [&](double value) { return bottom - plot_height * std::clamp(value / scale.top, 0.0, 1.0); };
  for (int i = 0; i * scale.step <= scale.top * (1 + 1e-9); ++i) {
    const double value = i * scale.step, y = at_y(value);
    svg.line(left, y, right, y, i == 0 ? "axis" : "grid", 1);
    svg.text(left - 10, y, fmt::format("{:g}", value), {.size = 12.5, .anchor = Anchor::kEnd, .paint = "soft"});
  }
  for (std::size_t column = 0; column < columns.size(); ++column) {
    svg.line(at_x(column), bottom, at_x(column), bottom + 5, "axis", 1);
    svg.text(at_x(column), bottom + 19, columns[column], {.size = 13, .anchor = Anchor::kMiddle});
  }
  svg.text((left + right) / 2, bottom + 44, x_title, {.size = 12.5, .anchor = Anchor::kMiddle, .paint = "soft"});
  svg.text(kMargin + 8, (top + bottom) / 2, scale.title,
           {.size = 12.5, .anchor = Anchor::kMiddle, .paint = "soft", .turned = -90});

  if (scale.chance) {
    svg.open_group(fmt::format("chance: {:.3g}{}", *scale.chance, scale.unit));
    svg.line(left, at_y(*scale.chance), right, at_y(*scale.chance), "chance", 1.5);
    svg.text(left + 6, at_y(*scale.chance) - 9, "chance", {.size = 11.5, .paint = "soft"});
    svg.close_group();
  }

  std::vector<double> label_y;
  std::vector<std::size_t> labelled;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string colour = line_colour(i), dashes = line_dashes(i);
    std::vector<std::pair<double, double>> part;
    const auto draw_part = [&] {
      if (part.size() > 1) svg.polyline(part, colour, 2.5, dashes);
      part.clear();
    };
    std::optional<double> last;
    for (std::size_t column = 0; column < columns.size(); ++column) {
      const std::optional<double>& value = lines[i].values[column];
      if (!value) {
        draw_part();
        continue;
      }
      part.emplace_back(at_x(column), at_y(*value));
      last = value;
    }
    draw_part();
    for (std::size_t column = 0; column < columns.size(); ++column) {
      const std::optional<double>& value = lines[i].values[column];
      if (!value) continue;
      std::string tooltip = fmt::format("{}, {}: {:.3g}{}", lines[i].name, columns[column], *value, scale.unit);
      const auto range = lines[i].ranges.empty() ? std::nullopt : lines[i].ranges[column];
      if (range) tooltip += fmt::format(" ({:.3g} to {:.3g})", range->first, range->second);
      svg.open_group(tooltip);
      if (range) {
        svg.polyline({{at_x(column), at_y(range->first)}, {at_x(column), at_y(range->second)}}, colour, 2, "", 0.55);
      }
      svg.circle(at_x(column), at_y(*value), 5.5, "bg");
      svg.circle(at_x(column), at_y(*value), 4, colour);
      svg.close_group();
    }
    if (last) {
      label_y.push_back(at_y(*last));
      labelled.push_back(i);
    }
  }
  spread(label_y, 18, top, bottom);
  for (std::size_t k = 0; k < labelled.size(); ++k) {
    svg.polyline({{right + 8, label_y[k]}, {right + 24, label_y[k]}}, line_colour(labelled[k]), 3.5,
                 line_dashes(labelled[k]));
    svg.text(right + 32, label_y[k], lines[labelled[k]].name, {.size = 13});
  }
  return svg;
}

}  // namespace

Svg line_chart(const std::string& title, const std::string& subtitle, const std::string& x_title,
               const std::vector<std::string>& columns, const std::vector<ChartLine>& lines, const ChartScale& scale) {
  return draw_lines(title, 15, subtitle, x_title, columns, lines, scale);
}

std::string line_chart_svg(const std::string& title, const std::string& subtitle, const std::string& x_title,
                           const std::vector<std::string>& columns, const std::vector<ChartLine>& lines,
                           const ChartScale& scale) {
  return draw_lines(title, 18, subtitle, x_title, columns, lines, scale).str();
}

}  // namespace wt
