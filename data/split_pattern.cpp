#include "data/split_pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "data/oniguruma.h"

namespace wt {

const char* const kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char* const kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// Room for backtracking: a word may be megabytes long.
constexpr std::size_t kFirstStack = 32 * 1024, kLargestStack = std::size_t{256} << 20;  // bytes, of the JIT's own stack
constexpr std::uint32_t kHeapLimit = std::uint32_t{4} << 20;                            // KiB, of the interpreter
constexpr std::uint64_t kMatchLimit = 10'000'000, kMatchLimitPerByte = 100;             // steps

// What a thread matches with.
struct MatchRoom {
  MatchRoom()
      : context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kFirstStack, kLargestStack, nullptr)) {
    WT_CHECK(context != nullptr, "split pattern: out of memory");
    pcre2_set_heap_limit(context, kHeapLimit);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchRoom() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
  }
  MatchRoom(const MatchRoom&) = delete;
  MatchRoom& operator=(const MatchRoom&) = delete;

  pcre2_match_context* context;
  pcre2_jit_stack* stack;  // null where there is no JIT
};

const void* compile(const std::string& pattern) {
  const std::string translated = oniguruma_to_pcre2(pattern);
  const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  WT_CHECK(context != nullptr, "out of memory");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &offset, context.get());
  if (code == nullptr) throw Error(cat(pcre2_message(error), " at byte ", offset, " of `", translated, "`"));
  // Without a JIT for this machine the pattern is interpreted: slower, with the same result.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return code;
}

}  // namespace

SplitPattern::SplitPattern(std::string pattern, const std::string& name)
    : pattern_(std::move(pattern)), name_(cat(name, name.empty() ? "" : ": ", "split pattern `", pattern_, "`")) {
  try {
    code_ = std::shared_ptr<const void>(compile(pattern_), [](const void* p) {
      pcre2_code_free(const_cast<pcre2_code*>(static_cast<const pcre2_code*>(p)));
    });
  } catch (const Error& error) {
    throw Error(cat(name_, ": ", error.what()));
  }
}

void SplitPattern::split(std::string_view text, const std::function<void(std::string_view piece)>& visit) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
      pcre2_match_data_create_from_pattern(code, nullptr), &pcre2_match_data_free);
  WT_CHECK(match != nullptr, "split pattern: out of memory");
  static thread_local MatchRoom room;
  const auto steps = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(std::max(kMatchLimit, kMatchLimitPerByte * text.size()), UINT32_MAX));
  pcre2_set_match_limit(room.context, steps);
  pcre2_set_depth_limit(room.context, steps);
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
  const auto find = [&](std::size_t from, std::uint32_t options) {
    return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, PCRE2_NO_UTF_CHECK | options,
                       match.get(), room.context);
  };
  const auto visit_piece = [&](std::size_t begin, std::size_t end) {
    if (end > begin) visit(text.substr(begin, end - begin));
  };
  std::size_t done = 0;  // everything before this was visited
  std::size_t from = 0;  // where the next search starts
  while (from < text.size()) {
    int result = find(from, 0);
    // The interpreter keeps its backtracking points on the heap.
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = find(from, PCRE2_NO_JIT);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      throw Error(cat(name_, ": ", pcre2_message(result), " at byte ", from, " of a text of ", text.size(),
                      " bytes: a word there is too long for this pattern"));
    }
    const std::size_t begin = bounds[0], end = bounds[1];
    WT_CHECK(begin >= done && end >= begin, name_, ": a match outside its text");
    visit_piece(done, begin);
    visit_piece(begin, end);
    done = end;
    // An empty match cuts the text and matches nothing: go on one character further.
    from = end > begin ? end : end + (end < text.size() ? utf8_length_at(text, end) : 1);
  }
  visit_piece(done, text.size());
}

}  // namespace wt
