// Under the sanitizers an impossible allocation is to fail as it does without them, not to end the program.
extern "C" {
const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}
const char* __tsan_default_options() {
  return "allocator_may_return_null=1";
}
}
