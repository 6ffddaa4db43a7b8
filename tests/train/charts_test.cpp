#include "train/report/charts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <regex>

#include "tests/support/expect_error.h"
#include "tests/support/well_formed.h"
#include "train/report/svg.h"

namespace wt {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

HeatmapPanel panel() {
  HeatmapPanel out;
  out.title = "instruction_yes";
  out.rows = {"qa1", "qa2"};
  out.columns = {"0k", "4k", "1M"};
  out.cells = {{{1.0, "a"}, {0.5, "b"}, {0.0, "c"}}, {{0.956, "d"}, {0.25, "e"}, {}}};
  out.row_averages = {{0.5, "f"}, {}};
  out.column_averages = {{0.978, "g"}, {0.375, "h"}, {}};
  return out;
}

TEST(Charts, HeatmapHasAFigureForEveryCell) {
  const std::string svg = heatmap_svg("Title", {panel()});
  expect_well_formed(svg);
  for (const char* figure : {">100<", ">50<", ">0<", ">96<", ">25<", ">98<", ">38<", ">qa1<", ">1M<", ">mean<"}) {
    EXPECT_NE(svg.find(figure), std::string::npos) << figure;
  }
  EXPECT_EQ(count(svg, "class=\"hole\""), 4u) << "one cell, and the averages it is missing from";
  EXPECT_EQ(count(svg, "#de3c36"), 2u) << "red at 0, and in the scale";
  EXPECT_EQ(count(svg, "#fcdc60"), 3u) << "yellow at one half, twice, and in the scale";
  EXPECT_EQ(count(svg, "#289a5a"), 2u) << "green at 1, and in the scale";
  EXPECT_NE(svg.find("prefers-color-scheme: dark"), std::string::npos);
  const std::string two = heatmap_svg("Title", {panel(), panel()});
  expect_well_formed(two);
  EXPECT_EQ(count(two, "linearGradient id="), 2u);
  EXPECT_EQ(count(two, "id=\"gradient2\""), 1u);
}

TEST(Charts, FiguresStandOutOfTheirColour) {
  HeatmapPanel wide = panel();
  wide.rows = {"qa1"};
  wide.columns.clear();
  wide.cells.assign(1, {});
  wide.row_averages = {{}};
  wide.column_averages.clear();
  for (int i = 0; i <= 100; ++i) {
    wide.columns.push_back(std::to_string(i));
    wide.cells[0].push_back({i / 100.0, ""});
    wide.column_averages.push_back({});
  }
  const std::string svg = heatmap_svg("Title", {wide});
  static const std::regex cell(
      "<rect [^>]*fill=\"#([0-9a-f]{6})\"/>\n<text [^>]*fill=\"#([0-9a-f]{6})\"[^>]*>[0-9]+</text>");
  const auto colour = [](const std::string& hex) {
    return Rgb{std::stod("0x" + hex.substr(0, 2)), std::stod("0x" + hex.substr(2, 2)),
               std::stod("0x" + hex.substr(4, 2))};
  };
  int cells = 0;
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), cell); it != std::sregex_iterator(); ++it, ++cells) {
    const double a = colour(it->str(1)).luminance() + 0.05, b = colour(it->str(2)).luminance() + 0.05;
    EXPECT_GT(std::max(a, b) / std::min(a, b), 3.0) << it->str() << ": WCAG asks for 3 at this size in bold, 4.5 else";
  }
  EXPECT_EQ(cells, 101);
}

TEST(Charts, LinesBreakWhereAPointIsMissing) {
  const std::string svg =
      line_chart_svg("Accuracy", "exact match", "length", {"0k", "1k", "2k", "4k", "8k"},
                     {{"qa1", {100.0, 90.0, std::nullopt, 50.0, 40.0}}, {"qa2", {50.0, {}, 40.0, {}, {}}}});
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "<polyline"), 4u) << "two parts of qa1, and two keys";
  EXPECT_EQ(count(svg, "<circle"), 12u);
  EXPECT_NE(svg.find("<title>qa1, 1k: 90 %</title>"), std::string::npos);
}

