// Whether text is well-formed XML, as far as what we write can go wrong.
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

// Every element is closed in its turn, attributes are in double quotes and stand once, no text holds a bare < or &, and
// behind the root's end there is a line break and nothing else. A document type may stand in front.
inline void expect_well_formed(const std::string& text) {
  std::string_view rest = text;
  if (rest.starts_with("<!DOCTYPE html>\n")) rest.remove_prefix(16);
  const auto expect_text = [](std::string_view between) {
    for (std::size_t at = between.find('&'); at != std::string_view::npos; at = between.find('&', at + 1)) {
      bool is_known = false;
      for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;"}) {
        is_known = is_known || between.substr(at).starts_with(entity);
      }
      EXPECT_TRUE(is_known) << between.substr(at, 20);
    }
    EXPECT_EQ(between.find('>'), std::string_view::npos) << between.substr(0, 200);
  };
  std::vector<std::string> open;
  bool is_done = false;
  while (!is_done) {
    const std::size_t start = rest.find('<');
    ASSERT_NE(start, std::string_view::npos) << "no end of <" << (open.empty() ? "" : open.back()) << ">";
    expect_text(rest.substr(0, start));
    // Attributes may hold no '>' either: we escape it.
    const std::size_t end = rest.find('>', start);
    ASSERT_NE(end, std::string_view::npos);
    std::string_view tag = rest.substr(start + 1, end - start - 1);
    rest.remove_prefix(end + 1);
    ASSERT_FALSE(tag.empty());
    if (tag.front() == '/') {
      ASSERT_FALSE(open.empty()) << tag;
      ASSERT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else {
      const bool is_empty = tag.back() == '/';
      if (is_empty) tag.remove_suffix(1);
      std::size_t at = 0;
      while (at < tag.size() && std::isalnum(static_cast<unsigned char>(tag[at])) != 0) ++at;
      const std::string name(tag.substr(0, at));
      ASSERT_FALSE(name.empty()) << "<" << tag;
      std::vector<std::string> attributes;
      while (at < tag.size()) {
        ASSERT_EQ(tag[at], ' ') << tag;
        const std::size_t equals = tag.find("=\"", at);
        ASSERT_NE(equals, std::string_view::npos) << tag;
        attributes.emplace_back(tag.substr(at + 1, equals - at - 1));
        const std::string& attribute = attributes.back();
        EXPECT_EQ(attribute.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:"),
                  std::string::npos)
            << "attribute `" << attribute << "` of <" << tag;
        for (std::size_t i = 0; i + 1 < attributes.size(); ++i) EXPECT_NE(attributes[i], attribute) << tag;
        const std::size_t close = tag.find('"', equals + 2);
        ASSERT_NE(close, std::string_view::npos) << tag;
        const std::string_view value = tag.substr(equals + 2, close - equals - 2);
        EXPECT_EQ(value.find('<'), std::string_view::npos) << tag;
        expect_text(value);
        at = close + 1;
      }
      if (!is_empty) open.push_back(name);
    }
    is_done = open.empty();
  }
  EXPECT_EQ(rest, "\n");
}

}  // namespace wt
