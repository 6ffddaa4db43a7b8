// The house rules that a compiler does not check: which folder includes which, where third-party headers may be, names
// of files, include guards.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = WAVETAPE_SOURCE_DIR;

// core ← kernels ← autograd ← layers ← schedulers ← train; data → core; train → data.
const std::map<std::string, std::set<std::string>> kMayInclude{
    {"core", {"core"}},
    {"kernels", {"core", "kernels"}},
    {"autograd", {"core", "kernels", "autograd"}},
    {"layers", {"core", "kernels", "autograd", "layers"}},
    {"schedulers", {"core", "kernels", "autograd", "layers", "schedulers"}},
    {"data", {"core", "data"}},
    {"train", {"core", "kernels", "autograd", "layers", "schedulers", "data", "train"}},
};

// Libraries that must not reach whoever includes our headers: they cost compile time, or do not compile under nvcc.
const std::regex kThirdParty(
    "^(Eigen|unsupported|yaml-cpp|nlohmann|CLI|fmt|spdlog|hdf5|H5|pcre2|zlib|omp\\.h|cublas|cudnn|nccl).*");

struct Include {
  std::string name;
  bool quoted;
};

std::vector<Include> includes_of(const std::string& text) {
  static const std::regex pattern("^\\s*#\\s*include\\s*([<\"])([^>\"]+)[>\"]");
  std::vector<Include> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_search(line, match, pattern)) found.push_back({match[2], match[1] == "\""});
  }
  return found;
}

// What is wrong with the file `path` (relative to the root) of this content.
std::vector<std::string> offences(const fs::path& path, const std::string& text) {
  std::vector<std::string> found;
  const std::string folder = path.begin()->string();
  const bool header = path.extension() == ".h";
  const std::set<std::string>& allowed = kMayInclude.at(folder);
  for (const Include& include : includes_of(text)) {
    const std::string to = fs::path(include.name).begin()->string();
    if (include.quoted && allowed.count(to) == 0)
      found.push_back("includes \"" + include.name + "\" against the arrows");
    if (!include.quoted && kMayInclude.count(to) != 0)
      found.push_back("includes <" + include.name + ">, which is ours");
    if (!std::regex_match(include.name, kThirdParty)) continue;
    const bool private_header = path == "kernels/eigen_cpu.h" || path.parent_path() == "train/commands";
    const bool declares_only = include.name == "nlohmann/json_fwd.hpp";
    if (header && !private_header && !declares_only) found.push_back("a public header includes " + include.name);
    if (to == "Eigen" && folder != "kernels") found.push_back("knows Eigen, which only kernels may");
  }
  if (header && text.find("#pragma once\n") == std::string::npos) found.push_back("has no #pragma once");
  return found;
}

bool well_named(const std::string& name) {
  static const std::regex pattern("[a-z0-9]+(_[a-z0-9]+)*(\\.[a-z0-9]+)?");
  static const std::set<std::string> kept{"README.md", "CMakeLists.txt"};
  return kept.count(name) != 0 || std::regex_match(name, pattern);
}