TEST(Charts, AnyScale) {
  const std::string svg = line_chart_svg("Speed", "", "tokens", {"4k", "8k"}, {{"small", {1.5, 2.25}}},
                                         {.title = "sequential / diagonal", .unit = " x", .top = 3, .step = 0.5});
  expect_well_formed(svg);
  EXPECT_NE(svg.find("<title>small, 8k: 2.25 x</title>"), std::string::npos);
  EXPECT_NE(svg.find(">0.5</text>"), std::string::npos);
  EXPECT_NE(svg.find(">3</text>"), std::string::npos);
  EXPECT_EQ(svg.find(">3.5</text>"), std::string::npos);
}

TEST(Charts, NamesOfLinesDoNotCoverEachOther) {
  std::vector<ChartLine> lines;
  for (int i = 0; i < 20; ++i) lines.push_back({"line" + std::to_string(i), {99.0, 100.0}});
  const std::string svg = line_chart_svg("Accuracy", "", "length", {"0k", "1k"}, lines);
  expect_well_formed(svg);
  EXPECT_NE(svg.find("stroke-dasharray"), std::string::npos) << "the second ten are dashed";
  static const std::regex label("<text x=\"[0-9.]+\" y=\"([0-9.]+)\"[^>]*>line[0-9]+</text>");
  std::vector<double> at;
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), label); it != std::sregex_iterator(); ++it) {
    at.push_back(std::stod(it->str(1)));
  }
  ASSERT_EQ(at.size(), 20u);
  std::sort(at.begin(), at.end());
  for (std::size_t i = 1; i < at.size(); ++i) EXPECT_GE(at[i] - at[i - 1], 17.99);
}

TEST(Charts, TextIsEscaped) {
  EXPECT_EQ(xml_escaped("a<b> & \"c\"\n\x01\xff"), "a&lt;b&gt; &amp; &quot;c&quot;  \uFFFD");
  expect_well_formed(heatmap_svg("</svg><script>&", {panel()}));
  expect_well_formed(line_chart_svg("<&>", "\"<", "'", {"<k"}, {{"&&", {50.0}}}));
}

TEST(Charts, WhatDoesNotFitIsRefused) {
  HeatmapPanel odd = panel();
  odd.cells[0].pop_back();
  EXPECT_ERROR(heatmap_svg("T", {odd}), Error, "cells and averages do not fit 2 rows and 3 columns");
  EXPECT_ERROR(heatmap_svg("T", {}), Error, "no panel");
  EXPECT_ERROR(line_chart_svg("T", "", "", {"a"}, {{"qa1", {}}}), Error, "line qa1 has 0 points for 1 columns");
  EXPECT_ERROR(line_chart_svg("T", "", "", {}, {}), Error, "nothing to draw");
}

Curve curve(std::vector<double> x, std::vector<double> y) {
  Curve out;
  out.name = "run";
  out.colour = line_colour(0);
  out.x = std::move(x);
  out.y = std::move(y);
  return out;
}

TEST(Curves, BreakWhereAValueIsNotFinite) {
  const std::string svg =
      curve_chart("Loss", "step", {curve({1, 2, 3, 4, 5}, {1, 2, NAN, 4, 5})}, {{3, "2", "stage 2: <long>", "axis"}})
          .str();
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "<polyline"), 2u);
  EXPECT_EQ(count(svg, "<title>stage 2: &lt;long&gt;</title>"), 1u);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  const std::string logarithmic =
      curve_chart("Loss", "step", {curve({1, 2, 3, 4}, {1, 0, -5, INFINITY})}, {}, {.is_logarithmic = true}).str();
  EXPECT_EQ(count(logarithmic, "<polyline"), 1u) << "only 1 has a logarithm";
}

