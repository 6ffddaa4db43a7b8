// Small helpers of the data tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "data/tokenizer.h"
#include "tests/support/temp_folder.h"

namespace wt::test {

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

// Writes `bytes` to `path`, making its folder, and returns the path.
inline std::string put(const std::string& path, std::string_view bytes) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

inline std::size_t num_files(const TempFolder& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

inline const Tokenizer& shipped_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::load(WAVETAPE_SOURCE_DIR "/data/tokenizer/tokenizer.json");
  return tokenizer;
}

}  // namespace wt::test
