// The pictures of results: accuracy as a heatmap of tasks and lengths, and anything as lines over the lengths. SVG
// text, readable on light and dark pages.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/report/svg.h"

namespace wt {

// The colour of the i-th line, and its dashes: ten colours that keep apart on white and on black; with dashes, ten
// more.
std::string line_colour(std::size_t i);
std::string line_dashes(std::size_t i);
// Of a share from 0 to 1 as the leaderboard has it: red, yellow, green.
Rgb accuracy_colour(double share);
// "#1b1f24" or "#ffffff": the words that differ more from the colour behind them.
std::string words_on(const Rgb& colour);

struct HeatmapCell {
  std::optional<double> share;  // 0 to 1; nothing: an empty cell
  std::string tooltip;
  double error = 0;  // half the width of the share's 95 % interval; 0: not known
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
  // As many, or none: between which the value may lie, drawn as a bar through the point.
  std::vector<std::optional<std::pair<double, double>>> ranges = {};
};

// What a chart's height means: from 0 to `top`, with a line at every `step`.
struct ChartScale {
  std::string title = "accuracy, %";
  std::string unit = " %";  // behind a value
  double top = 100;
  double step = 20;
  std::optional<double> chance = {};  // a dashed line: what guessing gives
};

// Lines over the columns, which stand at equal distances. Throws Error where a line's numbers do not fit.
std::string line_chart_svg(const std::string& title, const std::string& subtitle, const std::string& x_title,
                           const std::vector<std::string>& columns, const std::vector<ChartLine>& lines,
                           const ChartScale& scale = {});
// The same picture, for a page that has its style sheet and headings larger than the picture's.
Svg line_chart(const std::string& title, const std::string& subtitle, const std::string& x_title,
               const std::vector<std::string>& columns, const std::vector<ChartLine>& lines,
               const ChartScale& scale = {});

// A figure over the steps.
struct Curve {
  std::string name;
  std::string colour, dashes;
  double opacity = 1;
  double width = 2;
  bool has_dots = false;          // a dot with a tooltip at each point
  std::vector<double> x, y;       // x rises; the curve is broken where y is not finite
  std::vector<double> low, high;  // as many, or none: a pale band around the curve
};

// A line from top to bottom, with a short word above and a tooltip.
struct CurveMark {
  double x = 0;
  std::string word, tooltip;
  std::string paint = "axis";  // a class of the style sheet, or a colour
};

struct CurveScale {
  bool is_logarithmic = false;                // values that are not above 0 are not drawn
  std::optional<double> low = {}, high = {};  // else from the values
};

// Curves over a common axis. Throws Error where a curve's x and y differ in number. Where nothing can be drawn the
// chart says so.
Svg curve_chart(const std::string& title, const std::string& x_title, const std::vector<Curve>& curves,
                const std::vector<CurveMark>& marks, const CurveScale& scale = {});
// Round numbers within [low, high], about `count` of them: multiples of 1, 2 or 5 times a power of ten; on a
// logarithmic axis powers of ten, or 1, 2 and 5 times them where those are few.
std::vector<double> axis_ticks(double low, double high, int count, bool is_logarithmic);
// At most four points a pixel: the first, smallest, largest and last of each, so that no spike is lost. Without band.
Curve thinned(const Curve& curve, std::size_t pixels);

}  // namespace wt
