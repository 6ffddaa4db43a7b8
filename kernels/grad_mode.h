// What a backward kernel does with the gradient of one of its inputs.
#pragma once

#include <cstdint>

namespace wt {

enum class GradMode : std::uint8_t {
  kSkip,        // nobody wants it: not computed, the tensor is undefined
  kOverwrite,   // first contribution: contents before are garbage, every element is written
  kAccumulate,  // a later contribution: added to what is there
};

}  // namespace wt
