#include "data/vocabulary.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "data/token_text.h"

namespace wt {

std::string text_of_added(const AddedToken& added, const TokenizerParts& parts) {
  // So it is written by the library (0.23), too.
  return added.normalized ? apply_steps(parts.normalizer, added.content, true, false) : added.content;
}

Vocabulary::Vocabulary(TokenizerParts& parts)
    : by_text_(parts.lists.vocab.size() + parts.added_tokens.size()),
      by_piece_(parts.ignore_merges ? parts.lists.vocab.size() : 0) {
  add_vocabulary(parts);
  add_added_tokens(parts);
  if (parts.ignore_merges) add_pieces(parts);
}

void Vocabulary::add_vocabulary(TokenizerParts& parts) {
  auto& vocab = parts.lists.vocab;
  WT_CHECK(!vocab.empty(), parts.name, ": the vocabulary is empty");
  // Ids far above the number of tokens are damage, and would cost their weight in memory.
  std::int32_t highest = 0;
  for (const auto& [text, id] : vocab) highest = std::max(highest, id);
  for (const AddedToken& added : parts.added_tokens) highest = std::max(highest, added.id);
  const std::size_t count = vocab.size() + parts.added_tokens.size();
  WT_CHECK(static_cast<std::size_t>(highest) < 4 * count + 65536, parts.name, ": highest id ", highest, " of ", count,
           " tokens: the file is damaged");
  tokens_.resize(static_cast<std::size_t>(highest) + 1);
  const TokenText spelling(parts.decoding);
  for (auto& [text, id] : vocab) {
    Token& token = tokens_[static_cast<std::size_t>(id)];
    WT_CHECK(!token.exists, parts.name, ": id ", id, " is \"", token.text, "\" and \"", text, "\"");
    token = {std::move(text), {}, /*exists=*/true, /*in_vocabulary=*/true, /*special=*/false};
    token.bytes = spelling.bytes_of(token.text);
    WT_CHECK(by_text_.insert(token.text, id), parts.name, ": token \"", token.text, "\" has ids ",
             by_text_.find(token.text).value_or(-1), " and ", id);
  }
  vocab = {};
}

void Vocabulary::add_added_tokens(const TokenizerParts& parts) {
  const TokenText spelling(parts.decoding);
  for (const AddedToken& added : parts.added_tokens) {
    const std::optional<std::int32_t> known = by_text_.find(added.content);
    WT_CHECK(!known || *known == added.id, parts.name, ": added token \"", added.content, "\" has id ", added.id,
             ", in the vocabulary ", known.value_or(-1));
    Token& token = tokens_[static_cast<std::size_t>(added.id)];
    WT_CHECK(!token.exists || token.text == added.content, parts.name, ": id ", added.id, " is \"", token.text,
             "\" and \"", added.content, "\"");
    if (!token.exists) {
      token.text = added.content;  // and stays there, for the table
      by_text_.insert(token.text, added.id);
    }
    token.exists = true;
    token.special = added.special;
    token.bytes = spelling.bytes_of_added(text_of_added(added, parts));
  }
}

void Vocabulary::add_pieces(const TokenizerParts& parts) {
  const TokenText spelling(parts.decoding);
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    const Token& token = tokens_[id];
    if (!token.in_vocabulary) continue;
    if (!parts.byte_level) {
      by_piece_.insert(token.text, static_cast<std::int32_t>(id));
    } else if (std::string bytes = spelling.bytes_of(token.text); spelling.spells_bytes(token.text)) {
      // An added token of the vocabulary decodes to its own text, which its bytes need not be.
      const std::string& piece = bytes == token.bytes ? token.bytes : pieces_.emplace_back(std::move(bytes));
      by_piece_.insert(piece, static_cast<std::int32_t>(id));
    }
  }
}

const Vocabulary::Token* Vocabulary::find(std::int32_t id) const {
  if (id < 0 || id >= size() || !tokens_[static_cast<std::size_t>(id)].exists) return nullptr;
  return &tokens_[static_cast<std::size_t>(id)];
}

std::vector<MergeRule> Vocabulary::merge_rules(const TokenizerParts& parts) const {
  std::vector<MergeRule> rules;
  rules.reserve(parts.lists.merges.size());
  for (const TokenPair& pair : parts.lists.merges) {
    const auto require = [&](std::string_view text) {
      const std::optional<std::int32_t> id = by_text_.find(text);
      WT_CHECK(id.has_value(), parts.name, ": merge ", rules.size(), " (\"", pair.left(), "\" \"", pair.right(),
               "\"): no token \"", text, "\" in the vocabulary");
      return *id;
    };
    rules.push_back({require(pair.left()), require(pair.right()), require(pair.both)});
  }
  return rules;
}

Alphabet Vocabulary::alphabet(const TokenizerParts& parts) const {
  Alphabet alphabet;
  alphabet.byte_ids.fill(-1);
  const auto id = [&](std::string_view text) { return by_text_.find(text).value_or(-1); };
  if (parts.byte_level) {
    const std::array<char32_t, 256> characters = byte_characters();
    for (std::size_t b = 0; b < 256; ++b) {
      std::string text;
      append_utf8(text, characters[b]);
      alphabet.byte_ids[b] = id(text);
    }
    return alphabet;
  }
  alphabet.by_character = true;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& text = tokens_[i].text;
    if (tokens_[i].in_vocabulary && !text.empty() && utf8_length_at(text, 0) == text.size()) {
      alphabet.characters[utf8_at(text, 0)] = static_cast<std::int32_t>(i);
    }
  }
  if (parts.byte_fallback) {
    int found = 0;
    for (std::size_t b = 0; b < 256; ++b) {
      const char* const digits = "0123456789ABCDEF";
      alphabet.byte_ids[b] = id(cat("<0x", digits[b / 16], digits[b % 16], ">"));
      found += alphabet.byte_ids[b] >= 0 ? 1 : 0;
    }
    WT_CHECK(found == 0 || found == 256, parts.name, ": byte_fallback with ", found, " of 256 tokens <0x00> to <0xFF>");
  }
  if (!parts.unk_token.empty()) {
    alphabet.unknown = id(parts.unk_token);
    WT_CHECK(alphabet.unknown >= 0, parts.name, ": unk_token \"", parts.unk_token, "\" is not in the vocabulary");
    alphabet.fuse_unknown = parts.fuse_unk;
  }
  return alphabet;
}

void Vocabulary::add_to(Fingerprint& hash) const {
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    if (!tokens_[id].exists) continue;
    hash.add(static_cast<std::int64_t>(id));
    hash.add(tokens_[id].text);
  }
}

}  // namespace wt
