// HDF5 1.10 forgets some of its own blocks when it gives up on damaged metadata; the tests hand it plenty of that.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:H5FL_";
}
