// A parsed template: expressions and statements as trees.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "data/jinja/value.h"

namespace wt::jinja {

struct Expression;
struct Statement;
using Node = std::unique_ptr<Expression>;
using Block = std::vector<Statement>;

// What a call, filter or test is given.
struct CallArguments {
  std::vector<Node> positional;
  std::vector<std::pair<std::string, Node>> named;
  Node spread, spread_named;  // *a and **b, which stand for their elements; null where there are none
};

struct Constant {
  Value value;
};
struct Name {
  std::string name;
};
struct ListOf {
  std::vector<Node> items;
  bool tuple = false;
};
struct DictOf {
  std::vector<std::pair<Node, Node>> entries;
};
struct Attribute {  // of.name
  Node of;
  std::string name;
};
struct Item {  // of[key]
  Node of, key;
};
struct Slice {  // of[from:to:step]; what is not given is null
  Node of, from, to, step;
};
struct Call {
  Node function;
  CallArguments arguments;
};
struct Filter {  // value | name(…); in a filter block `value` is null
  Node value;
  std::string name;
  CallArguments arguments;
};
struct Test {  // value is name(…)
  Node value;
  std::string name;
  CallArguments arguments;
  bool negated = false;
};
struct Unary {  // "-", "+", "not"
  std::string op;
  Node value;
};
struct Binary {  // "+", "-", "*", "/", "//", "%", "**", "and", "or"
  std::string op;
  Node left, right;
};
struct Comparison {  // first op value op value …; "in" and "not in" among the ops
  Node first;
  std::vector<std::pair<std::string, Node>> rest;
};
struct Joined {  // a ~ b ~ c
  std::vector<Node> parts;
};
struct Choice {  // then if condition else otherwise; `otherwise` may be null
  Node condition, then, otherwise;
};

struct Expression {
  std::variant<Constant, Name, ListOf, DictOf, Attribute, Item, Slice, Call, Filter, Test, Unary, Binary, Comparison,
               Joined, Choice>
      node;
  int line = 0;
  int depth = 1;  // of the tree below, itself included
};

// What a value is put into: a name, several (of a tuple), or a namespace's attribute.
struct Target {
  std::vector<std::string> names;
  bool unpacks = false;    // (a, b) or (a,)
  std::string name_space;  // for ns.x: "ns", and `names` is {"x"}
};

struct Parameter {
  std::string name;
  Node standard;  // null where there is none
};

struct Text {
  std::string text;
};
struct Output {
  std::vector<Node> values;
};
struct If {
  std::vector<std::pair<Node, Block>> branches;
  Block otherwise;
};
struct For {
  Target target;
  Node over, filter;  // `filter` may be null
  Block body, otherwise;
};
struct Set {
  Target target;
  Node value;  // null: what the body writes
  std::vector<Node> filters;
  Block body;
};
struct With {
  std::vector<std::pair<std::string, Node>> values;
  Block body;
};
struct Macro {
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
};
struct CallBlock {  // {% call(x) macro(…) %}: the body is the macro's caller()
  Macro caller;
  Node call;
};
struct FilterBlock {
  std::vector<Node> filters;
  Block body;
};
struct Generation {  // the assistant's words; what is inside stands for itself
  Block body;
};
struct Break {};
struct Continue {};

struct Statement {
  std::variant<Text, Output, If, For, Set, With, Macro, CallBlock, FilterBlock, Generation, Break, Continue> node;
  int line = 0;
};

}  // namespace wt::jinja
