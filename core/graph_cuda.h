// Memory of a stream while a graph of it is recorded (core/graph.h).
#pragma once

#include <cstddef>

namespace wt::cuda {

// Whether `stream` is under recording. Then its memory comes from the graph's blocks, and what is given back, by any
// thread, becomes free there or, where it is older than the recording, after it.
bool is_recorded(void* stream);
// Null where the device has no more.
void* take_recorded(std::size_t bytes, void* stream);
// False where the stream is not under recording.
bool give_back_recorded(void* pointer, void* stream) noexcept;

}  // namespace wt::cuda
