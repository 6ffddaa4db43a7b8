// HDF5 1.10 forgets some of its own blocks when it gives up on damaged metadata; the tests hand it plenty of that.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the name is the sanitizer's
extern "C" const char* __lsan_default_suppressions() {
  return "leak:H5FL_\nleak:H5O_";
}
