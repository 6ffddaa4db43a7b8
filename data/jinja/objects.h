// What a template can call or ask for attributes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "data/jinja/arguments.h"
#include "data/jinja/evaluate.h"
#include "data/jinja/value.h"

namespace wt::jinja {

class Function : public Object {
 public:
  using Body = std::function<Value(Evaluator&, Arguments&)>;
  Function(std::string name, Body body) : name_(std::move(name)), body_(std::move(body)) {}
  std::string name() const override { return name_ + "()"; }
  Value call(Evaluator& evaluator, Arguments& given) const override { return body_(evaluator, given); }
  bool callable() const override { return true; }

 private:
  std::string name_;
  Body body_;
};

// namespace(): the one thing whose attributes can be set.
class Namespace : public Object {
 public:
  explicit Namespace(const Variables& variables);
  std::string name() const override { return "namespace"; }
  Value attribute(const std::string& name) const override;
  void set(const std::string& name, Value value);
  void clear() { variables_.clear(); }

 private:
  Variables variables_;
};

// What Python makes while it goes through it, once: true however many there are, and without a length.
class Generator : public Object {
 public:
  explicit Generator(Values items) : items_(std::move(items)), depth_(Value::list(items_).depth()) {}
  std::string name() const override { return "a generator (put | list behind it)"; }
  bool iterable() const override { return true; }
  const Values* iterated() const override { return std::exchange(used_, true) ? &none_ : &items_; }
  int depth() const override { return depth_; }

 private:
  Values items_;
  const Values none_;
  int depth_;
  mutable bool used_ = false;
};

// `loop` inside a for.
class Loop : public Object {
 public:
  explicit Loop(Values items);
  std::string name() const override { return "loop"; }
  Value attribute(const std::string& name) const override;
  int depth() const override { return depth_; }
  const Values& items() const { return items_; }
  void move_to(std::size_t index) { index_ = index; }

 private:
  Values items_;
  std::size_t index_ = 0;
  int depth_;
};

class MacroFunction : public Object {
 public:
  MacroFunction(const Macro& macro, std::shared_ptr<Scope> scope) : macro_(macro), scope_(std::move(scope)) {}
  std::string name() const override { return macro_.name + "()"; }
  Value call(Evaluator& evaluator, Arguments& given) const override;
  bool callable() const override { return true; }

 private:
  const Macro& macro_;
  std::shared_ptr<Scope> scope_;
};

// range(), namespace(), dict(), joiner(), raise_exception(), strftime_now(); undefined for other names.
Value global_function(const std::string& name);

}  // namespace wt::jinja
