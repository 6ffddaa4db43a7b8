// Errors and checks. Everything that can go wrong is an exception; `main` turns UsageError into exit code 2 and every
// other Error into exit code 1, each with one line on standard error.
#pragma once

#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace wt {

// Something failed at run time: a damaged file, a shape that does not fit, a device that is not there.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

// The user asked for something impossible: a bad flag, a bad config key, a value out of range.
class UsageError : public Error {
 public:
  using Error::Error;
};

namespace detail {
inline void append(std::string& out, std::string_view text) {
  out += text;
}
template <std::integral T>
void append(std::string& out, T value) {
  if constexpr (std::same_as<T, bool>) {
    out += value ? "true" : "false";
  } else if constexpr (std::same_as<T, char>) {
    out += value;
  } else {
    out += std::to_string(value);
  }
}
void append_double(std::string& out, double value);
template <std::floating_point T>
void append(std::string& out, T value) {
  append_double(out, static_cast<double>(value));
}
template <class T>
concept Describes = requires(const T& value) {
  { value.str() } -> std::convertible_to<std::string>;
};
template <Describes T>
void append(std::string& out, const T& value) {
  out += value.str();
}
[[noreturn]] void fail(const char* condition, std::string message);
}  // namespace detail

// Concatenates text, numbers and anything with str() into one string. (fmt does not compile under nvcc, and this
// header reaches every file.)
template <class... Args>
std::string cat(const Args&... args) {
  std::string out;
  (detail::append(out, args), ...);
  return out;
}

// What the thread is doing, added to the message of every failing check inside the scope: "wave 17, layers [3,6)".
// Costs a pointer swap; the text is made only when a check fails.
class ErrorContext {
 public:
  ErrorContext();
  virtual ~ErrorContext();
  ErrorContext(const ErrorContext&) = delete;
  ErrorContext& operator=(const ErrorContext&) = delete;
  virtual std::string describe() const = 0;
  // The contexts of this thread, innermost first, joined by "; ".
  static std::string current();

 private:
  const ErrorContext* outer_;
};

}  // namespace wt

// Always on. `WT_CHECK(rows > 0, "attention: rows is ", rows, ", expected at least 1")` throws wt::Error.
#define WT_CHECK(condition, ...)                              \
  do {                                                        \
    if (!(condition)) [[unlikely]]                            \
      ::wt::detail::fail(#condition, ::wt::cat(__VA_ARGS__)); \
  } while (false)
