// Runs a fuzz target over the files and folders that are named: the corpus, or a finding.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "core/files.h"
#include "tests/fuzz/target.h"

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i]))
      files.emplace_back(argv[i]);
    else
      for (const auto& entry : fs::recursive_directory_iterator(argv[i])) {
        if (entry.is_regular_file()) files.push_back(entry.path().string());
      }
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) {
    const std::string bytes = wt::read_file(file);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    // Cut in half and with a byte changed, too: a corpus of good files would never see a reader refuse.
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size() / 2);
    std::string changed = bytes;
    for (std::size_t at = 0; at < changed.size(); at += 1 + changed.size() / 64) {
      changed[at] = static_cast<char>(changed[at] ^ 0x15);
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(changed.data()), changed.size());
      changed[at] = bytes[at];
    }
  }
  std::printf("%zu files\n", files.size());
  return files.empty() ? 1 : 0;
}
