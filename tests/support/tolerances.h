// Every tolerance of the tests, with its reason.
#pragma once

namespace wt {

// Golden numbers are stored as float32, so their own rounding is 6e-8 relative; an independent implementation in double
// agrees to 1.2e-7.
inline constexpr double kGoldenF64 = 1e-6;
// float32 arithmetic against double: an independent implementation agrees to 6e-6 on logits.
inline constexpr double kGoldenLogitsF32 = 5e-5;
inline constexpr double kGoldenGradientF32 = 5e-4;

// Two schedules in f64 run the same products in differently sized batches: rounding only.
inline constexpr double kSchedulesAgreeF64 = 1e-12;

// Central differences in f64 with step 1e-5: truncation about 1e-10 times the third derivative, rounding 1e-16 / 1e-5.
inline constexpr double kGradcheck = 1e-7;

// The same sums in double in another order, as between a gradient added to noise and one that is not.
inline constexpr double kSameSums = 1e-12;

// A run of ten steps against the same run as an earlier program or another machine does it, by the largest number of
// each tensor: products summed in another order. One rounding of every weight where such a run begins changes its end
// by 4e-6 in float32 and by 2e-13 in double, there most in biases of keys, whose gradient is nothing but rounding; a
// build for a sanitizer changes the norm of a gradient by 7e-5 in float32.
inline constexpr double kOldRunF32 = 2e-4;
inline constexpr double kOldRunF64 = 1e-11;

// A kernel in float32 against the same inputs in double: sums of some hundred products of size one.
inline constexpr double kKernelF32 = 1e-4;

// A GPU kernel in float32 against the CPU's in float32: the same sums in another order.
inline constexpr double kGpuF32 = 1e-5;
// A GPU kernel in bfloat16 against the CPU in float32 on the rounded inputs: every output is rounded once (relative
// 2^-9 at most, about 2^-10.5 on average), and where a kernel rounds a product's inputs too, three times.
inline constexpr double kGpuBF16 = 6e-3;

}  // namespace wt
