// Curves over the steps of a run: charts.h's curve_chart().
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "train/report/charts.h"

namespace wt {
namespace {

constexpr double kWidth = 560, kHeight = 290;
constexpr double kLeft = 64, kRight = 544, kTop = 58, kBottom = 238;
// Beyond these, differences and quotients of an axis' ends are not finite any more.
constexpr double kSmallest = 1e-30, kLargest = 1e30;

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  bool is_empty() const { return low > high; }
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

bool can_draw(double value, bool is_logarithmic) {
  return std::isfinite(value) && std::abs(value) <= kLargest && (!is_logarithmic || value >= kSmallest);
}

// "1e-3", "0.25", "20k", "1.5M".
std::string tick_text(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T", "P"};
  std::size_t unit = 0;
  double shown = value;
  for (; std::abs(shown) >= 999.5 && std::abs(value) < 1e18 && unit + 1 < std::size(kUnits); ++unit) shown /= 1000;
  std::string text = fmt::format("{:.4g}", shown);
  const std::size_t exponent = text.find('e');
  if (exponent != std::string::npos && text[exponent + 2] == '0') text.erase(exponent + 2, 1);
  return text + kUnits[unit];
}

class Axis {
 public:
  Axis(Range range, double from, double to, bool is_logarithmic)
      : range_(range), from_(from), to_(to), is_logarithmic_(is_logarithmic) {}
  double at(double value) const {
    const double share = is_logarithmic_ ? std::log(value / range_.low) / std::log(range_.high / range_.low)
                                         : (value - range_.low) / (range_.high - range_.low);
    return from_ + (to_ - from_) * std::clamp(share, 0.0, 1.0);
  }
  std::vector<double> ticks(int count) const { return axis_ticks(range_.low, range_.high, count, is_logarithmic_); }

 private:
  Range range_;
  double from_, to_;
  bool is_logarithmic_;
};

// Room around the values, so that no curve lies on the frame and the ends differ.
Range with_room(Range range, const CurveScale& scale) {
  if (range.is_empty()) range = {1, 10};
  if (scale.is_logarithmic) {
    const double room = std::max(std::pow(range.high / range.low, 0.06), 1.1);
    range = {range.low / room, range.high * room};
  } else {
    const double room = std::max(0.06 * (range.high - range.low), 1e-3 * std::abs(range.high));
    // Figures that are never below 0 get an axis that is not either.
    range = {range.low >= 0 ? std::max(0.0, range.low - room) : range.low - room, range.high + room};
    if (range.high <= range.low) range.high = range.low + 1;
  }
  if (scale.low) range.low = *scale.low;
  if (scale.high) range.high = *scale.high;
  return range;
}

// Stretches of the band where both edges can be drawn.
void draw_band(Svg& svg, const Curve& curve, const Axis& x, const Axis& y, bool is_logarithmic) {
  std::vector<std::pair<double, double>> above, below;
  const auto draw_part = [&] {
    above.insert(above.end(), below.rbegin(), below.rend());
    if (above.size() > 2) svg.polygon(above, curve.colour, 0.18);
    above.clear();
    below.clear();
  };
  for (std::size_t i = 0; i < curve.low.size(); ++i) {
    if (can_draw(curve.low[i], is_logarithmic) && can_draw(curve.high[i], is_logarithmic)) {
      above.emplace_back(x.at(curve.x[i]), y.at(curve.high[i]));
      below.emplace_back(x.at(curve.x[i]), y.at(curve.low[i]));
    } else {
      draw_part();
    }
  }
  draw_part();
}

void draw_curve(Svg& svg, const Curve& curve, const std::string& x_title, const Axis& x, const Axis& y,
                bool is_logarithmic) {
  draw_band(svg, curve, x, y, is_logarithmic);
  std::vector<std::pair<double, double>> part;
  const auto draw_part = [&] {
    // A point alone between two gaps is a short line, which is a dot.
    if (part.size() == 1) part.emplace_back(part[0].first + 0.1, part[0].second);
    if (!part.empty()) svg.polyline(part, curve.colour, curve.width, curve.dashes, curve.opacity);
    part.clear();
  };
  const Curve drawn = thinned(curve, static_cast<std::size_t>(kRight - kLeft));
  for (std::size_t i = 0; i < drawn.x.size(); ++i) {
    if (can_draw(drawn.y[i], is_logarithmic)) {
      part.emplace_back(x.at(drawn.x[i]), y.at(drawn.y[i]));
    } else {
      draw_part();
    }
  }
  draw_part();
  if (!curve.has_dots) return;
  for (std::size_t i = 0; i < drawn.x.size(); ++i) {
    if (!can_draw(drawn.y[i], is_logarithmic)) continue;
    svg.open_group(fmt::format("{}, {} {}: {:.4g}", curve.name, x_title,
                               drawn.x[i] < 1e6 ? fmt::format("{:.6g}", drawn.x[i]) : tick_text(drawn.x[i]),
                               drawn.y[i]));
    svg.circle(x.at(drawn.x[i]), y.at(drawn.y[i]), 2.8, curve.colour);
    svg.close_group();
  }
}

}  // namespace

std::vector<double> axis_ticks(double low, double high, int count, bool is_logarithmic) {
  std::vector<double> ticks;
  if (!(high > low) || !std::isfinite(high - low) || count < 1) return ticks;
  const double slack = 1e-9;
  if (is_logarithmic) {
    WT_CHECK(low > 0, "axis_ticks: low is ", low, ", expected above 0");
    const int first = static_cast<int>(std::floor(std::log10(low))),
              last = static_cast<int>(std::ceil(std::log10(high)));
    const int stride = std::max(1, (last - first + count - 1) / count);
    const bool has_few = last - first <= 3;
    for (int power = first; power <= last; power += stride) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        const double tick = digit * std::pow(10.0, power);
        if ((digit == 1.0 || has_few) && tick >= low * (1 - slack) && tick <= high * (1 + slack)) ticks.push_back(tick);
      }
    }
    if (ticks.size() >= 2) return ticks;
    ticks.clear();  // less than one decade: plain round numbers
  }
  const double rough = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (digit * power >= rough * (1 - slack)) {
      step = digit * power;
      break;
    }
  }
  for (double i = std::ceil(low / step - slack); i * step <= high + slack * step; ++i) {
    ticks.push_back(i == 0 ? 0.0 : i * step);
    if (ticks.size() > 100) break;  // ends so near that a step between them is lost in rounding
  }
  return ticks;
}

