// Standard output, whose reader may go away and whose disk may fill up.
#pragma once

#include <cstdio>
#include <string_view>

namespace wt {

// Writes to standard output at once. Throws ReaderGone (core/files.h), which ends the program with exit code 0, or
// Error with the reason.
void print(std::string_view text);

// std::fflush(). Returns false where something could not be written, now or before; of standard output the first reason
// is kept.
bool flush_output(std::FILE* out);
// Why standard output could not be written, as errno; 0 where it could.
int output_failure();

// At the end of the program: flushes standard output, and says what could not be written. Returns the exit code:
// `code`, also where the reader has gone, else 1.
int finish_output(int code);

}  // namespace wt
