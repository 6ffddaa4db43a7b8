// For compare_detokenizer.py: every line of standard input, detokenised.
#include <iostream>
#include <string>

#include "data/detokenizer.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) std::cout << wt::detokenized(line) << '\n';
  return std::cout.flush() ? 0 : 1;
}
