#include "data/tokenizer.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/utf8.h"
#include "data/byte_pair_encoder.h"
#include "data/fingerprint.h"
#include "data/split_pattern.h"
#include "data/token_text.h"
#include "data/tokenizer_parts.h"

namespace wt {

struct Tokenizer::Impl {
  explicit Impl(TokenizerParts parts);

  void add_vocabulary();
  void add_added_tokens();
  std::vector<MergeRule> merge_rules() const;
  Alphabet alphabet() const;
  std::string compute_fingerprint() const;

  using Between = std::function<void(std::string_view text, bool first)>;
  void encode_pieces(std::string_view text, std::size_t pattern, std::vector<std::int32_t>& out) const;
  void encode_run(std::string_view text, bool first, std::vector<std::int32_t>& out) const;
  void match_added(std::string_view text, std::size_t pass, std::vector<std::int32_t>& out,
                   const Between& between) const;
  void encode(std::string_view text, const EncodeOptions& options, std::vector<std::int32_t>& out) const;

  struct Entry {
    std::string token;  // as the file spells it
    std::string bytes;  // what it decodes to
    bool exists = false;
    bool special = false;
  };
  TokenizerParts parts;
  std::vector<Entry> entries;                         // by id
  std::unordered_map<std::string, std::int32_t> ids;  // by the file's spelling
  // By bytes, or by characters; filled where merges may be ignored.
  std::unordered_map<std::string, std::int32_t> whole_words;
  std::vector<SplitPattern> patterns;
  struct AddedText {
    std::string text;  // as it is looked for
    std::int32_t id = 0;
  };
  // Added tokens by first byte, longest first: those matched in the first pass, and those in the second.
  std::array<std::array<std::vector<AddedText>, 256>, 2> added_by_byte;
  std::unique_ptr<const BytePairEncoder> encoder;
  std::string fingerprint;
};

Tokenizer::Impl::Impl(TokenizerParts given) : parts(std::move(given)) {
  add_vocabulary();
  add_added_tokens();
  for (const std::string& pattern : parts.split_patterns) patterns.emplace_back(pattern);
  encoder = std::make_unique<const BytePairEncoder>(alphabet(), merge_rules());
  for (const auto* around : {&parts.ids_before, &parts.ids_after}) {
    for (const std::int32_t id : *around) {
      if (static_cast<std::size_t>(id) >= entries.size() || !entries[static_cast<std::size_t>(id)].exists) {
        throw Error(cat(parts.name, ": the post-processor adds id ", id, ", which is no token"));
      }
    }
  }
  fingerprint = compute_fingerprint();
}

void Tokenizer::Impl::add_vocabulary() {
  WT_CHECK(!parts.vocab.empty(), parts.name, ": the vocabulary is empty");
  // Ids far above the number of tokens are damage, and would cost their weight in memory.
  std::int32_t highest = 0;
  for (const auto& [token, id] : parts.vocab) highest = std::max(highest, id);
  for (const AddedToken& added : parts.added_tokens) highest = std::max(highest, added.id);
  const std::size_t count = parts.vocab.size() + parts.added_tokens.size();
  WT_CHECK(static_cast<std::size_t>(highest) < 4 * count + 65536, parts.name, ": highest id ", highest, " of ", count,
           " tokens: the file is damaged");
  entries.resize(static_cast<std::size_t>(highest) + 1);
  const TokenText text(parts.decoding);
  for (const auto& [token, id] : parts.vocab) {
    Entry& entry = entries[static_cast<std::size_t>(id)];
    WT_CHECK(!entry.exists, parts.name, ": id ", id, " is \"", entry.token, "\" and \"", token, "\"");
    entry = {token, text.bytes_of(token), /*exists=*/true, /*special=*/false};
    ids.emplace(token, id);
    if (parts.ignore_merges) whole_words.emplace(parts.byte_level ? entry.bytes : token, id);
  }
}

void Tokenizer::Impl::add_added_tokens() {
  const TokenText text(parts.decoding);
  for (const AddedToken& added : parts.added_tokens) {
    const auto known = ids.find(added.content);
    WT_CHECK(known == ids.end() || known->second == added.id, parts.name, ": added token \"", added.content,
             "\" has id ", added.id, ", in the vocabulary ", known == ids.end() ? -1 : known->second);
    Entry& entry = entries[static_cast<std::size_t>(added.id)];
    WT_CHECK(!entry.exists || entry.token == added.content, parts.name, ": id ", added.id, " is \"", entry.token,
             "\" and \"", added.content, "\"");
    // In a normalized text a token looks as the normalizer leaves it, and so it is written by the library (0.23) too.
    const std::string looks =
        added.normalized ? apply_steps(parts.normalizer, added.content, true, false) : added.content;
    entry = {added.content, text.bytes_of_added(looks), /*exists=*/true, added.special};
    ids.emplace(added.content, added.id);
    if (looks.empty()) continue;
    added_by_byte[added.normalized ? 1 : 0][static_cast<unsigned char>(looks.front())].push_back({looks, added.id});
  }
  for (auto& table : added_by_byte) {
    for (auto& tokens : table) {
      std::stable_sort(tokens.begin(), tokens.end(),
                       [](const AddedText& a, const AddedText& b) { return a.text.size() > b.text.size(); });
    }
  }
}

std::vector<MergeRule> Tokenizer::Impl::merge_rules() const {
  std::vector<MergeRule> rules;
  rules.reserve(parts.merges.size());
  for (const auto& [left, right] : parts.merges) {
    MergeRule rule;
    for (const auto& [token, id] : {std::pair{left, &rule.left}, {right, &rule.right}, {left + right, &rule.merged}}) {
      const auto found = ids.find(token);
      WT_CHECK(found != ids.end(), parts.name, ": merge ", rules.size(), " (\"", left, "\" \"", right,
               "\"): no token \"", token, "\" in the vocabulary");
      *id = found->second;
    }
    rules.push_back(rule);
  }
  return rules;
}

Alphabet Tokenizer::Impl::alphabet() const {
  Alphabet alphabet;
  alphabet.byte_ids.fill(-1);
  const auto id = [&](const std::string& token) {
    const auto found = ids.find(token);
    return found == ids.end() ? -1 : found->second;
  };
  if (parts.byte_level) {
    const std::array<char32_t, 256> characters = byte_characters();
    for (std::size_t b = 0; b < 256; ++b) {
      std::string token;
      append_utf8(token, characters[b]);
      alphabet.byte_ids[b] = id(token);
    }
    return alphabet;
  }
  alphabet.by_character = true;
  for (const auto& [token, value] : parts.vocab) {
    if (!token.empty() && utf8_length_at(token, 0) == token.size()) alphabet.characters[utf8_at(token, 0)] = value;
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

std::string Tokenizer::Impl::compute_fingerprint() const {
  Fingerprint hash;
  hash.add("wavetape tokenizer 1");
  for (std::size_t id = 0; id < entries.size(); ++id) {
    if (entries[id].exists) {
      hash.add(static_cast<std::int64_t>(id));
      hash.add(entries[id].token);
    }
  }
  hash.add(static_cast<std::int64_t>(parts.merges.size()));
  for (const auto& [left, right] : parts.merges) {
    hash.add(left);
    hash.add(right);
  }
  for (const std::string& pattern : parts.split_patterns) hash.add(pattern);
  hash.add((parts.ignore_merges ? 2 : 0) + (parts.add_prefix_space ? 1 : 0));
  for (const AddedToken& added : parts.added_tokens) hash.add(added.id);
  if (!parts.byte_level) {
    hash.add(parts.unk_token);
    hash.add((parts.byte_fallback ? 2 : 0) + (parts.fuse_unk ? 1 : 0));
    for (const auto* steps : {&parts.normalizer, &parts.before_split}) {
      for (const TextStep& step : *steps) {
        hash.add(static_cast<std::int64_t>(step.kind));
        hash.add(step.from);
        hash.add(step.to);
      }
    }
  }
  return hash.hex();
}

// Cuts by pattern number `pattern` and the ones after it, then merges.
void Tokenizer::Impl::encode_pieces(std::string_view text, std::size_t pattern, std::vector<std::int32_t>& out) const {
  if (pattern < patterns.size()) {
    patterns[pattern].split(text, [&](std::string_view piece) { encode_pieces(piece, pattern + 1, out); });
    return;
  }
  if (parts.ignore_merges) {
    if (const auto whole = whole_words.find(std::string(text)); whole != whole_words.end()) {
      out.push_back(whole->second);
      return;
    }
  }
  encoder->encode(text, out);
}

// Normalized text without added tokens. Stretches of bytes that are not UTF-8 are pieces of their own: the patterns
// speak of characters.
void Tokenizer::Impl::encode_run(std::string_view text, bool first, std::vector<std::int32_t>& out) const {
  std::string changed;
  if (parts.add_prefix_space && !text.empty() && text.front() != ' ') {
    changed = cat(" ", text);
    text = changed;
  }
  if (!parts.before_split.empty()) {
    changed = apply_steps(parts.before_split, text, first, false);
    text = changed;
  }
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = utf8_valid_until(text, begin);
    if (end > begin) {
      encode_pieces(text.substr(begin, end - begin), 0, out);
    } else {
      while (end < text.size() && utf8_length_at(text, end) == 0) ++end;
      encoder->encode(text.substr(begin, end - begin), out);
    }
    begin = end;
  }
}

// Added tokens of this pass, leftmost first and the longest of those that start at one place; the text between goes to
// `between`.
void Tokenizer::Impl::match_added(std::string_view text, std::size_t pass, std::vector<std::int32_t>& out,
                                  const Between& between) const {
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size();) {
    const AddedText* match = nullptr;
    for (const AddedText& added : added_by_byte[pass][static_cast<unsigned char>(text[i])]) {
      if (text.substr(i).starts_with(added.text)) {
        match = &added;
        break;
      }
    }
    if (match == nullptr) {
      ++i;
      continue;
    }
    if (i > done) between(text.substr(done, i - done), done == 0);
    out.push_back(match->id);
    i += match->text.size();
    done = i;
  }
  if (done < text.size()) between(text.substr(done), done == 0);
}

void Tokenizer::Impl::encode(std::string_view text, const EncodeOptions& options,
                             std::vector<std::int32_t>& out) const {
  const auto normalized = [&](std::string_view piece, bool first, const Between& then) {
    if (parts.normalizer.empty()) return then(piece, first);
    then(apply_steps(parts.normalizer, piece, first, options.leading_space_is_prefix), first);
  };
  const Between run = [&](std::string_view piece, bool first) { encode_run(piece, first, out); };
  if (!options.match_added_tokens) return normalized(text, true, run);
  match_added(text, 0, out, [&](std::string_view raw, bool first) {
    normalized(raw, first, [&](std::string_view piece, bool at_start) {
      match_added(piece, 1, out, [&](std::string_view between, bool begins) { run(between, at_start && begins); });
    });
  });
}

Tokenizer::Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Tokenizer Tokenizer::load(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    TokenizerParts parts = parse_tokenizer_json(read_file(path), path);
    parts.files = {path};
    return Tokenizer(std::make_shared<const Impl>(std::move(parts)));
  }
  const fs::path folder(path);
  if (fs::exists(folder / "tokenizer.json", ignored)) return load((folder / "tokenizer.json").string());
  if (fs::exists(folder / "vocab.json", ignored) && fs::exists(folder / "merges.txt", ignored)) {
    return from_vocab_and_merges((folder / "vocab.json").string(), (folder / "merges.txt").string());
  }
  throw Error(cat(path, ": no tokenizer.json, and not both of vocab.json and merges.txt, in this folder"));
}

