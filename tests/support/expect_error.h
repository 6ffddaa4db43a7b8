// EXPECT_ERROR(statement, Type, text): the statement throws exactly Type, one line long, with `text` in its message.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <typeinfo>

#include "core/error.h"

#define EXPECT_ERROR(statement, Type, text)                                                                    \
  do {                                                                                                         \
    std::string wt_message_;                                                                                   \
    bool wt_thrown_ = false, wt_exact_ = false;                                                                \
    try {                                                                                                      \
      statement;                                                                                               \
    } catch (const ::wt::Error& wt_error_) {                                                                   \
      wt_thrown_ = true;                                                                                       \
      wt_exact_ = typeid(wt_error_) == typeid(Type);                                                           \
      wt_message_ = wt_error_.what();                                                                          \
    }                                                                                                          \
    EXPECT_TRUE(wt_thrown_) << #statement " did not throw";                                                    \
    EXPECT_TRUE(!wt_thrown_ || wt_exact_) << #statement " threw another type than " #Type ": " << wt_message_; \
    EXPECT_NE(wt_message_.find(text), std::string::npos) << "message: " << wt_message_;                        \
    EXPECT_EQ(wt_message_.find('\n'), std::string::npos) << "message: " << wt_message_;                        \
  } while (false)
