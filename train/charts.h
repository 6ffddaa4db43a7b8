// The pictures of results: accuracy as a heatmap of tasks and lengths, and anything as lines over the lengths. SVG
// text, readable on light and dark pages.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace wt {

struct HeatmapCell {
  std::optional<double> share;  // 0 to 1; nothing: an empty cell
  std::string tooltip;
};

// One grid: rows of tasks, columns of lengths, and an average at the end of each row and column and of it all.
struct HeatmapPanel {
  std::string title;
  std::vector<std::string> rows, columns;
  std::vector<std::vector<HeatmapCell>> cells;  // [row][column]
  std::vector<HeatmapCell> row_averages, column_averages;
  HeatmapCell average;
};

// Panels below each other, coloured as BABILong's leaderboard does it: red at 0, yellow at one half, green at 1. The
// figures are per cent. Throws Error where a panel's numbers of cells do not fit its rows and columns.
std::string heatmap_svg(const std::string& title, const std::vector<HeatmapPanel>& panels);

struct ChartLine {
  std::string name;
  std::vector<std::optional<double>> values;  // one for each column; the line is broken where one is missing
};

// What a chart's height means: from 0 to `top`, with a line at every `step`.
struct ChartScale {
  std::string title = "accuracy, %";
  std::string unit = " %";  // behind a value
  double top = 100;
  double step = 20;
};

// Lines over the columns, which stand at equal distances. Throws Error where a line's numbers do not fit.
std::string line_chart_svg(const std::string& title, const std::string& subtitle, const std::string& x_title,
                           const std::vector<std::string>& columns, const std::vector<ChartLine>& lines,
                           const ChartScale& scale = {});

}  // namespace wt
