// Copies from host memory to a GPU.
#pragma once

#include <cstddef>

namespace wt::cuda {

// Returns once `from` may be changed: small copies go through pinned memory of this process, so that the host runs on
// while the GPU is behind; large ones are waited for.
void upload(void* to, const void* from, std::size_t bytes, void* stream);

}  // namespace wt::cuda
