#include "train/report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/utf8.h"

namespace wt {
namespace {

constexpr const char* kSheet =
    R"(svg text { font-family: Inter, "Helvetica Neue", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
.bg { fill: #ffffff; } .ink { fill: #1f2328; } .soft { fill: #656d76; } .hole { fill: #f0f2f4; }
.grid { stroke: #e4e7eb; } .axis { stroke: #afb8c1; } .chance { stroke: #656d76; stroke-dasharray: 5 4; }
@media (prefers-color-scheme: dark) {
  .bg { fill: #0d1117; } .ink { fill: #e6edf3; } .soft { fill: #9198a1; } .hole { fill: #1b2129; }
  .grid { stroke: #262c36; } .axis { stroke: #57606a; } .chance { stroke: #9198a1; }
}
)";

// At most two decimals, none where they are zero.
std::string num(double value) {
  const double rounded = std::round(value * 100) / 100;
  return fmt::format("{}", rounded == 0 ? 0.0 : rounded);
}

std::string point_list(const std::vector<std::pair<double, double>>& points) {
  std::string list;
  for (const auto& [x, y] : points) list += fmt::format("{}{},{}", list.empty() ? "" : " ", num(x), num(y));
  return list;
}

std::string paint_of(std::string_view paint, const char* property) {
  if (paint.starts_with('#')) return fmt::format("{}=\"{}\"", property, paint);
  return fmt::format("class=\"{}\"", paint);
}

}  // namespace

std::string Rgb::hex() const {
  const auto byte = [](double value) { return std::clamp<int>(static_cast<int>(std::lround(value)), 0, 255); };
  return fmt::format("#{:02x}{:02x}{:02x}", byte(red), byte(green), byte(blue));
}

double Rgb::luminance() const {
  const auto linear = [](double value) {
    const double share = value / 255;
    return share <= 0.04045 ? share / 12.92 : std::pow((share + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

Rgb mix(const Rgb& a, const Rgb& b, double share) {
  const auto between = [&](double from, double to) { return from + (to - from) * share; };
  return {between(a.red, b.red), between(a.green, b.green), between(a.blue, b.blue)};
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : utf8_repaired(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
  }
  return out;
}

double text_width(std::string_view words, double size, bool bold) {
  double ems = 0;
  for (const char c : words) {
    if ((static_cast<unsigned char>(c) & 0xC0) == 0x80) continue;  // inside a character
    const bool narrow = std::string_view(" .,:;'|!ijltfr()[]").find(c) != std::string_view::npos;
    const bool wide = c == 'm' || c == 'w' || c == '%' || (c >= 'A' && c <= 'Z');
    ems += narrow ? 0.32 : wide ? 0.78 : 0.57;
  }
  return ems * size * (bold ? 1.06 : 1);
}

Svg::Svg(double width, double height, std::string_view title)
    : width_(width), height_(height), title_(xml_escaped(title)) {}

void Svg::rect(double x, double y, double width, double height, double radius, std::string_view paint) {
  body_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\" {}/>\n", num(x), num(y),
                       num(width), num(height), num(radius), paint_of(paint, "fill"));
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view paint, double width) {
  body_ += fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" {} stroke-width=\"{}\"/>\n", num(x1), num(y1),
                       num(x2), num(y2), paint_of(paint, "stroke"), num(width));
}

void Svg::polyline(const std::vector<std::pair<double, double>>& points, std::string_view colour, double width,
                   std::string_view dashes, double opacity) {
  body_ += fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\" "
      "stroke-linecap=\"round\"{}{}/>\n",
      point_list(points), colour, num(width), dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes),
      opacity < 1 ? fmt::format(" stroke-opacity=\"{}\"", num(opacity)) : "");
}

void Svg::polygon(const std::vector<std::pair<double, double>>& points, std::string_view colour, double opacity) {
  body_ += fmt::format("<polygon points=\"{}\" fill=\"{}\" fill-opacity=\"{}\"/>\n", point_list(points), colour,
                       num(opacity));
}

void Svg::circle(double x, double y, double radius, std::string_view colour) {
  body_ +=
      fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" {}/>\n", num(x), num(y), num(radius), paint_of(colour, "fill"));
}

void Svg::text(double x, double y, std::string_view words, const TextStyle& style) {
  const char* anchor = style.anchor == Anchor::kStart ? "start" : style.anchor == Anchor::kMiddle ? "middle" : "end";
  // Capitals and figures are about 0.72 of the size high: their middle comes to y (renderers disagree about
  // dominant-baseline).
  const double shift = 0.36 * style.size;
  const std::string turn =
      style.turned == 0 ? "" : fmt::format(" transform=\"rotate({} {} {})\"", num(style.turned), num(x), num(y));
  body_ += fmt::format("<text x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{}\"{} {}{}>{}</text>\n", num(x),
                       num(y + shift), num(style.size), anchor, style.bold ? " font-weight=\"600\"" : "",
                       paint_of(style.paint, "fill"), turn, xml_escaped(words));
}

void Svg::open_group(std::string_view tooltip) {
  body_ += fmt::format("<g><title>{}</title>\n", xml_escaped(tooltip));
}

void Svg::close_group() {
  body_ += "</g>\n";
}

void Svg::gradient(double x, double y, double width, double height, bool upwards,
                   const std::vector<std::pair<double, Rgb>>& stops) {
  const int id = ++gradients_;
  body_ += fmt::format("<defs><linearGradient id=\"gradient{}\" {}>\n", id,
                       upwards ? "x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\"" : "x1=\"0\" y1=\"0\" x2=\"1\" y2=\"0\"");
  for (const auto& [share, colour] : stops) {
    body_ += fmt::format("<stop offset=\"{}\" stop-color=\"{}\"/>\n", num(share), colour.hex());
  }
  body_ += fmt::format(
      "</linearGradient></defs>\n<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\" "
      "fill=\"url(#gradient{})\"/>\n",
      num(x), num(y), num(width), num(height), id);
}

std::string Svg::str() const {
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
             "role=\"img\">\n<title>{2}</title>\n<style>\n",
             num(width_), num(height_), title_) +
         kSheet +
         fmt::format("</style>\n<rect class=\"bg\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n", num(width_),
                     num(height_)) +
         body_ + "</svg>\n";
}

std::string Svg::inline_str() const {
  return fmt::format("<svg viewBox=\"0 0 {0} {1}\" width=\"{0}\" role=\"img\" aria-label=\"{2}\">\n", num(width_),
                     num(height_), title_) +
         body_ + "</svg>\n";
}

std::string Svg::sheet() {
  return kSheet;
}

}  // namespace wt
