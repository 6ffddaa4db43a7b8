#include "data/tokenizer.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/utf8.h"
#include "data/byte_pair_encoder.h"
#include "data/fingerprint.h"
#include "data/split_pattern.h"
#include "data/token_text.h"
#include "data/tokenizer_parts.h"
#include "data/vocabulary.h"

namespace wt {

struct Tokenizer::Impl {
  explicit Impl(TokenizerParts parts);

  void add_added_texts();
  std::string compute_fingerprint() const;

  using Between = std::function<void(std::string_view text, bool first)>;
  void encode_pieces(std::string_view text, std::size_t pattern, std::vector<std::int32_t>& out) const;
  void encode_run(std::string_view text, bool first, std::vector<std::int32_t>& out) const;
  void match_added(std::string_view text, std::size_t pass, std::vector<std::int32_t>& out,
                   const Between& between) const;
  void encode(std::string_view text, const EncodeOptions& options, std::vector<std::int32_t>& out) const;

  TokenizerParts parts;
  Vocabulary vocabulary;
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

Tokenizer::Impl::Impl(TokenizerParts given) : parts(std::move(given)), vocabulary(parts) {
  add_added_texts();
  for (const std::string& pattern : parts.split_patterns) patterns.emplace_back(pattern, parts.name);
  encoder = std::make_unique<const BytePairEncoder>(vocabulary.alphabet(parts), vocabulary.merge_rules(parts));
  for (const auto* around : {&parts.ids_before, &parts.ids_after}) {
    for (const std::int32_t id : *around) {
      if (vocabulary.find(id) == nullptr) {
        throw Error(cat(parts.name, ": the post-processor adds id ", id, ", which is no token"));
      }
    }
  }
  fingerprint = compute_fingerprint();
  parts.lists.merges = {};  // all that is needed of them stands in the encoder
}

void Tokenizer::Impl::add_added_texts() {
  for (const AddedToken& added : parts.added_tokens) {
    const std::string text = text_of_added(added, parts);
    if (text.empty()) continue;
    added_by_byte[added.normalized ? 1 : 0][static_cast<unsigned char>(text.front())].push_back({text, added.id});
  }
  for (auto& table : added_by_byte) {
    for (auto& tokens : table) {
      std::stable_sort(tokens.begin(), tokens.end(),
                       [](const AddedText& a, const AddedText& b) { return a.text.size() > b.text.size(); });
    }
  }
}

std::string Tokenizer::Impl::compute_fingerprint() const {
  Fingerprint hash;
  hash.add("wavetape tokenizer 1");
  vocabulary.add_to(hash);
  hash.add(static_cast<std::int64_t>(parts.lists.merges.size()));
  for (const TokenPair& pair : parts.lists.merges) {
    hash.add(pair.left());
    hash.add(pair.right());
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
    if (const auto whole = vocabulary.whole_piece(text)) {
      out.push_back(*whole);
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
  std::string breaker;
  if (options.token_breaker != 0) append_utf8(breaker, options.token_breaker);
  const Between run = [&](std::string_view piece, bool first) {
    if (breaker.empty() || piece.find(breaker) == std::string_view::npos) return encode_run(piece, first, out);
    std::string rest;
    for (std::size_t at = 0; at < piece.size();) {
      const std::size_t end = std::min(piece.find(breaker, at), piece.size());
      rest += piece.substr(at, end - at);
      at = end + breaker.size();
    }
    encode_run(rest, first, out);
  };
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
    if (id < 0) throw Error(cat(impl_->parts.name, ": id ", id, " is no token, expected 0 or more"));
    const Vocabulary::Token* token = impl_->vocabulary.find(id);
    if (token == nullptr || (skip_special_tokens && token->special)) continue;
    if (first && !decoding.first_drops.empty()) {
      out += apply_steps({{TextStep::Kind::kReplace, decoding.first_drops, ""}}, token->text, true, false);
    } else {
      out += token->bytes;
    }
    first = false;
  }
  strip_ends(decoding, out);
  return out;
}

const std::string& Tokenizer::piece(std::int32_t id) const {
  static const std::string nothing;
  const Vocabulary::Token* token = impl_->vocabulary.find(id);
  return token == nullptr ? nothing : token->bytes;
}

std::int32_t Tokenizer::vocab_size() const {
  return impl_->vocabulary.size();
}

std::optional<std::int32_t> Tokenizer::id_of(std::string_view token) const {
  return impl_->vocabulary.id_of(token);
}

std::int32_t Tokenizer::require_id(std::string_view token) const {
  const std::optional<std::int32_t> id = id_of(token);
  if (!id) throw Error(cat(impl_->parts.name, ": no token \"", token, "\" in the vocabulary"));
  return *id;
}

const std::string& Tokenizer::token(std::int32_t id) const {
  const Vocabulary::Token* token = impl_->vocabulary.find(id);
  if (token == nullptr) {
    throw Error(cat(impl_->parts.name, ": id ", id, " is no token, expected one of 0 ... ", vocab_size() - 1));
  }
  return token->text;
}

bool Tokenizer::is_special(std::int32_t id) const {
  const Vocabulary::Token* token = impl_->vocabulary.find(id);
  return token != nullptr && token->special;
}

std::vector<Tokenizer::Added> Tokenizer::added_tokens() const {
  std::vector<Added> all;
  for (const AddedToken& token : impl_->parts.added_tokens) all.push_back({token.content, token.special});
  return all;
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
