#include "layers/rotary_table.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <utility>

#include "layers/model_config.h"

namespace wt {
namespace {

// Cosines, then sines, of a position's angles.
void append_angles(const std::vector<double>& frequencies, std::int64_t position, std::vector<double>& values) {
  for (const double f : frequencies) values.push_back(std::cos(static_cast<double>(position) * f));
  for (const double f : frequencies) values.push_back(std::sin(static_cast<double>(position) * f));
}

}  // namespace

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

RotaryTables::RotaryTables(const AttentionConfig& config, const ModelConfig& model)
    : theta_(config.rope_theta),
      scaling_(config.rope_scaling),
      width_(config.rotary ? config.rotary_width(model.hidden_size) : 0),
      segment_rows_(model.segment_rows()),
      by_rows_(config.rope_scaling.type == "dynamic" && !model.recurrent()) {
  if (config.rotary) static_cast<void>(frequencies(segment_rows_));  // complains of bad settings now
}

std::vector<double> RotaryTables::frequencies(std::int64_t rows) const {
  return rotary_frequencies(theta_, width_, scaling_, rows);
}

Tensor RotaryTables::text_frequencies(const Stream& stream) const {
  return Tensor::from<double>(stream, {width_ / 2}, frequencies(0));
}

RotaryAngles RotaryTables::of_segments(const Stream& stream, const Shape& cells,
                                       const std::vector<std::int32_t>& lengths, std::int64_t t, DType dtype) const {
  if (!by_rows_) return {of_single_rows(stream, t, dtype), {}};
  return stacked(stream, cells, std::vector<std::int32_t>(lengths.size(), 0), lengths, t, dtype);
}

RotaryAngles RotaryTables::of_further_rows(const Stream& stream, const std::vector<std::int32_t>& before,
                                           const std::vector<std::int32_t>& after, std::int64_t t, DType dtype) const {
  return stacked(stream, {static_cast<std::int64_t>(before.size())}, before, after, t, dtype);
}

// A table for each number of rows that goes with frequencies of its own, one behind the other.
RotaryAngles RotaryTables::stacked(const Stream& stream, const Shape& cells, std::vector<std::int32_t> before,
                                   std::vector<std::int32_t> after, std::int64_t t, DType dtype) const {
  const auto n = static_cast<std::size_t>(cells.numel());
  WT_CHECK(before.size() == n && after.size() == n, "rotary tables: rows of ", before.size(), " and ", after.size(),
           " cells, expected ", n);
  if (last_.before == before && last_.after == after && last_.t == t) return last_.angles;
  std::map<std::int64_t, std::int64_t> place;  // rows -> where its table begins
  const auto rows_of = [&](std::size_t i) { return std::max<std::int64_t>(after[i], scaling_.original_max_positions); };
  for (std::size_t i = 0; i < n; ++i) place[rows_of(i)] = 0;
  const std::int64_t positions = t + *std::max_element(before.begin(), before.end()), k = width_;
  const std::int64_t entries = static_cast<std::int64_t>(place.size()) * positions;
  WT_CHECK(entries < INT32_MAX, "rotary tables: ", place.size(), " tables of ", positions, " positions");
  const Tensor all = Tensor::empty(Stream{}, {entries, k}, DType::kF64);
  std::int64_t begin = 0;
  for (auto& [rows, at] : place) {
    at = std::exchange(begin, begin + positions);
    all.slice(at, begin).copy_from(Stream{}, rotary_table(Stream{}, frequencies(rows), positions, DType::kF64));
  }
  std::vector<std::int32_t> first;
  for (std::size_t i = 0; i < n; ++i) first.push_back(static_cast<std::int32_t>(place.at(rows_of(i)) + before[i]));
  last_ = {std::move(before),
           std::move(after),
           t,
           {all.to(stream, dtype), Tensor::from<std::int32_t>(stream, cells, first)}};
  return last_.angles;
}

Tensor RotaryTables::of_single_rows(const Stream& stream, std::int64_t rows, DType dtype) const {
  if (table_.defined() && table_.dim(0) >= rows) return table_;
  if (table_.defined()) rows = std::max(rows, 2 * table_.dim(0));
  if (!by_rows_) return table_ = rotary_table(stream, frequencies(segment_rows_), rows, dtype);
  // The row at position p is the last of p + 1.
  std::vector<double> values;
  for (std::int64_t p = 0; p < rows; ++p) append_angles(frequencies(p + 1), p, values);
  return table_ = Tensor::from<double>({rows, width_}, values).to(stream, dtype);
}

Tensor rotary_table(const Stream& stream, const std::vector<double>& frequencies, std::int64_t positions, DType dtype) {
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(positions) * 2 * frequencies.size());
  for (std::int64_t p = 0; p < positions; ++p) append_angles(frequencies, p, values);
  return Tensor::from<double>({positions, 2 * static_cast<std::int64_t>(frequencies.size())}, values).to(stream, dtype);
}

}  // namespace wt
