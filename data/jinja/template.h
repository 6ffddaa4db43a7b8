// Jinja as chat templates use it: a subset of Jinja 3.1 in the environment in which the Hugging Face library runs them
// (trim_blocks, lstrip_blocks, break and continue, {% generation %}, nothing that changes a list or dict). What is not
// in it is refused by name. Sources: Jinja's documentation and the behaviour of jinja2 3.1 and transformers 5.24.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>

#include "data/jinja/value.h"

namespace wt::jinja {

struct RenderLimits {
  // Units of work (Work): some seconds for a template that would never end. For each byte of text that is given, four
  // more.
  std::int64_t work = 20'000'000;
};

// Immutable once parsed; copies share the tree.
class Template {
 public:
  // `name` stands for the file in errors. Throws Error "NAME:LINE: …".
  static Template parse(const std::string& source, const std::string& name);

  // What it writes with these variables, at the time `now`. Throws Error "NAME:LINE: …": what a template can do wrong,
  // what is not known here, the template's own raise_exception(), and more work than `limits` allow.
  std::string render(const Variables& variables, std::time_t now, const RenderLimits& limits = {}) const;

  // All literal text in it, texts in expressions too; apart from each other by a zero byte.
  const std::string& literals() const;

 private:
  struct Parsed;
  explicit Template(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
  std::shared_ptr<const Parsed> parsed_;
};

}  // namespace wt::jinja
