// A fuzz target is one function that reads bytes as a file of one kind. libFuzzer calls it with bytes of its own making
// (`./dev fuzz`), replay.cpp with the files of the corpus (`./dev test`). A reader may throw wt::Error and nothing
// else; whatever else comes out, a signal or a sanitizer's report, is a finding.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace wt::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

template <class Read>
int only_errors(const Read& read) {
  try {
    read();
  } catch (const Error&) {  // bad input, said so
  }
  return 0;
}

// The bytes as a file, for readers that take a path: one file per process, written anew for each input.
inline const std::string& file_with(const std::uint8_t* data, std::size_t size, const char* ending) {
  static const std::string path = [&] {
    const std::string memory = "/dev/shm";
    const std::string folder =
        std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path().string();
    return folder + "/wavetape_fuzz_" + std::to_string(::getpid()) + ending;
  }();
  static const struct Remover {
    ~Remover() {
      std::error_code ignored;
      std::filesystem::remove(path, ignored);
    }
  } remover;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text_of(data, size);
  return path;
}

}  // namespace wt::fuzz
