#include "core/text.h"

#include <algorithm>
#include <cstddef>

#include "core/utf8.h"

namespace wt {

std::string printable_line(std::string_view message) {
  constexpr std::size_t kLongest = 1200, kBeginning = 800, kEnd = 300;
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
  std::string line;
  while (!message.empty()) {
    const std::size_t length = utf8_length_at(message, 0);
    const auto first = static_cast<unsigned char>(message[0]);
    const bool control =
        length == 1 ? first < ' ' || first == 0x7f : length == 2 && first == 0xc2 && message[1] < '\xa0';
    if (length == 0) {
      line += '?';
    } else if (control) {
      line += ' ';
    } else {
      line += message.substr(0, length);
    }
    message.remove_prefix(std::max<std::size_t>(length, 1));
  }
  if (line.size() <= kLongest) return line;
  const auto inside = [&](std::size_t at) { return (static_cast<unsigned char>(line[at]) & 0xc0u) == 0x80u; };
  std::size_t begin = kBeginning, end = line.size() - kEnd;
  while (inside(begin)) --begin;
  while (inside(end)) ++end;
  return line.substr(0, begin) + " ... " + line.substr(end);
}

std::string_view trimmed(std::string_view text) {
  constexpr const char* kBlanks = " \t\n\v\f\r";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

void each_line(std::string_view text, const std::function<void(std::string_view line, std::int64_t number)>& visit) {
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    ++number;
    if (!line.empty()) visit(line, number);
    begin = end + 1;
  }
}

int edit_distance(std::string_view a, std::string_view b) {
  // Optimal string alignment; row i holds the distances of a's first i letters to every beginning of b.
  const std::size_t n = b.size();
  std::vector<int> before(n + 1), last(n + 1), row(n + 1);
  for (std::size_t j = 0; j <= n; ++j) last[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= n; ++j) {
      const int replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replace, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = last;
    last = row;
  }
  return last[n];
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  int best_distance = static_cast<int>(std::max<std::size_t>(1, word.size() / 3)) + 1;
  for (const std::string& candidate : candidates) {
    // The distance is at least the difference in length; a damaged file may have a word of a million letters.
    const std::size_t gap = std::max(word.size(), candidate.size()) - std::min(word.size(), candidate.size());
    if (gap >= static_cast<std::size_t>(best_distance)) continue;
    const int distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string best = nearest(word, candidates);
  return best.empty() ? "" : ", did you mean " + best + "?";
}

}  // namespace wt
