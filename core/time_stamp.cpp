#include "core/time_stamp.h"

#include <chrono>

#include "core/cuda.h"

namespace wt {

TimeStamp time_stamp(const Stream& stream) {
  if (stream.device().is_cuda()) return {cuda::record_event(stream.native()), 0};
  return {nullptr, std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()};
}

double seconds_between(const TimeStamp& begin, const TimeStamp& end) {
  if (begin.event == nullptr) return end.clock - begin.clock;
  return cuda::seconds_between(begin.event.get(), end.event.get());
}

}  // namespace wt
