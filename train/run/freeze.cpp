#include "train/run/freeze.h"

#include <fnmatch.h>

#include "core/text.h"

namespace wt {

void freeze_parameters(Model& model, const std::vector<std::string>& patterns,
                       const std::function<void(std::size_t, const std::string&)>& fail) {
  std::vector<bool> matched(patterns.size(), false);
  std::vector<std::string> names;
  for (const auto& parameter : model.parameters().all()) {
    const NamedTensors views = parameter->published_views(parameter->value());
    for (std::size_t i = 0; i < views.size(); ++i) {
      const std::string& name = views[i].first;
      names.push_back(name);
      bool frozen = model.config().lora && parameter->spec().role == Role::kBackbone;
      for (std::size_t p = 0; p < patterns.size(); ++p) {
        if (::fnmatch(patterns[p].c_str(), name.c_str(), 0) != 0) continue;
        matched[p] = frozen = true;
      }
      if (frozen) parameter->freeze(i);
    }
  }
  for (std::size_t p = 0; p < patterns.size(); ++p) {
    if (matched[p]) continue;
    const std::string hint = did_you_mean(patterns[p], names);
    fail(p, cat("'", patterns[p], "' matches none of the ", names.size(), " tensors",
                hint.empty() ? cat(", which have names like ", names.back()) : hint));
  }
  if (!patterns.empty() && model.parameters().trainable_count() == 0) {
    fail(patterns.size() - 1, "leaves nothing to train");
  }
}

}  // namespace wt
