// What the program does before anything else.
#pragma once

namespace wt {

// Opens standard input, output and error on /dev/null where the caller has closed them (`>&-`): the next file that is
// opened would become one of them, and be printed into.
void open_standard_streams();

// Waiting threads spin for some tens of microseconds, then sleep, unless the user says how (GOMP_SPINCOUNT,
// OMP_WAIT_POLICY); with LLVM's OpenMP a millisecond. OpenMP reads its settings before main(), so this starts the
// program once more, under its own name.
void limit_spinning(char** argv);

// Throws UsageError where OpenMP's variables ask for more threads than the program takes (kMostThreads), or for so
// small stacks that the products of matrices do not fit on them.
void check_openmp();

}  // namespace wt
