#include "layers/rotary_table.h"

#include <cmath>
#include <numbers>

namespace wt {

std::vector<double> rotary_frequencies(double theta, std::int64_t width, const RopeScaling& scaling,
                                       std::int64_t rows) {
  if (scaling.type == "dynamic" && rows > scaling.original_max_positions) {
    WT_CHECK(width > 2, "rope scaling 'dynamic': heads of width ", width, ", expected more than 2");
    const double k = static_cast<double>(width);
    const double stretch = static_cast<double>(rows) / static_cast<double>(scaling.original_max_positions);
    theta *= std::pow(scaling.factor * stretch - (scaling.factor - 1), k / (k - 2));
  }
  std::vector<double> frequencies(static_cast<std::size_t>(width / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double f = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(width));
    if (scaling.type == "linear") {
      f /= scaling.factor;
    } else if (scaling.type == "llama3") {
      // Wavelengths shorter than the original context over high_freq_factor stay, those longer than it over
      // low_freq_factor are divided, and between the two the divisor is blended.
      const double original = static_cast<double>(scaling.original_max_positions);
      const double wavelength = 2 * std::numbers::pi / f;
      if (wavelength > original / scaling.low_freq_factor) {
        f /= scaling.factor;
      } else if (wavelength >= original / scaling.high_freq_factor) {
        const double smooth =
            (original / wavelength - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
        f = (1 - smooth) * f / scaling.factor + smooth * f;
      }
    } else {
      WT_CHECK(scaling.type == "default" || scaling.type == "dynamic", "rope scaling '", scaling.type,
               "' is not supported");
    }
    frequencies[i] = f;
  }
  return frequencies;
}

Tensor rotary_table(const Stream& stream, const std::vector<double>& frequencies, std::int64_t positions, DType dtype) {
  const auto half = static_cast<std::int64_t>(frequencies.size());
  std::vector<double> values(static_cast<std::size_t>(positions * 2 * half));
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * frequencies[static_cast<std::size_t>(i)];
      values[static_cast<std::size_t>(p * 2 * half + i)] = std::cos(angle);
      values[static_cast<std::size_t>(p * 2 * half + half + i)] = std::sin(angle);
    }
  }
  return Tensor::from<double>({positions, 2 * half}, values).to(stream, dtype);
}

}  // namespace wt
