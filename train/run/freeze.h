// Which of a model's parameters a run trains.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "layers/model.h"

namespace wt {

// Of a model with adapters, all but these and the memory's parameters are frozen first. Then every published tensor
// that a pattern matches (as in a shell: * any text, dots too; ? one character; [ab] one of some) is. `fail`, which
// must throw, is given the number of a pattern that matches nothing, or of the last where nothing is left to train.
void freeze_parameters(Model& model, const std::vector<std::string>& patterns,
                       const std::function<void(std::size_t, const std::string&)>& fail);

}  // namespace wt
