// What the program says of itself, beside its results.
#pragma once

#include <string>

namespace wt {

// "wavetape: MESSAGE" on standard error, as one line (printable_line()).
void print_notice(const std::string& message);

}  // namespace wt
