#include "data/jinja/evaluate.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "data/jinja/filters.h"
#include "data/jinja/objects.h"
#include "data/jinja/operators.h"
#include "data/jinja/tests.h"

namespace wt::jinja {

template <class Action>
auto Evaluator::placed(int line, const Action& action) {
  try {
    return action();
  } catch (const Failure& failure) {
    throw Error(cat(name_, ":", line, ": ", printable_line(failure.what())));
  }
}

// How deep expressions and blocks stand in each other while macros call macros.
class Evaluator::Depth {
 public:
  explicit Depth(Evaluator& evaluator) : depth_(evaluator.depth_) {
    constexpr int kDeepest = 700;
    if (depth_ >= kDeepest) throw Failure("macros and expressions call each other too deep");
    ++depth_;
  }
  ~Depth() { --depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  int& depth_;
};

Evaluator::Evaluator(std::string name, Work& work, std::time_t now) : name_(std::move(name)), work_(work), now_(now) {}

Evaluator::~Evaluator() {
  for (const auto& scope : kept_scopes_) scope->variables.clear();
  for (const auto& object : namespaces_) static_cast<Namespace&>(*object).clear();
}

std::string Evaluator::run(const Block& block, const Variables& variables) {
  scope_ = inside(std::make_shared<Scope>(Scope{variables, nullptr, 0}));
  run_block(block);
  return std::move(out_);
}

std::shared_ptr<Scope> Evaluator::inside(const std::shared_ptr<Scope>& scope) {
  constexpr int kDeepest = 300;  // macros that define macros would make a chain without end
  if (scope->depth >= kDeepest) throw Failure("macros and blocks nest too deep");
  return std::make_shared<Scope>(Scope{{}, scope, scope->depth + 1});
}

void Evaluator::write(const std::string& text) {
  work_.spend_text(text.size());
  out_ += text;
}

Value Evaluator::new_namespace(const Variables& variables) {
  work_.spend(16);
  auto made = std::make_shared<Namespace>(variables);
  namespaces_.push_back(made);
  return Value(std::shared_ptr<Object>(std::move(made)));
}

std::string Evaluator::captured(const Block& block) {
  const std::shared_ptr<Scope> outer = scope_;
  scope_ = inside(outer);
  std::string written;
  out_.swap(written);
  run_block(block);
  out_.swap(written);
  scope_ = outer;
  return written;
}

std::string Evaluator::run_macro(const Macro& macro, const std::shared_ptr<Scope>& around, Arguments& arguments) {
  const Depth depth(*this);
  work_.spend(16);
  arguments.callee = macro.name;
  const std::shared_ptr<Scope> caller = scope_;
  scope_ = inside(around);
  const auto block = std::find_if(arguments.named.begin(), arguments.named.end(),
                                  [](const auto& argument) { return argument.first == "caller"; });
  if (block == arguments.named.end()) {
    assign("caller", Value::undefined(cat(macro.name, " was not called by {% call %}")));
  } else {
    assign("caller", block->second);
    arguments.named.erase(block);
  }
  for (const Parameter& parameter : macro.parameters) {
    std::optional<Value> given = arguments.next(parameter.name);
    if (!given && parameter.standard != nullptr) given = evaluate(*parameter.standard);
    const std::string missing = cat(macro.name, ": parameter '", parameter.name, "' was not given");
    assign(parameter.name, given ? std::move(*given) : Value::undefined(missing));
  }
  arguments.done();
  std::string written = captured(macro.body);
  scope_ = caller;
  return written;
}

void Evaluator::define(const Macro& macro) {
  work_.spend(16);
  kept_scopes_.push_back(scope_);
  assign(macro.name, Value(std::make_shared<MacroFunction>(macro, scope_)));
}

Evaluator::Flow Evaluator::run_block(const Block& block) {
  for (const Statement& statement : block) {
    const Flow flow = placed(statement.line, [&] {
      const Depth depth(*this);
      work_.spend(1);
      const auto& node = statement.node;
      if (const auto* text = std::get_if<Text>(&node)) write(text->text);
      if (const auto* output = std::get_if<Output>(&node)) {
        for (const Node& value : output->values) write(to_text(evaluate(*value), work_));
      }
      if (const auto* choice = std::get_if<If>(&node)) return run_if(*choice);
      if (const auto* loop = std::get_if<For>(&node)) return run_for(*loop, statement.line);
      if (const auto* set = std::get_if<Set>(&node)) run_set(*set, statement.line);
      if (const auto* with = std::get_if<With>(&node)) return run_with(*with);
      if (const auto* macro = std::get_if<Macro>(&node)) define(*macro);
      if (const auto* call_block = std::get_if<CallBlock>(&node)) run_call_block(*call_block);
      if (const auto* filter = std::get_if<FilterBlock>(&node)) {
        Value value(captured(filter->body));
        for (const Node& step : filter->filters) value = filtered(step, value);
        write(to_text(value, work_));
      }
      if (const auto* generation = std::get_if<Generation>(&node)) write(captured(generation->body));
      if (std::holds_alternative<Break>(node)) return Flow::kBreak;
      if (std::holds_alternative<Continue>(node)) return Flow::kContinue;
      return Flow::kOn;
    });
    if (flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

Evaluator::Flow Evaluator::run_if(const If& statement) {
  for (const auto& [condition, block] : statement.branches) {
    if (evaluate(*condition).truthy()) return run_block(block);
  }
  return run_block(statement.otherwise);
}

Evaluator::Flow Evaluator::run_for(const For& statement, int line) {
  const std::shared_ptr<Scope> outer = scope_;
  Values items = placed(line, [&] { return iterate(evaluate(*statement.over), work_); });
  if (statement.filter != nullptr) {
    Values kept;
    for (const Value& item : items) {
      scope_ = inside(outer);
      assign(statement.target, item);
      if (evaluate(*statement.filter).truthy()) kept.push_back(item);
    }
    items = std::move(kept);
  }
  const auto loop = std::make_shared<Loop>(std::move(items));
  for (std::size_t i = 0; i < loop->items().size(); ++i) {
    work_.spend(4);
    loop->move_to(i);
    scope_ = inside(outer);
    assign("loop", Value(std::shared_ptr<Object>(loop)));
    assign(statement.target, loop->items()[i]);
    if (run_block(statement.body) == Flow::kBreak) break;
  }
  Flow flow = Flow::kOn;
  if (loop->items().empty()) {
    scope_ = inside(outer);
    flow = run_block(statement.otherwise);
  }
  scope_ = outer;
  return flow;
}

void Evaluator::run_set(const Set& statement, int line) {
  Value value;
  if (statement.value != nullptr) {
    value = evaluate(*statement.value);
  } else {
    value = Value(captured(statement.body));
    for (const Node& filter : statement.filters) value = filtered(filter, value);
  }
  placed(line, [&] { assign(statement.target, std::move(value)); });
}

Evaluator::Flow Evaluator::run_with(const With& statement) {
  const std::shared_ptr<Scope> outer = scope_;
  auto inner = inside(outer);
  // All values are those of the names outside.
  for (const auto& [name, value] : statement.values) inner->variables.emplace_back(name, evaluate(*value));
  scope_ = std::move(inner);
  const Flow flow = run_block(statement.body);
  scope_ = outer;
  return flow;
}

void Evaluator::run_call_block(const CallBlock& statement) {
  const Call& made = std::get<Call>(statement.call->node);
  kept_scopes_.push_back(scope_);
  const Value function = evaluate(*made.function);
  Arguments arguments = arguments_of(made.arguments, "");
  arguments.named.emplace_back("caller", Value(std::make_shared<MacroFunction>(statement.caller, scope_)));
  write(to_text(call(function, arguments), work_));
}

Value Evaluator::lookup(const std::string& name) const {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    work_.spend(scope->variables.size() / 16);
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return value;
    }
  }
  return global_function(name);
}

void Evaluator::assign(const std::string& name, Value value) {
  for (auto& [known, old] : scope_->variables) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  scope_->variables.emplace_back(name, std::move(value));
}

void Evaluator::assign(const Target& target, Value value) {
  if (!target.name_space.empty()) {
    const Value owner = lookup(target.name_space);
    auto* made = owner.is(Value::Kind::kObject) ? dynamic_cast<Namespace*>(owner.object().get()) : nullptr;
    if (made == nullptr) throw Failure(cat("'", target.name_space, "' is no namespace(), whose attributes can be set"));
    return made->set(target.names.front(), std::move(value));
  }
  if (!target.unpacks) return assign(target.names.front(), std::move(value));
  require_defined(value);
  const Values parts = iterate(value, work_);
  if (parts.size() != target.names.size()) {
    throw Failure(cat("cannot put ", parts.size(), " values into ", target.names.size(), " names"));
  }
  for (std::size_t i = 0; i < parts.size(); ++i) assign(target.names[i], parts[i]);
}

Value Evaluator::evaluate(const Expression& expression) {
  return placed(expression.line, [&] {
    const Depth depth(*this);
    work_.spend(1);
    return std::visit([&](const auto& node) { return evaluate_node(node, expression.line); }, expression.node);
  });
}

Value Evaluator::evaluate_or(const Node& node, const Value& standard) {
  return node == nullptr ? standard : evaluate(*node);
}

Value Evaluator::evaluate_node(const Constant& node, int) {
  return node.value;
}

Value Evaluator::evaluate_node(const Name& node, int) {
  return lookup(node.name);
}

Value Evaluator::evaluate_node(const ListOf& node, int) {
  Values items;
  work_.spend(4 * node.items.size());
  for (const Node& item : node.items) items.push_back(evaluate(*item));
  return Value::list(std::move(items), node.tuple ? Value::Kind::kTuple : Value::Kind::kList);
}

Value Evaluator::evaluate_node(const DictOf& node, int) {
  Entries entries;
  for (const auto& [key, value] : node.entries) {
    const Value name = evaluate(*key);
    put(entries, name, evaluate(*value), work_);
  }
  return Value::dict(std::move(entries));
}

Value Evaluator::evaluate_node(const Attribute& node, int) {
  return attribute_of(evaluate(*node.of), node.name);
}

Value Evaluator::evaluate_node(const Item& node, int) {
  const Value of = evaluate(*node.of);
  return item_of(of, evaluate(*node.key), work_);
}

Value Evaluator::evaluate_node(const Slice& node, int) {
  const Value of = evaluate(*node.of), from = evaluate_or(node.from, Value()), to = evaluate_or(node.to, Value());
  return slice_of(of, from, to, evaluate_or(node.step, Value()), work_);
}

Arguments Evaluator::arguments_of(const CallArguments& given, std::string callee) {
  Arguments arguments;
  arguments.callee = std::move(callee);
  for (const Node& node : given.positional) arguments.positional.push_back(evaluate(*node));
  for (const auto& [name, node] : given.named) arguments.named.emplace_back(name, evaluate(*node));
  if (given.spread != nullptr) {
    const Values more = iterate(evaluate(*given.spread), work_);
    arguments.positional.insert(arguments.positional.end(), more.begin(), more.end());
  }
  if (given.spread_named != nullptr) {
    const Value more = evaluate(*given.spread_named);
    if (!more.is(Value::Kind::kDict)) throw Failure(cat("** wants a dict, not ", more.type_name()));
    for (auto& variable : variables_of(more)) arguments.named.push_back(std::move(variable));
  }
  return arguments;
}

Value Evaluator::call(const Value& function, Arguments& arguments) {
  require_defined(function);
  if (!function.is(Value::Kind::kObject)) throw Failure(cat("a ", function.type_name(), " cannot be called"));
  if (arguments.callee.empty()) arguments.callee = function.object()->name();
  return function.object()->call(*this, arguments);
}

Value Evaluator::evaluate_node(const Call& node, int) {
  const Value function = evaluate(*node.function);
  Arguments arguments = arguments_of(node.arguments, "");
  return call(function, arguments);
}

Value Evaluator::evaluate_node(const Filter& node, int) {
  const Value value = evaluate(*node.value);
  Arguments arguments = arguments_of(node.arguments, node.name);
  return apply_filter(node.name, value, arguments, *this);
}

Value Evaluator::filtered(const Node& filter, const Value& value) {
  const Filter& node = std::get<Filter>(filter->node);
  return placed(filter->line, [&] {
    Arguments arguments = arguments_of(node.arguments, node.name);
    return apply_filter(node.name, value, arguments, *this);
  });
}

Value Evaluator::evaluate_node(const Test& node, int) {
  const Value value = evaluate(*node.value);
  Arguments arguments = arguments_of(node.arguments, node.name);
  return Value(apply_test(node.name, value, arguments, *this) != node.negated);
}

Value Evaluator::evaluate_node(const Unary& node, int) {
  const Value value = evaluate(*node.value);
  return node.op == "not" ? Value(!value.truthy()) : signed_value(node.op, value);
}

Value Evaluator::evaluate_node(const Binary& node, int) {
  Value left = evaluate(*node.left);
  if (node.op == "and") return left.truthy() ? evaluate(*node.right) : left;
  if (node.op == "or") return left.truthy() ? left : evaluate(*node.right);
  return arithmetic(node.op, left, evaluate(*node.right), work_);
}

Value Evaluator::evaluate_node(const Comparison& node, int) {
  Value left = evaluate(*node.first);
  for (const auto& [op, next] : node.rest) {
    Value right = evaluate(*next);
    if (!compares(op, left, right, work_)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Evaluator::evaluate_node(const Joined& node, int) {
  std::string out;
  for (const Node& part : node.parts) out += to_text(evaluate(*part), work_);
  return Value(std::move(out));
}

Value Evaluator::evaluate_node(const Choice& node, int line) {
  if (evaluate(*node.condition).truthy()) return evaluate(*node.then);
  return evaluate_or(node.otherwise, Value::undefined(cat("the if of line ", line, " has no else")));
}

}  // namespace wt::jinja