std::string read(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<fs::path> files_under(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name[0] != '.') files.push_back(entry.path().lexically_relative(kRoot));
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool is_source(const fs::path& path) {
  return path.extension() == ".h" || path.extension() == ".cpp" || path.extension() == ".cu" ||
         path.extension() == ".cuh";
}

TEST(House, IncludesGoAlongTheArrows) {
  for (const auto& [folder, allowed] : kMayInclude) {
    int sources = 0;
    for (const fs::path& path : files_under(folder)) {
      if (!is_source(path)) continue;
      ++sources;
      const std::string text = read(kRoot / path);
      for (const std::string& offence : offences(path, text)) ADD_FAILURE() << path.string() << " " << offence;
      for (const Include& include : includes_of(text)) {
        EXPECT_TRUE(!include.quoted || fs::exists(kRoot / include.name)) << path << " includes " << include.name;
      }
    }
    EXPECT_GT(sources, 4) << folder;
  }
}

TEST(House, OffencesAreSeen) {
  const auto offends = [](const char* path, const std::string& text, const std::string& with) {
    const std::vector<std::string> found = offences(path, text);
    return found.size() == 1 && found[0].find(with) != std::string::npos;
  };
  EXPECT_TRUE(offends("core/x.cpp", "#include \"kernels/add.h\"\n", "against the arrows"));
  EXPECT_TRUE(offends("kernels/x.cpp", "#include \"autograd/tape.h\"\n", "against the arrows"));
  EXPECT_TRUE(offends("data/x.cpp", "  # include \"layers/model.h\"\n", "against the arrows"));
  EXPECT_TRUE(offends("schedulers/x.cpp", "#include \"train/run/trainer.h\"\n", "against the arrows"));
  EXPECT_TRUE(offends("layers/x.cpp", "#include \"tests/support/golden.h\"\n", "against the arrows"));
  EXPECT_TRUE(offends("layers/x.cpp", "#include \"model.h\"\n", "against the arrows"));
  EXPECT_TRUE(offends("layers/x.cpp", "#include <core/tensor.h>\n", "which is ours"));
  EXPECT_TRUE(offends("train/x.h", "#pragma once\n#include <nlohmann/json.hpp>\n", "a public header includes"));
  EXPECT_TRUE(offends("data/x.h", "#pragma once\n#include <hdf5.h>\n", "a public header includes"));
  EXPECT_TRUE(offends("train/x.cpp", "#include <Eigen/Core>\n", "knows Eigen"));
  EXPECT_TRUE(offends("core/x.h", "#include <vector>\n", "no #pragma once"));
  EXPECT_TRUE(offences("train/x.cpp", "#include <fmt/format.h>\n#include \"data/books.h\"\n").empty());
  EXPECT_TRUE(offences("core/x.h", "#pragma once\n#include <nlohmann/json_fwd.hpp>\n").empty());
  EXPECT_TRUE(offences("kernels/eigen_cpu.h", "#pragma once\n#include <Eigen/Core>\n").empty());
}

TEST(House, FilesAreNamedInSnakeCase) {
  std::vector<std::string> folders{"configs", "tests"};
  for (const auto& [folder, allowed] : kMayInclude) folders.push_back(folder);
  for (const std::string& folder : folders) {
    for (const fs::path& path : files_under(folder)) {
      if (path.string().rfind("tests/fixtures", 0) == 0) continue;  // published files keep their names
      for (const fs::path& part : path) EXPECT_TRUE(well_named(part.string())) << path.string();
    }
  }
  for (const char* name : {"rms_norm_cpu.cpp", "tape.h", "armt.yaml", "gpt2.cpp"})
    EXPECT_TRUE(well_named(name)) << name;
  for (const char* name : {"RmsNorm.cpp", "rms-norm.h", "_x.h", "x_.h", "x__y.h", "a.b.c"})
    EXPECT_FALSE(well_named(name)) << name;
}

TEST(House, TestHeadersHaveGuards) {
  int headers = 0;
  for (const fs::path& path : files_under("tests")) {
    if (path.extension() != ".h") continue;
    ++headers;
    EXPECT_NE(read(kRoot / path).find("#pragma once\n"), std::string::npos) << path.string();
  }
  EXPECT_GT(headers, 3);
}

TEST(House, ConfigsAreYamlOnly) {
  for (const fs::path& path : files_under("configs")) EXPECT_EQ(path.extension(), ".yaml") << path.string();
}

// README shows a mixer of one's own that is compiled and run (tests/install_test.sh): it must be that one.
TEST(House, TheReadmesMixerIsTheExamples) {
  std::istringstream lines(read(kRoot / "README.md"));
  std::string shown;
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    if (shown.empty() && line.find("class Shift final") == std::string::npos) continue;
    if (!line.empty() && line.rfind("    ", 0) != 0) break;
    shown += (line.empty() ? line : line.substr(4)) + "\n";
    ++count;
  }
  while (shown.size() > 1 && shown[shown.size() - 2] == '\n') shown.pop_back(), --count;
  ASSERT_FALSE(shown.empty());
  EXPECT_LE(count, 40);
  EXPECT_NE(read(kRoot / "tests/examples/own_mixer.cpp").find(shown), std::string::npos) << shown;
}

}  // namespace
