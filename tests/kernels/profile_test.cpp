#include "kernels/profile.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "kernels/adamw.h"
#include "kernels/argmax.h"
#include "kernels/dpfp.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "tests/kernels/support.h"

namespace wt::kernels {
namespace {

TEST(Profile, CountsKernelsAndKnowsTheirClasses) {
  const Stream stream;
  const auto f = [](const Shape& shape) { return normal_tensor(shape, 1, DType::kF32); };
  const auto run = [&] {
    linear_forward(stream, f({1, 2, 4}), f({1, 3, 4}), WeightLayout::kOutIn, {}, {}, f({1, 2, 3}));
    rotary(stream, f({1, 1, 2, 4}), 1, f({2, 4}), {}, false);
    dpfp_forward(stream, f({2, 3}), 1, f({2, 6}));
    argmax_rows(stream, f({2, 3}), integers({2}, {0, 0}));
    sum_of_squares(stream, f({3}), Tensor::zeros(stream, {1}, DType::kF64));
    rms_norm_forward(stream, f({1, 2, 4}), f({1, 4}), 1e-5, f({1, 2, 4}), f({1, 2}));
  };
  run();  // before there is a profile
  Profile profile(stream);
  run();
  run();
  std::map<std::string, std::string> classes;
  for (const KernelTime& time : profile.times()) {
    EXPECT_EQ(time.calls, 2) << time.name;
    EXPECT_GE(time.seconds, 0) << time.name;
    classes[time.name] = name_of(time.kernel_class);
  }
  const std::map<std::string, std::string> expected{
      {"linear_forward", "GEMM"}, {"rotary", "attention"},         {"dpfp_forward", "memory read/write"},
      {"argmax_rows", "head"},    {"sum_of_squares", "optimizer"}, {"rms_norm_forward", "norm and elementwise"}};
  EXPECT_EQ(classes, expected);
}

}  // namespace
}  // namespace wt::kernels
