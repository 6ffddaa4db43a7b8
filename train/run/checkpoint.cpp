#include "train/run/checkpoint.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "train/run/crc32c.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeights = "weights.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kManifest = "manifest.json";
constexpr const char* kBase = "base.safetensors";
constexpr const char* kBaseManifest = "base.json";
constexpr const char* kTemporary = ".tmp_";  // beginning of the names of folders that are being written or removed

std::string name_of_step(std::int64_t step) {
  std::string digits = std::to_string(step);
  if (digits.size() < 8) digits.insert(0, 8 - digits.size(), '0');
  return "step_" + digits;
}

std::optional<std::int64_t> step_of_name(const std::string& name) {
  if (name.rfind("step_", 0) != 0) return std::nullopt;
  std::int64_t step = 0;
  const auto [end, problem] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  if (problem != std::errc() || end != name.data() + name.size() || name_of_step(step) != name) return std::nullopt;
  return step;
}

// Length and checksum of a file.
std::pair<std::uint64_t, std::uint32_t> measure(const std::string& path) {
  std::uint64_t bytes = 0;
  std::uint32_t checksum = 0;
  read_pieces(path, [&](std::string_view piece) {
    checksum = crc32c(piece.data(), piece.size(), checksum);
    bytes += piece.size();
  });
  return {bytes, checksum};
}

// A number of a manifest; what else is there counts as damage to it.
std::uint64_t number_at(const nlohmann::json& entry, const char* key) {
  return entry.at(key).get_ref<const nlohmann::json::number_unsigned_t&>();  // throws for any other type
}

// Throws Error where a file differs from what the manifest says about it.
void verify(const std::string& folder, std::int64_t step) {
  const std::string path = folder + "/" + kManifest;
  const nlohmann::json manifest = parse_json(read_file(path), path);
  try {
    if (manifest.at("version") != 1)
      throw Error(cat(path, ": version is ", manifest["version"].dump(), ", expected 1"));
    if (manifest.at("step") != step) throw Error(cat(path, ": is of step ", manifest["step"].dump()));
    for (const char* name : {kWeights, kOptimizer, kState}) {
      const auto& entry = manifest.at("files").at(name);
      const auto [bytes, checksum] = measure(folder + "/" + name);
      if (bytes != number_at(entry, "bytes")) {
        throw Error(cat(folder, "/", name, ": has ", bytes, " bytes, expected ", entry["bytes"].dump()));
      }
      if (checksum != number_at(entry, "crc32c")) {
        throw Error(cat(folder, "/", name, ": its checksum does not match"));
      }
    }
  } catch (const nlohmann::json::exception&) {
    throw Error(cat(path, ": is damaged"));
  }
}

// Puts the folder `from` in the place of `to`, which may exist, in one step.
void put_in_place(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return;
  if (errno == EEXIST || errno == ENOTEMPTY) {
    if (::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 2 /* RENAME_EXCHANGE */) == 0) return;
    // A file system that cannot exchange: for a moment neither is there.
    fs::remove_all(to);
    if (::rename(from.c_str(), to.c_str()) == 0) return;
  }
  throw Error(cat("cannot rename ", from, ": ", std::strerror(errno)));
}

// A folder that is removed again at the end of its scope, if it is still there.
struct TemporaryFolder {
  std::string path;
  explicit TemporaryFolder(std::string p) : path(std::move(p)) {
    fs::remove_all(path);
    std::error_code problem;
    fs::create_directory(path, problem);
    if (problem) throw Error(cat("cannot make folder ", path, ": ", problem.message()));
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

}  // namespace

CheckpointStore::CheckpointStore(const std::string& run_folder, StoreMode mode) : folder_(run_folder + "/checkpoints") {
  if (mode == StoreMode::kRead) return;
  make_folders(folder_);
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    // Folders of ours, and the temporary file of the best marker.
    if (name.rfind(kTemporary, 0) == 0 || name.rfind(".best.", 0) == 0) fs::remove_all(entry.path(), problem);
  }
}

std::string CheckpointStore::folder_of(std::int64_t step) const {
  return folder_ + "/" + name_of_step(step);
}

void CheckpointStore::save(std::int64_t step, const NamedTensors& weights, const NamedTensors& optimizer,
                           const std::string& state_json) {
  WT_CHECK(step >= 0, "checkpoint of step ", step);
  const TemporaryFolder temporary(folder_ + "/" + kTemporary + name_of_step(step));
  const auto path = [&](const char* name) { return temporary.path + "/" + name; };
  write_safetensors(path(kWeights), weights);
  write_safetensors(path(kOptimizer), optimizer);
  write_file(path(kState), state_json);
  nlohmann::ordered_json manifest = {{"version", 1}, {"step", step}, {"files", nlohmann::ordered_json::object()}};
  for (const char* name : {kWeights, kOptimizer, kState}) {
    const auto [bytes, checksum] = measure(path(name));
    manifest["files"][name] = {{"bytes", bytes}, {"crc32c", checksum}};
  }
  write_file(path(kManifest), manifest.dump(2) + "\n");
  put_in_place(temporary.path, folder_of(step));
  sync_folder(folder_);
}

