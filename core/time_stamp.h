// A moment in a stream's order of work: an event on CUDA, the clock on the CPU.
#pragma once

#include <memory>

#include "core/device.h"

namespace wt {

struct TimeStamp {
  std::shared_ptr<void> event;
  double clock = 0;
};
TimeStamp time_stamp(const Stream& stream);
// Of the same stream, which was synchronised since: both have passed.
double seconds_between(const TimeStamp& begin, const TimeStamp& end);

}  // namespace wt
