// A picture as SVG text: shapes and words that follow the reader's light or dark theme.
//
// Colours that must change with the theme are classes of the style sheet: `bg` (the ground), `ink` (words), `soft`
// (lesser words), `grid` and `chance` (lines), `hole` (an empty cell). Readers that know no theme show the light one.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wt {

struct Rgb {
  double red = 0, green = 0, blue = 0;  // 0 to 255
  std::string hex() const;              // "#1a9850"
  // Relative luminance, 0 to 1 (WCAG 2.1).
  double luminance() const;
};
// Between a (share 0) and b (share 1), mixed in sRGB.
Rgb mix(const Rgb& a, const Rgb& b, double share);

enum class Anchor : unsigned char { kStart, kMiddle, kEnd };

struct TextStyle {
  double size = 13;
  Anchor anchor = Anchor::kStart;
  bool bold = false;
  std::string paint = "ink";  // a class of the style sheet, or a colour
  double turned = 0;          // degrees, clockwise, around (x, y)
};

class Svg {
 public:
  // Pixels. `title` is what screen readers say.
  Svg(double width, double height, std::string_view title);

  // `paint` is a class of the style sheet, or a colour where it starts with '#'.
  void rect(double x, double y, double width, double height, double radius, std::string_view paint);
  void line(double x1, double y1, double x2, double y2, std::string_view paint, double width);
  void polyline(const std::vector<std::pair<double, double>>& points, std::string_view colour, double width,
                std::string_view dashes = "", double opacity = 1);
  // Filled, without an outline.
  void polygon(const std::vector<std::pair<double, double>>& points, std::string_view colour, double opacity);
  void circle(double x, double y, double radius, std::string_view colour);
  // The words stand on y with the middle of their capitals. A tooltip may be given.
  void text(double x, double y, std::string_view words, const TextStyle& style = {});
  // Shapes until close() show these words when pointed at.
  void open_group(std::string_view tooltip);
  void close_group();
  // A horizontal or vertical run of colours from `stops` (share, colour).
  void gradient(double x, double y, double width, double height, bool upwards,
                const std::vector<std::pair<double, Rgb>>& stops);

  // A file of its own.
  std::string str() const;
  // Part of a page that has sheet(): as wide as there is room for, at most its own width.
  std::string inline_str() const;
  // The style sheet of the classes, which str() holds.
  static std::string sheet();

 private:
  std::string body_;
  double width_, height_;
  std::string title_;
  int gradients_ = 0;
};

// Text for use inside XML: &, <, > and quotes escaped, bytes that are no UTF-8 and control characters replaced.
std::string xml_escaped(std::string_view text);

// About how wide the words come out, for layout; fonts differ by a tenth.
double text_width(std::string_view words, double size, bool bold = false);

}  // namespace wt