Tokenizer Tokenizer::from_json(std::string_view text, const std::string& name) {
  return Tokenizer(std::make_shared<const Impl>(parse_tokenizer_json(text, name)));
}

Tokenizer Tokenizer::from_vocab_and_merges(const std::string& vocab_path, const std::string& merges_path) {
  return Tokenizer(std::make_shared<const Impl>(read_vocab_and_merges(vocab_path, merges_path)));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<std::int32_t> out;
  const TokenizerParts& parts = impl_->parts;
  if (options.add_special_tokens) out = parts.ids_before;
  impl_->encode(text, options, out);
  if (options.add_special_tokens) out.insert(out.end(), parts.ids_after.begin(), parts.ids_after.end());
  return out;
}

std::vector<std::int32_t> Tokenizer::encode_plain(std::string_view text) const {
  return encode(text, {.match_added_tokens = false, .add_special_tokens = false, .leading_space_is_prefix = true});
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  const Decoding& decoding = impl_->parts.decoding;
  std::string out;
  bool first = true;
  for (const std::int32_t id : ids) {
    token(id);
    const Impl::Entry& entry = impl_->entries[static_cast<std::size_t>(id)];
    if (skip_special_tokens && entry.special) continue;
    if (first && !decoding.first_drops.empty()) {
      out += apply_steps({{TextStep::Kind::kReplace, decoding.first_drops, ""}}, entry.token, true, false);
    } else {
      out += entry.bytes;
    }
    first = false;
  }
  strip_ends(decoding, out);
  return out;
}

