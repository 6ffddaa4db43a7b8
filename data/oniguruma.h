// Regular expressions as Oniguruma reads them, which is what runs those of a tokenizer.json in Hugging Face's library,
// written anew for PCRE2. The two agree on little more than the simplest ones:
// - {n,m}+ repeats the repeat, {n}? makes it optional, {,m} begins at 0; in PCRE2 the first is possessive, the second
//   the same as {n}, the third text;
// - ^ and $ stand at every line; "." matches all but \n, under (?m) all; (?i) reaches over the "|" behind it;
// - \h is a hexadecimal digit, \v a vertical tab, \w has marks and all that is alphabetic, \p{Han} is the script alone
//   and not its extensions; classes nest and intersect ([a[bc]], [a-z&&[^x]]).
// Source: Oniguruma's doc/RE and doc/SYNTAX.md; what they leave open was tried on the library.
#pragma once

#include <string>
#include <string_view>

namespace wt {

// A pattern for PCRE2_UTF | PCRE2_UCP with line feed as newline that matches what `pattern` does in Oniguruma's own
// syntax, up to the characters that are in one Unicode version and not in the other. It captures nothing. Throws Error
// "X at byte N is not supported" for what has no such counterpart (back references, \K, \G, \X, absent operators,
// conditions, calls, (?x), letters beyond ASCII under (?i), ...) and for what Oniguruma does not accept either.
std::string oniguruma_to_pcre2(std::string_view pattern);

}  // namespace wt
