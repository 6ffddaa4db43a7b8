#include "data/pieces.h"

#include "core/file_reader.h"
#include "core/text.h"
#include "data/piece_encoder.h"

namespace wt {

TextPieces file_pieces(const std::string& path) {
  return [file = std::make_shared<FileReader>(path)] { return std::string(file->next()); };
}

TextPieces trimmed_pieces(TextPieces text) {
  // What the last piece ended with, blanks all; before the first character that is none, `started` is false.
  struct Place {
    bool started = false;
    std::string blanks;
  };
  return [text = std::move(text), place = std::make_shared<Place>()] {
    for (std::string piece = text(); !piece.empty(); piece = text()) {
      const std::string_view inner = trimmed(piece);
      if (inner.empty()) {
        if (place->started) place->blanks += piece;
        continue;
      }
      const auto begin = static_cast<std::size_t>(inner.data() - piece.data()), end = begin + inner.size();
      std::string out = place->started ? place->blanks + piece.substr(0, end) : std::string(inner);
      place->started = true;
      place->blanks = piece.substr(end);
      return out;
    }
    return std::string();
  };
}

TokenPieces encoded(const Tokenizer& tokenizer, const EncodeOptions& options, TextPieces text) {
  struct Place {
    std::vector<std::int32_t> ids;
    std::unique_ptr<PieceEncoder> encoder;
    bool ended = false;
  };
  const auto place = std::make_shared<Place>();
  place->encoder =
      std::make_unique<PieceEncoder>(tokenizer, options, [ids = &place->ids](const std::vector<std::int32_t>& next) {
        ids->insert(ids->end(), next.begin(), next.end());
      });
  return [text = std::move(text), place] {
    while (place->ids.empty() && !place->ended) {
      const std::string piece = text();
      place->ended = piece.empty();
      if (place->ended) {
        place->encoder->finish();
      } else {
        place->encoder->push(piece);
      }
    }
    return std::exchange(place->ids, {});
  };
}

TokenPieces encoded_plain(const Tokenizer& tokenizer, TextPieces text) {
  return encoded(tokenizer, {.match_added_tokens = false, .add_special_tokens = false, .leading_space_is_prefix = true},
                 std::move(text));
}

}  // namespace wt
