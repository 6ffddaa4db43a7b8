#include "core/error.h"

#include <cstdio>

namespace wt {
namespace {
thread_local const ErrorContext* innermost = nullptr;
}  // namespace

namespace detail {

void append_double(std::string& out, double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.9g", value);
  out += buffer;
}

void fail(const char* condition, std::string message) {
  if (message.empty()) message = cat("check failed: ", condition);
  if (const std::string context = ErrorContext::current(); !context.empty()) message += "; " + context;
  throw Error(message);
}

}  // namespace detail

ErrorContext::ErrorContext() : outer_(innermost) {
  innermost = this;
}
ErrorContext::~ErrorContext() {
  innermost = outer_;
}

std::string ErrorContext::current() {
  std::string text;
  for (const ErrorContext* context = innermost; context != nullptr; context = context->outer_) {
    if (!text.empty()) text += "; ";
    text += context->describe();
  }
  return text;
}

}  // namespace wt