const std::string& Tokenizer::piece(std::int32_t id) const {
  token(id);
  return impl_->entries[static_cast<std::size_t>(id)].bytes;
}

std::int32_t Tokenizer::vocab_size() const {
  return static_cast<std::int32_t>(impl_->entries.size());
}

std::optional<std::int32_t> Tokenizer::id_of(std::string_view token) const {
  const auto found = impl_->ids.find(std::string(token));
  if (found == impl_->ids.end()) return std::nullopt;
  return found->second;
}

std::int32_t Tokenizer::require_id(std::string_view token) const {
  const std::optional<std::int32_t> id = id_of(token);
  if (!id) throw Error(cat(impl_->parts.name, ": no token \"", token, "\" in the vocabulary"));
  return *id;
}

const std::string& Tokenizer::token(std::int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    throw Error(cat(impl_->parts.name, ": id ", id, " is no token, expected 0 ... ", vocab_size() - 1));
  }
  const Impl::Entry& entry = impl_->entries[static_cast<std::size_t>(id)];
  if (!entry.exists) throw Error(cat(impl_->parts.name, ": id ", id, " is no token: the vocabulary has a hole there"));
  return entry.token;
}

bool Tokenizer::is_special(std::int32_t id) const {
  token(id);
  return impl_->entries[static_cast<std::size_t>(id)].special;
}

const std::vector<std::int32_t>& Tokenizer::ids_before() const {
  return impl_->parts.ids_before;
}

const std::vector<std::int32_t>& Tokenizer::ids_after() const {
  return impl_->parts.ids_after;
}

std::string Tokenizer::fingerprint() const {
  return impl_->fingerprint;
}

const std::vector<std::string>& Tokenizer::files() const {
  return impl_->parts.files;
}

}  // namespace wt
