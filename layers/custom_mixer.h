// A mixer from outside these libraries: a program that links them gives its layers one of its own, without touching
// what is here (tests/examples/own_mixer.cpp is a whole one).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "layers/mixer.h"

namespace wt {

class Builder;

struct CustomMixer {
  std::string name;  // two with one name are taken for the same
  std::function<std::unique_ptr<Mixer>(const Builder&)> make;
  bool operator==(const CustomMixer& other) const { return name == other.name; }
};

inline std::string summary(const CustomMixer& config, std::int64_t /*hidden_size*/) {
  return config.name;
}
inline bool carries_text(const CustomMixer& /*config*/) {
  return false;
}
inline void check_mixer(const CustomMixer& /*config*/, std::int64_t /*hidden_size*/,
                        const std::function<void(const std::string&, const std::string&)>& /*fail*/) {}
inline std::unique_ptr<Mixer> make_mixer(const CustomMixer& config, const Builder& builder) {
  return config.make(builder);
}

}  // namespace wt