TEST(Curves, AnyValueLeavesAChart) {
  for (const bool is_logarithmic : {false, true}) {
    for (const std::vector<double>& values : std::vector<std::vector<double>>{{},
                                                                              {0},
                                                                              {NAN},
                                                                              {5},
                                                                              {1e30, -1e30},
                                                                              {1e-30, 1e30},
                                                                              {1e308, -1e308},
                                                                              {1e-308, 1},
                                                                              {-3, -3},
                                                                              {1, 1 + 1e-16}}) {
      std::vector<double> steps(values.size());
      for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = 1e15 * static_cast<double>(i);
      const std::string svg =
          curve_chart("T", "step", {curve(steps, values)}, {{1e300, "x", "", "axis"}}, {is_logarithmic, {}, {}}).str();
      expect_well_formed(svg);
      EXPECT_EQ(svg.find("nan"), std::string::npos);
      EXPECT_EQ(svg.find("=\"inf"), std::string::npos);
    }
  }
  EXPECT_NE(curve_chart("T", "step", {}, {}).str().find("nothing to draw"), std::string::npos);
  EXPECT_ERROR(curve_chart("T", "step", {curve({1}, {})}, {}), Error, "curve run: 1 steps, 0 values");
}

TEST(Curves, TicksAreRound) {
  EXPECT_EQ(axis_ticks(0, 100, 5, false), (std::vector<double>{0, 20, 40, 60, 80, 100}));
  EXPECT_EQ(axis_ticks(-1, 1, 4, false), (std::vector<double>{-1, -0.5, 0, 0.5, 1}));
  const std::vector<double> decades = axis_ticks(1e-6, 1, 7, true);
  ASSERT_EQ(decades.size(), 7u);
  EXPECT_DOUBLE_EQ(decades[0], 1e-6);
  EXPECT_DOUBLE_EQ(decades[6], 1);
  const std::vector<double> few = axis_ticks(0.15, 3, 5, true);
  ASSERT_EQ(few.size(), 4u);
  EXPECT_DOUBLE_EQ(few[0], 0.2);
  EXPECT_DOUBLE_EQ(few[3], 2);
  EXPECT_EQ(axis_ticks(4.1, 4.9, 4, true).size(), 4u) << "no power of ten inside: plain steps of 0.2";
  EXPECT_TRUE(axis_ticks(1, 1, 5, false).empty());
}

