#include "kernels/profile.h"

#include <algorithm>
#include <map>

#include "core/time_stamp.h"

namespace wt::kernels {
namespace {

struct Call {
  const char* name;
  KernelClass kernel_class;
  bool inner;  // part of another kernel's time
  TimeStamp begin, end;
};

struct Recorder {
  bool open = false;
  int depth = 0;
  Stream stream;
  std::vector<Call> calls;
};

Recorder& recorder() {
  static Recorder instance;
  return instance;
}

}  // namespace

const char* name_of(KernelClass kernel_class) {
  switch (kernel_class) {
    case KernelClass::kGemm:
      return "GEMM";
    case KernelClass::kAttention:
      return "attention";
    case KernelClass::kMemory:
      return "memory read/write";
    case KernelClass::kScan:
      return "scan";
    case KernelClass::kHead:
      return "head";
    case KernelClass::kOptimizer:
      return "optimizer";
    case KernelClass::kElementwise:
      break;
  }
  return "norm and elementwise";
}

Profile::Profile(const Stream& stream) {
  Recorder& r = recorder();
  r.open = true;
  r.stream = stream;
  r.calls.clear();
}

Profile::~Profile() {
  recorder().open = false;
  recorder().calls.clear();
}

bool Profile::is_open() {
  return recorder().open;
}

std::vector<KernelTime> Profile::times() {
  Recorder& r = recorder();
  r.stream.synchronize();
  std::map<std::string, KernelTime> by_name;
  for (const Call& call : r.calls) {
    if (call.inner) continue;
    KernelTime& time = by_name[call.name];
    time.name = call.name;
    time.kernel_class = call.kernel_class;
    ++time.calls;
    time.seconds += seconds_between(call.begin, call.end);
  }
  std::vector<KernelTime> times;
  for (auto& [name, time] : by_name) times.push_back(std::move(time));
  std::sort(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return times;
}

namespace detail {

ProfileScope::ProfileScope(const char* name, KernelClass kernel_class, const Stream& stream)
    : open_(recorder().open), stream_(stream) {
  if (!open_) return;
  Recorder& r = recorder();
  call_ = r.calls.size();
  r.calls.push_back({name, kernel_class, r.depth++ > 0, time_stamp(stream_), {}});
}

ProfileScope::~ProfileScope() {
  if (!open_) return;
  Recorder& r = recorder();
  --r.depth;
  r.calls[call_].end = time_stamp(stream_);
}

}  // namespace detail
}  // namespace wt::kernels
