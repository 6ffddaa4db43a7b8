// Tokens -> trees, by Jinja's grammar as its parser has it (precedence: or, and, not, comparisons, + -, ~, * / // %,
// **, unary, then filters and tests). Statements: if, for, set, with, macro, call, filter, print, generation, break and
// continue; others (block, include, import, do, …) are refused by name.
#pragma once

#include <string>
#include <vector>

#include "data/jinja/ast.h"
#include "data/jinja/lexer.h"

namespace wt::jinja {

// Throws Error "NAME:LINE: …".
Block parse(const std::vector<Token>& tokens, const std::string& name);

}  // namespace wt::jinja
