// Numbers for people, and the clock that durations are taken from.
#pragma once

#include <cstdint>
#include <string>

namespace wt {

std::string human_bytes(std::uint64_t bytes);  // "512 MiB", "1.4 GiB"
std::string human_count(double count);         // "980", "12.3k", "1.20M"
std::string human_duration(double seconds);    // "0:07", "12:34", "1:02:03"

double steady_seconds();  // of a clock that is never set: differences are durations

}  // namespace wt