Curve thinned(const Curve& curve, std::size_t pixels) {
  WT_CHECK(curve.x.size() == curve.y.size(), "curve ", curve.name, ": ", curve.x.size(), " steps, ", curve.y.size(),
           " values");
  if (pixels == 0 || curve.x.size() <= 4 * pixels) return curve;
  Curve out = curve;
  out.x.clear();
  out.y.clear();
  const double first = curve.x.front(), width = (curve.x.back() - first) / static_cast<double>(pixels);
  for (std::size_t begin = 0; begin < curve.x.size();) {
    const double bucket = std::floor((curve.x[begin] - first) / width);
    std::size_t end = begin, low = begin, high = begin, gap = curve.x.size();
    for (; end < curve.x.size() && (end == begin || std::floor((curve.x[end] - first) / width) == bucket); ++end) {
      if (!std::isfinite(curve.y[end])) {
        gap = end;
        continue;
      }
      if (!std::isfinite(curve.y[low]) || curve.y[end] < curve.y[low]) low = end;
      if (!std::isfinite(curve.y[high]) || curve.y[end] > curve.y[high]) high = end;
    }
    // In their order; a gap stays one.
    std::vector<std::size_t> kept{begin, low, high, end - 1};
    if (gap < curve.x.size()) kept.push_back(gap);
    std::sort(kept.begin(), kept.end());
    kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
    for (const std::size_t i : kept) {
      out.x.push_back(curve.x[i]);
      out.y.push_back(curve.y[i]);
    }
    begin = end;
  }
  return out;
}

Svg curve_chart(const std::string& title, const std::string& x_title, const std::vector<Curve>& curves,
                const std::vector<CurveMark>& marks, const CurveScale& scale) {
  Range x_range, y_range;
  for (const Curve& curve : curves) {
    WT_CHECK(curve.x.size() == curve.y.size(), "curve ", curve.name, ": ", curve.x.size(), " steps, ", curve.y.size(),
             " values");
    WT_CHECK(curve.low.size() == curve.high.size() && (curve.low.empty() || curve.low.size() == curve.x.size()),
             "curve ", curve.name, ": a band of ", curve.low.size(), " and ", curve.high.size(), " edges for ",
             curve.x.size(), " steps");
    for (std::size_t i = 0; i < curve.low.size(); ++i) {
      if (can_draw(curve.low[i], scale.is_logarithmic)) y_range.add(curve.low[i]);
      if (can_draw(curve.high[i], scale.is_logarithmic)) y_range.add(curve.high[i]);
    }
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      if (!can_draw(curve.y[i], scale.is_logarithmic) || !can_draw(curve.x[i], false)) continue;
      x_range.add(curve.x[i]);
      y_range.add(curve.y[i]);
    }
  }
  Svg svg(kWidth, kHeight, title);
  svg.text(20, 22, title, {.size = 15, .bold = true});
  if (y_range.is_empty()) {
    svg.text(kWidth / 2, kHeight / 2, "nothing to draw", {.size = 14, .anchor = Anchor::kMiddle, .paint = "soft"});
    return svg;
  }
  x_range.low = std::min(x_range.low, 0.0);
  if (x_range.high <= x_range.low) x_range.high = x_range.low + 1;
  const Axis x(x_range, kLeft, kRight, false);
  const Axis y(with_room(y_range, scale), kBottom, kTop, scale.is_logarithmic);
  for (const double tick : y.ticks(5)) {
    svg.line(kLeft, y.at(tick), kRight, y.at(tick), "grid", 1);
    svg.text(kLeft - 8, y.at(tick), tick_text(tick), {.size = 12, .anchor = Anchor::kEnd, .paint = "soft"});
  }
  svg.line(kLeft, kBottom, kRight, kBottom, "axis", 1);
  for (const double tick : x.ticks(6)) {
    svg.line(x.at(tick), kBottom, x.at(tick), kBottom + 4, "axis", 1);
    svg.text(x.at(tick), kBottom + 16, tick_text(tick), {.size = 12, .anchor = Anchor::kMiddle, .paint = "soft"});
  }
  svg.text((kLeft + kRight) / 2, kBottom + 36, x_title, {.size = 12, .anchor = Anchor::kMiddle, .paint = "soft"});
  double free_from = kLeft - 8;  // where the next word above the plot may start
  for (const CurveMark& mark : marks) {
    if (mark.x < x_range.low || mark.x > x_range.high) continue;
    const double at = x.at(mark.x), width = text_width(mark.word, 11);
    svg.open_group(mark.tooltip);
    svg.line(at, kTop - 4, at, kBottom, mark.paint, 1);
    if (at - width / 2 >= free_from) {
      svg.text(at, kTop - 12, mark.word, {.size = 11, .anchor = Anchor::kMiddle, .paint = "soft"});
      free_from = at + width / 2 + 5;
    }
    svg.close_group();
  }
  for (const Curve& curve : curves) draw_curve(svg, curve, x_title, x, y, scale.is_logarithmic);
  return svg;
}

}  // namespace wt
