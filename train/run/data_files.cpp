#include "train/run/data_files.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "data/babi/stories.h"
#include "data/books.h"
#include "data/fingerprint.h"
#include "train/run/crc32c.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> babi_files(const DataConfig& data) {
  std::vector<std::string> files;
  for (const std::string& task : data.tasks()) files.push_back(find_babi_file(data.babi, task, "train"));
  return files;
}

nlohmann::ordered_json describe(const std::string& path, const std::vector<std::string>& files,
                                const nlohmann::json& known) {
  std::uint64_t bytes = 0;
  std::int64_t newest = 0;
  for (const std::string& file : files) {
    bytes += fs::file_size(file);
    newest = std::max<std::int64_t>(newest, fs::last_write_time(file).time_since_epoch().count());
  }
  nlohmann::ordered_json out = {{"path", path}, {"files", files.size()}, {"bytes", bytes}, {"newest", newest}};
  const bool is_known = known.is_object() && known.contains("checksum") &&
                        std::all_of(out.items().begin(), out.items().end(), [&](const auto& item) {
                          return known.contains(item.key()) && known[item.key()] == nlohmann::json(item.value());
                        });
  if (is_known) {
    out["checksum"] = known["checksum"];
    return out;
  }
  Fingerprint fingerprint;
  for (const std::string& file : files) {
    std::uint32_t checksum = 0;
    std::int64_t length = 0;
    read_pieces(file, [&](std::string_view piece) {
      checksum = crc32c(piece.data(), piece.size(), checksum);
      length += static_cast<std::int64_t>(piece.size());
    });
    fingerprint.add(length);
    fingerprint.add(static_cast<std::int64_t>(checksum));
  }
  out["checksum"] = fingerprint.hex();
  return out;
}

}  // namespace

std::string describe_data_files(const Config& config, const std::string& known) {
  const nlohmann::json before = known.empty() ? nlohmann::json::object() : parse_json(known, "data.json");
  const auto known_of = [&](const char* key) {
    return before.is_object() && before.contains(key) ? before[key] : nlohmann::json();
  };
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  const DataConfig& data = config.data;
  if (!data.is_retrieval() && data.babi != "simulate") {
    out["data.babi"] = describe(data.babi, babi_files(data), known_of("data.babi"));
  }
  if (data.has_books()) out["data.books"] = describe(data.books, find_books({data.books}), known_of("data.books"));
  return out.dump(2) + "\n";
}

void check_same_data(const Config& config, const Config& config_before, const std::string& before,
                     const std::string& now) {
  const auto differ = [&](const char* key, const std::string& is, const std::string& was) {
    config.places.fail(
        key, cat("is ", is, ", but the run was trained with ", was, ". Name the same files, or start a new run"));
  };
  if (before.empty()) {
    if (config.data.babi != config_before.data.babi) differ("data.babi", config.data.babi, config_before.data.babi);
    if (config.data.books != config_before.data.books) {
      differ("data.books", config.data.books, config_before.data.books);
    }
    return;
  }
  try {
    const nlohmann::json old_files = parse_json(before, "data.json"), new_files = parse_json(now, "data.json");
    const auto text_of = [](const nlohmann::json& files, const std::string& key) {
      return cat(files[key].value("path", ""), " (checksum ", files[key].value("checksum", ""), ")");
    };
    for (const auto& [key, files] : new_files.items()) {
      const bool is_known = old_files.is_object() && old_files.contains(key) && old_files[key].is_object();
      if (is_known && old_files[key].value("checksum", "") != files.value("checksum", "")) {
        differ(key.c_str(), text_of(new_files, key), text_of(old_files, key));
      }
    }
  } catch (const nlohmann::json::exception&) {
    throw Error("data.json: is damaged, expected an object for each of data.babi and data.books");
  }
}

}  // namespace wt
