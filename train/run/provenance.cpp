#include "train/run/provenance.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "core/cuda.h"
#include "core/text.h"
#include "train/build_info.h"
#include "train/metrics.h"

namespace wt {
namespace {

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(':');
    if (line.starts_with("model name") && colon != std::string::npos)
      return std::string(trimmed(line.substr(colon + 1)));
  }
  return "unknown";
}

}  // namespace

Machine this_machine(Device device, DType dtype) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host = {};
  Machine machine;
  machine.host = host.data();
  machine.cpu = cpu_name();
  machine.device = device.str();
  if (device.is_cuda()) machine.gpu = cuda::device_name(device.index);
  machine.dtype = name_of(dtype);
  machine.cores = std::thread::hardware_concurrency();
  machine.threads = omp_get_max_threads();
  return machine;
}

std::string command_line() {
  std::ifstream in("/proc/self/cmdline", std::ios::binary);
  std::string out;
  for (std::string word; std::getline(in, word, '\0');) {
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 ||
             std::string_view("_-+=./:,@%^").find(static_cast<char>(c)) != std::string_view::npos;
    });
    std::string shown = word;
    if (!plain) {
      shown = "'";
      for (const char c : word) shown += c == '\'' ? std::string("'\\''") : std::string(1, c);
      shown += "'";
    }
    out += (out.empty() ? "" : " ") + shown;
  }
  return out;
}

std::string utc_time(double seconds) {
  const auto whole = static_cast<std::time_t>(std::floor(seconds));
  std::tm parts{};
  ::gmtime_r(&whole, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string start_record(const Machine& machine, std::int64_t step, double peak_gflops) {
  return MetricRecord()
      .add("time", utc_time(wall_seconds()))
      .add("step", step)
      .add("version", build_version())
      .add("commit", build_commit())
      .add("host", machine.host)
      .add("cpu", machine.cpu)
      .add("cores", machine.cores)
      .add("device", machine.device)
      .add("gpu", machine.gpu)
      .add("dtype", machine.dtype)
      .add("threads", machine.threads)
      .add("peak_gflops", peak_gflops)
      .add("command", command_line())
      .json();
}

double best_peak(const std::string& starts, const Machine& machine) {
  double best = 0;
  std::istringstream lines(starts);
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object()) continue;
    const auto is = [&](const char* key, const auto& value) { return record.contains(key) && record[key] == value; };
    const bool same = is("host", machine.host) && is("cpu", machine.cpu) && is("device", machine.device) &&
                      is("gpu", machine.gpu) && is("dtype", machine.dtype) && is("threads", machine.threads);
    if (same && record.contains("peak_gflops") && record["peak_gflops"].is_number()) {
      best = std::max(best, record["peak_gflops"].get<double>());
    }
  }
  return best;
}

}  // namespace wt