void CheckpointStore::save_base(const NamedTensors& weights) {
  const std::string path = folder_ + "/" + kBase;
  write_safetensors(path, weights);
  const auto [bytes, checksum] = measure(path);
  const nlohmann::ordered_json json = {{"bytes", bytes}, {"crc32c", checksum}};
  write_file(folder_ + "/" + kBaseManifest, json.dump(2) + "\n");
  sync_folder(folder_);
}

std::string CheckpointStore::base() const {
  const std::string path = folder_ + "/" + kBase, manifest = folder_ + "/" + kBaseManifest;
  if (!fs::exists(path) && !fs::exists(manifest)) return "";
  const nlohmann::json json = parse_json(read_file(manifest), manifest);
  try {
    const auto [bytes, checksum] = measure(path);
    if (bytes != number_at(json, "bytes") || checksum != number_at(json, "crc32c")) {
      throw Error(cat(path, ": its length or checksum does not match; all checkpoints need it"));
    }
  } catch (const nlohmann::json::exception&) {
    throw Error(cat(manifest, ": is damaged"));
  }
  return path;
}

void CheckpointStore::mark_best(std::int64_t step) {
  WT_CHECK(fs::exists(folder_of(step) + "/" + kManifest), "no checkpoint of step ", step, " in ", folder_);
  write_file(folder_ + "/best", name_of_step(step) + "\n");
}

void CheckpointStore::keep_newest(std::int64_t count) {
  const std::vector<std::int64_t> all = steps();
  const std::optional<std::int64_t> best = best_step();
  const auto surplus = static_cast<std::int64_t>(all.size()) - std::max<std::int64_t>(count, 1);
  for (std::int64_t i = 0; i < surplus; ++i) {
    const std::int64_t step = all[static_cast<std::size_t>(i)];
    if (step != best) remove(name_of_step(step));
  }
}

// Renamed first, so that half a checkpoint never stands under its name.
void CheckpointStore::remove(const std::string& name) {
  const TemporaryFolder doomed(folder_ + "/" + kTemporary + "removed");
  put_in_place(folder_ + "/" + name, doomed.path + "/" + name);
}

std::vector<std::int64_t> CheckpointStore::steps() const {
  std::vector<std::int64_t> out;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder_, none)) {
    if (const auto step = step_of_name(entry.path().filename().string())) out.push_back(*step);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<std::int64_t> CheckpointStore::best_step() const {
  const std::string path = folder_ + "/best";
  if (!fs::exists(path)) return std::nullopt;
  std::string name = read_file(path);
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return step_of_name(name);
}

Checkpoint CheckpointStore::load(std::int64_t step) const {
  Checkpoint out;
  out.step = step;
  out.folder = folder_of(step);
  if (!fs::is_directory(out.folder)) throw Error(cat("no checkpoint of step ", step, " in ", folder_));
  verify(out.folder, step);
  out.weights = SafetensorsFile::open(out.folder + "/" + kWeights);
  out.optimizer = SafetensorsFile::open(out.folder + "/" + kOptimizer);
  out.state_json = read_file(out.folder + "/" + kState);
  return out;
}

std::optional<Checkpoint> CheckpointStore::load_newest(const Report& report) const {
  const std::vector<std::int64_t> all = steps();
  std::vector<std::string> damages;
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    try {
      Checkpoint whole = load(*step);
      for (const std::string& damage : damages) {
        if (report) report(cat("damaged checkpoint left out: ", damage));
      }
      return whole;
    } catch (const Error& error) {
      damages.emplace_back(error.what());
    }
  }
  if (all.size() == 1) throw Error(cat("the only checkpoint is damaged: ", damages.front()));
  if (!all.empty()) {
    throw Error(
        cat("none of the ", all.size(), " checkpoints in ", folder_, " is whole; the newest: ", damages.front()));
  }
  return std::nullopt;
}

std::optional<Checkpoint> CheckpointStore::load_best(const Report& report) const {
  const std::optional<std::int64_t> best = best_step();
  if (!best) return load_newest(report);
  std::string damage;
  try {
    return load(*best);
  } catch (const Error& error) {
    damage = error.what();
  }
  std::optional<Checkpoint> newest = load_newest(report);
  if (newest && report) report(cat("damaged best checkpoint left out, the newest is used: ", damage));
  return newest;
}

}  // namespace wt
