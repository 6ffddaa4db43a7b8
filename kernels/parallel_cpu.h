// Loops over OpenMP threads. Work is cut by the problem's shape alone, never by the number of threads, and each piece
// writes its own output, so results are bit-equal for any number of threads.
#pragma once

#include <cstdint>
#include <exception>

namespace wt::kernels {

// The first exception of a loop's pieces, carried to the calling thread: one that leaves an OpenMP region ends the
// program. Bodies throw only where the caller mixed dtypes.
class FirstException {
 public:
  template <class Body>
  void run(const Body& body) noexcept {
    try {
      body();
    } catch (...) {
#pragma omp critical(wavetape_first_exception)
      if (!thrown_) thrown_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  std::exception_ptr thrown_;
};

// body(i) for i in [0, count), spread over threads.
template <class Body>
void parallel_for(std::int64_t count, const Body& body) {
  FirstException first;
#pragma omp parallel for schedule(static) if (count > 1)
  for (std::int64_t i = 0; i < count; ++i) first.run([&] { body(i); });
  first.rethrow();
}

// body(begin, end) for consecutive pieces of [0, count) of `grain` elements each (the last may be shorter).
template <class Body>
void parallel_ranges(std::int64_t count, std::int64_t grain, const Body& body) {
  const std::int64_t pieces = (count + grain - 1) / grain;
  FirstException first;
#pragma omp parallel for schedule(static) if (pieces > 1)
  for (std::int64_t i = 0; i < pieces; ++i) {
    const std::int64_t begin = i * grain;
    first.run([&] { body(begin, begin + grain < count ? begin + grain : count); });
  }
  first.rethrow();
}

// Elements of an elementwise loop that are worth a thread of their own.
inline constexpr std::int64_t kElementwiseGrain = 16384;
// Rows per piece for row-wise kernels whose parameter gradients are summed piece by piece.
inline constexpr std::int64_t kRowGrain = 256;

}  // namespace wt::kernels
