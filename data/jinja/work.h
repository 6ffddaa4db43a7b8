// What rendering a template may cost. A template comes with a model from anywhere: without a limit, three lines of it
// could run for ever or fill the memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace wt::jinja {

// Something went wrong in a template; who knows the line adds it.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& message) : std::runtime_error(message) {}
};

// Counts what is done: about one for an expression, a list's element or eight bytes of text. Everything that makes or
// goes through values spends before it does so; spending more than there is throws Failure.
class Work {
 public:
  explicit Work(std::int64_t units) : left_(units) {}
  void spend(std::size_t units) {
    if (units > static_cast<std::size_t>(left_)) {
      throw Failure("takes too much work: the template does not end, or makes too much text");
    }
    left_ -= static_cast<std::int64_t>(units);
  }
  void spend_text(std::size_t bytes) { spend(bytes / 8 + 1); }

 private:
  std::int64_t left_;
};

}  // namespace wt::jinja
