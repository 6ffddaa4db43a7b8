// Where numbers of a run come from: a line of its starts.jsonl for every start, the first and each resumption.
#pragma once

#include <cstdint>
#include <string>

#include "core/device.h"
#include "core/dtype.h"

namespace wt {

struct Machine {
  std::string host, cpu, device, gpu;  // gpu is empty where the CPU computes
  std::string dtype;
  std::int64_t cores = 0, threads = 0;
};
// This one, with the threads that OpenMP uses now.
Machine this_machine(Device device, DType dtype);

// The program's own command line, as a shell would take it.
std::string command_line();

// "2026-11-27T11:42:05Z" of seconds since 1970.
std::string utc_time(double seconds);
// Seconds since 1970.
double wall_seconds();

// {"time": "2026-…", "step": 0, "version": …, "commit": …, "host": …, "cpu": …, "cores": …, "device": …, "gpu": …,
//  "dtype": …, "threads": …, "peak_gflops": …, "command": …}
std::string start_record(const Machine& machine, std::int64_t step, double peak_gflops);

// The highest peak_gflops that such lines hold for a machine like this; 0 where there is none. Lines that are no such
// records are passed over.
double best_peak(const std::string& starts, const Machine& machine);

}  // namespace wt
