#include "train/metrics.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "train/units.h"
#include "train/yaml.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const char* what, const std::string& path) {
  throw Error(cat(what, path, ": ", std::strerror(errno)));
}

// Held for the life of the process: the system lets go of it even after a kill.
int lock_folder(const std::string& path) {
  const std::string file = path + "/.lock";
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) fail("cannot write ", file);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    const bool taken = errno == EWOULDBLOCK;
    ::close(descriptor);
    if (taken) throw Error(cat(path, ": another process is using this run folder"));
    fail("cannot lock ", file);
  }
  return descriptor;
}

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// 1.0e-3 rather than 1.0e-03.
std::string short_exponent(double value) {
  std::string text = fmt::format("{:.1e}", value);
  const std::size_t digits = text.find_first_of("0123456789", text.find('e') + 1);
  if (text.find('e') != std::string::npos && text[digits] == '0' && digits + 1 < text.size()) text.erase(digits, 1);
  const std::size_t plus = text.find("e+");
  if (plus != std::string::npos) text.erase(plus + 1, 1);
  return text;
}

}  // namespace

bool is_run_folder(const std::string& path) {
  return fs::is_regular_file(path + "/config.yaml");
}

void RunFolder::refuse_run(const std::string& path) {
  if (is_run_folder(path)) {
    throw Error(cat(path, ": holds a run already; go on with --resume, or choose another run.dir"));
  }
}

RunFolder RunFolder::create(const std::string& path) {
  std::error_code problem;
  fs::path made = fs::absolute(path).lexically_normal();
  if (!made.has_filename()) made = made.parent_path();
  const bool is_ours = !fs::exists(made) || fs::is_empty(made, problem);
  while (!fs::exists(made) && made.has_relative_path() && !fs::exists(made.parent_path())) made = made.parent_path();
  make_folders(path);
  RunFolder folder(path, lock_folder(path));
  refuse_run(path);
  if (is_ours) folder.made_ = made.string();
  return folder;
}

void RunFolder::take_back() noexcept {
  if (made_.empty()) return;
  std::error_code ignored;
  fs::remove_all(made_, ignored);
}

void RunFolder::replace_config(const std::string& text) const {
  int number = 1;
  while (fs::exists(cat(path_, "/config.", number, ".yaml"))) ++number;
  write_file(cat(path_, "/config.", number, ".yaml"), read_file(config_path()));
  write_file(config_path(), text);
}

RunFolder RunFolder::resume(const std::string& path) {
  if (!is_run_folder(path)) throw Error(cat(path, ": holds no run to resume (no config.yaml)"));
  return {path, lock_folder(path)};
}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(other.lock_), made_(std::move(other.made_)) {
  other.lock_ = -1;
}

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

MetricRecord& MetricRecord::add_raw(std::string_view key, const std::string& json) {
  if (!fields_.empty()) fields_ += ", ";
  fields_ += json_text(key) + ": " + json;
  return *this;
}
MetricRecord& MetricRecord::add(std::string_view key, double value) {
  return add_raw(key, std::isfinite(value) ? format_real(value) : "null");
}
MetricRecord& MetricRecord::add(std::string_view key, std::int64_t value) {
  return add_raw(key, std::to_string(value));
}
MetricRecord& MetricRecord::add(std::string_view key, bool value) {
  return add_raw(key, value ? "true" : "false");
}
MetricRecord& MetricRecord::add(std::string_view key, std::string_view value) {
  return add_raw(key, json_text(value));
}

LineFile::LineFile(const std::string& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("cannot write ", path_);
  sync_folder(folder_of(path_));  // its lines are flushed before checkpoints; without this its name may not be
}

LineFile::~LineFile() {
  ::close(descriptor_);
}

void LineFile::line(std::string_view text) {
  std::string whole(text);
  whole += '\n';
  std::string_view left = whole;
  while (!left.empty()) {
    const ssize_t written = ::write(descriptor_, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write ", path_);
    left.remove_prefix(static_cast<std::size_t>(written));
  }
}

void LineFile::sync() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail("cannot flush ", path_);
}

void truncate_metrics(const std::string& path, std::int64_t step) {
  if (!fs::exists(path)) return;
  const std::string text = read_file(path);
  std::size_t keep = 0;
  while (keep < text.size()) {
    const std::size_t end = text.find('\n', keep);
    if (end == std::string::npos) break;
    const nlohmann::json line = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(keep),
                                                      text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (!line.is_object()) break;
    if (line.contains("step") && line["step"].is_number() && line["step"].get<double>() > static_cast<double>(step)) {
      break;
    }
    keep = end + 1;
  }
  if (keep < text.size() && ::truncate(path.c_str(), static_cast<off_t>(keep)) != 0) fail("cannot shorten ", path);
}

std::string StepStats::str() const {
  std::string out = fmt::format("step {}/{} stage {}/{} loss {:.4g} grad {:.3g} lr {} {} tok/s mem {}", step,
                                total_steps, stage, num_stages, loss, grad_norm, short_exponent(lr),
                                human_count(tokens_per_second), human_bytes(memory_bytes));
  if (mfu >= 0) out += fmt::format(" mfu {:.0f} %", 100 * mfu);
  if (!(min_denominator < 0)) out += fmt::format(" min_den {:.2g}", min_denominator);
  return out + fmt::format(" skipped {}", skipped);
}

MetricRecord StepStats::record() const {
  MetricRecord out;
  out.add("step", step).add("stage", stage).add("loss", loss).add("grad_norm", grad_norm).add("lr", lr);
  out.add("tokens_per_second", tokens_per_second).add("memory_bytes", static_cast<std::int64_t>(memory_bytes));
  if (mfu >= 0) out.add("mfu", mfu);
  if (!(min_denominator < 0)) out.add("min_denominator", min_denominator);
  out.add("skipped", skipped).add("tokens", tokens);
  return out.add("time", time).add("seconds", seconds);
}

}  // namespace wt
