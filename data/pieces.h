// Texts and token sequences that need not fit in memory: functions that return the next piece at every call, and an
// empty one at the end. Copies of one share their place in it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/tokenizer.h"

namespace wt {

using TextPieces = std::function<std::string()>;
using TokenPieces = std::function<std::vector<std::int32_t>()>;

// One piece and no more.
template <class Piece>
std::function<Piece()> once(Piece piece) {
  return [left = std::make_shared<Piece>(std::move(piece))] { return std::exchange(*left, {}); };
}

// One after the other.
template <class Piece>
std::function<Piece()> joined(std::vector<std::function<Piece()>> parts) {
  return [parts = std::move(parts), at = std::make_shared<std::size_t>(0)] {
    for (; *at < parts.size(); ++*at) {
      if (Piece piece = parts[*at](); !piece.empty()) return piece;
    }
    return Piece();
  };
}

// All of them as one.
template <class Piece>
Piece whole(const std::function<Piece()>& pieces) {
  Piece out;
  for (Piece next = pieces(); !next.empty(); next = pieces()) out.insert(out.end(), next.begin(), next.end());
  return out;
}

// A file's bytes. Throws Error where it cannot be read.
TextPieces file_pieces(const std::string& path);
// Without blanks, tabs and line breaks around the whole, as trimmed() (core/text.h). A run of such characters is held
// in memory until something else follows.
TextPieces trimmed_pieces(TextPieces text);
// The ids of tokenizer.encode(text, options), but for what PieceEncoder (data/piece_encoder.h) says of words without
// end.
TokenPieces encoded(const Tokenizer& tokenizer, const EncodeOptions& options, TextPieces text);
// Of tokenizer.encode_plain(text).
TokenPieces encoded_plain(const Tokenizer& tokenizer, TextPieces text);

}  // namespace wt
