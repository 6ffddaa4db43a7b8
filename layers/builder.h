// How modules register their parameters: everything that is the same for all of a module's is said once.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "autograd/parameter.h"

namespace wt {

struct ModelConfig;

class Builder {
 public:
  // `key` and `name` stand in front of every key and published name; `layers`: those of ParameterSpec, none for what
  // the model has one of.
  Builder(ParameterStore& store, const ModelConfig& config, std::vector<int> layers, std::string key, std::string name,
          Role role = Role::kBackbone)
      : store_(store),
        config_(config),
        layers_(std::move(layers)),
        key_(std::move(key)),
        name_(std::move(name)),
        role_(role) {}

  ParameterStore& store() const { return store_; }
  const ModelConfig& config() const { return config_; }

  Parameter& add(const std::string& key, Shape shape, std::vector<PublishedPart> parts, bool decay,
                 kernels::WeightLayout layout = kernels::WeightLayout::kOutIn) const {
    for (PublishedPart& part : parts) part.name = name_ + part.name;
    return store_.add({key_ + key, layers_, shape, std::move(parts), decay, role_, layout});
  }
  // Of one published part.
  Parameter& add(const std::string& key, const std::string& name, Shape shape, const Init& init, bool decay) const {
    return add(key, shape, {{name, 0, shape[0], init}}, decay);
  }

 private:
  ParameterStore& store_;
  const ModelConfig& config_;
  std::vector<int> layers_;
  std::string key_, name_;
  Role role_;
};

}  // namespace wt