TEST(Curves, ThinningKeepsSpikesAndGaps) {
  Curve many = curve({}, {});
  for (int i = 0; i < 100'000; ++i) {
    many.x.push_back(i);
    many.y.push_back(i == 54'321 ? 99.0 : i == 70'000 ? NAN : i == 12'345 ? -99.0 : 1.0);
  }
  const Curve few = thinned(many, 100);
  EXPECT_LE(few.x.size(), 510u);
  EXPECT_EQ(std::count(few.y.begin(), few.y.end(), 99.0), 1);
  EXPECT_EQ(std::count(few.y.begin(), few.y.end(), -99.0), 1);
  EXPECT_EQ(std::count_if(few.y.begin(), few.y.end(), [](double y) { return std::isnan(y); }), 1);
  EXPECT_TRUE(std::is_sorted(few.x.begin(), few.x.end()));
  EXPECT_EQ(few.x.front(), 0);
  EXPECT_EQ(few.x.back(), 99'999);
  EXPECT_EQ(thinned(many, 50'000).x.size(), many.x.size()) << "no more than fit";
}

// Quartiles and whiskers as numpy.percentile and matplotlib give them.
TEST(Boxes, StatisticsOfTukey) {
  const BoxStatistics box = box_statistics({3, 1, 2, 10, 4, -7, 2.5, 3.5});
  EXPECT_EQ(box.count, 8u);
  EXPECT_DOUBLE_EQ(box.mean, 19.0 / 8);
  EXPECT_DOUBLE_EQ(box.q1, 1.75);
  EXPECT_DOUBLE_EQ(box.median, 2.75);
  EXPECT_DOUBLE_EQ(box.q3, 3.625);
  EXPECT_DOUBLE_EQ(box.low, 1);
  EXPECT_DOUBLE_EQ(box.high, 4);
  EXPECT_EQ(box.outliers, (std::vector<double>{-7, 10}));
  const BoxStatistics one = box_statistics({-2.5});
  EXPECT_EQ(one.q1, -2.5);
  EXPECT_EQ(one.high, -2.5);
  EXPECT_TRUE(one.outliers.empty());
  const BoxStatistics far = box_statistics({-100, 1, 1, 1});
  EXPECT_DOUBLE_EQ(far.q1, -24.25);
  EXPECT_DOUBLE_EQ(far.low, -24.25) << "a whisker never ends inside of the box";
  EXPECT_EQ(far.outliers, std::vector<double>{-100});
  EXPECT_ERROR(box_statistics({}), Error, "no values");
  EXPECT_ERROR(box_statistics({1, NAN}), Error, "a value is nan");
  EXPECT_ERROR(box_statistics({INFINITY}), Error, "a value is inf");
}

TEST(Boxes, AreDrawnWhereTheirValuesAre) {
  const BoxStatistics wide = box_statistics({-4, -3, -2, -1, 0, 20}), narrow = box_statistics({9, 10, 11});
  const std::vector<BoxPanel> panels{{"one", "score", {{"a", wide}, {"b <2>", std::nullopt}}},
                                     {"two", "score", {{"a", narrow}, {"b <2>", wide}}},
                                     {"three", "nll", {{"a", narrow}}}};
  const std::string svg = box_plot_svg("Scores", "evaluator & co", panels);
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "<polygon"), 4u);
  EXPECT_EQ(count(svg, "<circle"), 2u) << "an outlier in two boxes";
  EXPECT_EQ(count(svg, ">n = 0<"), 1u);
  EXPECT_EQ(count(svg, "b &lt;2&gt;<"), 2u);
  EXPECT_NE(svg.find("<title>a, one: median -1.5, quartiles -2.75 and -0.25, whiskers -4 to 0, mean 1.667; 6 values, 1 "
                     "outside</title>"),
            std::string::npos);
  // The same axis, the same scale: both dots stand at one height, and the third panel's box elsewhere.
  static const std::regex dot("<circle cx=\"[0-9.]+\" cy=\"([0-9.]+)\"");
  std::vector<std::string> at;
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), dot); it != std::sregex_iterator(); ++it) {
    at.push_back(it->str(1));
  }
  ASSERT_EQ(at.size(), 2u);
  EXPECT_EQ(at[0], at[1]);
  static const std::regex box("<polygon points=\"([^\"]*)\"");
  std::vector<std::string> shapes;
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), box); it != std::sregex_iterator(); ++it) {
    shapes.push_back(it->str(1).substr(it->str(1).find(',')));
  }
  EXPECT_NE(shapes[1], shapes[3]) << "the same values on another axis";
}

TEST(Boxes, AnyValuesLeaveAPicture) {
  std::vector<BoxPanel> panels;
  for (const std::vector<double>& values :
       std::vector<std::vector<double>>{{0}, {5, 5, 5}, {1e30, -1e30}, {1e-300, 2e-300}, {-1e29}}) {
    panels.push_back({"p", std::to_string(panels.size()), {{std::string(70, 'x'), box_statistics(values)}}});
  }
  panels.push_back({"empty", "e", {{"none", std::nullopt}}});
  const std::string svg = box_plot_svg("T", "", panels);
  expect_well_formed(svg);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("=\"inf"), std::string::npos);
  EXPECT_ERROR(box_plot_svg("T", "", {}), Error, "nothing to draw");
  EXPECT_ERROR(box_plot_svg("T", "", {{"p", "a", {}}}), Error, "nothing to draw");
}

TEST(Svg, AsPartOfAPageItLeavesTheSheetToThePage) {
  Svg svg(100, 50, "A & B");
  svg.polyline({{0, 0}, {1, 1}}, "#123456", 2, "", 0.3);
  const std::string part = svg.inline_str();
  expect_well_formed(part);
  EXPECT_EQ(part.find("<style>"), std::string::npos);
  EXPECT_NE(part.find("aria-label=\"A &amp; B\""), std::string::npos);
  EXPECT_NE(part.find("stroke-opacity=\"0.3\""), std::string::npos);
  EXPECT_NE(svg.str().find(Svg::sheet()), std::string::npos);
}

}  // namespace
}  // namespace wt
