// The pictures of results: accuracy as a heatmap of tasks and lengths, and anything as lines over the lengths or as
// boxes of its distribution. SVG text, readable on light and dark pages.
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

// How values are spread (Tukey, "Exploratory Data Analysis", 1977). Quantiles lie on straight lines between the values
// in their order, the q-quantile at (n - 1) q from the first one.
struct BoxStatistics {
  std::size_t count = 0;
  double mean = 0, q1 = 0, median = 0, q3 = 0;
  double low = 0, high = 0;      // the furthest values within 1.5 (q3 - q1) of the quartiles, at least these
  std::vector<double> outliers;  // beyond them, in order
};
// Throws Error where there is no value, or one that is not finite.
BoxStatistics box_statistics(std::vector<double> values);

struct Box {
  std::string name;
  std::optional<BoxStatistics> statistics;  // nothing: an empty place
};

// Boxes side by side. Panels with the same axis share its scale.
struct BoxPanel {
  std::string title, axis;
  std::vector<Box> boxes;
};

// A box from quartile to quartile with a line at the median, whiskers to low and high, a dot for each outlier; the i-th
// box of every panel has the i-th line's colour. As many panels side by side as have room. Throws Error where there is
// no box.
std::string box_plot_svg(const std::string& title, const std::string& subtitle, const std::vector<BoxPanel>& panels);

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
