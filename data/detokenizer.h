// Moses' detokeniser for English: tokenised text put back together ("It 's here ." -> "It's here.").
//
// Source: detokenizer.perl of the Moses toolkit (Koehn et al., ACL 2007), by the rules of sacremoses 0.2, its
// counterpart in Python. Words are what stands between blanks (str.split() of Python), after " @-@ " has become "-" and
// the entities of Moses' tokeniser (&amp; &lt; &gt; &quot; &apos; &#124; &#91; &#93; &bar; &bra; &ket;) the characters
// that they stand for. Words are joined by a blank, except that none stands
// - before a word of , . ? ! : ; \ % } ] ) alone;
// - behind a word of currency signs and ( [ { ¿ ¡ alone;
// - before an apostrophe with a letter behind it ('s, 'll), unless that is the first word;
// - inside of quotes: behind the first, third, … word of ' " ` „ “ alone and before the second, fourth, … of the same
//   kind (where „ and “ are "); but a lone ' behind a word in "s" is no quote and stands close to it (the Jones');
// - between Chinese, Japanese or Korean words (by their first and last character).
#pragma once

#include <string>
#include <string_view>

namespace wt {

// `text`: words with blanks between. Without blanks at the ends; "" where there is no word. Bytes that are no UTF-8
// stay as they are.
std::string detokenized(std::string_view text);

}  // namespace wt
