// JSON that comes from a file: parsed here, and nowhere without this check of how deep it nests.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace wt {

// The value that a JSON text (RFC 8259, UTF-8) holds; parse_ordered_json keeps the order of keys. Throws Error
// "NAME: not valid JSON near byte N", "NAME: a number in it is out of range" (of double, which 1e400 is), or "NAME:
// lists or objects stand too deep in each other" (more than 200): what goes through such a tree calls itself as often,
// and the stack would end before a hostile file does.
// Infinity, which Python writes bare, is read as {"__float__": "Infinity"}.
nlohmann::json parse_json(std::string_view text, const std::string& name);
nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& name);

// For readers that take the parser's events instead of a tree: the check alone, and the same errors out of theirs.
void check_json_depth(std::string_view json, const std::string& name);
[[noreturn]] void throw_json_error(int parser_error, std::size_t byte, const std::string& name);

}  // namespace wt
