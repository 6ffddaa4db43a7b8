// Runs a parsed template. Undefined names, attributes and elements are written as nothing and are false; to do more
// with one is an error. Names are looked up through scopes as in Jinja: loops, macros and blocks with an end of their
// own have one, "if" has none; what a scope sets is gone at its end.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/jinja/arguments.h"
#include "data/jinja/ast.h"
#include "data/jinja/value.h"

namespace wt::jinja {

struct Scope {
  Variables variables;
  std::shared_ptr<Scope> parent;  // of a macro: where it was defined
  int depth = 0;                  // scopes around it
};

class Evaluator {
 public:
  // `name` stands for the template in errors; `now` is what strftime_now() writes.
  Evaluator(std::string name, Work& work, std::time_t now);
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  // What the template writes. Throws Error "NAME:LINE: …".
  std::string run(const Block& block, const Variables& variables);

  Work& work() { return work_; }
  std::time_t now() const { return now_; }
  Value call(const Value& function, Arguments& arguments);
  // A macro's body with its parameters as variables.
  std::string run_macro(const Macro& macro, const std::shared_ptr<Scope>& around, Arguments& arguments);
  // Namespaces and scopes may hold themselves: they are emptied at the end.
  Value new_namespace(const Variables& variables);

 private:
  enum class Flow : std::uint8_t { kOn, kBreak, kContinue };
  class Depth;

  Flow run_block(const Block& block);
  Flow run_if(const If& statement);
  Flow run_for(const For& statement, int line);
  void run_set(const Set& statement, int line);
  Flow run_with(const With& statement);
  void run_call_block(const CallBlock& statement);
  void define(const Macro& macro);
  static std::shared_ptr<Scope> inside(const std::shared_ptr<Scope>& scope);
  // Inside a scope of its own; what is written comes back.
  std::string captured(const Block& block);
  void write(const std::string& text);

  Value evaluate(const Expression& expression);
  Value evaluate_or(const Node& node, const Value& standard);
  Value evaluate_node(const Constant& node, int line);
  Value evaluate_node(const Name& node, int line);
  Value evaluate_node(const ListOf& node, int line);
  Value evaluate_node(const DictOf& node, int line);
  Value evaluate_node(const Attribute& node, int line);
  Value evaluate_node(const Item& node, int line);
  Value evaluate_node(const Slice& node, int line);
  Value evaluate_node(const Call& node, int line);
  Value evaluate_node(const Filter& node, int line);
  Value evaluate_node(const Test& node, int line);
  Value evaluate_node(const Unary& node, int line);
  Value evaluate_node(const Binary& node, int line);
  Value evaluate_node(const Comparison& node, int line);
  Value evaluate_node(const Joined& node, int line);
  Value evaluate_node(const Choice& node, int line);
  Arguments arguments_of(const CallArguments& given, std::string callee);
  Value filtered(const Node& filter, const Value& value);

  Value lookup(const std::string& name) const;
  void assign(const std::string& name, Value value);
  void assign(const Target& target, Value value);

  // Runs `action`, and says the line where it throws Failure.
  template <class Action>
  auto placed(int line, const Action& action);

  std::string name_;
  Work& work_;
  std::time_t now_;
  std::string out_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> kept_scopes_;
  std::vector<std::shared_ptr<Object>> namespaces_;
  int depth_ = 0;
};

}  // namespace wt::jinja
